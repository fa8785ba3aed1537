"""Looks at memory: elements at strides, and bits as another element type."""

from __future__ import annotations

from typing import Any

from tracec.errors import DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.dtype import DType
from tracec.ir.lower import HostCall, Index, LoadElement
from tracec.ir.operator import Arg, Operator, Sample, not_differentiable
from tracec.ir.scalar import Const, Expr
from tracec.ir.types import Shape, TensorType, numel
from tracec.ops.base import primitive
from tracec.ops.core import full
from tracec.ops.families import view
from tracec.ops.indexing import index_put, iota
from tracec.ops.view import reshape

# Elements at strides ----------------------------------------------------------------------------------


def _strided_type(x: TensorType, *, shape: Shape, strides: Shape, offset: int = 0) -> TensorType:
    if len(shape) != len(strides):
        raise ShapeError(
            f"shape {tuple(shape)} and strides {tuple(strides)} differ in length", hint="give one for each"
        )
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if offset < 0 or any(s < 0 for s in (*shape, *strides)) or (numel(shape) and last >= x.size):
        raise ShapeError(
            f"shape {tuple(shape)} with strides {tuple(strides)} from {offset} on leaves {x.size} elements",
            hint="stay inside of the memory; sizes and strides are 0 or more",
        )
    return x.with_shape(tuple(shape))


def _strided_eager(xp: Any, x: Any, *, shape: Shape, strides: Shape, offset: int) -> Any:
    flat = x.reshape(-1)[offset:]
    return xp.lib.stride_tricks.as_strided(flat, shape, tuple(s * x.itemsize for s in strides))


def _strided_element(
    load: LoadElement,
    index: Index,
    out: TensorType,
    types: tuple[TensorType, ...],
    *,
    strides: Shape,
    offset: int,
    **_: Any,
) -> Expr:
    at: Expr = Const(offset)
    for i, step in zip(index, strides, strict=True):
        at = ix.add(at, ix.mul(i, step))
    return load(0, ix.unflatten(at, types[0].shape))


def strided_places(shape: Shape, strides: Shape, offset: int, device: str) -> Any:
    """For each element its position among all elements in row-major order."""
    places = full(offset, shape, dt.int64, device)
    for axis, step in enumerate(strides):
        if step and shape[axis]:
            places = places + iota(shape=shape, axis=axis, dtype=dt.int64, device=device) * step
    return places


def _strided_vjp(ct: Any, out: Any, x: Any, *, shape: Shape, strides: Shape, offset: int) -> tuple[Any, ...]:
    zeros = full(0, (numel(x.shape),), x.dtype, x.device)
    places = strided_places(tuple(shape), strides, offset, x.device)
    return (reshape(index_put(zeros, ct, places, axes=(0,), add=True), shape=x.shape),)


as_strided: Operator = view(
    "as_strided",
    type_rule=_strided_type,
    eager=_strided_eager,
    element=_strided_element,
    vjp=_strided_vjp,
    batch=lambda inputs, batched, size, *, shape, strides, offset: as_strided(
        inputs[0], shape=(size, *shape), strides=(numel(inputs[0].shape[1:]), *strides), offset=offset
    ),
    samples=(
        Sample((Arg((7,), dt.float64),), {"shape": (3, 2), "strides": (2, 1), "offset": 1}),
        Sample((Arg((3, 5), dt.float64),), {"shape": (5, 3), "strides": (1, 5)}),
        Sample((Arg((4, 3)),), {"shape": (2, 4, 2), "strides": (3, 0, 1), "offset": 2}),
        Sample((Arg((5,), dt.int32, -9, 9),), {"shape": (), "strides": (), "offset": 3}),
        Sample((Arg((5,), dt.float16),), {"shape": (0, 3), "strides": (9, 9)}),
        Sample((Arg((2, 3), dt.bool_),), {"shape": (2, 2, 2), "strides": (2, 1, 1)}),
    ),
    doc="Elements at strides among all elements of x in row-major order.",
)

# Bits as another element type -------------------------------------------------------------------------


def _bits_type(x: TensorType, *, dtype: DType) -> TensorType:
    if dtype.itemsize == x.dtype.itemsize:
        return x.with_dtype(dtype)
    if not x.ndim:
        raise ShapeError(
            f"self.dim() cannot be 0 to view {x.dtype.name} as {dtype.name} (different element sizes)",
            hint="use unsqueeze(-1) first",
        )
    bytes_ = x.shape[-1] * x.dtype.itemsize
    if bytes_ % dtype.itemsize:
        raise ShapeError(
            f"self.size(-1) must be divisible by {dtype.itemsize // x.dtype.itemsize} to view {x.dtype.name} as "
            f"{dtype.name}, but got {x.shape[-1]}",
            hint="the bytes of the last axis make whole elements",
        )
    return x.with_dtype(dtype).with_shape((*x.shape[:-1], bytes_ // dtype.itemsize))


def _bits_eager(xp: Any, x: Any, *, dtype: DType) -> Any:
    if dtype.itemsize != x.dtype.itemsize and x.strides[-1] != x.itemsize:
        x = xp.ascontiguousarray(x)
    if not x.size:
        return xp.empty(_bits_type(TensorType(dt.of_numpy(x.dtype), x.shape), dtype=dtype).shape, dtype.numpy)
    return x.view(dtype.numpy)


view_bits: Operator = primitive(
    "view_bits",
    family="view",
    type_rule=_bits_type,
    eager=_bits_eager,
    vjp=not_differentiable("bits are no numbers"),
    jvp=not_differentiable("bits are no numbers"),
    batch=lambda inputs, batched, size, *, dtype: _bits_batch(inputs[0], dtype),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="The bits of the elements as elements of another type; the last axis grows or shrinks with their size.",
    samples=(
        Sample((Arg((3, 4)),), {"dtype": dt.int32}),
        Sample((Arg((3, 4), dt.float64),), {"dtype": dt.int32}),
        Sample((Arg((3, 4), dt.uint8, 0, 200),), {"dtype": dt.int16}),
        Sample((Arg((), dt.float64),), {"dtype": dt.int64}),
        Sample((Arg((3,), dt.bool_),), {"dtype": dt.uint8}),
        Sample((Arg((0, 4)),), {"dtype": dt.int8}),
    ),
)


def _bits_batch(x: Any, dtype: DType) -> Any:
    if x.ndim > 1 or dtype.itemsize == x.dtype.itemsize:
        return view_bits(x, dtype=dtype)
    raise DTypeError(f"scalars of {x.dtype.name} cannot be looked at as {dtype.name}", hint="give them an axis")
