"""Decompositions of matrices that are close to ones of low rank, by random projections."""

from __future__ import annotations

from tracec import ops
from tracec.errors import ArgumentError, ShapeError
from tracec.functions.common import fail
from tracec.functions.decomposition import check_matrix, linalg_qr
from tracec.functions.eigenvalues import OldSVD, linalg_svd
from tracec.functions.linalg import matmul
from tracec.functions.random import randn
from tracec.functions.reduction import mean
from tracec.record.tensor import Tensor


def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None) -> OldSVD:
    """U, S and V with ``U @ diag(S) @ V.mH`` close to A, or to ``A - M``, if that is close to a matrix of rank q.

    Args:
        A: Shape ``(..., m, n)``, float32, float64 or complex.
        q: How many singular values; somewhat more than the rank. 6 by default.
        niter: How often the projection is multiplied by A and its transpose; 2 by default.
        M: Subtracted from A; its shape broadcasts.

    Raises:
        ArgumentError: q is larger than a side of the matrices, or ``niter`` negative.

    Source: Halko, Martinsson, Tropp, "Finding structure with randomness", 2009, algorithms 4.4 and 5.1.
    """
    check_matrix("svd_lowrank", A)
    count, rounds = 6 if q is None else q, 2 if niter is None else niter
    if not 0 <= count <= min(A.shape[-2:]):
        fail(ArgumentError, f"svd_lowrank: q={q} for matrices of {A.shape[-2]} by {A.shape[-1]}", "q is no larger")
    if rounds < 0:
        fail(ArgumentError, f"svd_lowrank: niter={niter} is negative", "give a number of 0 or more")
    x = A if M is None else ops.sub(A, M)
    if A.shape[-2] < A.shape[-1]:
        v, s, u = _tall(x.mH, count, rounds)
    else:
        u, s, v = _tall(x, count, rounds)
    return OldSVD(u, s, v)


def _tall(x: Tensor, count: int, rounds: int) -> tuple[Tensor, Tensor, Tensor]:
    q = linalg_qr(matmul(x, randn(x.shape[-1], count, dtype=x.dtype, device=x.device))).Q
    for _ in range(rounds):
        q = linalg_qr(matmul(x.mH, q)).Q
        q = linalg_qr(matmul(x, q)).Q
    u, s, vh = linalg_svd(matmul(q.mH, x), full_matrices=False)
    return matmul(q, u), s, vh.mH


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> OldSVD:
    """Principal components: `svd_lowrank` of a matrix whose columns have been centred.

    Args:
        A: Shape ``(..., m, n)``: m observations of n variables.
        q: How many components; by default 6, or the smaller of m and n.
        center: Subtract each column's mean.
        niter: As in `svd_lowrank`.

    Returns:
        U, S and V: the columns of V are the principal directions, ``A @ V`` the projections.

    Raises:
        ArgumentError: q is larger than a side of the matrices, or ``niter`` negative.
        ShapeError: there are no observations to centre.
    """
    check_matrix("pca_lowrank", A)
    most = min(A.shape[-2:])
    count = min(6, most) if q is None else q
    if not 0 <= count <= most:
        fail(ArgumentError, f"pca_lowrank: q={q} is not between 0 and {most}, the smaller side", "ask for fewer")
    if niter < 0:
        fail(ArgumentError, f"pca_lowrank: niter={niter} is negative", "give a number of 0 or more")
    if not A.shape[-2] and center:
        fail(ShapeError, f"pca_lowrank: A of shape {tuple(A.shape)} has no rows to centre", "give observations")
    return svd_lowrank(ops.sub(A, mean(A, -2, keepdim=True)) if center else A, count, niter)
