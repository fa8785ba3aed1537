"""The binomial distribution."""

from __future__ import annotations

from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.constraints import Constraint
from tracec.distributions.distribution import Shape
from tracec.distributions.odds import OfProbability
from tracec.distributions.utils import along_first
from tracec.errors import UnsupportedError
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


class Binomial(OfProbability):
    """The number of successes among so many trials.

    Args:
        total_count: The number of trials.
        probs: The probability of success; or
        logits: its log odds.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: both or neither of probs and logits are given.
    """

    arg_constraints = {"total_count": constraints.nonnegative_integer, **OfProbability.arg_constraints}
    has_enumerate_support = True

    def __init__(
        self, total_count: Any = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        (count,) = self._take(probs, logits, total_count)
        self.total_count = count.to(self._param.dtype)
        super().__init__(self._param.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Constraint:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return fn.minimum(fn.floor((self.total_count + 1) * self.probs), self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return fn.binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n, odds = self.total_count, self.logits
        ways = fn.lgamma(n + 1) - fn.lgamma(value + 1) - fn.lgamma(n - value + 1)
        # log(1 + exp(odds)), with no threshold, since it is taken n times.
        return ways + value * odds - n * (fn.clamp(odds, min=0) + fn.log1p(fn.exp(-fn.abs(odds))))

    def entropy(self) -> Tensor:
        """Of distributions that all have one number of trials.

        Raises:
            UnsupportedError: they have several.
        """
        logs = self.log_prob(self.enumerate_support(expand=False))
        return -fn.sum(fn.exp(logs) * logs, dim=0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        most = int(self.total_count.max().item())
        if self.total_count.min().item() != most:
            raise UnsupportedError(
                "Binomial.enumerate_support: several numbers of trials", hint="give total_count one value everywhere"
            )
        values = fn.arange(most + 1, dtype=self._param.dtype, device=self._param.device)
        return along_first(values, self.batch_shape, expand)
