"""The Wishart distribution."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as fn
from tracec import linalg
from tracec.distributions import constraints
from tracec.distributions.chi2 import Chi2
from tracec.distributions.distribution import Shape
from tracec.distributions.multivariate_normal import OfCovariance, factor_of, half_log_det, one_matrix
from tracec.ir.types import broadcast_shapes
from tracec.record.tensor import Tensor


class Wishart(OfCovariance):
    """The distribution of the sum of ``x xᵀ`` of ``df`` normal vectors x with a covariance.

    Args:
        df: Degrees of freedom, more than the vectors' size less 1.
        covariance_matrix: The covariance, shape ``(..., n, n)``; or
        precision_matrix: its inverse; or
        scale_tril: its lower Cholesky factor.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: not exactly one of the matrices is given, or there are too few degrees of freedom.
    """

    arg_constraints = {"df": constraints.greater_than(0), **OfCovariance.arg_constraints}
    support = constraints.positive_definite
    has_rsample = True

    def __init__(
        self, df: Any, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None, validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        name, matrix = one_matrix("Wishart", covariance_matrix, precision_matrix, scale_tril)
        df = fn.as_tensor(df, dtype=matrix.dtype, device=matrix.device)
        batch = broadcast_shapes(tuple(df.shape), tuple(matrix.shape[:-2]))
        n = matrix.shape[-1]
        self.df: Tensor = df.expand(batch)
        self.__dict__[name] = matrix.expand(*batch, n, n)
        super().__init__(batch, (n, n), validate_args=validate_args)
        if self._validate_args:
            self._require(
                fn.gt(self.df, n - 1), f"df must be greater than ndim - 1 = {n - 1}", "give more degrees of freedom"
            )
        self._unbroadcasted_scale_tril = factor_of(name, self.__dict__[name])

    @property
    def _df(self) -> Tensor:
        """Degrees of freedom beside matrices."""
        return fn.reshape(self.df, (*self.batch_shape, 1, 1))

    @property
    def mean(self) -> Tensor:
        return self._df * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        n = self.event_shape[-1]
        factor = self._df - n - 1
        return fn.where(fn.gt(factor, 0), factor, math.nan) * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        v = self.covariance_matrix
        diagonal = fn.diagonal(v, 0, -2, -1)
        return self._df * (fn.square(v) + fn.unsqueeze(diagonal, -1) * fn.unsqueeze(diagonal, -2))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw matrices.

        Source: Smith, Hocking, "Algorithm AS 53: Wishart Variate Generator", 1972.
        """
        shape, n = self._extended_shape(sample_shape), self.event_shape[-1]
        place: Any = {"dtype": self.df.dtype, "device": self.df.device}
        freedom = fn.unsqueeze(self.df, -1) - fn.arange(n, **place)
        roots = fn.sqrt(Chi2(freedom, validate_args=False).rsample(sample_shape))
        noise = fn.tril(fn.randn(shape, **place), -1) + fn.diag_embed(roots)
        factor = fn.matmul(self._unbroadcasted_scale_tril, noise)
        return fn.matmul(factor, factor.mT)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n, half = self.event_shape[-1], 0.5 * self.df
        shape = broadcast_shapes(tuple(value.shape), tuple(self._unbroadcasted_scale_tril.shape))
        value = value.expand(shape)
        solved = fn.cholesky_solve(value, self._unbroadcasted_scale_tril.expand(shape))
        trace = fn.sum(fn.diagonal(solved, 0, -2, -1), dim=-1)
        size = (n + 1 - self.df) / 2 * linalg.slogdet(value)[1]
        return -self._log_norm() - size - 0.5 * trace - fn.mvlgamma(half, n)

    def _log_norm(self) -> Tensor:
        """The part of the normalising constant that depends on the covariance."""
        log_det = half_log_det(self._unbroadcasted_scale_tril)
        return self.df * log_det + 0.5 * self.df * self.event_shape[-1] * math.log(2)

    def entropy(self) -> Tensor:
        n, half = self.event_shape[-1], 0.5 * self.df
        places = fn.arange(n, dtype=self.df.dtype, device=self.df.device)
        digammas = fn.sum(fn.digamma(fn.unsqueeze(half, -1) - 0.5 * places), dim=-1)
        log_det = digammas + n * math.log(2) + 2 * half_log_det(self._unbroadcasted_scale_tril)
        return self._log_norm() + fn.mvlgamma(half, n) - 0.5 * (self.df - n - 1) * log_det + half * n
