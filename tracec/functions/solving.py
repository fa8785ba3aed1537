"""Linear equations, and those that have no solution or many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tracec import ops
from tracec.errors import ShapeError
from tracec.functions.common import (
    broadcast_matrices,
    cast,
    check_choice,
    check_tensor,
    expanded,
    fail,
    filled,
    many_axes,
    reshaped,
    sliced,
)
from tracec.functions.decomposition import check_matrix, check_same_dtype
from tracec.functions.inverses import count_above, equal_counts, rank_threshold, resolution, singularity, tolerance_like
from tracec.functions.linalg import matmul
from tracec.ir import dtype as dt
from tracec.ir.types import broadcast_shapes
from tracec.ops import matrices
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


class SolveEx(NamedTuple):
    """The solution, and which element of U's diagonal in A = P L U is the first zero; 0 if none is."""

    result: Tensor
    info: Tensor


class TriangularSolve(NamedTuple):
    """The solution, and a copy of the matrix."""

    solution: Tensor
    cloned_coefficient: Tensor


class Lstsq(NamedTuple):
    """Solutions, sums of squares that are left, ranks, and singular values; empty where a driver gives none."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


# Equations ---------------------------------------------------------------------------------------------


@under_autocast(FLOAT32)
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with ``A @ X == B``, or with ``X @ A == B`` where not ``left``.

    Args:
        A: Shape ``(..., n, n)``, float32, float64 or complex.
        B: Shape ``(..., n, k)`` (``(..., k, n)`` where not ``left``), or ``(n,)``, or ``(..., n)`` where that is A's
            shape without its last axis. Leading axes broadcast.
        left: Whether A stands on the left.

    Raises:
        LinAlgError: a matrix is singular.
        ShapeError: A is not square, or B does not fit.
    """
    return _solve("linalg.solve", A, B, left, checked_by="linalg.solve")


@under_autocast(FLOAT32)
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> SolveEx:
    """As `solve`, but tells which matrices are singular, int32, and raises only with ``check_errors``."""
    name = "linalg.solve_ex"
    return SolveEx(_solve(name, A, B, left, checked_by=name if check_errors else ""), singularity(A))


def _solve(name: str, a: Tensor, b: Tensor, left: bool, checked_by: str) -> Tensor:
    check_matrix(name, a, square=True)
    check_same_dtype(name, a, b, "A", "B")
    vector = b.ndim == 1 or (b.ndim == a.ndim - 1 and b.shape == a.shape[:-1])
    if vector and not left:
        fail(ShapeError, f"{name}: B of shape {tuple(b.shape)} is a vector, and left=False", "give B as a matrix")
    if not b.ndim:
        fail(ShapeError, f"{name}: B is a scalar", "give a vector or a matrix")
    given = reshaped(b, (*b.shape, 1)) if vector else b
    factor, given = broadcast_matrices(name, a if left else a.mT, given if left else given.mT)
    found: Tensor = ops.solve(factor, given, checked_by=checked_by)
    if vector:
        return reshaped(found, tuple(found.shape[:-1]))
    return found if left else found.mT


