"""LU factors, and equations solved with them, under PyTorch's older and newer names."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

from tracec import ops
from tracec.errors import AxisError, DTypeError, LinAlgError, ShapeError
from tracec.functions.common import broadcast_matrices, cast, check_tensor, expanded, fail, filled, sliced
from tracec.functions.decomposition import check_matrix, check_same_dtype, first_of, wide_identity
from tracec.functions.diagonals import diagonal, tril, triu
from tracec.functions.linalg import matmul
from tracec.ir import dtype as dt
from tracec.ops import matrices
from tracec.ops.contraction import swap_last
from tracec.ops.factorization import lu_shapes, permutation
from tracec.ops.symmetric import ldl_shapes
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.check import check_range
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


class LUFactor(NamedTuple):
    """L and U in one matrix, and the row that each row was exchanged with, counted from 1."""

    LU: Tensor
    pivots: Tensor


class LUFactorEx(NamedTuple):
    """L and U in one matrix, pivots, and which element of U's diagonal is the first zero; 0 if none is."""

    LU: Tensor
    pivots: Tensor
    info: Tensor


class LDLFactor(NamedTuple):
    """L and D in one lower triangle, and the row that each row was exchanged with; see `ldl_factor`."""

    LD: Tensor
    pivots: Tensor


class LDLFactorEx(NamedTuple):
    """As `LDLFactor`, and which element of D's diagonal is the first zero; 0 if none is."""

    LD: Tensor
    pivots: Tensor
    info: Tensor


class PLU(NamedTuple):
    """A permutation of rows, a lower triangle with ones on its diagonal, and an upper triangle."""

    P: Tensor
    L: Tensor
    U: Tensor


@under_autocast(FLOAT32)
def lu_factor(A: Tensor, *, pivot: bool = True) -> LUFactor:
    """L and U of ``A == P @ L @ U`` in one matrix, and the rows that were exchanged.

    Args:
        A: Shape ``(..., m, n)``, float32, float64 or complex.
        pivot: Exchange rows, so that the largest element of each column divides it.

    Raises:
        LinAlgError: U has a zero on its diagonal, so that nothing can be solved with it.
    """
    name = "linalg.lu_factor"
    return LUFactor(*_lu(name, A, pivot, checked_by=name)[:2])


@under_autocast(FLOAT32)
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> LUFactorEx:
    """As `lu_factor`, but tells which matrices have a zero on U's diagonal, and raises only with ``check_errors``."""
    name = "linalg.lu_factor_ex"
    found, pivots, _ = _lu(name, A, pivot, checked_by=name if check_errors else "")
    return LUFactorEx(found, pivots, lu_info(found))


@under_autocast(FLOAT32)
def linalg_lu(A: Tensor, *, pivot: bool = True) -> PLU:
    """A permutation P, L with ones on its diagonal, and U, with ``P @ L @ U == A``; P is empty without ``pivot``."""
    found, _, order = _lu("linalg.lu", A, pivot, checked_by="")
    lower, upper = _triangles(found)
    return PLU(permutation(order, A.dtype).mT if pivot else filled(0.0, A, (0,)), lower, upper)


@tensor_method
@under_autocast(FLOAT32)
def lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> LUFactor | LUFactorEx:
    """L and U in one matrix, and the rows that were exchanged; with ``get_infos`` as `lu_factor_ex`."""
    found, pivots, _ = _lu("lu", A, pivot, checked_by="")
    return LUFactorEx(found, pivots, lu_info(found)) if get_infos else LUFactor(found, pivots)


def _lu(name: str, a: Tensor, pivot: bool, checked_by: str) -> tuple[Tensor, Tensor, Tensor]:
    check_matrix(name, a)
    found, pivots, order = matrices.unpack(ops.lu(a, pivot=pivot, checked_by=checked_by), lu_shapes(a))
    return found, cast(pivots.detach(), dt.int32), order.detach()


def lu_info(found: Tensor) -> Tensor:
    """Which element of U's diagonal is the first zero, counted from 1; 0 if none is. int32."""
    return first_of(ops.eq(diagonal(found.detach(), 0, -2, -1), 0.0))


def _triangles(found: Tensor) -> tuple[Tensor, Tensor]:
    m, n = found.shape[-2:]
    k = min(m, n)
    low = tril(sliced(found, found.ndim - 1, 0, k), -1)
    return ops.add(low, expanded(wide_identity(low), tuple(low.shape))), triu(sliced(found, found.ndim - 2, 0, k))


def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> PLU:
    """P, L and U from what `lu_factor` gives; those that are not asked for are empty."""
    name = "lu_unpack"
    check_matrix(name, LU_data, "LU_data")
    nothing = filled(0.0, LU_data, (0,))
    lower, upper = _triangles(LU_data) if unpack_data else (nothing, nothing)
    if not unpack_pivots:
        return PLU(nothing, lower, upper)
    return PLU(permutation(_order(name, LU_data, LU_pivots), LU_data.dtype).mT, lower, upper)


def _order(name: str, data: Tensor, pivots: Tensor) -> Tensor:
    m, n = data.shape[-2:]
    _check_pivots(name, pivots, data, min(m, n), 1)
    return ops.order_of_rows(pivots, rows=m)


