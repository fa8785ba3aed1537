"""Distributions made of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.constraints import Constraint
from tracec.distributions.discrete import Categorical
from tracec.distributions.distribution import Distribution, Shape
from tracec.distributions.transforms import ComposeTransform, Transform
from tracec.errors import ArgumentError
from tracec.record.tape import no_grad
from tracec.record.tensor import Tensor


def sum_rightmost(x: Tensor, count: int) -> Tensor:
    """The sum over the last axes."""
    return fn.sum(x, dim=tuple(range(-count, 0))) if count else x


class Independent(Distribution):
    """A distribution some of whose batch axes are axes of one value.

    Args:
        base_distribution: The distribution.
        reinterpreted_batch_ndims: How many of its batch axes, from the right.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: it has fewer axes.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {}

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

    def expand(self, batch_shape: Shape) -> Distribution:
        moved = tuple(self.event_shape)[: self.reinterpreted_batch_ndims]
        return Independent(self.base_dist.expand((*batch_shape, *moved)), self.reinterpreted_batch_ndims, False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return self.base_dist.has_rsample

    @property
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

    def __repr__(self) -> str:
        return f"Independent({self.base_dist}, {self.reinterpreted_batch_ndims})"


class MixtureSameFamily(Distribution):
    """Values of one of several distributions of a family, chosen by chance.

    Args:
        mixture_distribution: A `Categorical` over the components.
        component_distribution: The components, along the last axis of its batch.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: the batches do not fit.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {}

    def __init__(
        self, mixture_distribution: Categorical, component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(mixture_distribution, Categorical):
            raise ArgumentError("MixtureSameFamily: the mixture distribution needs to be a Categorical")
        batch, count = tuple(component_distribution.batch_shape), mixture_distribution.param_shape[-1]
        if not batch or batch[-1] != count:
            raise ArgumentError(
                f"MixtureSameFamily: the mixture has {count} components, the component distribution's batch is {batch}",
                hint="components lie along the last axis of its batch",
            )
        mixed = tuple(mixture_distribution.batch_shape)
        if mixed and mixed != batch[:-1]:
            raise ArgumentError(f"MixtureSameFamily: batch shapes {mixed} and {batch[:-1]} are not compatible")
        self._mixture, self._components = mixture_distribution, component_distribution
        super().__init__(batch[:-1], component_distribution.event_shape, validate_args=validate_args)

    @property
    def mixture_distribution(self) -> Categorical:
        """How components are chosen."""
        return self._mixture

    @property
    def component_distribution(self) -> Distribution:
        """The components."""
        return self._components

    @property
    def support(self) -> Constraint:
        return self._components.support

    def _weighted(self, x: Tensor) -> Tensor:
        """The mean over components."""
        axes = len(self.event_shape)
        weights = self._mixture.probs
        weights = fn.reshape(weights, (*weights.shape, *(1,) * axes))
        return fn.sum(weights * x, dim=-1 - axes)

    @property
    def mean(self) -> Tensor:
        return self._weighted(self._components.mean)

    @property
    def variance(self) -> Tensor:
        apart = self._components.mean - fn.unsqueeze(self.mean, -1 - len(self.event_shape))
        return self._weighted(self._components.variance) + self._weighted(fn.square(apart))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        each = self._components.log_prob(fn.unsqueeze(value, -1 - len(self.event_shape)))
        return fn.logsumexp(each + fn.log_softmax(self._mixture.logits, dim=-1), dim=-1)

    def cdf(self, value: Tensor) -> Tensor:
        return fn.sum(self._components.cdf(fn.unsqueeze(value, -1)) * self._mixture.probs, dim=-1)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            values = self._components.sample(sample_shape)
            chosen = self._mixture.sample(sample_shape)
            axes = len(self.event_shape)
            chosen = chosen.expand(*sample_shape, *self.batch_shape)
            index = fn.reshape(chosen, (*chosen.shape, *(1,) * (axes + 1)))
            index = index.expand(*chosen.shape, 1, *self.event_shape)
            return fn.squeeze(fn.gather(values, -1 - axes, index), -1 - axes)

    def __repr__(self) -> str:
        return f"MixtureSameFamily({self._mixture}, {self._components})"


class TransformedDistribution(Distribution):
    """A distribution of functions of values of another.

    Args:
        base_distribution: The other.
        transforms: The functions, the first one to be applied first.
        validate_args: Whether to check arguments.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {}

    def __init__(
        self, base_distribution: Distribution, transforms: Transform | Sequence[Transform],
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        self.base_dist = base_distribution
        self.transforms = [transforms] if isinstance(transforms, Transform) else list(transforms)
        super().__init__(base_distribution.batch_shape, base_distribution.event_shape, validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return self.base_dist.has_rsample

    @property
    def support(self) -> Constraint:
        return self.transforms[-1].codomain if self.transforms else self.base_dist.support

    def expand(self, batch_shape: Shape) -> Distribution:
        return TransformedDistribution(self.base_dist.expand(batch_shape), self.transforms, False)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            return ComposeTransform(self.transforms)(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return ComposeTransform(self.transforms)(self.base_dist.rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        total: Any = 0.0
        y = value
        for transform in reversed(self.transforms):
            x = transform.inv(y)
            total = total - sum_rightmost(transform.log_abs_det_jacobian(x, y), len(self.event_shape))
            y = x
        return total + self.base_dist.log_prob(y)  # type: ignore[no-any-return]

    def cdf(self, value: Tensor) -> Tensor:
        sign = 1
        for transform in reversed(self.transforms):
            value = transform.inv(value)
            sign *= transform.sign
        found = self.base_dist.cdf(value)
        return found if sign == 1 else 1 - found

    def icdf(self, value: Tensor) -> Tensor:
        sign = 1
        for transform in self.transforms:
            sign *= transform.sign
        return ComposeTransform(self.transforms)(self.base_dist.icdf(value if sign == 1 else 1 - value))

    def __repr__(self) -> str:
        return f"TransformedDistribution({self.base_dist}, {self.transforms})"
