"""The normal distribution of vectors whose covariance is a diagonal and a matrix of low rank."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as fn
from tracec import linalg
from tracec.distributions import constraints
from tracec.distributions.distribution import Distribution, Shape
from tracec.distributions.multivariate_normal import half_log_det, mahalanobis
from tracec.errors import ArgumentError
from tracec.ir.types import broadcast_shapes
from tracec.record.tensor import Tensor


class LowRankMultivariateNormal(Distribution):
    """The normal distribution of vectors with the covariance ``cov_factor cov_factorᵀ + diag(cov_diag)``.

    What is decomposed is a matrix of the rank's size, by the matrix determinant lemma and Woodbury's identity.

    Args:
        loc: The mean, shape ``(..., n)``.
        cov_factor: The factor, shape ``(..., n, rank)``.
        cov_diag: The diagonal, shape ``(..., n)``, positive.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: an argument has too few axes, or their sizes do not fit.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None
    ) -> None:  # fmt: skip
        name = "LowRankMultivariateNormal"
        if loc.ndim < 1:
            raise ArgumentError(f"{name}: loc must be at least one-dimensional.")
        n = loc.shape[-1]
        if cov_factor.ndim < 2 or cov_factor.shape[-2] != n:
            raise ArgumentError(
                f"{name}: cov_factor must be a batch of matrices with shape {n} x rank, {tuple(cov_factor.shape)} given"
            )
        if cov_diag.ndim < 1 or cov_diag.shape[-1] != n:
            raise ArgumentError(
                f"{name}: cov_diag must be a batch of vectors with shape ({n},), {tuple(cov_diag.shape)} given"
            )
        batch = broadcast_shapes(tuple(loc.shape[:-1]), tuple(cov_factor.shape[:-2]), tuple(cov_diag.shape[:-1]))
        self.loc: Tensor = loc.expand(*batch, n)
        self.cov_factor: Tensor = cov_factor.expand(*batch, n, cov_factor.shape[-1])
        self.cov_diag: Tensor = cov_diag.expand(*batch, n)
        super().__init__(batch, (n,), validate_args=validate_args)
        self._capacitance_tril = linalg.cholesky(_capacitance(self.cov_factor, self.cov_diag))

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return fn.sum(fn.square(self.cov_factor), dim=-1) + self.cov_diag

    @property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        return fn.matmul(self.cov_factor, self.cov_factor.mT) + fn.diag_embed(self.cov_diag)

    @property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance."""
        return linalg.cholesky(self.covariance_matrix)

    @property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance, by Woodbury's identity."""
        scaled = self.cov_factor.mT / fn.unsqueeze(self.cov_diag, -2)
        half = linalg.solve_triangular(self._capacitance_tril, scaled, upper=False)
        return fn.diag_embed(fn.reciprocal(self.cov_diag)) - fn.matmul(half.mT, half)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        place: Any = {"dtype": self.loc.dtype, "device": self.loc.device}
        eps_factor = fn.randn((*shape[:-1], self.cov_factor.shape[-1]), **place)
        eps_diag = fn.randn(shape, **place)
        along = fn.squeeze(fn.matmul(self.cov_factor, fn.unsqueeze(eps_factor, -1)), -1)
        return self.loc + along + fn.sqrt(self.cov_diag) * eps_diag

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        apart = self._mahalanobis(value - self.loc)
        return -0.5 * (self.event_shape[0] * math.log(2 * math.pi) + self._log_det() + apart)

    def _mahalanobis(self, x: Tensor) -> Tensor:
        """The square of the length of x, measured by the inverse of the covariance."""
        scaled = x / self.cov_diag
        along = fn.squeeze(fn.matmul(self.cov_factor.mT, fn.unsqueeze(scaled, -1)), -1)
        return fn.sum(x * scaled, dim=-1) - mahalanobis(self._capacitance_tril, along)

    def _log_det(self) -> Tensor:
        """The logarithm of the covariance's determinant."""
        return 2 * half_log_det(self._capacitance_tril) + fn.sum(fn.log(self.cov_diag), dim=-1)

    def entropy(self) -> Tensor:
        return 0.5 * (self.event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._log_det())


def _capacitance(factor: Tensor, diag: Tensor) -> Tensor:
    """``1 + factorᵀ diag⁻¹ factor``."""
    eye = fn.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    return fn.matmul(factor.mT, factor / fn.unsqueeze(diag, -1)) + eye
