"""The Laplace distribution."""

from __future__ import annotations

from tracec import functions as fn
from tracec.distributions.location_scale import LocationScale
from tracec.distributions.utils import open_uniform
from tracec.record.tensor import Tensor


class Laplace(LocationScale):
    """The Laplace distribution: ``exp(-|x - loc| / scale) / (2 scale)``."""

    @property
    def variance(self) -> Tensor:
        return 2 * fn.square(self.scale)

    def _standard(self, shape: tuple[int, ...]) -> Tensor:
        u = open_uniform(shape, self.loc) * 2 - 1
        return -fn.sign(u) * fn.log1p(-fn.abs(u))

    def log_prob(self, value: Tensor) -> Tensor:
        return -fn.log(2 * self.scale) - fn.abs(self._from_center(value))

    def cdf(self, value: Tensor) -> Tensor:
        x = self._from_center(value)
        return 0.5 - 0.5 * fn.sign(x) * fn.expm1(-fn.abs(x))

    def icdf(self, value: Tensor) -> Tensor:
        term = value - 0.5
        return self.loc - self.scale * fn.sign(term) * fn.log1p(-2 * fn.abs(term))

    def entropy(self) -> Tensor:
        return 1 + fn.log(2 * self.scale)
