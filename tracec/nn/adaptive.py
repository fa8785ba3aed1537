"""Softmax over many classes of which few are frequent, and cross entropy with its linear layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from tracec.errors import ArgumentError, AxisError, ShapeError
from tracec.functions import argmax, cat, gather, unsqueeze, where
from tracec.functions.common import check_real, integers
from tracec.ir.dtype import DType
from tracec.nn import functional as F
from tracec.nn.containers import ModuleList, Sequential
from tracec.nn.linear import Linear
from tracec.nn.loss import _Weighted
from tracec.nn.module import Module
from tracec.record.check import check_range
from tracec.record.tensor import Tensor


class ASMoutput(NamedTuple):
    """What an adaptive softmax gives.

    Attributes:
        output: Log probability of each target, shape ``(N,)`` or ``()``.
        loss: The negative mean of them.
    """

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Softmax over classes in order of their frequency: rare ones share clusters with narrow projections.

    Args:
        in_features: Last size of the input.
        n_classes: Number of classes.
        cutoffs: Where clusters begin, ascending; classes before the first are in the head.
        div_value: By how much each cluster's projection is narrower than the one before.
        head_bias: Whether the head has a bias.
        device: Where the parameters live.
        dtype: Their element type.

    Raises:
        ArgumentError: the cutoffs are not ascending integers from 1 to n_classes - 1.

    Source: Grave, Joulin, Cissé, Grangier, Jégou, "Efficient softmax approximation for GPUs", 2016.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        marks = integers("AdaptiveLogSoftmaxWithLoss", cutoffs, "cutoffs")
        if not marks or list(marks) != sorted(set(marks)) or marks[0] < 1 or marks[-1] > n_classes - 1:
            raise ArgumentError(
                f"AdaptiveLogSoftmaxWithLoss: cutoffs={list(cutoffs)} for {n_classes} classes",
                hint="cutoffs are unique, positive integers in increasing order, each from 1 to n_classes-1",
            )
        check_real("AdaptiveLogSoftmaxWithLoss", div_value, "div_value")
        if not div_value > 0:
            raise ArgumentError(
                f"AdaptiveLogSoftmaxWithLoss: div_value={div_value} is not positive",
                hint="each cluster is so many times narrower than the one before",
            )
        self.in_features, self.n_classes, self.div_value, self.head_bias = in_features, n_classes, div_value, head_bias
        self.cutoffs = [*marks, n_classes]
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **made)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            width = int(in_features // (div_value ** (i + 1)))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            narrow = Linear(in_features, width, bias=False, **made)
            self.tail.append(Sequential(narrow, Linear(width, size, bias=False, **made)))

    def reset_parameters(self) -> None:
        """Draw the first values again."""
        self.head.reset_parameters()
        for narrow, wide in self.tail:
            narrow.reset_parameters()
            wide.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> ASMoutput:
        """Log probabilities of targets, and their negative mean.

        Args:
            input: Shape ``(N, in_features)`` or ``(in_features,)``.
            target: Classes, integers of shape ``(N,)`` or ``()``.

        Raises:
            ShapeError: the shapes do not fit.
            AxisError: a class is out of range.
        """
        if target.ndim not in (0, 1) or input.ndim != target.ndim + 1 or input.shape[:-1] != target.shape:
            raise ShapeError(
                f"AdaptiveLogSoftmaxWithLoss: input of shape {tuple(input.shape)}, target of {tuple(target.shape)}",
                hint="they are (N, in_features) and (N,), or (in_features,) and ()",
            )
        self._check_target(target)
        single = target.ndim == 0
        x, at = (unsqueeze(input, 0), unsqueeze(target, 0)) if single else (input, target)
        head = F.log_softmax(self.head(x), 1)
        picked = _picked(head, at.clamp(max=self.shortlist_size - 1))
        # Every cluster is computed for all rows: which rows need it is known when it runs, not before.
        for i, cluster in enumerate(self.tail):
            low, high = self.cutoffs[i], self.cutoffs[i + 1]
            inside = _picked(F.log_softmax(cluster(x), 1), (at - low).clamp(min=0, max=high - low - 1))
            picked = where((at >= low) & (at < high), head[:, self.shortlist_size + i] + inside, picked)
        return ASMoutput(picked[0] if single else picked, -picked.mean())

    def _check_target(self, target: Tensor) -> None:
        classes = self.n_classes

        def refuse(values: Any) -> NoReturn:
            found = "out of range" if values is None else f"from {int(values.min())} to {int(values.max())}"
            raise AxisError(
                f"AdaptiveLogSoftmaxWithLoss: classes {found}",
                hint=f"target values should be in the range [0, {classes - 1}]",
            )

        check_range(target, 0, classes - 1, refuse)

    def log_prob(self, input: Tensor) -> Tensor:
        """Log probabilities of all classes: shape ``(N, in_features)`` to ``(N, n_classes)``."""
        head = F.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            share = head[:, self.shortlist_size + i]
            parts.append(F.log_softmax(cluster(input), 1) + unsqueeze(share, 1))
        return cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class: shape ``(N, in_features)`` to int64 of shape ``(N,)``."""
        return argmax(self.log_prob(input), 1)


def _picked(rows: Tensor, at: Tensor) -> Tensor:
    found: Tensor = gather(rows, 1, unsqueeze(at, 1)).squeeze(1)
    return found


class LinearCrossEntropyLoss(_Weighted):
    """A linear layer and the cross entropy of what it gives; see `tracec.nn.functional.linear_cross_entropy`.

    Args:
        in_features: Last size of the input.
        num_classes: Number of classes.
        out_features: Further sizes of the logits, behind the classes.
        bias: Whether the linear layer has a bias.
        device: Where its parameters live.
        dtype: Their element type.
        reduction: ``mean``, ``sum`` or ``none``.
        weight: Weight of each class.
        ignore_index: A class that adds nothing; -100 if None.
        label_smoothing: Share of the target that is spread over all classes.
        options: Taken as in PyTorch, with no effect.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: DType | None = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: Any = None,
    ) -> None:
        super().__init__(weight, reduction=reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ArgumentError(
                f"LinearCrossEntropyLoss: label_smoothing={label_smoothing} is not from 0 to 1", hint="use 0.1, say"
            )
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise ShapeError(
                f"LinearCrossEntropyLoss: weight has shape {tuple(weight.shape)}, not ({num_classes},)",
                hint="one for each class",
            )
        self.num_classes, self.out_features = num_classes, tuple(out_features)
        self.ignore_index, self.label_smoothing, self.options = ignore_index, label_smoothing, options
        rows = num_classes * math.prod(self.out_features)
        self.linear = Linear(in_features, rows, bias=bias, device=device, dtype=dtype)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Shape ``(N, in_features)``, and classes ``(N, *out_features)`` or probabilities."""
        shape = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape(*shape, self.linear.in_features),
            target,
            linear_bias=None if bias is None else bias.reshape(shape),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        names = ("num_classes", "out_features", "bias", "reduction", "ignore_index", "label_smoothing", "options")
        values = {n: getattr(self, n, None) for n in names} | {"bias": self.linear.bias is not None}
        return f"in_features={self.linear.in_features}, " + ", ".join(f"{n}={values[n]}" for n in names)
