"""The Cauchy distribution."""

from __future__ import annotations

import math

from tracec import functions as fn
from tracec.distributions.location_scale import LocationScale
from tracec.functions.random_draws import cauchy_numbers
from tracec.record.tensor import Tensor


class Cauchy(LocationScale):
    """The Cauchy distribution, which has no mean: ``1 / (π scale (1 + ((x - loc) / scale)²))``."""

    @property
    def mean(self) -> Tensor:
        return fn.full_like(self.loc, math.nan)

    @property
    def variance(self) -> Tensor:
        return fn.full_like(self.loc, math.inf)

    def _standard(self, shape: tuple[int, ...]) -> Tensor:
        return cauchy_numbers(shape, None, self.loc.dtype, self.loc.device)

    def log_prob(self, value: Tensor) -> Tensor:
        return -math.log(math.pi) - fn.log(self.scale) - fn.log1p(fn.square(self._from_center(value)))

    def cdf(self, value: Tensor) -> Tensor:
        return fn.atan(self._from_center(value)) / math.pi + 0.5

    def icdf(self, value: Tensor) -> Tensor:
        return fn.tan(math.pi * (value - 0.5)) * self.scale + self.loc

    def entropy(self) -> Tensor:
        return math.log(4 * math.pi) + fn.log(self.scale)
