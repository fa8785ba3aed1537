"""Dropouts: in training, elements or whole channels zeroed at random."""

from __future__ import annotations

import math

from tracec import ops
from tracec.errors import ShapeError
from tracec.functions.activation import placed
from tracec.functions.common import check_floating, check_probability, check_tensor, fail
from tracec.functions.random_draws import bernoulli_bits
from tracec.ir.source import warn
from tracec.ir.types import Shape
from tracec.record.tensor import Tensor

#: What `selu` tends to for large negative numbers, negated.
_SATURATION = 1.7580993408473766


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element zeroed with probability p, the others divided by 1 - p; nothing where not training.

    Args:
        input: Floating.
        p: The probability, from 0 to 1.
        training: Whether anything is dropped.
        inplace: Write the result into the input.

    Returns:
        A tensor of the input's shape.

    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout", 2014.
    """
    check_tensor("dropout", input)
    return _dropped("dropout", input, p, training, tuple(input.shape), inplace)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of ``(N, C, L)`` or ``(C, L)``.

    Raises:
        ShapeError: the input has neither two axes nor three.
    """
    check_tensor("dropout1d", input)
    if input.ndim not in (2, 3):
        fail(ShapeError, f"dropout1d: input of shape {tuple(input.shape)}", "it is (N, C, L) or (C, L)")
    return _dropped("dropout1d", input, p, training, (*input.shape[:-1], 1), inplace)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels (axis 1) of ``(N, C, H, W)``; three axes are taken to be ``(N, C, L)``."""
    check_tensor("dropout2d", input)
    if input.ndim not in (3, 4):
        warn(f"dropout2d: input has {input.ndim} axes, not (N, C, H, W)", UserWarning)
    return _dropped("dropout2d", input, p, training, _channels("dropout2d", input), inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout` of whole channels of ``(N, C, D, H, W)`` or ``(C, D, H, W)``."""
    check_tensor("dropout3d", input)
    if input.ndim not in (4, 5):
        warn(f"dropout3d: input has {input.ndim} axes, not (N, C, D, H, W)", UserWarning)
    shape = (input.shape[0], 1, 1, 1) if input.ndim == 4 else _channels("dropout3d", input)
    return _dropped("dropout3d", input, p, training, shape, inplace)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout for `selu`: dropped elements take the value that it saturates at; mean and variance are kept.

    Source: Klambauer, Unterthiner, Mayr, Hochreiter, "Self-Normalizing Neural Networks", 2017.
    """
    check_tensor("alpha_dropout", input)
    return _saturated("alpha_dropout", input, p, training, tuple(input.shape), inplace)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels (axis 1)."""
    check_tensor("feature_alpha_dropout", input)
    shape = _channels("feature_alpha_dropout", input) if training and p else tuple(input.shape)
    return _saturated("feature_alpha_dropout", input, p, training, shape, inplace)


def _kept(name: str, x: Tensor, p: float, training: bool, shape: Shape) -> Tensor | None:
    """Which elements dropout keeps, of a shape that broadcasts to that of ``x``; None where it keeps all."""
    check_probability(name, p)
    if not training or p == 0.0:
        return None
    check_floating(name, x)
    return bernoulli_bits(name, 1.0 - p, shape, None, x.device)


def _channels(name: str, x: Tensor) -> Shape:
    if x.ndim < 2:
        fail(ShapeError, f"{name}: input of shape {tuple(x.shape)} has no channels", "it needs 2 axes or more")
    return (*x.shape[:2], *(1,) * (x.ndim - 2))


def _dropped(name: str, x: Tensor, p: float, training: bool, shape: Shape, inplace: bool) -> Tensor:
    kept = _kept(name, x, p, training, shape)
    if kept is None:
        return x
    result = ops.mul(x, 0.0) if p == 1.0 else ops.where(kept, ops.mul(x, 1.0 / (1.0 - p)), 0.0)
    return placed(x, result, inplace, name)


def _saturated(name: str, x: Tensor, p: float, training: bool, shape: Shape, inplace: bool) -> Tensor:
    kept = _kept(name, x, p, training, shape)
    if kept is None:
        return x
    if p == 1.0:
        return placed(x, ops.mul(x, 0.0), inplace, name)
    scale = 1.0 / math.sqrt((1.0 - p) * (1.0 + p * _SATURATION**2))
    result = ops.add(ops.mul(ops.where(kept, x, -_SATURATION), scale), scale * p * _SATURATION)
    return placed(x, result, inplace, name)
