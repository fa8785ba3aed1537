"""Transforms to matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tracec import functions as fn
from tracec import linalg
from tracec.distributions import constraints
from tracec.distributions.transforms.base import Transform
from tracec.distributions.utils import eps_of, tiny_of, tril_matrix_to_vec, vec_to_tril_matrix
from tracec.errors import ArgumentError
from tracec.record.tensor import Tensor


class LowerCholeskyTransform(Transform):
    """Square matrices to lower triangular ones with a positive diagonal, the exponential of theirs."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LowerCholeskyTransform)

    __hash__ = Transform.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return fn.tril(x, -1) + fn.diag_embed(fn.exp(fn.diagonal(x, 0, -2, -1)))

    def _inverse(self, y: Tensor) -> Tensor:
        return fn.tril(y, -1) + fn.diag_embed(fn.log(fn.diagonal(y, 0, -2, -1)))


class PositiveDefiniteTransform(Transform):
    """Square matrices to positive definite ones, whose lower Cholesky factor `LowerCholeskyTransform` makes."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PositiveDefiniteTransform)

    __hash__ = Transform.__hash__

    def _call(self, x: Tensor) -> Tensor:
        factor = LowerCholeskyTransform()(x)
        return fn.matmul(factor, factor.mT)

    def _inverse(self, y: Tensor) -> Tensor:
        return LowerCholeskyTransform().inv(linalg.cholesky(y))


class CorrCholeskyTransform(Transform):
    """n (n - 1) / 2 numbers to the lower Cholesky factor of an n × n correlation matrix.

    ``tanh`` makes partial correlations of them, and each row of the factor is filled from the left with what they
    leave of a length of 1.

    Source: Lewandowski, Kurowicka, Joe, "Generating random correlation matrices based on vines and extended onion
    method", 2009.
    """

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        x = fn.tanh(x)
        eps = eps_of(x)
        partial = vec_to_tril_matrix(fn.clamp(x, min=-1 + eps, max=1 - eps), diag=-1)
        left = fn.cumprod(fn.sqrt(1 - fn.square(partial)), dim=-1)
        eye = fn.eye(partial.shape[-1], dtype=partial.dtype, device=partial.device)
        return (partial + eye) * fn.pad(left[..., :-1], [1, 0], value=1.0)

    def _inverse(self, y: Tensor) -> Tensor:
        # What is left of each row, of the elements before, whose squares are summed up.
        left = fn.pad((1 - fn.cumsum(fn.square(y), dim=-1))[..., :-1], [1, 0], value=1.0)
        part = tril_matrix_to_vec(y, diag=-1) / fn.sqrt(tril_matrix_to_vec(left, diag=-1))
        # atanh, with its ends kept finite.
        return (fn.log1p(part) - fn.log1p(-part)) / 2

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        left = fn.cumsum(fn.square(y), dim=-1)
        rest = tril_matrix_to_vec(fn.log(fn.clamp(1 - left, min=tiny_of(y))), diag=-2)
        slope = -2 * fn.sum(x + fn.softplus(-2 * x) - math.log(2.0), dim=-1)
        return 0.5 * fn.sum(rest, dim=-1) + slope

    def forward_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        if len(shape) < 1:
            raise ArgumentError("CorrCholeskyTransform: too few dimensions on input", hint="give vectors")
        count = shape[-1]
        n = round(math.sqrt(0.25 + 2 * count) + 0.5)
        if n * (n - 1) // 2 != count:
            raise ArgumentError(
                f"CorrCholeskyTransform: input is not a flattened lower-diagonal number: {count} elements",
                hint="give n * (n - 1) / 2 of them",
            )
        return (*shape[:-1], n, n)

    def inverse_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        if len(shape) < 2:
            raise ArgumentError("CorrCholeskyTransform: too few dimensions on input", hint="give matrices")
        if shape[-2] != shape[-1]:
            raise ArgumentError(f"CorrCholeskyTransform: input is not square: {tuple(shape)}", hint="give n × n ones")
        n = shape[-1]
        return (*shape[:-2], n * (n - 1) // 2)
