"""What the rules of linear algebra share: triangles and diagonals of stacks of matrices, and several results in one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tracec.errors import DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.operator import OPERATORS
from tracec.ir.types import Shape, TensorType, numel
from tracec.ops.complex import conj, real
from tracec.ops.contraction import dot
from tracec.ops.contraction import swap_last as transposed
from tracec.ops.core import zeros_like
from tracec.ops.indexing import iota
from tracec.ops.logic import eq, where
from tracec.ops.logic import le as less_equal
from tracec.ops.reduction import sum
from tracec.ops.view import concatenate, reshape, slice

#: Element types that there are routines for.
LAPACK = (dt.float32, dt.float64, dt.complex64, dt.complex128)


def check_matrices(x: TensorType, square: bool = False) -> None:
    """Refuse what is no stack of matrices of float32, float64 or complex; LAPACK has no routines for other types."""
    if x.dtype not in LAPACK:
        raise DTypeError(
            f"takes float32, float64 and complex numbers, {x.dtype.name} given", hint="cast it with .float() first"
        )
    if x.ndim < 2:
        raise ShapeError(f"shape {x.shape} is no matrix", hint="give at least 2 dimensions")
    if square and x.shape[-1] != x.shape[-2]:
        raise ShapeError(
            f"shape {x.shape} holds matrices of {x.shape[-2]} by {x.shape[-1]}", hint="the matrices must be square"
        )


# Several results in one --------------------------------------------------------------------------------
# An operator has one result. A routine of several puts them, flat, one after the other along a last axis.


def packed_type(x: TensorType, shapes: Sequence[Shape]) -> TensorType:
    """The type of results of these shapes for each matrix of x, packed."""
    return x.with_shape((*x.shape[:-2], sum_of(map(numel, shapes))))


def sum_of(numbers: Any) -> int:
    """The sum of integers, where this module's `sum` hides Python's."""
    total = 0
    for n in numbers:
        total += n
    return total


def pack_arrays(xp: Any, parts: Sequence[Any], lead: Shape) -> Any:
    """Arrays with these leading axes, packed."""
    return xp.concatenate([p.reshape((*lead, numel(p.shape[len(lead) :]))) for p in parts], axis=-1)


def pack(parts: Sequence[Any], lead: Shape) -> Any:
    """Nodes with these leading axes, packed."""
    flat = [reshape(p, shape=(*lead, numel(p.shape[len(lead) :]))) for p in parts]
    return concatenate(*flat, axis=len(lead))


def unpack(x: Any, shapes: Sequence[Shape]) -> list[Any]:
    """The results of these shapes that were packed into x."""
    lead, start, found = tuple(x.shape[:-1]), 0, []
    for shape in shapes:
        stop = start + numel(shape)
        part = slice(x, starts=(0,) * len(lead) + (start,), stops=(*lead, stop), steps=(1,) * x.ndim)
        found.append(reshape(part, shape=(*lead, *shape)))
        start = stop
    return found


# Parts of matrices -------------------------------------------------------------------------------------


def between(x: Any, axis: int, start: int, stop: int) -> Any:
    """Elements from ``start`` to before ``stop`` along an axis counted from the back."""
    starts, stops = [0] * x.ndim, list(x.shape)
    starts[axis], stops[axis] = start, stop
    return slice(x, starts=tuple(starts), stops=tuple(stops), steps=(1,) * x.ndim)


def _places(x: Any) -> tuple[Any, Any]:
    rows, columns = x.shape[-2:]
    device = str(x.device)
    i = iota(shape=(rows, 1), axis=0, dtype=dt.int64, device=device)
    return i, iota(shape=(1, columns), axis=1, dtype=dt.int64, device=device)


def lower(x: Any, diagonal: int = 0) -> Any:
    """Zeros above a diagonal."""
    i, j = _places(x)
    return where(less_equal(j - i, diagonal), x, zeros_like(x))


def upper(x: Any, diagonal: int = 0) -> Any:
    """Zeros below a diagonal."""
    i, j = _places(x)
    return where(less_equal(diagonal, j - i), x, zeros_like(x))


def mirrored(x: Any) -> Any:
    """The Hermitian matrices that have x's lower triangles, of whose diagonals the real parts count."""
    i, j = _places(x)
    found = where(less_equal(j, i), x, adjoint(x))
    return half_sum(found) if x.dtype.is_complex else found


