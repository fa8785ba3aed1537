"""Distributions of whole numbers and of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.constraints import Constraint
from tracec.distributions.distribution import Distribution, Shape, broadcast_all, clamped, one_of
from tracec.errors import ArgumentError
from tracec.ir import dtype as dt
from tracec.record.tape import no_grad
from tracec.record.tensor import Tensor


class Bernoulli(Distribution):
    """1 with probability ``probs``, else 0.

    Args:
        probs: The probability; or
        logits: its log odds.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: both or neither of the parameters are given.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        one_of(type(self).__name__, probs, logits)
        if probs is not None:
            (self.probs,) = broadcast_all(probs)
        else:
            (self.logits,) = broadcast_all(logits)
        self._param: Tensor = self.probs if probs is not None else self.logits
        super().__init__(self._param.shape, validate_args=validate_args)

    def __getattr__(self, name: str) -> Any:
        if name == "logits":
            p = clamped(self.probs)
            return fn.log(p) - fn.log1p(-p)
        if name == "probs":
            return fn.sigmoid(self.logits)
        raise AttributeError(name)

    @property
    def support(self) -> Constraint:
        return constraints.boolean

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        found = fn.ge(self.probs, 0.5).to(self.probs.dtype)
        return fn.where(fn.eq(self.probs, 0.5), math.nan, found)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            return fn.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return value * self.logits - fn.softplus(self.logits)

    def entropy(self) -> Tensor:
        return fn.softplus(self.logits) - self.logits * self.probs

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = fn.arange(2, dtype=self._param.dtype, device=self._param.device)
        return along_first(values, self, expand)


