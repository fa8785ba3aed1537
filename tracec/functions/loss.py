"""Losses against classes."""

from __future__ import annotations

import math
from typing import Any, NoReturn

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, AxisError, DTypeError, ShapeError
from tracec.functions.common import check_choice, check_floating, check_tensor, fail, filled, iota, reshaped
from tracec.functions.convolution import linear
from tracec.functions.extremes import pick_along
from tracec.functions.loss_arrays import nll_loss_at_once
from tracec.functions.reduction import mean_of
from tracec.functions.softmax import log_softmax
from tracec.ir import dtype as dt
from tracec.ir.node import Node
from tracec.ir.source import warn
from tracec.ir.types import same
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.check import check_range
from tracec.record.compositions import composed
from tracec.record.tensor import Tensor

_REDUCTIONS = ("mean", "sum", "none")
#: Of so many elements one for each line is read sooner than all are gone over.
_MANY = 1 << 14


def reduced(name: str, loss: Tensor, reduction: str) -> Tensor:
    """The mean or the sum of a loss's elements, or the elements."""
    check_choice(name, "reduction", reduction, _REDUCTIONS)
    if reduction == "none":
        return loss
    axes = tuple(range(loss.ndim))
    if reduction == "sum":
        return ops.sum(loss, axes=axes)
    check_floating(name, loss, "the loss")
    return mean_of(loss, axes)


