"""Losses that ask scores or distances to keep a margin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from tracec import ops
from tracec.errors import ArgumentError, AxisError, DTypeError, ShapeError
from tracec.functions.activation import logsigmoid
from tracec.functions.common import check_floating, check_real, check_tensor, fail, iota, out_of, reshaped
from tracec.functions.extremes import pick_along
from tracec.functions.loss import reduced, reduction_of
from tracec.functions.norms import pairwise_distance
from tracec.functions.reduction import mean_of
from tracec.ir import dtype as dt
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.check import check_range
from tracec.record.tensor import Tensor


def _positive(x: Tensor) -> Tensor:
    """``max(x, 0)`` with the gradient 1 at 0."""
    return ops.where(ops.lt(x, 0.0), 0.0, x)


def _check_tensors(name: str, **given: Tensor) -> None:
    for what, x in given.items():
        check_tensor(name, x, what)


@under_autocast(FLOAT32)
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The input where the target is 1, ``max(0, margin - input)`` where it is -1.

    Args:
        input: Distances, floating.
        target: 1 and -1; broadcasts with the input.
        margin: What distances of different things are to have at least.
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
    """
    name = "hinge_embedding_loss"
    check_floating(name, input)
    check_tensor(name, target, "target")
    apart = ops.where(ops.ne(target, 1), _positive(ops.sub(margin, input)), 0.0)
    together = ops.where(ops.ne(target, -1), input, 0.0)
    return reduced(name, ops.add(apart, together), reduction_of(size_average, reduce, reduction))


@under_autocast(FLOAT32)
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``1 - cos`` of two vectors where the target is 1, ``max(0, cos - margin)`` where it is -1.

    Args:
        input1: Vectors, shape ``(N, D)`` or ``(D,)``, floating.
        input2: Likewise.
        target: 1 and -1, shape ``(N,)`` or ``()``.
        margin: The largest cosine that different things may have for nothing.
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.

    Raises:
        ShapeError: the shapes do not fit.
    """
    name = "cosine_embedding_loss"
    _check_tensors(name, input1=input1, input2=input2, target=target)
    if target.ndim not in (0, 1) or input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1:
        shapes = f"{tuple(input1.shape)}, {tuple(input2.shape)} and {tuple(target.shape)}"
        fail(ShapeError, f"{name}: input1, input2 and target have shapes {shapes}", "they are (N, D), (N, D) and (N,)")
    axes = (input1.ndim - 1,)
    squares = [ops.add(ops.sum(ops.mul(x, x), axes=axes), 1e-12) for x in (input1, input2)]
    cosine = ops.div(ops.sum(ops.mul(input1, input2), axes=axes), ops.sqrt(ops.mul(*squares)))
    together = ops.where(ops.eq(target, 1), ops.sub(1.0, cosine), 0.0)
    apart = ops.where(ops.eq(target, -1), _positive(ops.sub(cosine, margin)), 0.0)
    return reduced(name, ops.add(together, apart), reduction_of(size_average, reduce, reduction))


@under_autocast(FLOAT32)
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``max(0, margin - target * (input1 - input2))``: where the target is 1, the first is to be the larger one.

    Raises:
        ShapeError: the tensors have different numbers of axes.
    """
    name = "margin_ranking_loss"
    _check_tensors(name, input1=input1, input2=input2, target=target)
    if not input1.ndim == input2.ndim == target.ndim:
        shapes = f"{tuple(input1.shape)}, {tuple(input2.shape)} and {tuple(target.shape)}"
        fail(ShapeError, f"{name}: input1, input2 and target have shapes {shapes}", "give them equally many axes")
    short = ops.sub(margin, ops.mul(target, ops.sub(input1, input2)))
    return reduced(name, _positive(short), reduction_of(size_average, reduce, reduction))


