"""What distributions of one probability share."""

from __future__ import annotations

from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.distribution import Distribution
from tracec.distributions.utils import broadcast_all, lazy_property, logits_to_probs, one_of, probs_to_logits
from tracec.record.tensor import Size, Tensor


class OfProbability(Distribution):
    """A distribution whose parameter is a probability, given itself or as its log odds."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    _param: Tensor

    def _take(self, probs: Any, logits: Any, *beside: Any) -> list[Tensor]:
        """Keep what was given of the two.

        Args:
            probs: The probability; or
            logits: its log odds.
            *beside: Other parameters.

        Returns:
            The other parameters, all in one shape.

        Raises:
            ArgumentError: both or neither of the two are given.
        """
        one_of(type(self).__name__, probs, logits)
        *others, self._param = broadcast_all(*beside, probs if probs is not None else logits)
        self.__dict__["probs" if probs is not None else "logits"] = self._param
        return others

    @lazy_property
    def probs(self) -> Tensor:
        """The probability."""
        return logits_to_probs(self.logits, is_binary=True)

    @lazy_property
    def logits(self) -> Tensor:
        """Its log odds."""
        return probs_to_logits(self.probs, is_binary=True)

    @property
    def param_shape(self) -> Size:
        """Shape of the parameter."""
        return self._param.shape

    def _entropy_of_one(self) -> Tensor:
        """The entropy of a variable that is 1 with the probability, else 0."""
        return fn.softplus(self.logits) - self.logits * self.probs
