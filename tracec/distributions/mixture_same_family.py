"""Mixtures of distributions of one family."""

from __future__ import annotations

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.categorical import Categorical
from tracec.distributions.constraints import Constraint, MixtureSameFamilyConstraint
from tracec.distributions.distribution import Distribution, Shape
from tracec.errors import ArgumentError
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


class MixtureSameFamily(Distribution):
    """Values of one of several distributions of a family, chosen by chance.

    Args:
        mixture_distribution: A `Categorical` over the components.
        component_distribution: The components, along the last axis of its batch.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: the batches do not fit.
    """

    def __init__(
        self, mixture_distribution: Categorical, component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(mixture_distribution, Categorical):
            raise ArgumentError("MixtureSameFamily: the mixture distribution needs to be a Categorical")
        if not isinstance(component_distribution, Distribution):
            raise ArgumentError("MixtureSameFamily: the component distribution needs to be a Distribution")
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

    def _expand(self, shape: tuple[int, ...]) -> Distribution:
        components = self._components.expand((*shape, self._mixture.param_shape[-1]))
        mixture = self._mixture.expand(shape)
        assert isinstance(mixture, Categorical)
        return MixtureSameFamily(mixture, components, validate_args=False)

    @property
    def mixture_distribution(self) -> Categorical:
        """How components are chosen."""
        return self._mixture

    @property
    def component_distribution(self) -> Distribution:
        """The components."""
        return self._components

    @constraints.dependent_property
    def support(self) -> Constraint:
        return MixtureSameFamilyConstraint(self._components.support)

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
