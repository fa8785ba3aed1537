"""The categorical distribution."""

from __future__ import annotations

import math

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.constraints import Constraint
from tracec.distributions.distribution import Distribution, Shape
from tracec.distributions.utils import along_first, lazy_property, logits_to_probs, one_of, probs_to_logits
from tracec.errors import ArgumentError
from tracec.record.limits import finfo
from tracec.record.mode import no_grad
from tracec.record.tensor import Size, Tensor


class Categorical(Distribution):
    """A class, from 0 on, each with a probability of its own.

    Args:
        probs: Weights of the classes along the last axis, 0 or more, which are divided by their sum; or
        logits: their logarithms.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: both or neither of the parameters are given, or there is no axis of classes.
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:  # fmt: skip
        one_of("Categorical", probs, logits)
        name, given = ("probs", probs) if probs is not None else ("logits", logits)
        assert given is not None
        if given.ndim < 1:
            raise ArgumentError(
                f"Categorical: `{name}` parameter must be at least one-dimensional.",
                hint="classes lie along its last axis",
            )
        if name == "probs":
            self._param: Tensor = given / fn.sum(given, dim=-1, keepdim=True)
        else:
            self._param = given - fn.logsumexp(given, dim=-1, keepdim=True)
        self.__dict__[name] = self._param
        self._num_events = self._param.shape[-1]
        super().__init__(self._param.shape[:-1], validate_args=validate_args)

    @lazy_property
    def probs(self) -> Tensor:
        """Probabilities of the classes."""
        return logits_to_probs(self.logits)

    @lazy_property
    def logits(self) -> Tensor:
        """Their logarithms."""
        return probs_to_logits(self.probs)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Constraint:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def param_shape(self) -> Size:
        """Shape of the weights."""
        return self._param.shape

    @property
    def mean(self) -> Tensor:
        return fn.full(self.batch_shape, math.nan, dtype=self._param.dtype, device=self._param.device)

    @property
    def mode(self) -> Tensor:
        return fn.argmax(self.probs, dim=-1)

    @property
    def variance(self) -> Tensor:
        return self.mean

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            count = math.prod(sample_shape)
            rows = fn.multinomial(fn.reshape(self.probs, (-1, self._num_events)), count, True)
            return fn.reshape(fn.t(rows), self._extended_shape(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        index = fn.unsqueeze(value.long(), -1)
        index, logits = fn.broadcast_tensors(index, self.logits)
        return fn.squeeze(fn.gather(logits, -1, index[..., :1]), -1)

    def entropy(self) -> Tensor:
        return -fn.sum(fn.clamp(self.logits, min=finfo(self._param.dtype).min) * self.probs, dim=-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return along_first(fn.arange(self._num_events, device=self._param.device), self.batch_shape, expand)
