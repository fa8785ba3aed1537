"""Losses of an input and a target as modules; see the functions of the same names in `tracec.nn.functional`."""

from __future__ import annotations

from collections.abc import Sequence

from tracec.functions.common import check_real
from tracec.functions.loss import reduction_of
from tracec.nn import functional as F
from tracec.nn.module import Module
from tracec.record.tensor import Tensor


class _Loss(Module):
    """A loss of an input and a target.

    Args:
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction_of(size_average, reduce, reduction)


class _Weighted(_Loss):
    """A loss with a weight for each class or element."""

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class NLLLoss(_Weighted):
    """The negative log likelihood of classes given as log probabilities, as `LogSoftmax` gives them.

    Args:
        weight: Weight of each class, shape ``(C,)``.
        size_average: Older way to say ``reduction="sum"``, by False.
        ignore_index: A class that adds nothing.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Log probabilities ``(N, C, ...)`` and classes ``(N, ...)``."""
        return F.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class CrossEntropyLoss(_Weighted):
    """The cross entropy of classes given as logits.

    Args:
        weight: Weight of each class.
        size_average: Older way to say ``reduction="sum"``, by False.
        ignore_index: A class that adds nothing.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
        label_smoothing: Share of the target that is spread over all classes.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Logits ``(N, C, ...)`` and classes ``(N, ...)``, or probabilities ``(N, C, ...)``."""
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class MSELoss(_Loss):
    """``(input - target)²``, of two floating tensors of one shape.

    Args:
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """``|input - target|``, of two tensors of one shape.

    Args:
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """``0.5 d² / beta`` where d = |input - target| is below beta, else ``d - 0.5 beta``.

    Args:
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
        beta: Where the square ends, not negative.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """``0.5 d²`` where d = |input - target| is at most delta, else ``delta (d - 0.5 delta)``."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        check_real("HuberLoss", delta, "delta")
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class BCELoss(_Weighted):
    """The cross entropy of two classes given as probabilities.

    Args:
        weight: Weight of each element, which broadcasts with the input.
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Weighted):
    """The cross entropy of two classes given as logits.

    Args:
        weight: Weight of each element.
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
        pos_weight: Weight of the positive class.
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class KLDivLoss(_Loss):
    """The Kullback-Leibler divergence of log probabilities from a target; ``batchmean`` is a reduction too."""

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class PoissonNLLLoss(_Loss):
    """The negative log likelihood of counts under Poisson distributions.

    Args:
        log_input: Whether inputs are logarithms of rates.
        full: Add Stirling's approximation of ``log(target!)``.
        size_average: Older way to say ``reduction="sum"``, by False.
        eps: Added to rates before their logarithm is taken.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        """Rates or their logarithms, and counts."""
        return F.poisson_nll_loss(
            log_input, target, log_input=self.log_input, full=self.full, eps=self.eps, reduction=self.reduction
        )


class GaussianNLLLoss(_Loss):
    """The negative log likelihood of targets under normal distributions."""

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full, self.eps = full, eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        """Means, targets and variances."""
        return F.gaussian_nll_loss(input, target, var, full=self.full, eps=self.eps, reduction=self.reduction)


class CTCLoss(_Loss):
    """The loss of label sequences whose alignment with the input is not known.

    Args:
        blank: The class that stands for no label.
        reduction: ``mean``, ``sum`` or ``none``.
        zero_infinity: Whether labellings that are too long for the input give 0 instead of infinity.
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(
        self,
        log_probs: Tensor,
        targets: Tensor,
        input_lengths: Tensor | Sequence[int],
        target_lengths: Tensor | Sequence[int],
    ) -> Tensor:
        """Log probabilities ``(T, N, C)``, labels ``(N, S)`` or in one row, and how much of both counts."""
        return F.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
