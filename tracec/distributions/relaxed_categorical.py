"""Relaxed categorical distributions."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.categorical import Categorical
from tracec.distributions.distribution import Shape
from tracec.distributions.one_hot_categorical import OfCategorical
from tracec.distributions.relaxed import Relaxed
from tracec.distributions.transforms import ExpTransform
from tracec.functions.random_draws import gumbel_numbers
from tracec.record.tensor import Tensor


class ExpRelaxedCategorical(OfCategorical):
    """The logarithms of a relaxed one-hot vector.

    Args:
        temperature: How far from one-hot the vector is; the less, the nearer.
        probs: Weights of the classes along the last axis; or
        logits: their logarithms.
        validate_args: Whether to check arguments.

    Sources: Maddison, Mnih, Teh, "The Concrete Distribution", 2017; Jang, Gu, Poole, "Categorical
    Reparametrization with Gumbel-Softmax", 2017.
    """

    support = constraints.real_vector  # the logarithms of a simplex, a submanifold
    has_rsample = True

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self.temperature = temperature
        super().__init__(probs, logits, validate_args)

    def _options(self) -> dict[str, Any]:
        return {"temperature": self.temperature}

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        gumbel = gumbel_numbers(self._extended_shape(sample_shape), None, self.logits.dtype, self.logits.device)
        scores = (self.logits + gumbel) / self.temperature
        return scores - fn.logsumexp(scores, dim=-1, keepdim=True)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        n = self.event_shape[0]
        temperature = fn.as_tensor(self.temperature, dtype=self.logits.dtype)
        score = self.logits - value * temperature
        score = fn.sum(score - fn.logsumexp(score, dim=-1, keepdim=True), dim=-1)
        return score + (math.lgamma(n) + (n - 1) * fn.log(temperature))


class RelaxedOneHotCategorical(Relaxed):
    """A vector of probabilities that stands for a one-hot one and through which gradients flow.

    Args:
        temperature: How far from one-hot it is; the less, the nearer.
        probs: Weights of the classes along the last axis; or
        logits: their logarithms.
        validate_args: Whether to check arguments.

    Sources: see `ExpRelaxedCategorical`.
    """

    arg_constraints = Categorical.arg_constraints
    support = constraints.simplex

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args)
        super().__init__(base, ExpTransform(), validate_args)