def half_sum(x: Any) -> Any:
    """The mean of square matrices and their adjoints."""
    return (x + adjoint(x)) * 0.5


def imaginary(x: Any) -> Any:
    """The numbers less their real parts."""
    return (x - conjugate(x)) * 0.5


def conjugate(x: Any) -> Any:
    """The complex conjugate; what is real itself."""
    return conj(x) if x.dtype.is_complex else x


def adjoint(x: Any) -> Any:
    """Matrices transposed and conjugated."""
    return conjugate(transposed(x))


def real_part(x: Any) -> Any:
    """The real parts, as real numbers; what is real itself."""
    return real(x) if x.dtype.is_complex else x


def like(x: Any, other: Any) -> Any:
    """Real numbers in the element type of another value."""
    return x if x.dtype is other.dtype else OPERATORS["cast"](x, dtype=other.dtype)


def conjugated(gradient: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """A vjp rule from one that is written for gradients, the conjugates of the cotangents that rules pass on."""

    def vjp(ct: Any, *values: Any, **params: Any) -> tuple[Any, ...]:
        found = gradient(conjugate(ct), *values, **params)
        return tuple(None if g is None else conjugate(g) for g in found)

    return vjp


def diagonal_of(x: Any) -> Any:
    """The diagonals of square matrices."""
    i, j = _places(x)
    return sum(where(eq(i, j), x, zeros_like(x)), axes=(x.ndim - 1,))


def diagonal_matrix(d: Any) -> Any:
    """Square matrices with these diagonals."""
    return where_diagonal(as_column(d), 0.0)


def where_diagonal(on: Any, off: Any) -> Any:
    """One thing on the diagonals and another off them; one of the two has the shape, or a column of it."""
    shaped = off if hasattr(off, "shape") and off.shape[-1:] != (1,) else on
    n = shaped.shape[-2]
    device = str(shaped.device)
    i = iota(shape=(n, 1), axis=0, dtype=dt.int64, device=device)
    j = iota(shape=(1, n), axis=1, dtype=dt.int64, device=device)
    return where(eq(i, j), on, off)


def as_row(d: Any) -> Any:
    """Vectors as rows: times a matrix, they scale its columns."""
    return reshape(d, shape=(*d.shape[:-1], 1, d.shape[-1]))


def as_column(d: Any) -> Any:
    """Vectors as columns: times a matrix, they scale its rows."""
    return reshape(d, shape=(*d.shape, 1))


def trace_of_product(a: Any, b: Any) -> Any:
    """``tr(aᵀ b)``: the sum of the elements' products, with nothing conjugated."""
    return sum(a * b, axes=(a.ndim - 2, a.ndim - 1))


def spread(s: Any) -> Any:
    """Scalars as matrices of one element."""
    return reshape(s, shape=(*s.shape, 1, 1))


def reciprocal_or_zero(x: Any) -> Any:
    """``1 / x``, and 0 for 0.

    Divisors of the derivatives of decompositions vanish where these have none: at equal eigenvalues, say. A function
    that does not depend on the choice that is open there has a numerator of 0 with it, and its derivative no such term.
    """
    none = eq(x, 0.0)
    return where(none, 0.0, 1.0 / where(none, 1.0, x))


def differences(d: Any) -> Any:
    """``1 / (d[j] - d[i])`` at row i and column j; 0 where they are equal, the diagonal included."""
    return reciprocal_or_zero(as_row(d) - as_column(d))


def chain(*factors: Any) -> Any:
    """The product of several matrices, from left to right."""
    product = factors[0]
    for f in factors[1:]:
        product = dot(product, f)
    return product
