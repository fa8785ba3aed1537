"""The generalised Pareto distribution."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.constraints import Constraint
from tracec.distributions.distribution import Distribution, Shape
from tracec.distributions.utils import broadcast_all
from tracec.record.tensor import Tensor


class GeneralizedPareto(Distribution):
    """The distribution of excesses: ``1 - (1 + concentration z)^(-1 / concentration)`` of ``z = (x - loc) / scale``.

    Args:
        loc: The smallest value.
        scale: How wide it is.
        concentration: How heavy its tail is: 0 gives the exponential distribution, less than 0 a bounded one.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive, "concentration": constraints.real}
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)
        # So near 0 it is the exponential distribution; where it is, no formula divides by it.
        self._exponential = fn.le(fn.abs(self.concentration.detach()), 1e-8)
        self._shape = fn.where(self._exponential, 1.0, self.concentration)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Constraint:
        bounded = fn.lt(self.concentration, 0)
        upper = self.loc - self.scale / fn.where(bounded, self.concentration, -1.0)
        return constraints.interval(self.loc, fn.where(bounded, upper, math.inf))

    @property
    def mean(self) -> Tensor:
        finite = fn.lt(self.concentration, 1)
        safe = fn.where(finite, self.concentration, 0.5)
        return fn.where(finite, self.loc + self.scale / (1 - safe), math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        finite = fn.lt(self.concentration, 0.5)
        safe = fn.where(finite, self.concentration, 0.25)
        return fn.where(finite, fn.square(self.scale / (1 - safe)) / (1 - 2 * safe), math.nan)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        u = fn.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.icdf(u)

    def log_prob(self, value: Tensor) -> Tensor:
        return (1 + fn.where(self._exponential, 0.0, self._shape)) * self.log_survival_function(value) - fn.log(
            self.scale
        )

    def log_survival_function(self, value: Tensor) -> Tensor:
        """Logarithm of the probability of larger values."""
        self._validate_sample(value)
        z = (value - self.loc) / self.scale
        return fn.where(self._exponential, -z, -fn.log1p(self._shape * z) / self._shape)

    def log_cdf(self, value: Tensor) -> Tensor:
        """Logarithm of the probability of values up to this one."""
        return fn.log(-fn.expm1(self.log_survival_function(value)))

    def cdf(self, value: Tensor) -> Tensor:
        return -fn.expm1(self.log_survival_function(value))

    def icdf(self, value: Tensor) -> Tensor:
        log_rest = fn.log1p(-value)
        z = fn.where(self._exponential, -log_rest, fn.expm1(-self._shape * log_rest) / self._shape)
        return self.loc + self.scale * z

    def entropy(self) -> Tensor:
        return fn.log(self.scale) + self.concentration + 1
