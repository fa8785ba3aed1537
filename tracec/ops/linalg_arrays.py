"""Linear algebra on arrays that NumPy and CuPy have no routine for, over stacks of matrices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from tracec.errors import LinAlgError

#: Rows of a block: within one, work is done row by row or by a dense routine, between blocks by matrix products.
_BLOCK = 48


def refuse(name: str, what: str, where: tuple[int, ...], hint: str) -> NoReturn:
    """Raise that a matrix has no such factorisation or inverse.

    Args:
        name: The function that was called.
        what: Why there is none.
        where: Place of the matrix in the stack.
        hint: What to do.
    """
    element = f"(Batch element {', '.join(map(str, where))}): " if where else ""
    raise LinAlgError(f"{name}: {element}{what}", hint=hint)


def one_by_one(xp: Any, routine: Callable[..., Any], *arrays: Any) -> Any:
    """A routine of each matrix of a stack; NaN for those that it refuses."""
    lead = arrays[0].shape[:-2]
    flat = [a.reshape((math.prod(lead), *a.shape[-2:])) for a in arrays]
    found = []
    for matrices in zip(*flat, strict=True):
        try:
            found.append(routine(*matrices))
        except np.linalg.LinAlgError:
            found.append(xp.full_like(matrices[-1], np.nan))
    return xp.stack(found).reshape((*lead, *found[0].shape))


def first_of(xp: Any, wrong: Any) -> tuple[int, ...]:
    """The place of the first true element."""
    return tuple(int(i) for i in np.unravel_index(int(xp.argmax(wrong)), wrong.shape))


# Triangles ---------------------------------------------------------------------------------------------


def solve_triangle(xp: Any, t: Any, b: Any, upper: bool, unit: bool) -> Any:
    """``x`` of ``t x = b``, where of t one triangle counts; with ``unit``, its diagonal counts as ones.

    Substitution in blocks: what is known is taken off by a matrix product, and a block of the diagonal is solved
    densely. NumPy has no triangular routine; a dense one on all of t would take n³ operations for any number of
    columns, and on a lower triangle it would also exchange rows. On an upper triangle it exchanges none and
    eliminates nothing, so that it substitutes; a lower triangle, turned round, is an upper one.
    """
    if not upper:
        turned = solve_triangle(xp, xp.flip(t, (-2, -1)), xp.flip(b, -2), True, unit)
        return xp.flip(turned, -2)
    n = t.shape[-1]
    x = xp.empty_like(b)
    for start in reversed(range(0, n, _BLOCK)):
        stop = min(start + _BLOCK, n)
        rest = b[..., start:stop, :]
        if stop < n:
            rest = rest - xp.matmul(t[..., start:stop, stop:], x[..., stop:, :])
        block = xp.triu(t[..., start:stop, start:stop], 1 if unit else 0)
        if unit:
            block = block + xp.eye(stop - start, dtype=block.dtype)
        x[..., start:stop, :] = _solve_block(xp, block, rest)
    return x


def _solve_block(xp: Any, t: Any, b: Any) -> Any:
    if not (xp.diagonal(t, axis1=-2, axis2=-1) == 0).any():
        return xp.linalg.solve(t, b)
    # Divisions by zero give infinities and NaNs, where a dense routine refuses.
    x = b.copy()
    for i in reversed(range(t.shape[-1])):
        x[..., i, :] /= t[..., i, i, None]
        x[..., :i, :] -= t[..., :i, i, None] * x[..., None, i, :]
    return x


# LU ----------------------------------------------------------------------------------------------------


def factor_lu(xp: Any, a: Any, pivot: bool) -> tuple[Any, Any, Any]:
    """L and U in one matrix, the rows that were exchanged, counted from 1, and the order of the rows.

    Right-looking elimination in blocks of columns, with the largest element of a column as pivot; a column of
    zeros is left as it is.

    Source: Golub, Van Loan, "Matrix Computations", 4th edition, section 3.4.
    """
    lead, (rows, columns) = a.shape[:-2], a.shape[-2:]
    count, k = math.prod(lead), min(rows, columns)
    x = a.reshape((count, rows, columns)).copy()
    every = xp.arange(count)[:, None]
    pivots = xp.zeros((count, k), np.int64)
    order = xp.tile(xp.arange(rows), (count, 1))
    for start in range(0, k, _BLOCK):
        stop = min(start + _BLOCK, k)
        # A copy of the columns, in which rows move cheaply; all others follow once they are done.
        panel = x[:, start:, start:stop].copy()
        at, moved = _eliminate(xp, panel, pivot)
        pivots[:, start:stop] = at + start + 1
        order[:, start:] = order[every, moved + start]
        x[:, start:] = x[every, moved + start]
        x[:, start:, start:stop] = panel
        if stop < columns:
            corner = x[:, start:stop, start:stop]
            x[:, start:stop, stop:] = solve_triangle(xp, corner, x[:, start:stop, stop:], upper=False, unit=True)
            x[:, stop:, stop:] -= xp.matmul(x[:, stop:, start:stop], x[:, start:stop, stop:])
    return x.reshape(a.shape), pivots.reshape((*lead, k)), order.reshape((*lead, rows))


def _eliminate(xp: Any, x: Any, pivot: bool) -> tuple[Any, Any]:
    """Factor tall matrices in place; the row that each column's first one was exchanged with, and the order of rows."""
    count, rows, columns = x.shape
    every = xp.arange(count)
    pivots = xp.zeros((count, columns), np.int64)
    order = xp.tile(xp.arange(rows), (count, 1))
    for j in range(columns):
        at = xp.argmax(_sizes(xp, x[:, j:, j]), axis=1) + j if pivot else xp.full(count, j)
        pivots[:, j] = at
        for moved in (x, order):
            held = moved[:, j].copy()
            moved[:, j] = moved[every, at]
            moved[every, at] = held
        divisor = x[:, j, j]
        x[:, j + 1 :, j] /= xp.where(divisor == 0, 1, divisor)[:, None]
        x[:, j + 1 :, j + 1 :] -= x[:, j + 1 :, j, None] * x[:, None, j, j + 1 :]
    return pivots, order


