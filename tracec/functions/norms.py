"""Norms of vectors and matrices, and distances of vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, AxisError, DTypeError, ShapeError
from tracec.functions.common import (
    cast,
    check_choice,
    check_dtype,
    check_floating,
    check_inexact,
    check_ndim,
    check_real,
    check_tensor,
    fail,
    many_axes,
    one_axis,
    reshaped,
    sliced,
    squares,
)
from tracec.functions.eigenvalues import svdvals
from tracec.functions.linalg import matmul
from tracec.functions.ranges import triu_indices
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.types import Shape
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor

Axes = int | Sequence[int] | None


def vector_norm(
    input: Tensor, ord: float = 2, dim: Axes = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The norm of vectors along some axes, or of all elements.

    Args:
        input: Floating or complex.
        ord: Power; ``inf`` for the largest absolute value, ``-inf`` for the smallest, 0 for the number of nonzero
            elements.
        dim: Axes; the elements along all of them are one vector.
        keepdim: Keep the axes, with size 1.
        dtype: Cast to this first.

    Returns:
        Norms in input's dtype, or in ``dtype``, of complex numbers real; 16-bit floats are summed in float32. Where a
        norm is not differentiable, the gradient is a subgradient: zero at a vector of zeros, say.

    Raises:
        DTypeError: input is not floating, or ``dtype`` is narrower.
        AxisError: the largest or the smallest element of nothing.
    """
    name = "linalg.vector_norm"
    check_inexact(name, input, "x")
    if isinstance(ord, bool) or not isinstance(ord, (int, float)):
        fail(ArgumentTypeError, f"{name}: ord must be a number, {type(ord).__name__} given", "matrix_norm takes names")
    _check_wider(name, input, dtype)
    return _norm(name, cast(input, dtype), float(ord), many_axes(name, dim, input.ndim), keepdim)


def _check_wider(name: str, x: Tensor, dtype: DType | None) -> None:
    check_dtype(name, dtype)
    if dtype is not None and dtype.kind != x.dtype.kind:
        kind = "complex for complex inputs" if x.dtype.is_complex else "real for real inputs"
        fail(DTypeError, f"{name}: dtype should be {kind}, but got {dtype.name}", "leave it out, or name a wider one")
    if dtype is not None and dt.promote(x.dtype, dtype) is not dtype:
        fail(DTypeError, f"{name}: dtype {dtype.name} is narrower than {x.dtype.name}", "name a wider floating type")


def _norm(name: str, x: Tensor, p: float, axes: Shape, keepdim: bool) -> Tensor:
    """The p-norm over axes of floats or complex numbers; real."""
    if (p < 0 or p == math.inf) and not math.prod(x.shape[a] for a in axes):
        fail(AxisError, f"{name}: the {p}-norm of no elements, shape {tuple(x.shape)}", "there is no identity to give")
    wide = cast(x, x.dtype.compute)
    return cast(_wide_norm(wide, p, axes, keepdim), x.dtype.to_real())


def _wide_norm(x: Tensor, p: float, axes: Shape, keepdim: bool) -> Tensor:
    if p == 2:
        return root_of_sum(squares(x), axes, keepdim)
    size = ops.abs(x)
    if p == 0:
        # The product with 0 ties the count to x: its gradient is zero, not absent.
        return ops.sum(ops.where(ops.eq(x, 0), ops.mul(size, 0.0), 1.0), axes=axes, keepdims=keepdim)
    if p == math.inf:
        return ops.max(size, axes=axes, keepdims=keepdim)
    if p == -math.inf:
        return ops.min(size, axes=axes, keepdims=keepdim)
    if p == 1:
        return ops.sum(size, axes=axes, keepdims=keepdim)
    if p < 1:
        # The power has an infinite slope at 0, where the subgradient 0 is meant.
        zero = ops.eq(size, 0)
        powers = ops.where(zero, 0.0 if p > 0 else math.inf, ops.pow(ops.where(zero, 1.0, size), p))
    else:
        powers = ops.pow(size, p)
    return _root(ops.sum(powers, axes=axes, keepdims=keepdim), 1.0 / p)


def root_of_sum(squares: Tensor, axes: Shape, keepdim: bool = False) -> Tensor:
    """The square root of a sum of squares, whose gradient is zero where all of them are."""
    return _root(ops.sum(squares, axes=axes, keepdims=keepdim), 0.5)


