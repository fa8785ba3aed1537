"""The normal distribution of vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from tracec import functions as fn
from tracec import linalg
from tracec.distributions import constraints
from tracec.distributions.constraints import Constraint
from tracec.distributions.distribution import Distribution, Shape
from tracec.errors import ArgumentError
from tracec.ir.types import broadcast_shapes
from tracec.record.tensor import Tensor


class MultivariateNormal(Distribution):
    """The normal distribution of vectors with a mean and a covariance.

    Args:
        loc: The mean, shape ``(..., n)``.
        covariance_matrix: The covariance, shape ``(..., n, n)``; or
        precision_matrix: its inverse; or
        scale_tril: its lower Cholesky factor.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: not exactly one of the matrices is given, or the mean has no axis.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    has_rsample = True

    def __init__(
        self, loc: Tensor, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None, validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        if loc.ndim < 1:
            raise ArgumentError("MultivariateNormal: loc must be at least one-dimensional.")
        matrices = {
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }
        given = {k: m for k, m in matrices.items() if m is not None}
        if len(given) != 1:
            raise ArgumentError(
                "MultivariateNormal: exactly one of covariance_matrix, precision_matrix, scale_tril may be specified."
            )
        ((name, matrix),) = given.items()
        if matrix.ndim < 2:
            raise ArgumentError(
                f"MultivariateNormal: {name} must be at least two-dimensional, with optional leading batch"
            )
        batch = broadcast_shapes(tuple(matrix.shape[:-2]), tuple(loc.shape[:-1]))
        n = loc.shape[-1]
        self.loc: Tensor = loc.expand(*batch, n)
        self.__dict__[name] = matrix.expand(*batch, n, n)
        super().__init__(batch, (n,), validate_args=validate_args)
        if name == "scale_tril":
            self._tril: Tensor = self.__dict__[name]
        elif name == "covariance_matrix":
            self._tril = linalg.cholesky(self.__dict__[name])
        else:
            self._tril = _factor_of_inverse(self.__dict__[name])

    def __getattr__(self, name: str) -> Any:
        if name == "scale_tril":
            return self._tril
        if name == "covariance_matrix":
            return fn.matmul(self._tril, self._tril.mT)
        if name == "precision_matrix":
            return fn.cholesky_inverse(self._tril)
        raise AttributeError(name)

    @property
    def support(self) -> Constraint:
        return constraints.real_vector

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return fn.sum(fn.square(self._tril), dim=-1).expand(self._extended_shape())  # type: ignore[no-any-return]

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        eps = fn.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + fn.squeeze(fn.matmul(self._tril, fn.unsqueeze(eps, -1)), -1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        apart = mahalanobis(self._tril, value - self.loc)
        return -0.5 * (self.event_shape[0] * math.log(2 * math.pi) + apart) - self._half_log_det()  # type: ignore[no-any-return]

    def _half_log_det(self) -> Tensor:
        return fn.sum(fn.log(fn.diagonal(self._tril, 0, -2, -1)), dim=-1)

    def entropy(self) -> Tensor:
        return 0.5 * self.event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._half_log_det()  # type: ignore[no-any-return]


def mahalanobis(tril: Tensor, x: Tensor) -> Tensor:
    """The square of the length of ``tril⁻¹ x``."""
    shape = broadcast_shapes(tuple(tril.shape[:-1]), tuple(x.shape))
    columns = fn.unsqueeze(x.expand(shape), -1)
    solved = linalg.solve_triangular(tril.expand(*shape, shape[-1]), columns, upper=False)
    return fn.sum(fn.square(fn.squeeze(solved, -1)), dim=-1)


def _factor_of_inverse(precision: Tensor) -> Tensor:
    """The lower Cholesky factor of the inverse: of the matrix with its axes reversed, then inverted and turned back."""
    turned = linalg.cholesky(fn.flip(precision, (-2, -1)))
    upper = fn.flip(turned, (-2, -1)).mT
    eye = fn.eye(precision.shape[-1], dtype=precision.dtype, device=precision.device)
    return linalg.solve_triangular(upper, eye.expand(precision.shape), upper=False)
