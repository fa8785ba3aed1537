"""The negative binomial distribution."""

from __future__ import annotations

from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.distribution import Shape
from tracec.distributions.gamma import Gamma
from tracec.distributions.odds import OfProbability
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


class NegativeBinomial(OfProbability):
    """The number of successes before so many failures.

    Args:
        total_count: The number of failures, 0 or more, not necessarily whole.
        probs: The probability of success, from 0 up to, and without, 1; or
        logits: its log odds.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: both or neither of probs and logits are given.
    """

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer

    def __init__(
        self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        (count,) = self._take(probs, logits, total_count)
        self.total_count = count.to(self._param.dtype)
        super().__init__(self._param.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.total_count * fn.exp(self.logits)

    @property
    def mode(self) -> Tensor:
        return fn.clamp(fn.floor((self.total_count - 1) * fn.exp(self.logits)), min=0)

    @property
    def variance(self) -> Tensor:
        return self.mean / fn.sigmoid(-self.logits)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            rate = Gamma(self.total_count, fn.exp(-self.logits), validate_args=False).sample(sample_shape)
            # No failures are waited for: nothing comes before.
            return fn.poisson(fn.where(fn.eq(self.total_count, 0), 0.0, rate))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n = self.total_count
        chances = n * fn.logsigmoid(-self.logits) + value * fn.logsigmoid(self.logits)
        ways = fn.lgamma(n + value) - fn.lgamma(1.0 + value) - fn.lgamma(n)
        # With no failures and no successes both terms are infinite, and there is one way.
        return chances + fn.where(fn.eq(n + value, 0), 0.0, ways)
