"""Relaxed Bernoulli distributions."""

from __future__ import annotations

from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.distribution import Shape
from tracec.distributions.odds import OfProbability
from tracec.distributions.relaxed import Relaxed
from tracec.distributions.transforms import SigmoidTransform
from tracec.distributions.utils import open_uniform
from tracec.record.tensor import Tensor


class LogitRelaxedBernoulli(OfProbability):
    """The log odds of a relaxed Bernoulli variable.

    Args:
        temperature: How far from 0 and 1 the variable is; the less, the nearer.
        probs: The probability of 1; or
        logits: its log odds.
        validate_args: Whether to check arguments.

    Source: Maddison, Mnih, Teh, "The Concrete Distribution", 2017.
    """

    support = constraints.real
    has_rsample = True

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self.temperature = temperature
        self._take(probs, logits)
        super().__init__(self._param.shape, validate_args=validate_args)

    def _options(self) -> dict[str, Any]:
        return {"temperature": self.temperature}

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        u = open_uniform(self._extended_shape(sample_shape), self._param)
        return (fn.log(u) - fn.log1p(-u) + self.logits) / self.temperature

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        apart = self.logits - value * self.temperature
        temperature = fn.as_tensor(self.temperature, dtype=self._param.dtype)
        return fn.log(temperature) + apart - 2 * fn.softplus(apart)


class RelaxedBernoulli(Relaxed):
    """A number between 0 and 1 that stands for a Bernoulli variable and through which gradients flow.

    Args:
        temperature: How far from 0 and 1 it is; the less, the nearer.
        probs: The probability of 1; or
        logits: its log odds.
        validate_args: Whether to check arguments.

    Source: Maddison, Mnih, Teh, "The Concrete Distribution", 2017.
    """

    arg_constraints = LogitRelaxedBernoulli.arg_constraints
    support = constraints.unit_interval

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        super().__init__(LogitRelaxedBernoulli(temperature, probs, logits), SigmoidTransform(), validate_args)
