"""The Kumaraswamy distribution."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as fn
from tracec import special
from tracec.distributions import constraints
from tracec.distributions.distribution import Shape
from tracec.distributions.transformed_distribution import TransformedDistribution
from tracec.distributions.transforms import AffineTransform, PowerTransform
from tracec.distributions.uniform import Uniform
from tracec.distributions.utils import EULER, broadcast_all, open_uniform
from tracec.record.tensor import Tensor


class Kumaraswamy(TransformedDistribution):
    """The density ``a b x^(a - 1) (1 - x^a)^(b - 1)`` from 0 to 1.

    Args:
        concentration1: a.
        concentration0: b.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        base = Uniform(fn.zeros_like(self.concentration0), fn.ones_like(self.concentration0), validate_args=False)
        less_from_one = AffineTransform(1.0, -1.0)
        powers = [PowerTransform(fn.reciprocal(c)) for c in (self.concentration0, self.concentration1)]
        super().__init__(base, [powers[0], less_from_one, powers[1]], validate_args)

    def _moment(self, k: int) -> Tensor:
        """The mean of the k-th power."""
        ratio = 1 + k / self.concentration1
        log_beta = fn.lgamma(ratio) + fn.lgamma(self.concentration0) - fn.lgamma(ratio + self.concentration0)
        return self.concentration0 * fn.exp(log_beta)

    @property
    def mean(self) -> Tensor:
        return self._moment(1)

    @property
    def mode(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        inside = fn.logical_and(fn.ge(a, 1), fn.ge(b, 1))
        inside = fn.logical_and(inside, fn.gt(a * b, 1))
        safe = fn.where(inside, a, 2.0)
        return fn.where(inside, ((safe - 1) / (safe * fn.where(inside, b, 1.0) - 1)) ** (1 / safe), math.nan)

    @property
    def variance(self) -> Tensor:
        return self._moment(2) - fn.square(self._moment(1))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        # (1 - u^(1/b))^(1/a), with nothing rounded to 1 where b is large.
        power = fn.log(open_uniform(self._extended_shape(sample_shape), self.concentration0)) / self.concentration0
        return (-fn.expm1(power)) ** fn.reciprocal(self.concentration1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a, b = self.concentration1, self.concentration0
        return fn.log(a * b) + fn.xlogy(a - 1, value) + special.xlog1py(b - 1, -(value**a))

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return -fn.expm1(self.concentration0 * fn.log1p(-(value**self.concentration1)))

    def entropy(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        harmonic = fn.digamma(b + 1) + EULER
        return (1 - fn.reciprocal(b)) + (1 - fn.reciprocal(a)) * harmonic - fn.log(a * b)
