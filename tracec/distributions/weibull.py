"""The Weibull distribution."""

from __future__ import annotations

from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.exponential import Exponential
from tracec.distributions.transformed_distribution import TransformedDistribution
from tracec.distributions.transforms import AffineTransform, PowerTransform
from tracec.distributions.utils import EULER, broadcast_all
from tracec.record.tensor import Tensor


class Weibull(TransformedDistribution):
    """The distribution of ``scale`` times a power, 1 / ``concentration``, of an exponential variable.

    Args:
        scale: How wide it is.
        concentration: How narrow; 1 gives the exponential distribution.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive

    def __init__(self, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.scale, self.concentration = broadcast_all(scale, concentration)
        power = PowerTransform(fn.reciprocal(self.concentration))
        base = Exponential(fn.ones_like(self.scale), validate_args=False)
        super().__init__(base, [power, AffineTransform(0, self.scale)], validate_args)

    def _moment(self, k: int) -> Tensor:
        """The mean of the k-th power, of a scale of 1."""
        return fn.exp(fn.lgamma(1 + k / self.concentration))

    @property
    def mean(self) -> Tensor:
        return self.scale * self._moment(1)

    @property
    def mode(self) -> Tensor:
        ratio = fn.clamp(1 - fn.reciprocal(self.concentration), min=0)
        return self.scale * ratio ** fn.reciprocal(self.concentration)

    @property
    def variance(self) -> Tensor:
        return fn.square(self.scale) * (self._moment(2) - fn.square(self._moment(1)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        log_ratio = fn.log(value) - fn.log(self.scale)
        rest = fn.exp(self.concentration * log_ratio)
        return fn.log(self.concentration) - fn.log(self.scale) + (self.concentration - 1) * log_ratio - rest

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return -fn.expm1(-((value / self.scale) ** self.concentration))

    def entropy(self) -> Tensor:
        return EULER * (1 - fn.reciprocal(self.concentration)) + fn.log(self.scale / self.concentration) + 1
