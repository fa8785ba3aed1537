"""The continuous Bernoulli distribution."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.distribution import Shape
from tracec.distributions.exp_family import ExponentialFamily
from tracec.distributions.odds import OfProbability
from tracec.distributions.utils import clamp_probs, lazy_property, logits_to_probs, open_uniform
from tracec.record.tensor import Tensor


class ContinuousBernoulli(OfProbability, ExponentialFamily):
    """The density proportional to ``probs^x (1 - probs)^(1 - x)`` between 0 and 1.

    Args:
        probs: The parameter, from 0 to 1; or
        logits: its log odds.
        lims: Between these the formulas are unstable, and series of them are used.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: both or neither of the parameters are given.

    Source: Loaiza-Ganem, Cunningham, "The continuous Bernoulli: fixing a pervasive error in variational autoencoders",
    2019.
    """

    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(
        self, probs: Any = None, logits: Any = None, lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        self._take(probs, logits)
        self._lims = lims
        super().__init__(self._param.shape, validate_args=validate_args)
        if probs is not None:
            self.__dict__["probs"] = clamp_probs(self._param)

    @lazy_property
    def probs(self) -> Tensor:
        """The parameter."""
        return clamp_probs(logits_to_probs(self.logits, is_binary=True))

    def _options(self) -> dict[str, Any]:
        return {"lims": self._lims}

    def _outside(self) -> Tensor:
        """Where the formulas are stable."""
        return fn.logical_or(fn.le(self.probs, self._lims[0]), fn.gt(self.probs, self._lims[1]))

    def _cut(self) -> Tensor:
        """The parameter where the formulas are stable; a harmless value elsewhere."""
        return fn.where(self._outside(), self.probs, self._lims[0])

    def _log_norm_const(self) -> Tensor:
        """The logarithm of what makes the integral 1."""
        p = self._cut()
        low = fn.where(fn.le(p, 0.5), p, 0.0)
        high = fn.where(fn.ge(p, 0.5), p, 1.0)
        size = fn.log(fn.abs(fn.log1p(-p) - fn.log(p)))
        formula = size - fn.where(fn.le(p, 0.5), fn.log1p(-2 * low), fn.log(2 * high - 1))
        x = fn.square(self.probs - 0.5)
        return fn.where(self._outside(), formula, math.log(2) + (4 / 3 + 104 / 45 * x) * x)

    @property
    def mean(self) -> Tensor:
        p = self._cut()
        formula = p / (2 * p - 1) + 1 / (fn.log1p(-p) - fn.log(p))
        x = self.probs - 0.5
        return fn.where(self._outside(), formula, 0.5 + (1 / 3 + 16 / 45 * fn.square(x)) * x)

    @property
    def variance(self) -> Tensor:
        p = self._cut()
        formula = p * (p - 1) / fn.square(1 - 2 * p) + 1 / fn.square(fn.log1p(-p) - fn.log(p))
        x = fn.square(self.probs - 0.5)
        return fn.where(self._outside(), formula, 1 / 12 - (1 / 15 - 128 / 945 * x) * x)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return self.icdf(open_uniform(self._extended_shape(sample_shape), self.probs))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return value * self.logits - fn.softplus(self.logits) + self._log_norm_const()

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        p = self._cut()
        formula = (p**value * (1 - p) ** (1 - value) + p - 1) / (2 * p - 1)
        found = fn.where(self._outside(), formula, value)
        return fn.where(fn.le(value, 0), 0.0, fn.where(fn.ge(value, 1), 1.0, found))

    def icdf(self, value: Tensor) -> Tensor:
        p = self._cut()
        formula = (fn.log1p(-p + value * (2 * p - 1)) - fn.log1p(-p)) / (fn.log(p) - fn.log1p(-p))
        return fn.where(self._outside(), formula, value)

    def entropy(self) -> Tensor:
        log0, log1 = fn.log1p(-self.probs), fn.log(self.probs)
        return self.mean * (log0 - log1) - self._log_norm_const() - log0

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        (x,) = natural_params
        near = fn.lt(fn.abs(x), 4 * abs(self._lims[1] - 0.5))
        size = fn.where(near, 1.0, fn.abs(x))
        # log((exp(x) - 1) / x), near 0 by its series.
        formula = fn.clamp(x, min=0) + fn.log(-fn.expm1(-size) / size)
        return fn.where(near, x / 2 + fn.square(x) / 24, formula)