def _root(x: Tensor, power: float) -> Tensor:
    zero = ops.eq(x, 0)
    inside = ops.where(zero, 1.0, x)
    root = ops.sqrt(inside) if power == 0.5 else ops.pow(inside, power)
    return ops.where(zero, 0.0 if power > 0 else math.inf, root)


def matrix_norm(
    input: Tensor,
    ord: float | str = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """The norm of matrices.

    Args:
        input: Floating or complex; at least two axes.
        ord: ``"fro"``, the root of the sum of squares; ``"nuc"``, the sum of the singular values; 2 and -2, the
            largest and smallest of them; 1 and -1, the largest and smallest sum of the absolute values of a column;
            ``inf`` and ``-inf``, of a row.
        dim: The two axes that hold matrices.
        keepdim: Keep the axes, with size 1.
        dtype: Cast to this first.

    Raises:
        ArgumentError: an order that is none of these.
        ShapeError: the input holds no matrices, or ``dim`` does not name two axes.
    """
    name = "linalg.matrix_norm"
    check_inexact(name, input, "A")
    if input.ndim < 2:
        fail(ShapeError, f"{name}: input of shape {tuple(input.shape)} is no matrix", "give at least 2 dimensions")
    if not isinstance(dim, (list, tuple)) or len(dim) != 2:
        fail(ArgumentError, f"{name}: dim must be a 2-tuple, {dim} given", "name the two axes of the matrices")
    rows, columns = (one_axis(name, d, input.ndim) for d in dim)
    if rows == columns:
        fail(ArgumentError, f"{name}: dim={tuple(dim)} names an axis twice", "name two axes")
    _check_wider(name, input, dtype)
    x = cast(input, dtype)
    if ord == "fro":
        return _norm(name, x, 2.0, tuple(sorted((rows, columns))), keepdim)
    if isinstance(ord, (int, float)) and abs(ord) in (1, math.inf):
        return _largest_line(name, x, ord, rows, columns, keepdim)
    if ord not in ("nuc", 2, -2):
        fail(ArgumentError, f"{name}: ord={ord!r} is no norm of matrices", "use 'fro', 'nuc', inf, 1, 2, or a negative")
    rest = tuple(a for a in range(x.ndim) if a not in (rows, columns))
    s = svdvals(ops.transpose(x, perm=(*rest, rows, columns)))
    last = (s.ndim - 1,)
    if ord == 2 and not s.shape[-1]:
        s = ops.pad(s, low=(0,) * s.ndim, high=(*(0,) * last[0], 1), value=0.0)
    found = ops.sum(s, axes=last, keepdims=False) if ord == "nuc" else (ops.max if ord == 2 else ops.min)(s, axes=last)
    return reshaped(found, tuple(1 if a in (rows, columns) else n for a, n in enumerate(x.shape))) if keepdim else found


def _largest_line(name: str, x: Tensor, ord: float, rows: int, columns: int, keepdim: bool) -> Tensor:
    summed, compared = (rows, columns) if abs(ord) == 1 else (columns, rows)
    lines = _norm(name, x, 1.0, (summed,), keepdim=True)
    if ord > 0 and not x.shape[compared]:
        lines = ops.pad(lines, low=(0,) * x.ndim, high=tuple(int(a == compared) for a in range(x.ndim)), value=0.0)
    found = _norm(name, lines, math.copysign(math.inf, ord), (compared,), keepdim=True)
    return found if keepdim else _without(found, rows, columns)


def _without(x: Tensor, rows: int, columns: int) -> Tensor:
    return reshaped(x, tuple(size for a, size in enumerate(x.shape) if a not in (rows, columns)))


def linalg_norm(
    input: Tensor,
    ord: float | str | None = None,
    dim: Axes = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """A norm of vectors or of matrices.

    Args:
        input: Floating or complex.
        ord: As in `vector_norm` or `matrix_norm`; None for the root of the sum of squares.
        dim: One axis, along which there are vectors, or two, which hold matrices; left out, the input is one vector or
            matrix, or, with no ``ord`` either, all of its elements are one vector.
        keepdim: Keep the axes, with size 1.
        dtype: Cast to this first.

    Raises:
        ShapeError: there is an ``ord`` and no ``dim``, and the input is neither a vector nor a matrix.
    """
    check_inexact("linalg.norm", input, "A")
    if ord is None:
        return vector_norm(input, 2, dim, keepdim, dtype=dtype)
    if dim is None:
        if input.ndim not in (1, 2):
            fail(
                ShapeError,
                f"linalg.norm: ord={ord!r} and no dim for input of shape {tuple(input.shape)}, no vector or matrix",
                "name the axes",
            )
        dim = tuple(range(input.ndim))
    if isinstance(dim, int) or len(dim) == 1:
        return vector_norm(input, ord, dim, keepdim, dtype=dtype)  # type: ignore[arg-type]
    return matrix_norm(input, ord, dim, keepdim, dtype=dtype)


@tensor_method
@under_autocast(FLOAT32)
def norm(
    input: Tensor, p: float | str | None = "fro", dim: Axes = None, keepdim: bool = False, dtype: DType | None = None
) -> Tensor:
    """The p-norm over some axes, or all of them.

    Args:
        input: Floating or complex.
        p: Power; ``inf`` for the largest absolute value, 0 for the number of nonzero elements, ``"fro"`` for 2,
            ``"nuc"`` for the sum of the singular values of matrices, which two axes hold.
        dim: Axes.
        keepdim: Keep the axes, with size 1.
        dtype: Cast to this first.

    Raises:
        ArgumentError: the power is a text that means none.
    """
    check_inexact("norm", input)
    if p == "nuc":
        return matrix_norm(input, "nuc", tuple(range(input.ndim)) if dim is None else dim, keepdim, dtype=dtype)  # type: ignore[arg-type]
    if isinstance(p, str) and p != "fro":
        fail(ArgumentError, f"norm: p={p!r} is not known", "give a number, inf, 'fro' or 'nuc'")
    if p is not None and p != "fro":
        check_real("norm", p, "p")
    power = 2.0 if p is None or p == "fro" else float(p)
    check_dtype("norm", dtype)
    return _norm("norm", cast(input, dtype), power, many_axes("norm", dim, input.ndim), keepdim)


def nuclear_norm(input: Tensor, dim: Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
    """The sum of the singular values of a matrix, or of those that two axes hold."""
    return norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim)


@tensor_method
@under_autocast(FLOAT32)
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of ``input - other``."""
    check_tensor("dist", input)
    check_tensor("dist", other, "other")
    return norm(ops.sub(input, other), p)


@tensor_method(inplace=True)
@under_autocast(FLOAT32)
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along an axis scaled down to a norm of at most ``maxnorm``.

    Raises:
        ShapeError: the input has fewer than two axes.
        ArgumentError: ``p`` is not positive, or ``maxnorm`` is negative.
    """
    check_inexact("renorm", input)
    if input.ndim < 2:
        fail(ShapeError, f"renorm: input of shape {tuple(input.shape)} has no slices", "give at least 2 dimensions")
    check_real("renorm", p, "p")
    check_real("renorm", maxnorm, "maxnorm")
    if p <= 0:
        fail(ArgumentError, f"renorm: p={p} is not positive", "give the power of a norm")
    if maxnorm < 0:
        fail(ArgumentError, f"renorm: maxnorm={maxnorm} is negative", "give a number of 0 or more")
    axis = one_axis("renorm", dim, input.ndim)
    x = cast(input, input.dtype.compute)
    length = _norm("renorm", x, float(p), tuple(a for a in range(x.ndim) if a != axis), keepdim=True)
    factor = ops.where(ops.gt(length, maxnorm), ops.div(maxnorm, ops.add(length, 1e-7)), 1.0)
    return cast(ops.mul(x, factor), input.dtype)


# Distances ---------------------------------------------------------------------------------------------


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norms of ``x1 - x2 + eps`` along the last axis; the others broadcast."""
    check_tensor("pairwise_distance", x1, "x1")
    check_tensor("pairwise_distance", x2, "x2")
    return norm(ops.add(ops.sub(x1, x2), eps), p, -1, keepdim)


@under_autocast(FLOAT32)
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norms of the differences of each row and every later one, as a vector of n(n-1)/2.

    Args:
        input: Shape ``(n, m)``, floating.
        p: Power, 0 or more.
    """
    check_ndim("pdist", input, (2,), "a matrix of rows")
    check_floating("pdist", input)
    _check_power("pdist", p)
    n = input.shape[0]
    if n < 2:
        return _distance("pdist", sliced(input, 0, 0, 0), p)
    pairs = triu_indices(n, n, 1, device=input.device)
    a, b = (ops.index(input, pairs[k], axes=(0,)) for k in (0, 1))
    return _distance("pdist", ops.sub(a, b), p)


@under_autocast(FLOAT32)
def cdist(
    x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = "use_mm_for_euclid_dist_if_necessary"
) -> Tensor:
    """The p-norms of the differences of each row of one matrix and each of another; leading axes broadcast.

    Args:
        x1: Shape ``(..., P, M)``, floating.
        x2: Shape ``(..., R, M)``, floating.
        p: Power, 0 or more; ``inf`` for the largest difference.
        compute_mode: Whether the euclidean distance is found by a matrix product, in less memory but with rounding
            errors of the size of the squares: ``use_mm_for_euclid_dist``, ``donot_use_mm_for_euclid_dist``, or
            ``use_mm_for_euclid_dist_if_necessary``, which is where P or R is more than 25.

    Returns:
        Distances, shape ``(..., P, R)``. The gradient is zero where a distance is.

    Raises:
        DTypeError: dtypes differ, or are 16 bits wide.
        ShapeError: rows have different sizes, or an operand no rows.
    """
    for what, x in (("x1", x1), ("x2", x2)):
        check_floating("cdist", x, what)
        if x.dtype.itemsize == 2:
            fail(DTypeError, f"cdist: {what} is {x.dtype.name}", "cast it with .float() first")
        if x.ndim < 2:
            fail(ShapeError, f"cdist: {what} of shape {tuple(x.shape)} has no rows", "give at least 2 dimensions")
    if x1.dtype is not x2.dtype:
        fail(DTypeError, f"cdist: dtypes {x1.dtype.name} and {x2.dtype.name} differ", "cast one to the other's dtype")
    if x1.shape[-1] != x2.shape[-1]:
        fail(
            ShapeError,
            f"cdist: shapes {tuple(x1.shape)} and {tuple(x2.shape)} have rows of {x1.shape[-1]} and {x2.shape[-1]}",
            "both have the same number of columns",
        )
    _check_power("cdist", p)
    mode = compute_mode or "use_mm_for_euclid_dist_if_necessary"
    check_choice("cdist", "compute_mode", mode, _MODES)
    large = x1.shape[-2] > 25 or x2.shape[-2] > 25
    if p == 2 and x1.shape[-1] and (mode == _MODES[1] or (mode == _MODES[0] and large)):
        return _euclidean_by_product(x1, x2)
    return _distance("cdist", ops.sub(_with_axis(x1, x1.ndim - 1), _with_axis(x2, x2.ndim - 2)), p)


_MODES = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")


def _check_power(name: str, p: float) -> None:
    check_real(name, p, "p")
    if not p >= 0:
        fail(ArgumentError, f"{name}: only supports non-negative p values, p={p} given", "give the power of a norm")


def _with_axis(x: Tensor, axis: int) -> Tensor:
    shape = tuple(x.shape)
    return reshaped(x, (*shape[:axis], 1, *shape[axis:]))


def _distance(name: str, off: Tensor, p: float) -> Tensor:
    if not off.shape[-1]:  # nothing differs; there is no largest difference either
        return ops.sum(off, axes=(off.ndim - 1,), keepdims=False)
    return _norm(name, off, float(p), (off.ndim - 1,), keepdim=False)


def _euclidean_by_product(x1: Tensor, x2: Tensor) -> Tensor:
    """``sqrt(|a|² + |b|² - 2ab)``; rounding may make the sum negative, which counts as zero."""
    first = ops.sum(ops.mul(x1, x1), axes=(x1.ndim - 1,), keepdims=True)
    second = _with_axis(ops.sum(ops.mul(x2, x2), axes=(x2.ndim - 1,), keepdims=False), x2.ndim - 2)
    both = matmul(x1, ops.mul(x2, -2.0).mT)
    return _root(ops.maximum(ops.add(ops.add(first, second), both), 0.0), 0.5)