@under_autocast(FLOAT32)
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``log(1 + exp(-target * input))`` for targets of 1 and -1, without overflow."""
    check_floating("soft_margin_loss", input)
    check_tensor("soft_margin_loss", target, "target")
    loss = ops.neg(logsigmoid(ops.mul(target, input)))
    return reduced("soft_margin_loss", loss, reduction_of(size_average, reduce, reduction))


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The cross entropy of each class taken alone, averaged over the classes.

    Args:
        input: Logits, shape ``(..., C)``, floating.
        target: 1 for the classes that apply and 0 for the others, of input's shape.
        weight: Weight of each class, shape ``(C,)``.
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.

    Raises:
        ShapeError: the input has no classes.
    """
    name = "multilabel_soft_margin_loss"
    check_floating(name, input)
    check_tensor(name, target, "target")
    if not input.ndim:
        fail(ShapeError, f"{name}: input is a scalar, it has no classes", "give logits of shape (N, C)")
    yes = ops.mul(target, logsigmoid(input))
    no = ops.mul(ops.sub(1.0, target), logsigmoid(ops.neg(input)))
    loss = ops.neg(ops.add(yes, no))
    if weight is not None:
        loss = ops.mul(loss, weight)
    return reduced(name, mean_of(loss, (loss.ndim - 1,)), reduction_of(size_average, reduce, reduction))


@under_autocast(FLOAT32)
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """How far each other class comes within a margin of the right one, summed and divided by the number of classes.

    Args:
        input: Scores, shape ``(N, C)`` or ``(C,)``, floating.
        target: Classes, integers of shape ``(N,)`` or ``()``.
        p: 1, or 2 for squares.
        margin: By how much the right class is to be ahead.
        weight: Weight of each class, shape ``(C,)``.
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.

    Raises:
        ShapeError: the shapes do not fit.
        ArgumentError: p is neither 1 nor 2.
        AxisError: a class is out of bounds.
    """
    name = "multi_margin_loss"
    check_floating(name, input)
    _check_integers(name, target)
    if p not in (1, 2):
        fail(ArgumentError, f"{name}: p={p}", "only p == 1 and p == 2 are supported")
    rows = input.shape[0] if input.ndim == 2 else 1
    classes = input.shape[-1] if input.ndim else 1
    if input.ndim > 2 or target.numel() != rows or target.ndim > 1 or not classes:
        shapes = f"target of shape {tuple(target.shape)} for input of shape {tuple(input.shape)}"
        fail(ShapeError, f"{name}: {shapes}", "the input is (N, C) or (C,), the target (N,) or ()")
    if weight is not None and tuple(weight.shape) != (classes,):
        fail(ShapeError, f"{name}: weight has shape {tuple(weight.shape)}, not ({classes},)", "one for each class")
    _check_range(name, target, 0, classes)
    x = reshaped(input, (rows, classes))
    at = reshaped(ops.cast(target, dtype=dt.int64), (rows, 1))
    right = ops.sum(pick_along(x, at, 1), axes=(1,), keepdims=True)
    short = _positive(ops.add(ops.sub(margin, right), x))
    if p == 2:
        short = ops.mul(short, short)
    if weight is not None:
        table = ops.expand(reshaped(weight, (1, classes)), shape=(rows, classes))
        short = ops.mul(short, ops.sum(pick_along(table, at, 1), axes=(1,), keepdims=True))
    others = ops.ne(iota((rows, classes), 1, dt.int64, x), at)
    loss = mean_of(ops.where(others, short, 0.0), (1,))
    return reduced(name, reshaped(loss, tuple(target.shape)), reduction_of(size_average, reduce, reduction))


