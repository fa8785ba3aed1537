"""The inverse gamma distribution."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.gamma import Gamma
from tracec.distributions.transformed_distribution import TransformedDistribution
from tracec.distributions.transforms import PowerTransform
from tracec.record.tensor import Tensor


class InverseGamma(TransformedDistribution):
    """The distribution of one over a gamma variable.

    Args:
        concentration: The variable's shape.
        rate: One over its scale.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.positive

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        base = Gamma(concentration, rate, validate_args)
        self.concentration, self.rate = base.concentration, base.rate
        super().__init__(base, PowerTransform(-1.0), validate_args)

    @property
    def mean(self) -> Tensor:
        a = self.concentration
        return fn.where(fn.gt(a, 1), self.rate / fn.where(fn.gt(a, 1), a - 1, 1.0), math.inf)

    @property
    def mode(self) -> Tensor:
        return self.rate / (self.concentration + 1)

    @property
    def variance(self) -> Tensor:
        finite = fn.gt(self.concentration, 2)
        a = fn.where(finite, self.concentration, 3.0)
        return fn.where(finite, fn.square(self.rate / (a - 1)) / (a - 2), math.inf)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a + fn.log(self.rate) + fn.lgamma(a) - (1.0 + a) * fn.digamma(a)
