"""The Pareto distribution."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.constraints import Constraint
from tracec.distributions.exponential import Exponential
from tracec.distributions.transformed_distribution import TransformedDistribution
from tracec.distributions.transforms import AffineTransform, ExpTransform
from tracec.distributions.utils import broadcast_all
from tracec.record.tensor import Tensor


class Pareto(TransformedDistribution):
    """The Pareto distribution: ``alpha scale^alpha / x^(alpha + 1)`` from ``scale`` on.

    Args:
        scale: The smallest value.
        alpha: How fast the density falls.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"alpha": constraints.positive, "scale": constraints.positive}

    def __init__(self, scale: Any, alpha: Any, validate_args: bool | None = None) -> None:
        self.scale, self.alpha = broadcast_all(scale, alpha)
        base = Exponential(self.alpha, validate_args)
        super().__init__(base, [ExpTransform(), AffineTransform(0, self.scale)], validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Constraint:
        return constraints.greater_than_eq(self.scale)

    @property
    def mean(self) -> Tensor:
        a = fn.clamp(self.alpha, min=1)  # infinite up to there
        return a * self.scale / (a - 1)

    @property
    def mode(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        a = fn.clamp(self.alpha, min=2)
        return fn.square(self.scale) * a / (fn.square(a - 1) * (a - 2))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        inside = fn.log(self.alpha) + self.alpha * fn.log(self.scale) - (self.alpha + 1) * fn.log(value)
        return fn.where(fn.ge(value, self.scale), inside, -math.inf)

    def entropy(self) -> Tensor:
        return fn.log(self.scale / self.alpha) + (1 + fn.reciprocal(self.alpha))
