"""The logistic normal distribution."""

from __future__ import annotations

from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.normal import Normal
from tracec.distributions.transformed_distribution import TransformedDistribution
from tracec.distributions.transforms import StickBreakingTransform
from tracec.record.tensor import Tensor


class LogisticNormal(TransformedDistribution):
    """The distribution of probabilities, broken off a stick one by one, whose log odds are normal.

    Args:
        loc: Means of the log odds, along the last axis: one fewer than there are probabilities.
        scale: Their standard deviations.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.simplex

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        base = Normal(loc, scale, validate_args)
        if not base.batch_shape:
            base = Normal(fn.reshape(base.loc, (1,)), fn.reshape(base.scale, (1,)), validate_args)
        self._normal = base
        super().__init__(base, StickBreakingTransform(), validate_args)

    def _given(self) -> dict[str, Tensor]:
        return self._normal._given()

    @property
    def loc(self) -> Tensor:
        """Means of the log odds."""
        return self._normal.loc

    @property
    def scale(self) -> Tensor:
        """Standard deviations of the log odds."""
        return self._normal.scale
