"""The half-Cauchy distribution."""

from __future__ import annotations

import math

from tracec import functions as fn
from tracec.distributions.cauchy import Cauchy
from tracec.distributions.half_distribution import HalfDistribution
from tracec.record.tensor import Tensor


class HalfCauchy(HalfDistribution):
    """The absolute value of a Cauchy variable about 0, of width ``scale``."""

    _whole = Cauchy

    @property
    def mean(self) -> Tensor:
        return fn.full_like(self.scale, math.inf)

    @property
    def variance(self) -> Tensor:
        return fn.full_like(self.scale, math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return fn.atan(value / self.scale) * (2 / math.pi)

    def icdf(self, value: Tensor) -> Tensor:
        return self.scale * fn.tan(value * (math.pi / 2))
