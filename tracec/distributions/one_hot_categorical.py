"""Categorical distributions of vectors with one 1."""

from __future__ import annotations

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.categorical import Categorical
from tracec.distributions.distribution import Distribution, Shape
from tracec.record.tensor import Size, Tensor


class OfCategorical(Distribution):
    """A distribution over vectors of one element for each class of a `Categorical`.

    Args:
        probs: Weights of the classes along the last axis; or
        logits: their logarithms.
        validate_args: Whether to check arguments.
    """

    arg_constraints = Categorical.arg_constraints

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:  # fmt: skip
        self._categorical = Categorical(probs, logits, validate_args)
        shape = self._categorical.param_shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    def _given(self) -> dict[str, Tensor]:
        return self._categorical._given()

    @property
    def probs(self) -> Tensor:
        """Probabilities of the classes."""
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        """Their logarithms."""
        return self._categorical.logits

    @property
    def param_shape(self) -> Size:
        """Shape of the weights."""
        return self._categorical.param_shape


class OneHotCategorical(OfCategorical):
    """A class as a vector with a 1 at its place; see `Categorical`."""

    support = constraints.one_hot
    has_enumerate_support = True

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return self._as_vector(self._categorical.mode)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def _as_vector(self, index: Tensor) -> Tensor:
        return fn.one_hot(index, self.event_shape[0]).to(self.probs.dtype)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        return self._as_vector(self._categorical.sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self._categorical.log_prob(fn.argmax(value, dim=-1))

    def entropy(self) -> Tensor:
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        n = self.event_shape[0]
        values = fn.eye(n, dtype=self.probs.dtype, device=self.probs.device)
        values = fn.reshape(values, (n, *(1,) * len(self.batch_shape), n))
        return values.expand(n, *self.batch_shape, n) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """A class as a vector, through which gradients go as if it were the probabilities.

    Source: Bengio, Léonard, Courville, "Estimating or Propagating Gradients Through Stochastic Neurons", 2013.
    """

    has_rsample = True

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return self.sample(sample_shape) + (self.probs - self.probs.detach())