def _sizes(xp: Any, x: Any) -> Any:
    """What pivots are chosen by: of complex numbers, as LAPACK does, the sum of both parts' sizes."""
    return xp.abs(x.real) + xp.abs(x.imag) if x.dtype.kind == "c" else xp.abs(x)


def order_of_pivots(xp: Any, pivots: Any, rows: int) -> Any:
    """The order of rows after exchanging row i and row ``pivots[i] - 1``, one after the other."""
    lead, k = pivots.shape[:-1], pivots.shape[-1]
    count = math.prod(lead)
    at = pivots.reshape((count, k)).astype(np.int64) - 1
    order = xp.tile(xp.arange(rows), (count, 1))
    every = xp.arange(count)
    for j in range(k):
        held = order[:, j].copy()
        order[:, j] = order[every, at[:, j]]
        order[every, at[:, j]] = held
    return order.reshape((*lead, rows))


# The exponential ---------------------------------------------------------------------------------------

#: By the itemsize of real numbers: degrees of Padé approximants, and the largest 1-norm for which each is exact to
#: rounding.
_DEGREES = {
    4: ((3, 4.258730016922831e-1), (5, 1.880152677804762), (7, 3.925724783138660)),
    8: (
        (3, 1.495585217958292e-2),
        (5, 2.539398330063230e-1),
        (7, 9.504178996162932e-1),
        (9, 2.097847961257068),
        (13, 5.371920351148152),
    ),
}


def exponential(xp: Any, a: Any) -> Any:
    """The exponential of matrices, by scaling, a Padé approximant and squaring.

    Source: Higham, "The Scaling and Squaring Method for the Matrix Exponential Revisited", 2005, algorithm 2.3.
    """
    if not a.size:
        return a
    finite = xp.isfinite(a).all(axis=(-2, -1), keepdims=True)
    x = xp.where(finite, a, 0)
    size = xp.abs(x).sum(axis=-2).max(axis=-1)[..., None, None]
    largest = float(size.max())
    degrees = _DEGREES[a.real.itemsize]
    degree, bound = next((d for d in degrees if largest <= d[1]), degrees[-1])
    halvings = xp.maximum(xp.ceil(xp.log2(xp.maximum(size / bound, 1))), 0)
    y = _pade(xp, x / 2.0**halvings, degree).astype(a.dtype)
    for i in range(int(halvings.max())):
        y = xp.where(halvings > i, xp.matmul(y, y), y)
    return xp.where(finite, y, np.nan).astype(a.dtype)


def _pade(xp: Any, a: Any, degree: int) -> Any:
    """The quotient of the polynomials of that degree which is nearest to the exponential at 0."""
    factor, coefficients = 1.0, [1.0]
    for j in range(1, degree + 1):
        factor *= (degree - j + 1) / (j * (2 * degree - j + 1))
        coefficients.append(factor)
    one = xp.eye(a.shape[-1], dtype=a.dtype)
    square, power = xp.matmul(a, a), one
    even, odd = coefficients[0] * one, coefficients[1] * one
    for j in range(2, degree + 1, 2):
        power = xp.matmul(power, square) if j > 2 else square
        even = even + coefficients[j] * power
        odd = odd + coefficients[j + 1] * power
    odd = xp.matmul(a, odd)
    return xp.linalg.solve(even - odd, even + odd)