@under_autocast(FLOAT32)
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """How far each class that does not apply comes within 1 of each that does, summed and divided by their number.

    Args:
        input: Scores, shape ``(N, C)`` or ``(C,)``, floating.
        target: The classes that apply, before the first -1 of each row; integers of input's shape.
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.

    Raises:
        ShapeError: the shapes do not fit.
        AxisError: a class is out of bounds.
    """
    name = "multilabel_margin_loss"
    check_floating(name, input)
    _check_integers(name, target)
    if input.ndim > 2 or tuple(target.shape) != tuple(input.shape):
        shapes = f"target of shape {tuple(target.shape)} for input of shape {tuple(input.shape)}"
        fail(ShapeError, f"{name}: {shapes}", "both are (N, C) or (C,)")
    classes = input.shape[-1] if input.ndim else 1
    rows = input.shape[0] if input.ndim == 2 else 1
    _check_range(name, target, -1, classes)
    x, labels = reshaped(input, (rows, classes)), reshaped(ops.cast(target, dtype=dt.int64), (rows, classes))
    ended = ops.gt(ops.cumsum(ops.cast(ops.lt(labels, 0), dtype=dt.int64), axis=1), 0)
    labels = reshaped(ops.where(ended, -1, labels), (rows, classes, 1))
    hit = ops.eq(iota((rows, classes, classes), 2, dt.int64, x), labels)
    applies = ops.gt(ops.sum(ops.cast(hit, dtype=dt.int64), axes=(1,), keepdims=True), 0)
    every = reshaped(x, (rows, 1, classes))
    right = ops.sum(ops.where(hit, every, 0.0), axes=(2,), keepdims=True)
    short = _positive(ops.add(ops.sub(1.0, right), every))
    counts = ops.bitwise_and(ops.ge(labels, 0), ops.logical_not(applies))
    loss = ops.div(ops.sum(ops.where(counts, short, 0.0), axes=(1, 2)), max(classes, 1))
    shape = (rows,) if input.ndim == 2 else ()
    return reduced(name, reshaped(loss, shape), reduction_of(size_average, reduce, reduction))


def _check_integers(name: str, target: Tensor) -> None:
    check_tensor(name, target, "target")
    if target.dtype.kind not in "iu":
        fail(DTypeError, f"{name}: target is {target.dtype.name}, classes are integers", "cast it with .long()")


def _check_range(name: str, target: Tensor, least: int, classes: int) -> None:
    def refuse(values: Any) -> NoReturn:
        fail(
            AxisError,
            f"{name}: {out_of(values, least, 'a class', 'class')} is out of bounds for {classes} classes",
            f"classes go from 0 to {classes - 1}" + ("" if least == 0 else "; -1 ends the list"),
        )

    check_range(target, least, classes - 1, refuse)


@under_autocast(FLOAT32)
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``max(0, margin + |anchor - positive| - |anchor - negative|)``.

    Args:
        anchor: Vectors, shape ``(N, D)`` or ``(D,)``, floating.
        positive: What is to lie near it.
        negative: What is to lie farther away.
        margin: By how much farther, positive.
        p: The p of the norm.
        eps: Added to differences.
        swap: Take the distance from positive to negative where that is smaller.
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.

    Raises:
        ArgumentError: the margin is not positive.
        ShapeError: the tensors have different numbers of axes.

    Source: Balntas, Riba, Ponsa, Mikolajczyk, "Learning shallow convolutional feature descriptors with triplet
    losses", 2016.
    """

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return pairwise_distance(a, b, p, eps)

    reduction = reduction_of(size_average, reduce, reduction)
    return _triplet("triplet_margin_loss", anchor, positive, negative, distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with a distance of one's own; the Euclidean one where none is given."""
    name = "triplet_margin_with_distance_loss"
    return _triplet(name, anchor, positive, negative, distance_function or pairwise_distance, margin, swap, reduction)


def _triplet(
    name: str,
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor],
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    _check_tensors(name, anchor=anchor, positive=positive, negative=negative)
    check_real(name, margin, "margin")
    if margin <= 0:
        fail(ArgumentError, f"{name}: margin must be greater than 0, got {margin}", "give a positive number")
    if not anchor.ndim == positive.ndim == negative.ndim:
        shapes = f"{tuple(anchor.shape)}, {tuple(positive.shape)} and {tuple(negative.shape)}"
        fail(ShapeError, f"{name}: anchor, positive and negative have shapes {shapes}", "give equally many axes")
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = ops.minimum(far, distance(positive, negative))
    return reduced(name, _positive(ops.sub(ops.add(near, margin), far)), reduction)
