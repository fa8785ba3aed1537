"""The gamma distribution."""

from __future__ import annotations

from typing import Any

from tracec import functions as fn
from tracec import special
from tracec.distributions import constraints
from tracec.distributions.distribution import Shape
from tracec.distributions.exp_family import ExponentialFamily
from tracec.distributions.utils import broadcast_all, tiny_of
from tracec.functions.variates import standard_gamma
from tracec.record.tensor import Tensor


class Gamma(ExponentialFamily):
    """The gamma distribution: ``rate^a x^(a - 1) exp(-rate x) / Γ(a)``, a being the concentration.

    Args:
        concentration: The shape.
        rate: One over the scale.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return fn.clamp((self.concentration - 1) / self.rate, min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / fn.square(self.rate)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        value = standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        return fn.clamp(value, min=tiny_of(value))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a = self.concentration
        return fn.xlogy(a, self.rate) + fn.xlogy(a - 1, value) - self.rate * value - fn.lgamma(a)

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return special.gammainc(self.concentration, self.rate * value)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - fn.log(self.rate) + fn.lgamma(a) + (1.0 - a) * fn.digamma(a)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return self.concentration - 1, -self.rate

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        x, y = natural_params
        return fn.lgamma(x + 1) - (x + 1) * fn.log(-y)
