"""Values combined with what stands at computed positions: products, largest and smallest."""

from __future__ import annotations

from typing import Any

from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.lower import HostCall
from tracec.ir.operator import Arg, Operator, Sample
from tracec.ir.types import Shape, TensorType
from tracec.ops.arithmetic import maximum
from tracec.ops.arrays import in_float32
from tracec.ops.base import primitive
from tracec.ops.core import zeros_like
from tracec.ops.elementwise import cast
from tracec.ops.indexing import (
    brought_front,
    index,
    index_put,
    indexed_shape,
    put_for_all,
    row_positions,
    run_values,
)
from tracec.ops.logic import eq, where

_WAYS = ("mul", "maximum", "minimum")
_UFUNCS = {"mul": "multiply", "maximum": "maximum", "minimum": "minimum"}


def _type(x: TensorType, v: TensorType, *indices: TensorType, axes: Shape, combine: str) -> TensorType:
    shape = indexed_shape(x, indices, axes)
    if combine not in _WAYS:
        raise ArgumentError(f"combine={combine!r} is not known", hint=f"use one of {', '.join(_WAYS)}")
    if v.shape != shape:
        raise ShapeError(
            f"values have shape {v.shape}, the positions in {x.shape} have shape {shape}",
            hint="expand the values to the shape that index would give",
        )
    if v.dtype is not x.dtype or x.dtype.is_complex:
        raise DTypeError(
            f"takes values and a tensor of one real dtype, {v.dtype.short} and {x.dtype.short} given",
            hint="cast the values to the tensor's dtype",
        )
    return x


def _eager(xp: Any, x: Any, v: Any, *indices: Any, axes: Shape, combine: str) -> Any:
    function = getattr(xp, _UFUNCS[combine])
    moved, rows, position, values = row_positions(xp, x, v, indices, axes)
    if position.size and rows.shape[1]:
        held, first, starts = run_values(xp, values, position, function)
        rows[held[starts]] = function(rows[held[starts]], first)
    perm = brought_front(x.ndim, axes)
    return moved.transpose(tuple(perm.index(a) for a in range(x.ndim)))


def _extreme_partials(out: Any, x: Any, v: Any, indices: tuple[Any, ...], axes: Shape) -> tuple[Any, Any]:
    """All that is equal to the result has the same share in it."""
    here, there = (cast(c, dtype=x.dtype) for c in (eq(x, out), eq(v, index(out, *indices, axes=axes))))
    count = maximum(index_put(here, there, *indices, axes=axes, add=True), 1.0)
    return here / count, there / index(count, *indices, axes=axes)


def _product_partials(out: Any, x: Any, v: Any, indices: tuple[Any, ...], axes: Shape) -> tuple[Any, Any]:
    """The product of the others: a zero leaves only its own partial derivative, two of them none."""
    nothing, nothings = eq(x, 0.0), eq(v, 0.0)
    zeros = index_put(cast(nothing, dtype=x.dtype), cast(nothings, dtype=x.dtype), *indices, axes=axes, add=True)
    rest = index_combine(where(nothing, 1.0, x), where(nothings, 1.0, v), *indices, axes=axes, combine="mul")

    def others(own: Any, zero: Any, zeros: Any, rest: Any) -> Any:
        alone = where(eq(zeros, 1.0), rest, 0.0)
        return where(zero, alone, where(eq(zeros, 0.0), rest / where(zero, 1.0, own), 0.0))

    there = (index(n, *indices, axes=axes) for n in (zeros, rest))
    return others(x, nothing, zeros, rest), others(v, nothings, *there)


def _partials(out: Any, x: Any, v: Any, indices: tuple[Any, ...], axes: Shape, combine: str) -> tuple[Any, Any]:
    """The derivatives of the result by what was there, and by the values."""
    return (_product_partials if combine == "mul" else _extreme_partials)(out, x, v, indices, axes)


def _vjp(ct: Any, out: Any, x: Any, v: Any, *indices: Any, axes: Shape, combine: str) -> tuple[Any, ...]:
    dx, dv = _partials(out, x, v, indices, axes, combine)
    return (ct * dx, index(ct, *indices, axes=axes) * dv, *(None for _ in indices))


def _jvp(tangents: Any, out: Any, x: Any, v: Any, *indices: Any, axes: Shape, combine: str) -> Any:
    dx, dv = _partials(out, x, v, indices, axes, combine)
    tx, tv = (zeros_like(p) if t is None else t * d for t, p, d in zip(tangents, (x, v), (dx, dv), strict=False))
    return index_put(tx, tv, *indices, axes=axes, add=True)


def _batch(inputs: tuple[Any, ...], batched: tuple[bool, ...], size: int, *, axes: Shape, combine: str) -> Any:
    operands, axes = put_for_all(inputs, batched, size, axes)
    return index_combine(*operands, axes=axes, combine=combine)


def _sample(combine: str, x: Shape, v: Shape, index: Shape, axes: Shape, dtype: dt.DType = dt.float64) -> Sample:
    low = -2.0 if dtype.kind == "f" else 0
    at = Arg(index, dt.int64, 0, min(x[a] for a in axes))
    return Sample(
        (Arg(x, dtype, low, 4.0), Arg(v, dtype, low, 4.0), *(at,) * len(axes)), {"axes": axes, "combine": combine}
    )


index_combine: Operator = primitive(
    "index_combine",
    family="indexing",
    type_rule=_type,
    eager=in_float32(_eager),
    vjp=_vjp,
    jvp=_jvp,
    batch=_batch,
    lower=HostCall(),
    arity=None,
    promotion="none",
    doc="Operand 0 with the values, operand 1, combined into it at positions, as `index` reads.",
    samples=(
        *(_sample(c, (5,), (7,), (7,), (0,)) for c in _WAYS),
        *(_sample(c, (3, 4, 2), (6, 3, 2), (6,), (1,)) for c in _WAYS),
        *(_sample(c, (3, 4, 2), (2, 3, 2), (2, 3), (0, 1), dt.float32) for c in _WAYS),
        *(_sample(c, (3, 4), (0, 4), (0,), (0,)) for c in _WAYS),
        *(_sample(c, (4,), (9,), (9,), (0,), d) for c in _WAYS for d in (dt.int32, dt.uint8, dt.float16)),
        _sample("maximum", (4,), (6,), (6,), (0,), dt.bool_),
    ),
)
