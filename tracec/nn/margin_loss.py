"""Losses that ask scores or distances to keep a margin, as modules; see the functions of the same names."""

from __future__ import annotations

from collections.abc import Callable

from tracec.errors import ArgumentError
from tracec.nn import functional as F
from tracec.nn.loss import _Loss, _Weighted
from tracec.record.tensor import Tensor


class _Margin(_Loss):
    """A loss with a margin."""

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin


class HingeEmbeddingLoss(_Margin):
    """The input where the target is 1, ``max(0, margin - input)`` where it is -1."""

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Distances, and 1 or -1 for each."""
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(_Margin):
    """``1 - cos`` of two vectors where the target is 1, ``max(0, cos - margin)`` where it is -1."""

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Vectors ``(N, D)`` twice, and 1 or -1 for each."""
        return F.cosine_embedding_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class MarginRankingLoss(_Margin):
    """``max(0, margin - target * (input1 - input2))``."""

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Scores twice, and 1 or -1 for each pair."""
        return F.margin_ranking_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class SoftMarginLoss(_Loss):
    """``log(1 + exp(-target * input))``."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Scores, and 1 or -1 for each."""
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiLabelMarginLoss(_Loss):
    """How far classes that do not apply come within 1 of those that do."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Scores ``(N, C)``, and in each row the classes that apply, with -1 behind them."""
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_Weighted):
    """The cross entropy of each class taken alone, averaged over the classes."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Logits ``(N, C)``, and 1 for the classes that apply, 0 for the others."""
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class MultiMarginLoss(_Weighted):
    """How far each other class comes within a margin of the right one.

    Args:
        p: 1, or 2 for squares.
        margin: By how much the right class is to be ahead.
        weight: Weight of each class.
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ArgumentError(f"MultiMarginLoss: p={p}", hint="only p == 1 and p == 2 are supported")
        self.p, self.margin = p, margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Scores ``(N, C)`` and classes ``(N,)``."""
        return F.multi_margin_loss(
            input, target, p=self.p, margin=self.margin, weight=self.weight, reduction=self.reduction
        )


class TripletMarginLoss(_Margin):
    """``max(0, margin + |anchor - positive| - |anchor - negative|)``.

    Args:
        margin: By how much farther negatives are to lie, positive.
        p: The p of the norm.
        eps: Added to differences.
        swap: Take the distance from positive to negative where that is smaller.
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)
        _check_positive("TripletMarginLoss", margin)
        self.p, self.eps, self.swap = p, eps, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Vectors ``(N, D)`` each."""
        return F.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, reduction=self.reduction
        )


class TripletMarginWithDistanceLoss(_Margin):
    """`TripletMarginLoss` with a distance of one's own."""

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, reduction=reduction)
        _check_positive("TripletMarginWithDistanceLoss", margin)
        self.distance_function, self.swap = distance_function, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Three tensors that the distance takes."""
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


def _check_positive(name: str, margin: float) -> None:
    if margin <= 0:
        raise ArgumentError(f"{name}: margin must be greater than 0, got {margin}", hint="give a positive number")
