"""What relaxations of discrete distributions share."""

from __future__ import annotations

from typing import Any

from tracec.distributions.transformed_distribution import TransformedDistribution
from tracec.record.tensor import Tensor


class Relaxed(TransformedDistribution):
    """Values through which gradients flow and that stand for discrete ones: functions of a base with a temperature."""

    base_dist: Any

    def _given(self) -> dict[str, Tensor]:
        return self.base_dist._given()

    def _options(self) -> dict[str, Any]:
        return self.base_dist._options()

    @property
    def temperature(self) -> Any:
        """How far from discrete values are; the less, the nearer."""
        return self.base_dist.temperature

    @property
    def probs(self) -> Tensor:
        """The probability of 1, or those of the classes."""
        return self.base_dist.probs

    @property
    def logits(self) -> Tensor:
        """Its log odds, or their logarithms."""
        return self.base_dist.logits
