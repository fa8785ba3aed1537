"""Arithmetic of sparse tensors, element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tracec.functions as F
from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.functions.arithmetic import times
from tracec.functions.common import cast, fail, reshaped
from tracec.ir import dtype as dt
from tracec.ir.types import broadcast_shapes
from tracec.record.composite import Composite
from tracec.record.promote import result_type_of
from tracec.record.tensor import Tensor
from tracec.sparse.coo import SparseTensor, add_at, flat, handles, rows_of, taken

#: Functions that give zero for zero, so that they are those of what is stored.
_OF_ZERO = """
    abs absolute arcsin arcsinh arctan arctanh asin asinh atan atanh ceil deg2rad erf erfinv expm1 floor frac isinf
    isnan isneginf isposinf log1p neg negative positive rad2deg relu round sgn sign signbit sin sinh sqrt square tan
    tanh trunc conj conj_physical resolve_conj resolve_neg real imag nan_to_num
"""


def _of_stored(name: str) -> Callable[..., SparseTensor]:
    def run(input: SparseTensor, *args: Any, **kwargs: Any) -> SparseTensor:
        x = input.coalesce()
        return x.with_data(getattr(F, name)(x._data, *args, **kwargs))

    return run


for _name in _OF_ZERO.split():
    handles(_name)(_of_stored(_name))


@handles("is_nonzero")
def is_nonzero(input: SparseTensor) -> bool:
    """Whether the only element is not zero."""
    return bool(input.to_dense())


@handles("pow", "__pow__")
def pow(input: Any, exponent: Any) -> SparseTensor:
    """Powers of what is stored.

    Raises:
        ArgumentError: the exponent is no positive number: 0 to its power is not 0.
    """
    if not isinstance(input, SparseTensor) or isinstance(exponent, Tensor) or not exponent > 0:
        fail(ArgumentError, "pow: a sparse tensor to the power of a positive number", SparseTensor.way_out)
    x = input.coalesce()
    return x.with_data(x._data**exponent)


# Sums -------------------------------------------------------------------------------------------------


@handles("add", "__add__")
def add(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """``input + alpha * other``: sparse where both are; dense where the first is.

    Raises:
        ArgumentError: a dense tensor, or a number, is added to a sparse one.
        ShapeError: the shapes differ, or the sparse axes.
    """
    return _sum("add", input, other, alpha)


@handles("sub", "subtract", "__sub__")
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """``input - alpha * other``; see `add`."""
    return _sum("sub", input, other, alpha)


@handles("rsub", "__rsub__")
def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """``other - alpha * input``."""
    return sub(other, input, alpha=alpha)


def _sum(name: str, x: Any, y: Any, alpha: Any) -> Any:
    if not isinstance(y, SparseTensor):
        fail(
            ArgumentError,
            f"{name}: {name}(sparse, dense) is not supported. Use {name}(dense, sparse) instead.",
            "exchange the operands, or make both of one layout",
        )
    if not isinstance(x, Tensor):
        fail(ArgumentError, f"{name}: a sparse tensor and a number", SparseTensor.way_out)
    dtype = dt.promote(x.dtype, y.dtype)
    scaled: Any = times(name, x, y._data, alpha)
    values = cast(scaled, dtype)
    if name == "sub":
        if dtype is dt.bool_:
            fail(DTypeError, "sub: takes numbers, bool given", "cast it to a number type")
        values = F.neg(values)
    if not isinstance(x, SparseTensor):
        if isinstance(x, Composite):
            type(x).refuse(name)
        if y._sizes != tuple(x.shape):
            _refuse_shapes(name, x, y)
        return add_at(cast(x, dtype), values, rows_of(y._places[0]))
    if x._sizes != y._sizes or x.sparse_dim() != y.sparse_dim():
        _refuse_shapes(name, x, y)
    if x._places[0] is y._places[0]:
        return x.with_data(cast(x._data, dtype) + values)
    places = ops.concatenate(x._places[0], y._places[0], axis=1)
    both = SparseTensor(places, ops.concatenate(cast(x._data, dtype), values, axis=0), x._sizes)
    return both.coalesce() if x._coalesced and y._coalesced else both


def _refuse_shapes(name: str, x: Any, y: Any) -> None:
    fail(
        ShapeError,
        f"{name}: shapes {tuple(x.shape)} and {tuple(y.shape)} of tensors of which one is sparse do not fit",
        "both have one shape, and sparse ones the same number of sparse axes",
    )


# Products ---------------------------------------------------------------------------------------------


@handles("mul", "multiply", "__mul__")
def mul(input: Any, other: Any) -> Any:
    """``input * other``, sparse: of two sparse tensors, of a sparse and a dense one, or of one and a number.

    Raises:
        ShapeError: a dense factor does not broadcast to the shape of the sparse one, or the shapes of two sparse ones
            differ.
    """
    if not isinstance(input, SparseTensor):
        input, other = other, input
    if not isinstance(other, Tensor) or not other.ndim:
        return input.with_data(input._data * (other.to_dense() if isinstance(other, Composite) else other))
    if isinstance(other, SparseTensor):
        return _both(input, other)
    if isinstance(other, Composite):
        type(other).refuse("mul")
    try:
        shape = broadcast_shapes(input._sizes, tuple(other.shape))
    except ShapeError:
        shape = ()
    if shape != input._sizes:
        _refuse_shapes("mul", input, other)
    axes = tuple(range(input.sparse_dim()))
    factors = ops.index(F.expand(other, shape), *rows_of(input._places[0]), axes=axes) if axes else other
    return input.with_data(input._data * factors)


def _both(x: SparseTensor, y: SparseTensor) -> SparseTensor:
    """The product of two sparse tensors: where both have something stored."""
    if x._sizes != y._sizes or x.sparse_dim() != y.sparse_dim():
        _refuse_shapes("mul", x, y)
    x, y = x.coalesce(), y.coalesce()
    axes = x._sizes[: x.sparse_dim()]
    if x._places[0] is y._places[0]:
        return x.with_data(x._data * y._data)
    if not x._nnz() or not y._nnz():
        x = taken(x, F.zeros(0, dtype=dt.int64, device=x.device))
        return x.with_data(cast(x._data, result_type_of(x._data, y._data)))
    mine, others = flat(x._places[0], axes), flat(y._places[0], axes)
    at = ops.minimum(F.searchsorted(others, mine), y._nnz() - 1)
    (kept,) = F.nonzero(ops.eq(ops.index(others, at, axes=(0,)), mine), as_tuple=True)
    found = taken(x, kept)
    return found.with_data(found._data * F.index_select(y._data, 0, F.index_select(at, 0, kept)))


@handles("div", "divide", "true_divide", "__truediv__")
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> SparseTensor:
    """``input / other`` for a number, or a tensor of no dimensions.

    Raises:
        ArgumentError: the divisor is another tensor, or the sparse one.
    """
    if not isinstance(input, SparseTensor) or (isinstance(other, Tensor) and other.ndim):
        given = f"shape {list(other.shape)}" if isinstance(other, Tensor) else "a number divided by a sparse tensor"
        fail(
            ArgumentError,
            f"div: Sparse division requires a scalar or zero-dim dense tensor divisor (got {given})",
            SparseTensor.way_out,
        )
    return input.with_data(F.div(input._data, other, rounding_mode=rounding_mode))


@handles("floor_divide", "__floordiv__")
def floor_divide(input: Any, other: Any) -> SparseTensor:
    """``input // other`` for a number, or a tensor of no dimensions."""
    return div(input, other, rounding_mode="floor")


