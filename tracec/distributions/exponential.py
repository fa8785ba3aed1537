"""The exponential distribution."""

from __future__ import annotations

from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.distribution import Shape
from tracec.distributions.exp_family import ExponentialFamily
from tracec.distributions.utils import broadcast_all
from tracec.functions.random_draws import exponential_numbers
from tracec.record.tensor import Tensor


class Exponential(ExponentialFamily):
    """The exponential distribution: ``rate exp(-rate x)``.

    Args:
        rate: One over the mean.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return fn.reciprocal(self.rate)

    @property
    def stddev(self) -> Tensor:
        return fn.reciprocal(self.rate)

    @property
    def mode(self) -> Tensor:
        return fn.zeros_like(self.rate)

    @property
    def variance(self) -> Tensor:
        return fn.reciprocal(fn.square(self.rate))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return exponential_numbers(shape, None, self.rate.dtype, self.rate.device) / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return fn.log(self.rate) - self.rate * value

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return -fn.expm1(-self.rate * value)

    def icdf(self, value: Tensor) -> Tensor:
        return -fn.log1p(-value) / self.rate

    def entropy(self) -> Tensor:
        return 1 - fn.log(self.rate)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (-self.rate,)

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        return -fn.log(-natural_params[0])
