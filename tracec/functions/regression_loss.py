"""Losses of two tensors that are compared element by element."""

from __future__ import annotations

import math
from typing import Any, NoReturn

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.functions.common import check_floating, check_real, check_tensor, fail, filled, reshaped
from tracec.functions.loss import reduced, reduction_of
from tracec.ir.source import warn
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.check import check_none
from tracec.record.tensor import Tensor

#: Below this, the product of the probabilities of two classes does not count further.
_CERTAIN = 1e-12


@under_autocast(FLOAT32)
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """``(input - target)²``.

    Args:
        input: Floating.
        target: Of input's shape; a shape that only broadcasts gives a warning.
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
        weight: Weight of each element, of input's shape; the mean is by the weights.
    """
    off = _difference("mse_loss", input, target)
    check_floating("mse_loss", off)
    reduction = reduction_of(size_average, reduce, reduction)
    return _weighted("mse_loss", ops.mul(off, off), input, weight, reduction)


@under_autocast(FLOAT32)
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """``|input - target|``.

    Args:
        input: Any tensor.
        target: Of input's shape; a shape that only broadcasts gives a warning.
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
        weight: Weight of each element, of input's shape; the mean is by the weights.
    """
    off = ops.abs(_difference("l1_loss", input, target))
    return _weighted("l1_loss", off, input, weight, reduction_of(size_average, reduce, reduction))


@under_autocast(FLOAT32)
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """``0.5 d² / beta`` where d = |input - target| is below beta, else ``d - 0.5 beta``; see `mse_loss`.

    Args:
        input: Floating.
        target: Of input's shape; a shape that only broadcasts gives a warning.
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
        beta: Where the square ends, not negative.

    Raises:
        ArgumentError: ``beta`` is negative.
    """
    if beta < 0:
        fail(ArgumentError, f"smooth_l1_loss: beta={beta} is negative", "give 0 or more")
    reduction = reduction_of(size_average, reduce, reduction)
    off = ops.abs(_difference("smooth_l1_loss", input, target))
    check_floating("smooth_l1_loss", off)
    if beta == 0:
        return reduced("smooth_l1_loss", off, reduction)
    near = ops.mul(ops.mul(off, off), 0.5 / beta)
    return reduced("smooth_l1_loss", ops.where(ops.lt(off, beta), near, ops.sub(off, 0.5 * beta)), reduction)


@under_autocast(FLOAT32)
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """``0.5 d²`` where d = |input - target| is at most delta, else ``delta (d - 0.5 delta)``.

    Args:
        input: Floating.
        target: Of input's shape; a shape that only broadcasts gives a warning.
        reduction: ``mean`` (by the count, also where there are weights), ``sum`` or ``none``.
        delta: Where the parabola ends, positive.
        weight: Weight of each element, of input's shape.

    Raises:
        ArgumentError: ``delta`` is not positive.
    """
    check_real("huber_loss", delta, "delta")
    if delta <= 0:
        fail(ArgumentError, f"huber_loss: delta={delta} is not positive", "give more than 0")
    off = ops.abs(_difference("huber_loss", input, target))
    check_floating("huber_loss", off)
    far = ops.mul(ops.sub(off, 0.5 * delta), delta)
    loss = ops.where(ops.le(off, delta), ops.mul(ops.mul(off, off), 0.5), far)
    if weight is not None:
        _check_weight("huber_loss", input, weight)
        loss = ops.mul(loss, weight)
    return reduced("huber_loss", loss, reduction)