# In place ---------------------------------------------------------------------------------------------


def _in_place(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(input: Any, *args: Any, **kwargs: Any) -> Any:
        found = function(input, *args, **kwargs)
        return input.changed(found, name) if isinstance(input, SparseTensor) else input.copy_(found)

    return run


for _name in ("add", "sub", "mul", "div", "floor_divide", "pow", *_OF_ZERO.split()):
    handles(f"{_name}_")(_in_place(f"{_name}_", SparseTensor.functions[_name]))
handles("__ifloordiv__")(_in_place("floor_divide_", floor_divide))


@handles("zero_")
def zero_(input: SparseTensor) -> SparseTensor:
    """Store nothing."""
    return input.changed(zeros_like(input), "zero_")


@handles("copy_")
def copy_(input: Any, source: Any, non_blocking: bool = False) -> Any:
    """Become a copy of another sparse tensor of the same shape, in the dtype and on the device that there are."""
    if not isinstance(input, SparseTensor) or not isinstance(source, SparseTensor):
        fail(ArgumentError, "copy_: copies between a sparse and a dense tensor", "to_dense() or to_sparse() before")
    if input._sizes != source._sizes:
        _refuse_shapes("copy_", input, source)
    return input.changed(source.to(device=input.device, dtype=input.dtype).clone(), "copy_")


@handles("zeros_like")
def zeros_like(input: SparseTensor, *, dtype: Any = None, requires_grad: bool = False, **options: Any) -> SparseTensor:
    """A sparse tensor of the same shape, of which nothing is stored."""
    device = options.get("device") or input.device
    axes = input.sparse_dim()
    values = F.zeros((0, *input._sizes[axes:]), dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)
    return SparseTensor(F.zeros((axes, 0), dtype=dt.int64, device=device), values, input._sizes, True)


@handles("sparse_mask")
def sparse_mask(input: Any, mask: Any) -> SparseTensor:
    """The elements of a tensor where another, sparse one has something stored.

    Raises:
        ShapeError: the shapes differ.
    """
    if tuple(input.shape) != mask._sizes:
        _refuse_shapes("sparse_mask", input, mask)
    dense = input.to_dense() if isinstance(input, Composite) else input
    places = mask._places[0]
    axes = tuple(range(places.shape[0]))
    return SparseTensor(places, ops.index(dense, *rows_of(places), axes=axes), mask._sizes, mask._coalesced)


@handles("any")
def any(input: SparseTensor, *args: Any) -> Tensor:
    """Whether any element is not zero."""
    if args:
        SparseTensor.refuse("any")
    return F.any(input.coalesce()._data)


@handles("norm")
def norm(input: SparseTensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    """The norm of all elements, for an order above zero."""
    if dim is not None or keepdim or (p != "fro" and not p > 0):
        SparseTensor.refuse("norm")
    values = input.coalesce()._data
    return F.norm(reshaped(values, (values.numel(),)), 2 if p == "fro" else p, dtype=dtype)