def _check_pivots(name: str, pivots: Tensor, data: Tensor, count: int, least: int) -> None:
    """Refuse what are no pivots of factored matrices: so many rows' numbers for each, from ``least`` on."""
    check_tensor(name, pivots, "pivots")
    if pivots.dtype is not dt.int32:
        fail(DTypeError, f"{name}: pivots is {pivots.dtype.name}, not int32", "give what the factoring gave")
    if tuple(pivots.shape) != (*data.shape[:-2], count):
        fail(
            ShapeError,
            f"{name}: pivots of shape {tuple(pivots.shape)} for factors of shape {tuple(data.shape)}",
            "give both as the factoring gave them",
        )
    rows = data.shape[-2]

    def refuse(values: Any) -> NoReturn:
        reach = "" if values is None else f", they reach from {values.min()} to {values.max()}"
        fail(AxisError, f"{name}: pivots must be from {least} to {rows}{reach}", "give what the factoring gave")

    check_range(pivots, least, rows, refuse)


@under_autocast(FLOAT32)
def linalg_lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """X with ``A @ X == B``, where A is the matrix whose `lu_factor` is given; leading axes broadcast.

    Args:
        LU: Shape ``(..., n, n)``.
        pivots: Shape ``(..., n)``, int32.
        B: Shape ``(..., n, k)``, or ``(..., k, n)`` where not ``left``.
        left: Whether A stands on the left of X.
        adjoint: Solve with A transposed.
    """
    return _lu_solve("linalg.lu_solve", LU, pivots, B, left, adjoint)


@tensor_method
@under_autocast(FLOAT32)
def lu_solve(input: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """X with ``A @ X == input``, where A is the matrix whose `lu_factor` is given."""
    return _lu_solve("lu_solve", LU_data, LU_pivots, input, True, False)


def _lu_solve(name: str, data: Tensor, pivots: Tensor, b: Tensor, left: bool, adjoint: bool) -> Tensor:
    check_matrix(name, data, "LU", square=True)
    check_matrix(name, b, "B")
    check_same_dtype(name, data, b, "LU", "B")
    order = permutation(_order(name, data, pivots), data.dtype)
    turned = swap_last if adjoint is left else matrices.adjoint
    factors, given = broadcast_matrices(name, data, b if left else turned(b))
    if adjoint is left:
        # A is transposed: conjugating both sides is what is left of its adjoint.
        given = matrices.conjugate(given) if left else given
        half = ops.triangular_solve(factors.mT, given, upper=False)
        found = matmul(order.mT, ops.triangular_solve(factors.mT, half, upper=True, unit=True))
        return matrices.conjugate(found) if left else found.mT
    half = ops.triangular_solve(factors, matmul(order, given), upper=False, unit=True)
    found = ops.triangular_solve(factors, half, upper=True)
    return found if left else found.mH


# Symmetric matrices ------------------------------------------------------------------------------------


def ldl_factor(input: Tensor, *, hermitian: bool = False) -> LDLFactor:
    """L and D of ``A == P @ L @ D @ L.mT @ P.mT``, A symmetric but not definite, in LAPACK's form; no gradient.

    Args:
        input: Shape ``(..., n, n)``, float32, float64 or complex; the lower triangle is read.
        hermitian: Of complex numbers: A is Hermitian, and ``L.mH`` is in the place of ``L.mT``.

    Returns:
        L and D, which has blocks of one or two rows, in one triangle; and int32 pivots: p > 0 where a row was exchanged
        with row p, twice -p where a block of two rows begins, whose second one was.

    Raises:
        LinAlgError: D has a row of zeros, so that nothing can be solved with it.
    """
    found = _ldl("linalg.ldl_factor", input, hermitian)
    _check_regular("linalg.ldl_factor", found)
    return LDLFactor(*found[:2])


def ldl_factor_ex(input: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> LDLFactorEx:
    """As `ldl_factor`, but tells which matrices give a zero in D, and raises only with ``check_errors``."""
    found = _ldl("linalg.ldl_factor_ex", input, hermitian)
    if check_errors:
        _check_regular("linalg.ldl_factor_ex", found)
    return found


def _ldl(name: str, a: Tensor, hermitian: bool) -> LDLFactorEx:
    check_matrix(name, a, square=True)
    found, pivots = matrices.unpack(ops.ldl(a, hermitian=hermitian), ldl_shapes(a))
    pivots = cast(matrices.real_part(pivots), dt.int32)
    empty = ops.bitwise_and(ops.eq(diagonal(found.detach(), 0, -2, -1), 0.0), ops.gt(pivots, 0))
    return LDLFactorEx(found, pivots, first_of(empty))


def _check_regular(name: str, found: LDLFactorEx) -> None:
    worst = int(found.info.max()) if found.info.numel() else 0
    if worst:
        raise LinAlgError(f"{name}: D[{worst},{worst}] is zero, and using it to solve would divide by it",
                          hint="linalg.ldl_factor_ex tells instead of raising")  # fmt: skip


def linalg_ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """X with ``A @ X == B``, where A is the matrix whose `ldl_factor` is given; leading axes broadcast. No gradient."""
    name = "linalg.ldl_solve"
    check_matrix(name, LD, "LD", square=True)
    check_matrix(name, B, "B")
    check_same_dtype(name, LD, B, "LD", "B")
    _check_pivots(name, pivots, LD, LD.shape[-1], -LD.shape[-1])
    factors, given = broadcast_matrices(name, LD, B)
    return ops.ldl_solve(factors, expanded(pivots, tuple(factors.shape[:-1])), given, hermitian=hermitian)
