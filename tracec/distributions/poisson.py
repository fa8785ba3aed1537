"""The Poisson distribution."""

from __future__ import annotations

from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.distribution import Distribution, Shape
from tracec.distributions.utils import broadcast_all
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


class Poisson(Distribution):
    """The number of events at a rate.

    Args:
        rate: How many are expected, 0 or more.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def mode(self) -> Tensor:
        return fn.floor(self.rate)

    @property
    def variance(self) -> Tensor:
        return self.rate

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            return fn.poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return fn.xlogy(value, self.rate) - self.rate - fn.lgamma(value + 1)
