"""The beta distribution."""

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


class Beta(ExponentialFamily):
    """The beta distribution, of a density proportional to ``x^(concentration1 - 1) (1 - x)^(concentration0 - 1)``.

    Args:
        concentration1: The first shape.
        concentration0: The second shape.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        super().__init__(self.concentration1.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        """The most likely value; of two ends that are equally likely, NaN."""
        a, b = self.concentration1, self.concentration0
        peak = fn.logical_and(fn.gt(a, 1), fn.gt(b, 1))
        found = (a - 1) / fn.where(peak, a + b - 2, 1.0)
        end = fn.where(fn.gt(a, b), 1.0, fn.where(fn.lt(a, b), 0.0, float("nan")))
        return fn.where(peak, found, end)

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (fn.square(total) * (total + 1))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        both = fn.stack([self.concentration1.expand(shape), self.concentration0.expand(shape)])
        one, zero = fn.unbind(standard_gamma(both, log=True))
        value = fn.sigmoid(one - zero)
        return fn.clamp(value, min=tiny_of(value))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a, b = self.concentration1, self.concentration0
        return fn.xlogy(a - 1, value) + special.xlog1py(b - 1, -value) - _log_beta(a, b)

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        each = (a - 1) * fn.digamma(a) + (b - 1) * fn.digamma(b)
        return _log_beta(a, b) - each + (a + b - 2) * fn.digamma(a + b)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return self.concentration1 - 1, self.concentration0 - 1

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        x, y = natural_params
        return _log_beta(x + 1, y + 1)


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    """The logarithm of the beta function."""
    return fn.lgamma(a) + fn.lgamma(b) - fn.lgamma(a + b)
