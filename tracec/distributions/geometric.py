"""The geometric distribution."""

from __future__ import annotations

from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.distribution import Shape
from tracec.distributions.odds import OfProbability
from tracec.distributions.utils import clamp_probs
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


class Geometric(OfProbability):
    """The number of failures before the first success.

    Args:
        probs: The probability of success; or
        logits: its log odds.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: both or neither of the parameters are given, or a probability is 0.
    """

    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._take(probs, logits)
        super().__init__(self._param.shape, validate_args=validate_args)
        if probs is not None and self._validate_args:
            self._require(fn.gt(self.probs, 0), "a probability of success is 0", "give positive ones")

    @property
    def mean(self) -> Tensor:
        return 1 / self.probs - 1

    @property
    def mode(self) -> Tensor:
        return fn.zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1 / self.probs - 1) / self.probs

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            u = fn.rand(self._extended_shape(sample_shape), dtype=self.probs.dtype, device=self.probs.device)
            return fn.floor(fn.log1p(-u) / fn.log1p(-clamp_probs(self.probs)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        fail = fn.where(fn.logical_and(fn.eq(self.probs, 1), fn.eq(value, 0)), 0.0, -self.probs)
        return value * fn.log1p(fail) + fn.log(self.probs)

    def entropy(self) -> Tensor:
        return self._entropy_of_one() / self.probs
