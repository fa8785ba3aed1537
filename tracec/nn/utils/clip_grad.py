"""Gradients kept within bounds, in place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.functions import abs, amax, amin, clamp, isfinite, pow, sqrt, stack, sum, tensor
from tracec.functions.common import cast, squares
from tracec.ir.number import converted
from tracec.ir.source import warn
from tracec.record.compositions import FusedUpdate
from tracec.record.misfits import telling
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


def _length(*tensors: Any) -> tuple[Any]:
    squared = [ops.sum(ops.mul(t, t), axes=tuple(range(t.ndim)), keepdims=False) for t in tensors]
    each = ops.concatenate(*(ops.reshape(s, shape=(1,)) for s in squared), axis=0)
    return (ops.sqrt(ops.sum(each, axes=(0,), keepdims=False)),)


#: What the functions below do to tensors one by one, at once.
_LENGTH, _SCALE = FusedUpdate(_length), FusedUpdate(lambda g, scale: (ops.mul(g, scale),))


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of tensors, as of one vector of all their elements.

    Args:
        tensors: Floating or complex tensors of one device; one or several.
        norm_type: The p of the p-norm; ``inf`` for the largest absolute value.
        error_if_nonfinite: Whether a norm that is infinite or NaN is an error.
        foreach: Taken as in PyTorch, with no effect.

    Returns:
        The norm, shape ``()``.

    Raises:
        ArgumentError: the norm is not finite and that is an error.
    """
    given = [t.detach() for t in ([tensors] if isinstance(tensors, Tensor) else tensors)]
    p = float(norm_type)
    if not given:
        return tensor(0.0)
    found = [cast(t, t.dtype.compute) for t in given]  # squares of 16-bit floats may be more than these hold
    if p == math.inf:
        total = amax(stack([amax(abs(t)) for t in found if t.numel()] or [tensor(0.0)]))
    elif p == -math.inf:
        total = amin(stack([amin(abs(t)) for t in found if t.numel()] or [tensor(0.0)]))
    elif p == 2.0:
        at_once = _LENGTH.values(found)
        total = sqrt(sum(stack([sum(squares(t)) for t in found]))) if at_once is None else at_once[0]
    elif p == 1.0:
        total = sum(stack([sum(abs(t)) for t in found]))
    else:
        total = pow(sum(stack([sum(pow(abs(t), p)) for t in found])), 1.0 / p)
    if all(t.dtype is given[0].dtype for t in given):
        total = cast(total, given[0].dtype.to_real())
    if error_if_nonfinite and not bool(isfinite(total)):
        raise ArgumentError(
            f"get_total_norm: the norm of order {p:g} is {total.item()}", hint="error_if_nonfinite=False lets it pass"
        )
    return total


@telling
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale gradients so that their norm, taken over all of them together, is at most ``max_norm``.

    Args:
        parameters: Tensors whose ``grad`` is scaled in place; those without one are skipped.
        max_norm: The largest norm.
        norm_type: The p of the p-norm; ``inf`` for the largest absolute value.
        error_if_nonfinite: Whether a norm that is infinite or NaN is an error.
        foreach: Taken as in PyTorch, with no effect.

    Returns:
        The norm before scaling, shape ``()``.

    Raises:
        ArgumentError: the norm is not finite and that is an error.

    Source: Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", 2012, algorithm 1.
    """
    grads = _gradients(parameters)
    with no_grad():
        total = get_total_norm(grads, norm_type, error_if_nonfinite)
        _scale(grads, max_norm, total)
    return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale gradients as `clip_grad_norm_` does, by a norm that is known.

    Args:
        parameters: Tensors whose ``grad`` is scaled in place; those without one are skipped.
        max_norm: The largest norm.
        total_norm: The norm that they have.
        foreach: Taken as in PyTorch, with no effect.
    """
    with no_grad():
        _scale(_gradients(parameters), max_norm, total_norm)


def _scale(grads: list[Tensor], max_norm: float, total: Tensor) -> None:
    # A little below 1 at the bound, as in PyTorch; never a question to the norm's value, so that it compiles.
    scale = clamp(converted(float, max_norm) / (total + 1e-6), max=1.0)
    if not _SCALE.write([((g,), (scale,)) for g in grads]):
        for g in grads:
            g.copy_(g * scale)


@telling
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Keep each element of the gradients from ``-clip_value`` to ``clip_value``.

    Args:
        parameters: Tensors whose ``grad`` is changed in place; those without one are skipped.
        clip_value: The largest absolute value.
        foreach: Taken as in PyTorch, with no effect.
    """
    bound = converted(float, clip_value)
    with no_grad():
        for g in _gradients(parameters):
            g.copy_(clamp(g, min=-bound, max=bound))


def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """`clip_grad_norm_`, by its older name."""
    warn("nn.utils.clip_grad_norm is now deprecated in favor of nn.utils.clip_grad_norm_.", FutureWarning)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    if not isinstance(given, Iterable):
        raise ArgumentTypeError(
            f"clip_grad: {type(given).__name__} holds no parameters", hint="give model.parameters(), or one tensor"
        )
    return [g for g in (p.grad for p in given) if g is not None]
