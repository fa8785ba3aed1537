"""The distribution of Lewandowski, Kurowicka and Joe, of correlation matrices."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.beta import Beta
from tracec.distributions.distribution import Distribution, Shape
from tracec.distributions.utils import broadcast_all, tiny_of
from tracec.errors import ArgumentError
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


class LKJCholesky(Distribution):
    """Lower Cholesky factors of correlation matrices, whose density is a power of the determinant.

    Args:
        dim: Size of the matrices, 2 or more.
        concentration: The power plus 1; 1 makes all correlation matrices equally likely, more those near the identity.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: the size is below 2.

    Source: Lewandowski, Kurowicka, Joe, "Generating random correlation matrices based on vines and extended onion
    method", 2009, section 3.2.
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            raise ArgumentError(f"LKJCholesky: expected dim to be an integer greater than or equal to 2, {dim} given")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        super().__init__(self.concentration.shape, (dim, dim), validate_args=validate_args)

    def _expand(self, shape: tuple[int, ...]) -> Distribution:
        return LKJCholesky(self.dim, self.concentration.expand(shape), validate_args=False)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw factors by the onion method: row by row, a length and a direction."""
        shape, n = self._extended_shape(sample_shape), self.dim
        place: Any = {"dtype": self.concentration.dtype, "device": self.concentration.device}
        with no_grad():
            before = fn.arange(1, n, **place) / 2  # half of the number of elements before the diagonal
            marginal = fn.unsqueeze(self.concentration, -1) + 0.5 * (n - 2)
            square = Beta(before, marginal + 0.5 - before, validate_args=False).sample(sample_shape)
            direction = fn.tril(fn.randn(shape, **place), -1)[..., 1:, :]
            direction = direction / fn.sqrt(fn.sum(fn.square(direction), dim=-1, keepdim=True))
            below = fn.sqrt(fn.unsqueeze(square, -1)) * direction
            rows = fn.cat([fn.zeros((*shape[:-2], 1, n), **place), below], dim=-2)
            rest = 1 - fn.sum(fn.square(rows), dim=-1)
            return rows + fn.diag_embed(fn.sqrt(fn.clamp(rest, min=tiny_of(rest))))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n, less = self.dim, self.dim - 1
        diagonal = fn.diagonal(value, 0, -2, -1)[..., 1:]
        place = fn.arange(2, n + 1, dtype=value.dtype, device=value.device)
        order = 2 * fn.unsqueeze(self.concentration - 1, -1) + n - place
        powers = fn.sum(order * fn.log(diagonal), dim=-1)
        alpha = self.concentration + 0.5 * less
        size = 0.5 * less * math.log(math.pi) + fn.mvlgamma(alpha - 0.5, less) - fn.lgamma(alpha) * less
        return powers - size
