"""The half-normal distribution."""

from __future__ import annotations

import math

from tracec import functions as fn
from tracec.distributions.half_distribution import HalfDistribution
from tracec.distributions.normal import Normal
from tracec.record.tensor import Tensor


class HalfNormal(HalfDistribution):
    """The absolute value of a normal variable of mean 0 and standard deviation ``scale``."""

    _whole = Normal

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Tensor:
        return fn.square(self.scale) * (1 - 2 / math.pi)

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return fn.erf(value / self.scale / math.sqrt(2))

    def icdf(self, value: Tensor) -> Tensor:
        return self.scale * fn.erfinv(value) * math.sqrt(2)