def reduction_of(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that two older arguments name, where one of them is given."""
    if size_average is None and reduce is None:
        return reduction
    for what, given in (("size_average", size_average), ("reduce", reduce)):
        if isinstance(given, str):
            # As a true value it would mean the mean, whatever it says.
            fail(ArgumentTypeError, f"{what} is {given!r}, text", f"name the argument: reduction={given!r}")
    averaged = "mean" if size_average or size_average is None else "sum"
    meant = averaged if reduce or reduce is None else "none"
    warn(
        f"size_average and reduce args will be deprecated, please use reduction='{meant}' instead.",
        UserWarning,
    )
    return meant


@under_autocast(FLOAT32)
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The cross entropy of classes given as logits.

    Args:
        input: Logits, shape ``(C,)``, ``(N, C)`` or ``(N, C, d1, ...)``, floating.
        target: Classes, integers of shape ``()``, ``(N,)`` or ``(N, d1, ...)``; or probabilities, of input's shape.
        weight: Weight of each class, shape ``(C,)``.
        size_average: Older way to say ``reduction="sum"``, by False.
        ignore_index: A class that adds nothing.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean`` (by the weights of those not ignored), ``sum`` or ``none``.
        label_smoothing: Share of the target that is spread over all classes, from 0 to 1.

    Returns:
        A scalar, or the loss of each example. A class outside of ``0 .. C - 1`` that is not ignored makes NaN.

    Raises:
        ShapeError: the shapes do not fit.
        DTypeError: classes are not integers, or logits not floating.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    check_floating("cross_entropy", input)
    check_tensor("cross_entropy", target, "target")
    check_choice("cross_entropy", "reduction", reduction, _REDUCTIONS)
    if not 0.0 <= label_smoothing <= 1.0:
        fail(ArgumentError, f"cross_entropy: label_smoothing={label_smoothing} is not from 0 to 1", "use 0.1, say")
    _check_weight("cross_entropy", input, weight)
    logp = log_softmax(input, _class_axis(input))
    if target.dtype.is_floating_point:
        if ignore_index >= 0:
            fail(
                ArgumentError, f"cross_entropy: ignore_index={ignore_index} for probabilities", "only classes have one"
            )
        return _against_probabilities(logp, target, weight, reduction, label_smoothing)
    return _against_classes("cross_entropy", logp, target, weight, ignore_index, reduction, label_smoothing)


@under_autocast(FLOAT32)
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The negative log likelihood of classes given as log probabilities.

    Args:
        input: Log probabilities, shape ``(C,)``, ``(N, C)`` or ``(N, C, d1, ...)``, floating.
        target: Classes, integers of shape ``()``, ``(N,)`` or ``(N, d1, ...)``.
        weight: Weight of each class, shape ``(C,)``.
        size_average: Older way to say ``reduction="sum"``, by False.
        ignore_index: A class that adds nothing.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean`` (by the weights of those not ignored), ``sum`` or ``none``.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    check_floating("nll_loss", input)
    check_tensor("nll_loss", target, "target")
    check_choice("nll_loss", "reduction", reduction, _REDUCTIONS)
    _check_weight("nll_loss", input, weight)
    return _against_classes("nll_loss", input, target, weight, ignore_index, reduction, 0.0)


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """The cross entropy of what a linear layer gives.

    Args:
        input: Shape ``(N, in)`` or ``(in,)``, floating.
        linear_weight: Shape ``(C, in)``, or ``(C, d1, ..., in)``.
        target: As of `cross_entropy` for logits of shape ``(N, C, d1, ...)``.
        linear_bias: Shape ``(C,)``, or ``(C, d1, ...)``.
        weight: Weight of each class, shape ``(C,)``.
        reduction: ``mean``, ``sum`` or ``none``.
        ignore_index: A class that adds nothing; -100 if None.
        label_smoothing: Share of the target that is spread over all classes, from 0 to 1.
        options: Taken as in PyTorch, where it says in which pieces to compute; here the compiler fuses what it can.

    Raises:
        ShapeError: the shapes do not fit.
    """
    check_floating("linear_cross_entropy", input)
    check_floating("linear_cross_entropy", linear_weight, "linear_weight")
    shape, rows = tuple(linear_weight.shape), tuple(input.shape)
    bias = shape[:-1] if linear_bias is None else tuple(linear_bias.shape)
    if len(rows) not in (1, 2) or len(shape) < 1 + len(rows[:1]) or rows[-1] != shape[-1] or bias != shape[:-1]:
        fail(
            ShapeError,
            f"linear_cross_entropy: input of shape {rows}, linear_weight of {shape}, linear_bias of {bias}",
            "they are (N, in), (C, ..., in) and (C, ...)",
        )
    if len(shape) > 2 and len(rows) == 1:
        fail(ShapeError, f"linear_cross_entropy: input of shape {rows} has no batch", "weights of more axes need one")
    wide = reshaped(linear_weight, (math.prod(shape[:-1]), shape[-1]))
    flat = None if linear_bias is None else reshaped(linear_bias, (wide.shape[0],))
    logits = reshaped(linear(input, wide, flat), (*rows[:-1], *shape[:-1]))
    ignored = -100 if ignore_index is None else ignore_index
    return cross_entropy(
        logits, target, weight, ignore_index=ignored, reduction=reduction, label_smoothing=label_smoothing
    )


def _class_axis(x: Tensor) -> int:
    return 0 if x.ndim == 1 else 1


def _along_classes(weight: Tensor, x: Tensor) -> Tensor:
    return weight if x.ndim <= 2 else reshaped(weight, (weight.shape[0],) + (1,) * (x.ndim - 2))


def _check_weight(name: str, x: Tensor, weight: Tensor | None) -> None:
    if not x.ndim:
        fail(ShapeError, f"{name}: input is a scalar, it has no classes", "give logits of shape (N, C)")
    classes = x.shape[_class_axis(x)]
    if weight is not None:
        check_tensor(name, weight, "weight")
    if weight is not None and tuple(weight.shape) != (classes,):
        fail(ShapeError, f"{name}: weight has shape {tuple(weight.shape)}, not ({classes},)", "one for each class")


def _against_classes(
    name: str,
    logp: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    smoothing: float,
) -> Tensor:
    axis = _class_axis(logp)
    shape = tuple(logp.shape)
    wanted = shape[:axis] + shape[axis + 1 :]
    if tuple(target.shape) != wanted:
        fail(
            ShapeError,
            f"{name}: target of shape {tuple(target.shape)} for input of shape {shape}",
            f"classes of this input have shape {wanted}",
        )
    if target.dtype.kind not in "iu":
        fail(DTypeError, f"{name}: target is {target.dtype.name}, classes are integers", "cast it with .long()")
    if weight is not None and weight.dtype is not logp.dtype:
        fail(DTypeError, f"{name}: input is {logp.dtype.name}, weight {weight.dtype.name}", "cast one of them")
    classes = shape[axis]
    _check_classes(name, target, classes, ignore_index)
    result: Tensor = _of_classes(
        logp, target, *([] if weight is None else [weight]), ignored=ignore_index, reduction=reduction,
        smoothing=smoothing,
    )  # fmt: skip
    return result


@composed("nll_loss", eager=nll_loss_at_once)
def _of_classes(logp: Any, target: Any, *weights: Any, ignored: int, reduction: str, smoothing: float) -> Any:
    """The loss of log probabilities against classes, with a weight for each class where one is given."""
    axis, shape = _class_axis(logp), tuple(logp.shape)
    weight, classes = weights[0] if weights else None, shape[axis]
    at_once = isinstance(logp, Node)  # eagerly: the classes have been checked, and all that count are known
    target = target if at_once and target.dtype is dt.int64 else ops.cast(target, dtype=dt.int64)
    at = reshaped(target, shape[:axis] + (1,) + shape[axis + 1 :])
    counts = ops.ne(at, ignored)
    known = counts if at_once else ops.bitwise_and(ops.ge(at, 0), ops.lt(at, classes))
    if weight is not None:
        logp = ops.mul(logp, _along_classes(weight, logp))
    picked = _of_their_class(logp, at, known, axis)
    if smoothing:
        spread = ops.sum(logp, axes=(axis,), keepdims=True)
        picked = ops.add(ops.mul(picked, 1.0 - smoothing), ops.mul(spread, smoothing / classes))
    loss = ops.neg(picked)
    loss = ops.where(counts, loss if at_once else ops.where(known, loss, math.nan), 0.0)
    if reduction == "none":
        return reshaped(loss, shape[:axis] + shape[axis + 1 :])
    every = tuple(range(loss.ndim))
    total = ops.sum(loss, axes=every)
    if reduction == "sum":
        return total
    if weight is None:
        share = ops.where(counts, filled(1.0, logp, ()), 0.0)
    else:
        spread_weight = _along_classes(weight, logp)
        chosen = _of_their_class(_expand_like(spread_weight, logp), at, known, axis)
        share = ops.where(counts, chosen, 0.0)
    return ops.div(total, ops.sum(share, axes=every))


def _of_their_class(x: Any, at: Any, known: Any, axis: int) -> Any:
    """The element of each line at its class, 0 where that is none; the axis of classes is kept."""
    if isinstance(x, Node) and x.type.size >= _MANY:  # at once, where nothing fuses
        at = ops.where(known, at, 0)
        places = [at if k == axis else iota(at.shape, k, dt.int64, at) for k in range(x.ndim)]
        found = ops.index(x, *places, axes=tuple(range(x.ndim)))
        return ops.where(known, ops.add(found, 0.0), 0.0)  # a sum is not -0.0
    # Summing over classes where the class is the target: a gather that fuses into the softmax before it.
    return ops.sum(pick_along(x, at, axis), axes=(axis,), keepdims=True)


def _check_classes(name: str, target: Tensor, classes: int, ignored: int) -> None:
    def refuse(values: Any) -> NoReturn:
        bad = "a class"
        if values is not None:
            bad = f"class {int(values[((values < 0) | (values >= classes)) & (values != ignored)].reshape(-1)[0])}"
        fail(
            AxisError,
            f"{name}: {bad} is out of bounds for {classes} classes",
            f"classes go from 0 to {classes - 1}; {ignored} is ignored",
        )

    check_range(target, 0, classes - 1, refuse, ignored=ignored)


def _expand_like(x: Tensor, like: Tensor) -> Tensor:
    return x if same(tuple(x.shape), tuple(like.shape)) else ops.expand(x, shape=tuple(like.shape))


def _against_probabilities(
    logp: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float
) -> Tensor:
    axis = _class_axis(logp)
    if tuple(target.shape) != tuple(logp.shape):
        fail(
            ShapeError,
            f"cross_entropy: target of shape {tuple(target.shape)} for input of shape {tuple(logp.shape)}",
            "probabilities have the input's shape; classes are integers",
        )
    if smoothing:
        target = ops.add(ops.mul(target, 1.0 - smoothing), smoothing / logp.shape[axis])
    if weight is not None:
        logp = ops.mul(logp, _along_classes(weight, logp))
    loss = ops.neg(ops.sum(ops.mul(logp, target), axes=(axis,)))
    if reduction == "none":
        return loss
    total = ops.sum(loss, axes=tuple(range(loss.ndim)))
    return total if reduction == "sum" else ops.div(total, loss.numel())


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """A new last axis with 1 at the element's class and 0 elsewhere, int64.

    Args:
        tensor: Classes, integers.
        num_classes: How many there are; by default one more than the largest, which is asked of the values.

    Returns:
        int64, shape ``(*tensor.shape, num_classes)``.

    Raises:
        DTypeError: classes are not integers.
        ArgumentError: a class is not from 0 up to ``num_classes``.
    """
    check_tensor("one_hot", tensor)
    if tensor.dtype.kind not in "iu":
        fail(DTypeError, f"one_hot: takes integers, {tensor.dtype.name} given", "cast it with .long()")
    if num_classes < 0:
        num_classes = int(ops.max(tensor, axes=tuple(range(tensor.ndim)))) + 1 if tensor.numel() else 0

    def refuse(values: Any) -> NoReturn:
        found = "" if values is None else f" from {int(values.min())} to {int(values.max())}"
        fail(ArgumentError, f"one_hot: classes{found} for num_classes={num_classes}", "classes count from 0")

    check_range(tensor, 0, num_classes - 1, refuse)
    shape = (*tuple(tensor.shape), num_classes)
    here = ops.eq(iota(shape, tensor.ndim, dt.int64, tensor), reshaped(tensor, (*shape[:-1], 1)))
    return ops.cast(here, dtype=dt.int64)
