"""The Bernoulli distribution."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.distribution import Shape
from tracec.distributions.exp_family import ExponentialFamily
from tracec.distributions.odds import OfProbability
from tracec.distributions.utils import along_first
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


class Bernoulli(OfProbability, ExponentialFamily):
    """1 with probability ``probs``, else 0.

    Args:
        probs: The probability; or
        logits: its log odds.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: both or neither of the parameters are given.
    """

    support = constraints.boolean
    has_enumerate_support = True
    _mean_carrier_measure = 0

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._take(probs, logits)
        super().__init__(self._param.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        found = fn.ge(self.probs, 0.5).to(self.probs.dtype)
        return fn.where(fn.eq(self.probs, 0.5), math.nan, found)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            return fn.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return value * self.logits - fn.softplus(self.logits)

    def entropy(self) -> Tensor:
        return self._entropy_of_one()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = fn.arange(2, dtype=self._param.dtype, device=self._param.device)
        return along_first(values, self.batch_shape, expand)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        return fn.softplus(natural_params[0])
