"""The normal distribution of vectors."""

from __future__ import annotations

import math

from tracec import functions as fn
from tracec import linalg
from tracec.distributions import constraints
from tracec.distributions.distribution import Distribution, Shape
from tracec.distributions.utils import lazy_property
from tracec.errors import ArgumentError
from tracec.ir.types import broadcast_shapes
from tracec.record.tensor import Tensor


class OfCovariance(Distribution):
    """A distribution that one of three matrices describes: a covariance, its inverse, or its Cholesky factor."""

    arg_constraints = {
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    _unbroadcasted_scale_tril: Tensor  # by PyTorch's name, which distributions made of these read

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance."""
        return self._unbroadcasted_scale_tril

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        return fn.matmul(self._unbroadcasted_scale_tril, self._unbroadcasted_scale_tril.mT)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        return fn.cholesky_inverse(self._unbroadcasted_scale_tril)


class MultivariateNormal(OfCovariance):
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

    arg_constraints = {"loc": constraints.real_vector, **OfCovariance.arg_constraints}
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, loc: Tensor, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None, validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        if loc.ndim < 1:
            raise ArgumentError("MultivariateNormal: loc must be at least one-dimensional.")
        name, matrix = one_matrix("MultivariateNormal", covariance_matrix, precision_matrix, scale_tril)
        batch = broadcast_shapes(tuple(matrix.shape[:-2]), tuple(loc.shape[:-1]))
        n = loc.shape[-1]
        self.loc: Tensor = loc.expand(*batch, n)
        self.__dict__[name] = matrix.expand(*batch, n, n)
        super().__init__(batch, (n,), validate_args=validate_args)
        self._unbroadcasted_scale_tril = factor_of(name, self.__dict__[name])

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return fn.sum(fn.square(self._unbroadcasted_scale_tril), dim=-1).expand(self._extended_shape())

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        eps = fn.randn(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + fn.squeeze(fn.matmul(self._unbroadcasted_scale_tril, fn.unsqueeze(eps, -1)), -1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        tril = self._unbroadcasted_scale_tril
        apart = mahalanobis(tril, value - self.loc)
        return -0.5 * (self.event_shape[0] * math.log(2 * math.pi) + apart) - half_log_det(tril)

    def entropy(self) -> Tensor:
        return 0.5 * self.event_shape[0] * (1.0 + math.log(2 * math.pi)) + half_log_det(self._unbroadcasted_scale_tril)


def one_matrix(
    name: str, covariance_matrix: Tensor | None, precision_matrix: Tensor | None, scale_tril: Tensor | None
) -> tuple[str, Tensor]:
    """The name and value of the one matrix that is given.

    Raises:
        ArgumentError: none is, or several are, or it has fewer than two axes.
    """
    matrices = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril}
    given = [(k, m) for k, m in matrices.items() if m is not None]
    if len(given) != 1:
        raise ArgumentError(f"{name}: exactly one of {', '.join(matrices)} may be specified.")
    if given[0][1].ndim < 2:
        raise ArgumentError(
            f"{name}: {given[0][0]} must be at least two-dimensional, with optional leading batch dimensions"
        )
    return given[0]


def factor_of(name: str, matrix: Tensor) -> Tensor:
    """The lower Cholesky factor of the covariance, from a matrix of that name."""
    if name == "scale_tril":
        return matrix
    if name == "covariance_matrix":
        return linalg.cholesky(matrix)
    # Of the inverse: that of the matrix with its axes reversed, then inverted and turned back.
    turned = linalg.cholesky(fn.flip(matrix, (-2, -1)))
    upper = fn.flip(turned, (-2, -1)).mT
    eye = fn.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    return linalg.solve_triangular(upper, eye.expand(matrix.shape), upper=False)


def mahalanobis(tril: Tensor, x: Tensor) -> Tensor:
    """The square of the length of ``tril⁻¹ x``."""
    shape = broadcast_shapes(tuple(tril.shape[:-1]), tuple(x.shape))
    columns = fn.unsqueeze(x.expand(shape), -1)
    solved = linalg.solve_triangular(tril.expand(*shape, shape[-1]), columns, upper=False)
    return fn.sum(fn.square(fn.squeeze(solved, -1)), dim=-1)


# By PyTorch's names, for distributions that programs make.
_batch_mahalanobis = mahalanobis


def _batch_mv(bmat: Tensor, bvec: Tensor) -> Tensor:
    """Matrices times vectors."""
    return fn.squeeze(fn.matmul(bmat, fn.unsqueeze(bvec, -1)), -1)


def _precision_to_scale_tril(P: Tensor) -> Tensor:
    """The lower Cholesky factor of the inverse."""
    return factor_of("precision_matrix", P)


def half_log_det(tril: Tensor) -> Tensor:
    """The sum of the logarithms of the diagonal."""
    return fn.sum(fn.log(fn.diagonal(tril, 0, -2, -1)), dim=-1)
