"""Eigenvalues and singular values."""

from __future__ import annotations

from typing import NamedTuple

from tracec import ops
from tracec.errors import ArgumentError
from tracec.functions.common import check_choice, fail, filled
from tracec.functions.decomposition import check_matrix
from tracec.ops import matrices
from tracec.ops.spectral import svd_shapes
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


class SVD(NamedTuple):
    """Left singular vectors, singular values, and right singular vectors as rows."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class OldSVD(NamedTuple):
    """Left singular vectors, singular values, and right singular vectors as columns."""

    U: Tensor
    S: Tensor
    V: Tensor


class Eigh(NamedTuple):
    """Eigenvalues, rising, and eigenvectors as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class Eig(NamedTuple):
    """Eigenvalues, in no order, and eigenvectors as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


@under_autocast(FLOAT32)
def eigh(input: Tensor, UPLO: str = "L") -> Eigh:
    """Eigenvalues, rising, and eigenvectors of Hermitian matrices: ``V @ diag(w) @ V.mH == input``.

    Args:
        input: Hermitian, shape ``(..., n, n)``, float32, float64 or complex. One triangle is read; the gradient is
            that along Hermitian changes.
        UPLO: The triangle, ``"L"`` or ``"U"``.

    Returns:
        Eigenvalues, shape ``(..., n)``, and eigenvectors as columns, whose signs are arbitrary. The gradient of the
        eigenvectors is defined where no two eigenvalues are equal; elsewhere it is right for what does not depend on
        the choice of vectors for equal values.

    Raises:
        LinAlgError: the algorithm does not converge.
    """
    a = _symmetric("linalg.eigh", input, UPLO)
    n = input.shape[-1]
    w, v = matrices.unpack(ops.eigh(a), ((n,), (n, n)))
    return Eigh(matrices.real_part(w), v)


@under_autocast(FLOAT32)
def eigvalsh(input: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues, rising, of Hermitian matrices; see `eigh`. Their gradient is defined everywhere."""
    return ops.eigvalsh(_symmetric("linalg.eigvalsh", input, UPLO))


def _symmetric(name: str, a: Tensor, uplo: str) -> Tensor:
    check_choice(name, "UPLO", uplo, ("L", "U", "l", "u"))
    check_matrix(name, a, square=True)
    return a if uplo in "Ll" else a.mH


@under_autocast(FLOAT32)
def eig(input: Tensor) -> Eig:
    """Eigenvalues, in no order, and eigenvectors of square matrices: ``input @ V == V @ diag(w)``.

    Args:
        input: Shape ``(..., n, n)``, float32, float64 or complex.

    Returns:
        Eigenvalues, shape ``(..., n)``, and eigenvectors as columns of length 1, whose largest element is real. Both
        are complex. Their gradient is defined where no two eigenvalues are equal.

    Raises:
        LinAlgError: the input is not finite, or the algorithm does not converge.
    """
    check_matrix("linalg.eig", input, square=True)
    n = input.shape[-1]
    return Eig(*matrices.unpack(ops.eig(input), ((n,), (n, n))))


@under_autocast(FLOAT32)
def eigvals(input: Tensor) -> Tensor:
    """The eigenvalues, in no order, of square matrices; see `eig`."""
    check_matrix("linalg.eigvals", input, square=True)
    return ops.eigvals(input)


@tensor_method
@under_autocast(FLOAT32)
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> OldSVD:
    """U, S and V with ``U @ diag(S) @ V.mH`` the input; see `linalg_svd`.

    Args:
        input: Shape ``(..., m, n)``.
        some: Give as many vectors as values; else U and V are square.
        compute_uv: Without it, U and V are square and zero.
    """
    check_matrix("svd", input, "input")
    if not compute_uv:
        lead, (m, n) = tuple(input.shape[:-2]), input.shape[-2:]
        u, v = (filled(0.0, input, (*lead, size, size)) for size in (m, n))
        return OldSVD(u, ops.svdvals(input), v)
    u, s, vh = _svd(input, full=not some)
    return OldSVD(u, s, vh.mH)


@under_autocast(FLOAT32)
def linalg_svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> SVD:
    """U, S and Vh with ``U @ diag(S) @ Vh == A``; S is not negative, and falls.

    Args:
        A: Shape ``(..., m, n)``, float32, float64 or complex.
        full_matrices: U is m by m and Vh n by n; else they have as many vectors as there are values.
        driver: None: the library's own choice.

    Returns:
        Vectors, whose signs are arbitrary, and values. The gradient of the vectors is defined where all values differ
        and none is zero; elsewhere it is right for what does not depend on the choice of vectors for equal values.

    Raises:
        LinAlgError: A is not finite, or the algorithm does not converge.
    """
    check_matrix("linalg.svd", A)
    _check_driver("linalg.svd", driver)
    return SVD(*_svd(A, full=full_matrices))


def _svd(a: Tensor, full: bool) -> list[Tensor]:
    full = full and a.shape[-1] != a.shape[-2]
    u, s, vh = matrices.unpack(ops.svd(a, full=full), svd_shapes(a, full))
    return [u, matrices.real_part(s), vh]


def _check_driver(name: str, driver: str | None) -> None:
    if driver is not None:
        fail(ArgumentError, f"{name}: driver={driver!r} cannot be chosen", "leave it out: the library chooses")


@under_autocast(FLOAT32)
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values, falling; see `linalg_svd`. Their gradient is defined where none is zero."""
    check_matrix("linalg.svdvals", A)
    _check_driver("linalg.svdvals", driver)
    return ops.svdvals(A)
