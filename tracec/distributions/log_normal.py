"""The log-normal distribution."""

from __future__ import annotations

from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.normal import Normal
from tracec.distributions.transformed_distribution import TransformedDistribution
from tracec.distributions.transforms import ExpTransform
from tracec.record.tensor import Tensor


class LogNormal(TransformedDistribution):
    """The exponential of a normal variable.

    Args:
        loc: The variable's mean.
        scale: Its standard deviation.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.positive

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        base = Normal(loc, scale, validate_args)
        self.loc, self.scale = base.loc, base.scale
        super().__init__(base, ExpTransform(), validate_args)

    @property
    def mean(self) -> Tensor:
        return fn.exp(self.loc + fn.square(self.scale) / 2)

    @property
    def mode(self) -> Tensor:
        return fn.exp(self.loc - fn.square(self.scale))

    @property
    def variance(self) -> Tensor:
        square = fn.square(self.scale)
        return fn.expm1(square) * fn.exp(2 * self.loc + square)

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() + self.loc