def _weighted(name: str, loss: Tensor, input: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if weight is None:
        return reduced(name, loss, reduction)
    _check_weight(name, input, weight)
    if reduction != "mean":
        return reduced(name, ops.mul(loss, weight), reduction)
    return ops.div(reduced(name, ops.mul(loss, weight), "sum"), reduced(name, weight, "sum"))


def _check_weight(name: str, input: Tensor, weight: Tensor) -> None:
    check_tensor(name, weight, "weight")
    if tuple(weight.shape) != tuple(input.shape):
        fail(
            ShapeError,
            f"{name}: weight of shape {tuple(weight.shape)} for input of shape {tuple(input.shape)}",
            "the shapes must be the same",
        )


def _difference(name: str, input: Tensor, target: Tensor) -> Tensor:
    check_tensor(name, input)
    check_tensor(name, target, "target")
    if tuple(input.shape) != tuple(target.shape):
        # Nearly always a mistake: (N, 1) against (N,) gives N × N differences.
        warn(
            f"{name}: using a target of shape {tuple(target.shape)} for an input of shape {tuple(input.shape)}: they "
            "broadcast, which is likely not what is meant. Reshape one of them.",
            UserWarning,
        )
    return ops.sub(input, target)


def _check_same(name: str, input: Tensor, target: Tensor) -> None:
    check_floating(name, input)
    check_tensor(name, target, "target")
    if tuple(input.shape) != tuple(target.shape):
        fail(
            ShapeError,
            f"{name}: target of shape {tuple(target.shape)} for input of shape {tuple(input.shape)}",
            "the shapes must be the same",
        )


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The cross entropy of two classes given as probabilities; logarithms are not taken below -100.

    Args:
        input: Probabilities, floating.
        target: Probabilities, of input's shape and dtype.
        weight: Weight of each element; broadcasts.
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.

    Raises:
        ShapeError: the shapes differ.
        DTypeError: the dtypes differ.
        ArgumentError: the input is not from 0 to 1.
    """
    name = "binary_cross_entropy"
    reduction = reduction_of(size_average, reduce, reduction)
    _check_same(name, input, target)
    if target.dtype is not input.dtype:
        fail(
            DTypeError,
            f"{name}: target is {target.dtype.name}, input is {input.dtype.name}",
            f"cast the target with .to(tracec.{input.dtype.name})",
        )
    _check_probabilities(name, input)
    # Where a class is certain the logarithm has no slope that a number could hold: there the loss has the slope
    # (input - target) / 1e-12, and no gradient passes through the logarithm.
    certain = ops.lt(ops.mul(input, ops.sub(1.0, input)), _CERTAIN)
    at = input.detach()
    fixed = ops.neg(_mixed(target, ops.maximum(ops.log(at), -100.0), ops.maximum(ops.log1p(ops.neg(at)), -100.0)))
    slope = ops.mul(ops.sub(at, target.detach()), 1.0 / _CERTAIN)
    x = ops.where(certain, 0.5, input)
    free = ops.neg(_mixed(target, ops.log(x), ops.log1p(ops.neg(x))))
    loss = ops.where(certain, ops.add(fixed, ops.mul(ops.sub(input, at), slope)), free)
    return reduced(name, loss if weight is None else ops.mul(loss, weight), reduction)


def _check_probabilities(name: str, input: Tensor) -> None:
    def refuse(_: Any) -> NoReturn:
        fail(
            ArgumentError,
            f"{name}: all elements of input should be between 0 and 1",
            "give probabilities: a sigmoid's, say, or use binary_cross_entropy_with_logits",
        )

    inside = ops.bitwise_and(ops.ge(input.detach(), 0.0), ops.le(input.detach(), 1.0))
    check_none(ops.logical_not(inside), refuse)


def _mixed(share: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return ops.add(ops.mul(share, yes), ops.mul(ops.sub(1.0, share), no))


@under_autocast(FLOAT32)
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """The cross entropy of two classes given as logits, without overflow.

    Args:
        input: Logits, floating.
        target: Probabilities, of input's shape.
        weight: Weight of each element; broadcasts.
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
        pos_weight: Weight of the positive class; broadcasts.
    """
    name = "binary_cross_entropy_with_logits"
    reduction = reduction_of(size_average, reduce, reduction)
    _check_same(name, input, target)
    tail = ops.add(ops.log1p(ops.exp(ops.neg(ops.abs(input)))), ops.maximum(ops.neg(input), 0.0))
    if pos_weight is not None:
        tail = ops.mul(tail, ops.add(ops.mul(ops.sub(pos_weight, 1.0), target), 1.0))
    loss = ops.add(ops.mul(ops.sub(1.0, target), input), tail)
    return reduced(name, loss if weight is None else ops.mul(loss, weight), reduction)


@under_autocast(FLOAT32)
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """The Kullback-Leibler divergence of log probabilities from a target.

    Args:
        input: Log probabilities, floating.
        target: Probabilities; broadcasts with the input.
        size_average: Older way to say ``reduction="sum"``, by False.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``batchmean`` (the sum divided by axis 0 alone, which is the divergence), ``mean``, ``sum`` or
            ``none``.
        log_target: Whether the target is log probabilities too.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    check_floating("kl_div", input)
    check_floating("kl_div", target, "target")
    if log_target:
        loss = ops.mul(ops.exp(target), ops.sub(target, input))
    else:
        logs = ops.log(ops.where(ops.eq(target, 0), 1.0, target))  # of a negative one NaN, which a mistake looks like
        loss = ops.mul(target, ops.sub(logs, input))
    if reduction == "batchmean":
        total = reduced("kl_div", loss, "sum")
        return ops.div(total, input.shape[0]) if input.ndim else total
    return reduced("kl_div", loss, reduction)


@under_autocast(FLOAT32)
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The negative log likelihood of counts under Poisson distributions.

    Args:
        input: Rates or, by ``log_input``, their logarithms.
        target: Counts.
        log_input: Whether the input is logarithms.
        full: Add Stirling's approximation of ``log(target!)``.
        size_average: Older way to say ``reduction="sum"``, by False.
        eps: Added to rates before their logarithm is taken.
        reduce: Older way to say ``reduction="none"``, by False.
        reduction: ``mean``, ``sum`` or ``none``.
    """
    name = "poisson_nll_loss"
    reduction = reduction_of(size_average, reduce, reduction)
    check_tensor(name, input)
    check_tensor(name, target, "target")
    if log_input:
        loss = ops.sub(ops.exp(input), ops.mul(target, input))
    else:
        loss = ops.sub(input, ops.mul(target, ops.log(ops.add(input, eps))))
    if full:
        many = ops.gt(target, 1)
        n = ops.where(many, target, 1)
        stirling = ops.add(ops.sub(ops.mul(n, ops.log(n)), n), ops.mul(ops.log(ops.mul(n, 2.0 * math.pi)), 0.5))
        loss = ops.add(loss, ops.where(many, stirling, 0.0))
    return reduced(name, loss, reduction)


@under_autocast(FLOAT32)
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """The negative log likelihood of targets under normal distributions.

    Args:
        input: Means, floating.
        target: Of input's shape, or one that broadcasts.
        var: Variances of input's shape, with the last axis left out, or with one axis of size 1; or one number.
        full: Add the constant ``0.5 log(2 pi)``.
        eps: Least variance; gradients pass as if there were none.
        reduction: ``mean``, ``sum`` or ``none``.

    Raises:
        ShapeError: the variances have another shape.
        ArgumentError: a variance is negative.

    Source: Nix, Weigend, "Estimating the mean and variance of the target probability distribution", 1994.
    """
    name = "gaussian_nll_loss"
    check_floating(name, input)
    check_tensor(name, target, "target")
    spread = _variances(name, input, var)
    # The bound is a constant added to the variance, so that its gradient stays.
    spread = ops.add(spread, ops.sub(ops.maximum(spread.detach(), eps), spread.detach()))
    off = ops.sub(input, target)
    loss = ops.mul(ops.add(ops.log(spread), ops.div(ops.mul(off, off), spread)), 0.5)
    return reduced(name, ops.add(loss, 0.5 * math.log(2 * math.pi)) if full else loss, reduction)


def _variances(name: str, input: Tensor, var: Tensor | float) -> Tensor:
    def refuse(_: Any) -> NoReturn:
        fail(ArgumentError, f"{name}: var has negative entries", "a variance is 0 or more")

    if not isinstance(var, Tensor):
        check_real(name, var, "var")
        if var < 0:
            fail(ArgumentError, f"{name}: var={var} is negative", "a variance is 0 or more")
        return filled(float(var), input)
    check_none(ops.lt(var, 0), refuse)
    own, shape = tuple(var.shape), tuple(input.shape)
    if own == shape:
        return var
    if own == shape[:-1]:
        return reshaped(var, (*own, 1))
    if len(own) != len(shape) or sum(a != b for a, b in zip(own, shape, strict=True)) != 1 or 1 not in own:
        fail(
            ShapeError,
            f"{name}: var has shape {own}, input {shape}",
            "it has input's shape, or leaves the last axis out, or has one axis of size 1",
        )
    return var
