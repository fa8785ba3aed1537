"""The uniform distribution."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.constraints import Constraint
from tracec.distributions.distribution import Distribution, Shape
from tracec.distributions.utils import broadcast_all
from tracec.functions.random_draws import scaled
from tracec.record.tensor import Tensor


class Uniform(Distribution):
    """The same density everywhere between two bounds, the upper one left out.

    Args:
        low: Lower bound.
        high: Upper bound.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: a lower bound is not below its upper bound.
    """

    arg_constraints = {"low": constraints.real, "high": constraints.real}
    has_rsample = True

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = broadcast_all(low, high)
        super().__init__(self.low.shape, validate_args=validate_args)
        if self._validate_args:
            self._require(fn.lt(self.low, self.high), "it is not defined when low >= high", "")

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Constraint:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Tensor:
        return fn.full_like(self.low, math.nan)

    @property
    def variance(self) -> Tensor:
        return fn.square(self.high - self.low) / 12

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        u = fn.rand(self._extended_shape(sample_shape), dtype=self.low.dtype, device=self.low.device)
        return scaled(u, self.high - self.low, self.low)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        inside = fn.logical_and(fn.le(self.low, value), fn.gt(self.high, value))
        return fn.where(inside, -fn.log(self.high - self.low), -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return fn.clamp((value - self.low) / (self.high - self.low), min=0, max=1)

    def icdf(self, value: Tensor) -> Tensor:
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Tensor:
        return fn.log(self.high - self.low)
