"""Layer norm and RMS norm, over the trailing axes; what other norms standardise by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tracec import ops
from tracec.errors import ArgumentTypeError, ShapeError
from tracec.functions.common import cast, check_floating, check_real, check_tensor, fail
from tracec.functions.norm_arrays import layer_norm_at_once
from tracec.ir import dtype as dt
from tracec.ir.types import Shape
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.compositions import composed
from tracec.record.tensor import Tensor


@under_autocast(FLOAT32)
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise the trailing axes to zero mean and unit variance.

    Args:
        input: Shape ``(..., *normalized_shape)``, floating.
        normalized_shape: Sizes of the axes to normalise over.
        weight: Scale of each element, of shape ``normalized_shape``.
        bias: Added to each element, of shape ``normalized_shape``.
        eps: Added to the variance.

    Returns:
        A tensor of the input's shape and dtype; statistics are kept in float32 at least.

    Raises:
        ShapeError: the input does not end in ``normalized_shape``.

    Source: Ba, Kiros, Hinton, "Layer Normalization", 2016, eq. 3.
    """
    check_real("layer_norm", eps, "eps")
    axes = _trailing("layer_norm", input, normalized_shape, weight, bias)
    scales = [t for t in (weight, bias) if t is not None]
    x = cast(input, input.dtype.compute)
    return cast(_layer_norm(x, *scales, axes=axes, eps=eps, weighted=weight is not None), input.dtype)


def _layer_norm_back(
    ct: Any, out: Any, x: Any, *scales: Any, axes: Shape, eps: float, weighted: bool
) -> tuple[Any, ...]:  # fmt: skip
    """The gradients of an input that is normalised, a weight and a bias; statistics are worked out again."""
    centred, rstd = centred_and_rstd(x, axes, eps)
    standard = ops.mul(centred, rstd)
    wanted = ops.mul(ct, scales[0]) if weighted else ct
    along = ops.mul(standard, mean_over(ops.mul(wanted, standard), axes))
    lead = tuple(range(axes[0]))
    of_scales = [ops.mul(ct, standard)] * weighted + [ct] * (len(scales) - weighted)
    return (
        ops.mul(ops.sub(ops.sub(wanted, mean_over(wanted, axes)), along), rstd),
        *(ops.sum(g, axes=lead, keepdims=False) if lead else g for g in of_scales),
    )


@composed("native_layer_norm", _layer_norm_back, eager=layer_norm_at_once)
def _layer_norm(x: Any, *scales: Any, axes: Shape, eps: float, weighted: bool) -> Any:
    result = ops.mul(*centred_and_rstd(x, axes, eps))
    for weight in scales[:weighted]:
        result = ops.mul(result, weight)
    for bias in scales[weighted:]:
        result = ops.add(result, bias)
    return result


@under_autocast(FLOAT32)
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Divide the trailing axes by the root of their mean square.

    Args:
        input: Shape ``(..., *normalized_shape)``, floating or complex.
        normalized_shape: Sizes of the axes to normalise over.
        weight: Scale of each element, of shape ``normalized_shape``.
        eps: Added to the mean square, which of complex numbers is complex, too; the dtype's resolution by default.

    Returns:
        A tensor of the input's shape and dtype; statistics are kept in float32 at least.

    Raises:
        ShapeError: the input does not end in ``normalized_shape``.

    Source: Zhang, Sennrich, "Root Mean Square Layer Normalization", 2019, eq. 4.
    """
    axes = _trailing("rms_norm", input, normalized_shape, weight, None, or_complex=True)
    x = cast(input, input.dtype.compute)
    if eps is None:
        eps = 2.220446049250313e-16 if x.dtype in (dt.float64, dt.complex128) else 1.1920928955078125e-07
    square = ops.div(ops.sum(ops.mul(x, x), axes=axes, keepdims=True), math.prod(normalized_shape))
    return cast(affine(ops.mul(x, ops.rsqrt(ops.add(square, eps))), weight, None), input.dtype)


def _trailing(
    name: str, x: Tensor, shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, or_complex: bool = False
) -> Shape:  # fmt: skip
    if not (or_complex and isinstance(x, Tensor) and x.is_complex()):
        check_floating(name, x)
    if not isinstance(shape, Sequence):
        fail(ArgumentTypeError, f"{name}: normalized_shape is a {type(shape).__name__}", "give a tuple of sizes")
    wanted = tuple(shape)
    if not wanted or tuple(x.shape[-len(wanted) :]) != wanted:
        fail(ShapeError, f"{name}: input of shape {tuple(x.shape)} does not end in {wanted}", "pass its last sizes")
    for what, t in (("weight", weight), ("bias", bias)):
        if t is not None:
            check_tensor(name, t, what)
        if t is not None and tuple(t.shape) != wanted:
            fail(ShapeError, f"{name}: {what} has shape {tuple(t.shape)}, not {wanted}", "one element for each place")
    return tuple(range(x.ndim - len(wanted), x.ndim))


def mean_over(x: Any, axes: Shape) -> Any:
    """The mean over axes, which are kept with size 1; 0 of nothing."""
    return ops.div(ops.sum(x, axes=axes, keepdims=True), max(math.prod(x.shape[a] for a in axes), 1))


def centred_and_rstd(x: Any, axes: Shape, eps: float) -> tuple[Any, Any]:
    """Elements less their mean over axes, and the reciprocal of their standard deviation."""
    centred = ops.sub(x, mean_over(x, axes))
    return centred, ops.rsqrt(ops.add(mean_over(ops.mul(centred, centred), axes), eps))


def standardised(x: Tensor, axes: Shape, eps: float) -> Tensor:
    """Zero mean and unit variance over axes, in float32 at least."""
    x = cast(x, x.dtype.compute)
    return ops.mul(*centred_and_rstd(x, axes, eps))


def affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        x = ops.mul(x, weight)
    return x if bias is None else ops.add(x, bias)