@under_autocast(FLOAT32)
def solve_triangular(
    input: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X with ``input @ X == B``, or with ``X @ input == B`` where not ``left``, for a triangular input.

    Args:
        input: Shape ``(..., n, n)``; elements outside of the triangle are not looked at.
        B: Shape ``(..., n, k)``, or ``(..., k, n)`` where not ``left``. Leading axes broadcast.
        upper: Which triangle.
        left: Whether the input stands on the left.
        unitriangular: The diagonal counts as ones.

    Returns:
        X; infinite or NaN where a zero on the diagonal divides.
    """
    name = "linalg.solve_triangular"
    check_matrix(name, input, square=True)
    check_matrix(name, B, "B")
    if input.dtype.is_floating_point and B.dtype.is_floating_point:
        B = cast(B, input.dtype)  # as PyTorch does here alone
    check_same_dtype(name, input, B, "A", "B")
    factor, given = broadcast_matrices(name, input if left else input.mT, B if left else B.mT)
    found: Tensor = ops.triangular_solve(factor, given, upper=upper is left, unit=unitriangular)
    return found if left else found.mT


@tensor_method
@under_autocast(FLOAT32)
def triangular_solve(
    input: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> TriangularSolve:
    """X with ``A @ X == input``, an older form of `solve_triangular`; ``transpose`` solves with A transposed."""
    name = "triangular_solve"
    check_matrix(name, A, square=True)
    check_matrix(name, input, "input")
    check_same_dtype(name, input, A, "input", "A")
    factor, b = broadcast_matrices(name, A, input)
    used, is_upper = (factor.mT, not upper) if transpose else (factor, upper)
    found = ops.triangular_solve(used, b, upper=is_upper, unit=unitriangular)
    return TriangularSolve(found, factor.clone())


@under_autocast(FLOAT32)
def lstsq(input: Tensor, b: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Lstsq:
    """X for which the squares of ``input @ X - b`` have the smallest sum, and of several the smallest X.

    Args:
        input: Shape ``(..., m, n)``, float32, float64 or complex.
        b: Shape ``(..., m, k)``, or ``(..., m)`` with one axis less than the input. Leading axes broadcast.
        rcond: Singular values up to this times the largest count as zero; the dtype's resolution times the larger of
            m and n by default. Not used by ``gels``.
        driver: ``gels`` takes the matrices to be of full rank and uses QR; ``gelsy`` (the default), ``gelsd`` and
            ``gelss`` use singular values, and differ in what they give beside the solution.

    Returns:
        Solutions; the sums of squares, where m > n, all matrices have rank n, and the driver is not ``gelsy``; ranks,
        except from ``gels``; singular values, from ``gelsd`` and ``gelss``. What there is none of has shape ``(0,)``.
    """
    name = "linalg.lstsq"
    chosen = driver or "gelsy"
    check_choice(name, "driver", chosen, ("gels", "gelsy", "gelsd", "gelss"))
    vector, a, given = _overdetermined(name, input, b)
    m, n = a.shape[-2:]
    rank = filled(0, a, (0,), dt.int64)
    values = filled(0.0, a, (0,), a.dtype.to_real())
    if chosen == "gels":
        solution = _by_qr(a, given)
    else:
        s = ops.svdvals(a.detach())
        least = tolerance_like(resolution(a) * max(m, n) if rcond is None else rcond, a)
        rank = count_above(s, rank_threshold(s, 0.0, least))
        lead = tuple(a.shape[:-2])
        solution = matmul(
            ops.pinv(a, filled(0.0, a, lead, a.dtype.to_real()), expanded(least, lead), hermitian=False), given
        )
        values = values if chosen == "gelsy" else s
    residuals = matrices.real_part(sliced(reshaped(solution, (solution.numel(),)), 0, 0, 0))
    if m > n and chosen != "gelsy" and (chosen == "gels" or bool((rank == n).all())):
        off = ops.sub(matmul(a, solution), given)
        squares = matrices.real_part(ops.mul(off, matrices.conjugate(off)))
        residuals = ops.sum(squares, axes=(off.ndim - 2,), keepdims=False)
    return Lstsq(reshaped(solution, tuple(solution.shape[:-1])) if vector else solution, residuals, rank, values)


def _overdetermined(name: str, input: Tensor, b: Tensor) -> tuple[bool, Tensor, Tensor]:
    """Whether b holds vectors, and both as matrices with their leading axes broadcast."""
    check_matrix(name, input)
    check_same_dtype(name, input, b, "input", "b")
    if b.ndim > input.ndim:
        fail(
            ShapeError,
            f"{name}: input of shape {tuple(input.shape)} has fewer axes than b of shape {tuple(b.shape)}",
            "input.dim() must be greater or equal to b.dim(); expand the input",
        )
    vector = b.ndim == input.ndim - 1
    given = reshaped(b, (*b.shape, 1)) if vector else b
    m, n = input.shape[-2:]
    if given.ndim < 2 or given.shape[-2] != m:
        fail(
            ShapeError,
            f"{name}: input of shape {tuple(input.shape)} and b of shape {tuple(b.shape)} differ in rows",
            "input.size(-2) must match b.size(-2), or b's last axis where it holds vectors",
        )
    try:
        lead = broadcast_shapes(tuple(input.shape[:-2]), tuple(given.shape[:-2]))
    except ShapeError as error:
        fail(ShapeError, f"{name}: leading axes: {error.message}", "leading axes broadcast")
    return vector, expanded(input, (*lead, m, n)), expanded(given, (*lead, m, given.shape[-1]))


def _by_qr(a: Tensor, b: Tensor) -> Tensor:
    m, n = a.shape[-2:]
    tall = a if m >= n else a.mH
    size = min(m, n)
    q, r = matrices.unpack(ops.qr(tall), ((max(m, n), size), (size, size)))
    if m >= n:
        return ops.triangular_solve(r, matmul(q.mH, b), upper=True)
    return matmul(q, ops.triangular_solve(r.mH, b, upper=False))


@under_autocast(FLOAT32)
def tensorsolve(input: Tensor, other: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """X with ``tensordot(input, X, X.ndim) == other``.

    Args:
        input: other's axes, then those of X.
        other: The right-hand side.
        dims: Axes of input to move to its end first.

    Raises:
        ShapeError: the axes of input that are other's and those that are X's have not the same number of elements.
        LinAlgError: input is singular as a map.
    """
    name = "linalg.tensorsolve"
    check_tensor(name, input, "A")
    check_tensor(name, other, "B")
    if dims is not None:
        moved = many_axes(name, dims, input.ndim)
        input = ops.transpose(input, perm=(*(a for a in range(input.ndim) if a not in moved), *moved))
    before, after = tuple(input.shape[: other.ndim]), tuple(input.shape[other.ndim :])
    rows = equal_counts(name, input, before, after)
    if other.numel() != rows:
        fail(ShapeError, f"{name}: other of shape {tuple(other.shape)} for axes {before} of input", "make them equal")
    return reshaped(solve(reshaped(input, (rows, rows)), reshaped(other, (rows,))), after)
