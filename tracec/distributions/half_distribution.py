"""What distributions of absolute values share."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.location_scale import LocationScale
from tracec.distributions.transformed_distribution import TransformedDistribution
from tracec.distributions.transforms import AbsTransform
from tracec.record.tensor import Tensor


class HalfDistribution(TransformedDistribution):
    """The absolute value of a variable that is distributed alike on both sides of 0.

    Args:
        scale: How wide that variable's distribution is.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    _whole: type[LocationScale]

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        base = self._whole(0.0, scale, validate_args=False)
        self.scale = base.scale
        super().__init__(base, AbsTransform(), validate_args)

    @property
    def mode(self) -> Tensor:
        return fn.zeros_like(self.scale)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return fn.where(fn.ge(value, 0), self.base_dist.log_prob(value) + math.log(2), -math.inf)

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() - math.log(2)
