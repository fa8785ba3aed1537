"""The multinomial distribution."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.binomial import Binomial
from tracec.distributions.constraints import Constraint
from tracec.distributions.distribution import Shape
from tracec.distributions.one_hot_categorical import OfCategorical
from tracec.errors import UnsupportedError
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


class Multinomial(OfCategorical):
    """How often each class comes among a number of draws.

    Args:
        total_count: Number of draws.
        probs: Weights of the classes along the last axis; or
        logits: their logarithms.
        validate_args: Whether to check arguments.

    Raises:
        UnsupportedError: the number of draws is no integer.
        ArgumentError: both or neither of the parameters are given.
    """

    total_count: int

    def __init__(
        self, total_count: int = 1, probs: Tensor | None = None, logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(total_count, int):
            raise UnsupportedError("Multinomial: inhomogeneous total_count is not supported", hint="give one integer")
        self.total_count = total_count
        super().__init__(probs, logits, validate_args)

    def _options(self) -> dict[str, Any]:
        return {"total_count": self.total_count}

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> Constraint:
        return constraints.multinomial(self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            classes = self._categorical.sample((self.total_count, *sample_shape))
            each = fn.one_hot(classes, self.event_shape[0])
            return fn.sum(each, dim=0).to(self.probs.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        logits, value = fn.broadcast_tensors(self.logits, value)
        never = fn.logical_and(fn.eq(value, 0), fn.eq(logits, -math.inf))
        powers = fn.sum(fn.where(never, 0.0, logits) * value, dim=-1)
        return fn.lgamma(fn.sum(value, dim=-1) + 1) - fn.sum(fn.lgamma(value + 1), dim=-1) + powers

    def entropy(self) -> Tensor:
        n = self.total_count
        each = Binomial(n, self.probs, validate_args=False)
        counts = each.enumerate_support(expand=False)[1:]
        ways = fn.sum(fn.exp(each.log_prob(counts)) * fn.lgamma(counts + 1), dim=(0, -1))
        return n * self._categorical.entropy() - math.lgamma(n + 1) + ways
