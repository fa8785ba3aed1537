"""Orthogonal matrices as a parametrisation."""

from __future__ import annotations

from tracec.errors import ArgumentError, RecordError, ShapeError
from tracec.functions import cat, diagonal, eye, geqrf, matmul, matrix_exp, randn, sign, sum, tril, unsqueeze, where
from tracec.functions.decomposition import householder_product, linalg_qr
from tracec.functions.solving import solve
from tracec.nn import functional as F
from tracec.nn.module import Module
from tracec.nn.utils.parametrize import register_parametrization
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor

_MAPS = ("matrix_exp", "cayley", "householder")


class _Orthogonal(Module):
    """A matrix with orthonormal columns, or rows where those are fewer, from any matrix of its shape.

    Args:
        weight: The weight at first.
        by: ``matrix_exp``, ``cayley`` or ``householder``.
        based: Whether maps go out from the weight as it was set, made orthogonal.
    """

    base: Tensor | None

    def __init__(self, weight: Tensor, by: str, based: bool) -> None:
        super().__init__()
        self.by, self.based, self.shape = by, based, tuple(weight.shape)
        if based:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        """The orthogonal matrix."""
        wide = X.shape[-2] < X.shape[-1]
        tall = X.mT if wide else X
        rows, columns = tall.shape[-2:]
        if self.by == "householder":
            A = tril(tall, -1)
            Q = householder_product(A, 2.0 / (1.0 + sum(A * A, -2)))
            # The signs; no gradient goes through them.
            Q = Q * unsqueeze(diagonal(tall.detach(), dim1=-2, dim2=-1).int(), -2)
        else:
            A = tril(tall)
            A = F.pad(A, (0, rows - columns)) if rows != columns else A
            A = A - A.mT
            if self.by == "matrix_exp":
                Q = matrix_exp(A)
            else:
                unit = eye(rows, dtype=X.dtype, device=X.device)
                Q = solve(unit - 0.5 * A, unit + 0.5 * A)
            Q = Q[..., :columns] if rows != columns else Q
        if self.based:
            assert self.base is not None
            Q = matmul(self.base, Q)
        return Q.mT if wide else Q

    def right_inverse(self, Q: Tensor) -> Tensor:
        """What the matrix is computed from; where there is a base, it becomes the matrix.

        Raises:
            RecordError: there is no base, and the map has no inverse here.
            ShapeError: the matrix has another shape.
        """
        if tuple(Q.shape) != self.shape:
            raise ShapeError(f"orthogonal: shape {tuple(Q.shape)}, not {self.shape}", hint="give the weight's shape")
        with no_grad():
            wide = Q.shape[-2] < Q.shape[-1]
            tall = Q.mT if wide else Q
            rows, columns = tall.shape[-2:]
            if not self.based:
                return self._reflections(tall, wide)
            if rows != columns:
                more = randn(*tall.shape[:-1], rows - columns, dtype=Q.dtype, device=Q.device)
                tall = cat([tall, more], -1)
            self.base = tall.clone() if rows == columns and _is_orthogonal(tall) else _orthonormal(tall)
            # What all three maps take to the identity.
            return Q * 0.0 - eye(*Q.shape[-2:], dtype=Q.dtype, device=Q.device)

    def _reflections(self, tall: Tensor, wide: bool) -> Tensor:
        if self.by != "householder":
            raise RecordError(
                f"orthogonal: a value cannot be assigned to the map {self.by} when use_trivialization=False",
                hint="use_trivialization=True, or orthogonal_map='householder'",
            )
        A, tau = geqrf(tall)
        line = diagonal(A, dim1=-2, dim2=-1)
        signs = where(tau == 0, -sign(line), sign(line))
        square = eye(*A.shape[-2:], dtype=A.dtype, device=A.device)
        A = A * (1.0 - square) + square * unsqueeze(signs, -2)
        return A.mT if wide else A


def _orthonormal(A: Tensor) -> Tensor:
    """Orthonormal columns that span what the columns span, by Householder's reflections."""
    Q, R = linalg_qr(A)
    return Q * unsqueeze(sign(diagonal(R, dim1=-2, dim2=-1)), -2)


def _is_orthogonal(Q: Tensor) -> bool:
    rows, columns = Q.shape[-2:]
    off = matmul(Q.mT, Q) - eye(columns, dtype=Q.dtype, device=Q.device)
    bound = 10.0 * rows * (2.0**-52 if Q.element_size() == 8 else 2.0**-23)
    return bool((off.abs() < bound).all())


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Have a weight be orthogonal: with orthonormal columns, or rows where those are fewer.

    Args:
        module: The module.
        name: The name of the weight, a matrix or a batch of them.
        orthogonal_map: ``matrix_exp``, ``cayley`` or ``householder``; by default the first for square matrices, the
            last for others.
        use_trivialization: Whether maps go out from the weight as it is set, made orthogonal.

    Returns:
        The module.

    Raises:
        ArgumentError: there is no such weight, or no such map.

    Source: Lezcano-Casado, Martínez-Rubio, "Cheap Orthogonal Constraints in Neural Networks", 2019; Lezcano-Casado,
    "Trivializations for Gradient-Based Optimization on Manifolds", 2019.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ArgumentError(
            f"orthogonal: {type(module).__name__} has no parameter or buffer with name '{name}'", hint="name one"
        )
    if weight.ndim < 2:
        raise ArgumentError(
            f"orthogonal: expected a matrix or batch of matrices, got shape {tuple(weight.shape)}", hint="reshape it"
        )
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in _MAPS:
        raise ArgumentError(f"orthogonal: orthogonal_map={orthogonal_map!r}", hint=f"use one of {', '.join(_MAPS)}")
    made = _Orthogonal(weight, orthogonal_map, use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