class Geometric(Distribution):
    """The number of failures before the first success.

    Args:
        probs: The probability of success; or
        logits: its log odds.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: both or neither of the parameters are given.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        one_of("Geometric", probs, logits)
        if probs is not None:
            (self.probs,) = broadcast_all(probs)
        else:
            (self.logits,) = broadcast_all(logits)
        super().__init__((self.probs if probs is not None else self.logits).shape, validate_args=validate_args)

    def __getattr__(self, name: str) -> Any:
        if name == "logits":
            p = clamped(self.probs)
            return fn.log(p) - fn.log1p(-p)
        if name == "probs":
            return fn.sigmoid(self.logits)
        raise AttributeError(name)

    @property
    def support(self) -> Constraint:
        return constraints.nonnegative_integer

    @property
    def mean(self) -> Tensor:
        return 1 / self.probs - 1

    @property
    def mode(self) -> Tensor:
        return fn.zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1 / self.probs - 1) / self.probs

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            u = fn.rand(self._extended_shape(sample_shape), dtype=self.probs.dtype, device=self.probs.device)
            return fn.floor(fn.log1p(-u) / fn.log1p(-clamped(self.probs)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        fail = fn.where(fn.logical_and(fn.eq(self.probs, 1), fn.eq(value, 0)), 0.0, -self.probs)
        return value * fn.log1p(fail) + fn.log(self.probs)

    def entropy(self) -> Tensor:
        return (fn.softplus(self.logits) - self.logits * self.probs) / self.probs


class Categorical(Distribution):
    """A class, from 0 on, each with a probability of its own.

    Args:
        probs: Weights of the classes along the last axis, 0 or more, which are divided by their sum; or
        logits: their logarithms.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: both or neither of the parameters are given, or there is no axis of classes.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {
        "probs": constraints.simplex,
        "logits": constraints.real_vector,
    }
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        one_of("Categorical", probs, logits)
        given = probs if probs is not None else logits
        if given.ndim < 1:
            raise ArgumentError(
                "Categorical: the parameter must be at least one-dimensional", hint="classes lie along its last axis"
            )
        if probs is not None:
            self.probs = probs / fn.sum(probs, dim=-1, keepdim=True)
        else:
            self.logits = logits - fn.logsumexp(logits, dim=-1, keepdim=True)
        self._param: Tensor = self.probs if probs is not None else self.logits
        self._num_events = self._param.shape[-1]
        super().__init__(self._param.shape[:-1], validate_args=validate_args)

    def __getattr__(self, name: str) -> Any:
        if name == "logits":
            return fn.log(clamped(self.probs))
        if name == "probs":
            return fn.softmax(self.logits, dim=-1)
        raise AttributeError(name)

    @property
    def support(self) -> Constraint:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def param_shape(self) -> Any:
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
        least = -3.4028234663852886e38 if self._param.dtype is dt.float32 else -1e300
        return -fn.sum(fn.clamp(self.logits, min=least) * self.probs, dim=-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return along_first(fn.arange(self._num_events, device=self._param.device), self, expand)


class OneHotCategorical(Distribution):
    """A class as a vector with a 1 at its place; see `Categorical`.

    Args:
        probs: Weights of the classes along the last axis; or
        logits: their logarithms.
        validate_args: Whether to check arguments.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {
        "probs": constraints.simplex,
        "logits": constraints.real_vector,
    }
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._categorical = Categorical(probs, logits, validate_args)
        shape = self._categorical.param_shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Shape) -> Distribution:
        name = "probs" if "probs" in self._categorical.__dict__ else "logits"
        wide = getattr(self._categorical, name).expand(*batch_shape, *self.event_shape)
        return type(self)(**{name: wide}, validate_args=False)

    @property
    def probs(self) -> Tensor:
        """Probabilities of the classes."""
        return self._categorical.probs  # type: ignore[no-any-return]

    @property
    def logits(self) -> Tensor:
        """Their logarithms."""
        return self._categorical.logits  # type: ignore[no-any-return]

    @property
    def support(self) -> Constraint:
        return constraints.one_hot

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
        values = fn.reshape(
            fn.eye(n, dtype=self.probs.dtype, device=self.probs.device), (n, *(1,) * len(self.batch_shape), n)
        )
        return values.expand(n, *self.batch_shape, n) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """A class as a vector, through which gradients go as if it were the probabilities.

    Source: Bengio, Léonard, Courville, "Estimating or Propagating Gradients Through Stochastic Neurons", 2013.
    """

    has_rsample = True

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return self.sample(sample_shape) + (self.probs - self.probs.detach())


class Multinomial(Distribution):
    """How often each class comes among a number of draws.

    Args:
        total_count: Number of draws.
        probs: Weights of the classes along the last axis; or
        logits: their logarithms.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: the number is none, or both or neither of the parameters are given.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {
        "probs": constraints.simplex,
        "logits": constraints.real_vector,
    }

    def __init__(
        self, total_count: int = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:  # fmt: skip
        if not isinstance(total_count, int):
            raise ArgumentError("Multinomial: inhomogeneous total_count is not supported", hint="give one integer")
        self.total_count = total_count
        self._categorical = Categorical(probs, logits, validate_args)
        shape = self._categorical.param_shape
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Shape) -> Distribution:
        name = "probs" if "probs" in self._categorical.__dict__ else "logits"
        wide = getattr(self._categorical, name).expand(*batch_shape, *self.event_shape)
        return Multinomial(self.total_count, **{name: wide}, validate_args=False)

    @property
    def probs(self) -> Tensor:
        """Probabilities of the classes."""
        return self._categorical.probs  # type: ignore[no-any-return]

    @property
    def logits(self) -> Tensor:
        """Their logarithms."""
        return self._categorical.logits  # type: ignore[no-any-return]

    @property
    def support(self) -> Constraint:
        return constraints.multinomial(self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            classes = self._categorical.sample((self.total_count, *sample_shape))
            each = fn.one_hot(classes, self.event_shape[0])
            return fn.sum(each, dim=0).to(self.probs.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        logits, value = fn.broadcast_tensors(self.logits, value)
        never = fn.logical_and(fn.eq(value, 0), fn.eq(logits, -math.inf))
        powers = fn.sum(fn.where(never, 0.0, logits) * value, dim=-1)
        return fn.lgamma(fn.sum(value, dim=-1) + 1) - fn.sum(fn.lgamma(value + 1), dim=-1) + powers


def along_first(values: Tensor, d: Distribution, expand: bool) -> Tensor:
    """Values along a first axis, before those of the batch."""
    values = fn.reshape(values, (-1, *(1,) * len(d.batch_shape)))
    return values.expand(values.shape[0], *d.batch_shape) if expand else values
