"""Distributions of functions of variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracec.distributions import constraints
from tracec.distributions.constraints import Constraint
from tracec.distributions.distribution import Distribution, Shape
from tracec.distributions.independent import Independent
from tracec.distributions.transforms import ComposeTransform, Transform
from tracec.distributions.utils import sum_rightmost
from tracec.errors import ArgumentError
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


class TransformedDistribution(Distribution):
    """A distribution of functions of values of another.

    Args:
        base_distribution: The other.
        transforms: The functions, the first one to be applied first.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: these are no functions, or take values of more axes than there are.
    """

    def __init__(
        self, base_distribution: Distribution, transforms: Transform | Sequence[Transform],
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        self.transforms = [transforms] if isinstance(transforms, Transform) else list(transforms)
        if not all(isinstance(t, Transform) for t in self.transforms):
            raise ArgumentError(
                f"{type(self).__name__}: transforms must be a Transform or a list of Transforms, got {transforms!r}"
            )
        whole = ComposeTransform(self.transforms)
        given = (*base_distribution.batch_shape, *base_distribution.event_shape)
        if len(given) < whole.domain.event_dim:
            raise ArgumentError(
                f"{type(self).__name__}: the base distribution needs shape with at least size "
                f"{whole.domain.event_dim}, but got {given}."
            )
        shape = whole.forward_shape(given)
        self.base_dist = _of_axes(base_distribution, whole.inverse_shape(shape), whole.domain.event_dim)
        more = len(self.base_dist.event_shape) - whole.domain.event_dim
        cut = len(shape) - whole.codomain.event_dim - max(more, 0)
        super().__init__(shape[:cut], shape[cut:], validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return self.base_dist.has_rsample

    @constraints.dependent_property
    def support(self) -> Constraint:
        if not self.transforms:
            return self.base_dist.support
        found = self.transforms[-1].codomain
        more = len(self.event_shape) - found.event_dim
        return constraints.independent(found, more) if more > 0 else found

    def _expand(self, shape: tuple[int, ...]) -> Distribution:
        if self.arg_constraints:
            return super()._expand(shape)
        whole = ComposeTransform(self.transforms)
        base = whole.inverse_shape((*shape, *self.event_shape))
        return TransformedDistribution(
            self.base_dist.expand(base[: len(base) - len(self.base_dist.event_shape)]), self.transforms, False
        )

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            x = self.base_dist.sample(sample_shape)
            for transform in self.transforms:
                x = transform(x)
            return x

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        x = self.base_dist.rsample(sample_shape)
        for transform in self.transforms:
            x = transform(x)
        return x

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        axes = len(self.event_shape)
        total: Any = 0.0
        for transform in reversed(self.transforms):
            x = transform.inv(value)
            axes += transform.domain.event_dim - transform.codomain.event_dim
            change = transform.log_abs_det_jacobian(x, value)
            total = total - sum_rightmost(change, axes - transform.domain.event_dim)
            value = x
        own = sum_rightmost(self.base_dist.log_prob(value), axes - len(self.base_dist.event_shape))
        return total + own

    @property
    def _falls(self) -> Any:
        """Where the function as a whole falls: a bool, or several where its parts' parameters say."""
        sign: Any = 1
        for transform in self.transforms:
            sign = sign * transform.sign
        return sign

    def _mirrored(self, value: Tensor) -> Tensor:
        """Probabilities of the values on the same side."""
        sign = self._falls
        return value if isinstance(sign, int) and sign == 1 else sign * (value - 0.5) + 0.5

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        for transform in reversed(self.transforms):
            value = transform.inv(value)
        return self._mirrored(self.base_dist.cdf(value))

    def icdf(self, value: Tensor) -> Tensor:
        x = self.base_dist.icdf(self._mirrored(value))
        for transform in self.transforms:
            x = transform(x)
        return x

    def __repr__(self) -> str:
        if self.arg_constraints:
            return super().__repr__()
        return f"TransformedDistribution({self.base_dist}, {self.transforms})"


def _of_axes(base: Distribution, shape: tuple[int, ...], axes: int) -> Distribution:
    """A distribution whose batch and values have a shape, and whose values have these axes at least."""
    if shape != (*base.batch_shape, *base.event_shape):
        base = base.expand(shape[: len(shape) - len(base.event_shape)])
    missing = axes - len(base.event_shape)
    return Independent(base, missing) if missing > 0 else base
