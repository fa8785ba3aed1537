"""What distributions of one shape, moved and stretched, share."""

from __future__ import annotations

from typing import Any

from tracec.distributions import constraints
from tracec.distributions.distribution import Distribution, Shape
from tracec.distributions.utils import broadcast_all
from tracec.functions.random_draws import scaled
from tracec.record.tensor import Tensor


class LocationScale(Distribution):
    """A distribution of one shape, moved and stretched.

    Args:
        loc: Where it lies.
        scale: How wide it is.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return scaled(self._standard(self._extended_shape(sample_shape)), self.scale, self.loc)

    def _standard(self, shape: tuple[int, ...]) -> Tensor:
        """Values for a location of 0 and a scale of 1."""
        raise NotImplementedError

    def _from_center(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return (value - self.loc) / self.scale
