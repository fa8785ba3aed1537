"""The Gumbel distribution."""

from __future__ import annotations

import math

from tracec import functions as fn
from tracec.distributions.location_scale import LocationScale
from tracec.distributions.utils import EULER
from tracec.functions.random_draws import gumbel_numbers
from tracec.record.tensor import Tensor


class Gumbel(LocationScale):
    """The Gumbel distribution, of largest values: ``exp(-exp(-(x - loc) / scale))`` is its distribution function."""

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * EULER

    @property
    def variance(self) -> Tensor:
        return fn.square(self.scale * (math.pi / math.sqrt(6)))

    def _standard(self, shape: tuple[int, ...]) -> Tensor:
        return gumbel_numbers(shape, None, self.loc.dtype, self.loc.device)

    def log_prob(self, value: Tensor) -> Tensor:
        x = -self._from_center(value)
        return x - fn.exp(x) - fn.log(self.scale)

    def cdf(self, value: Tensor) -> Tensor:
        return fn.exp(-fn.exp(-self._from_center(value)))

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc - self.scale * fn.log(-fn.log(value))

    def entropy(self) -> Tensor:
        return fn.log(self.scale) + (1 + EULER)
