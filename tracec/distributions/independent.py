"""Distributions of several values as one."""

from __future__ import annotations

from tracec.distributions import constraints
from tracec.distributions.constraints import Constraint
from tracec.distributions.distribution import Distribution, Shape
from tracec.distributions.utils import sum_rightmost
from tracec.errors import ArgumentError, UnsupportedError
from tracec.record.tensor import Tensor


class Independent(Distribution):
    """A distribution some of whose batch axes are axes of one value.

    Args:
        base_distribution: The distribution.
        reinterpreted_batch_ndims: How many of its batch axes, from the right.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: it has fewer axes.
    """

    def __init__(
        self, base_distribution: Distribution, reinterpreted_batch_ndims: int, validate_args: bool | None = None
    ) -> None:  # fmt: skip
        if reinterpreted_batch_ndims > len(base_distribution.batch_shape):
            raise ArgumentError(
                "Independent: expected reinterpreted_batch_ndims <= len(base_distribution.batch_shape), actual "
                f"{reinterpreted_batch_ndims} vs {len(base_distribution.batch_shape)}"
            )
        self.base_dist, self.reinterpreted_batch_ndims = base_distribution, reinterpreted_batch_ndims
        batch, event = tuple(base_distribution.batch_shape), tuple(base_distribution.event_shape)
        cut = len(batch) - reinterpreted_batch_ndims
        super().__init__(batch[:cut], batch[cut:] + event, validate_args=validate_args)

    def _expand(self, shape: tuple[int, ...]) -> Distribution:
        moved = tuple(self.event_shape)[: self.reinterpreted_batch_ndims]
        return Independent(self.base_dist.expand((*shape, *moved)), self.reinterpreted_batch_ndims, False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return self.base_dist.has_rsample

    @property
    def has_enumerate_support(self) -> bool:  # type: ignore[override]
        return self.base_dist.has_enumerate_support and self.reinterpreted_batch_ndims == 0

    @constraints.dependent_property
    def support(self) -> Constraint:
        return constraints.independent(self.base_dist.support, self.reinterpreted_batch_ndims)

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean

    @property
    def mode(self) -> Tensor:
        return self.base_dist.mode

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        return self.base_dist.sample(sample_shape)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return self.base_dist.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return sum_rightmost(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)

    def entropy(self) -> Tensor:
        return sum_rightmost(self.base_dist.entropy(), self.reinterpreted_batch_ndims)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values, along a new first axis.

        Raises:
            UnsupportedError: axes of the batch are axes of one value: all combinations would be very many.
        """
        if self.reinterpreted_batch_ndims:
            raise UnsupportedError("Independent: enumeration over a cartesian product is not there")
        return self.base_dist.enumerate_support(expand)

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"
