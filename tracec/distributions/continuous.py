"""Distributions of real numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.constraints import Constraint
from tracec.distributions.distribution import Distribution, Shape, broadcast_all, clamped, eps_of, one_of
from tracec.errors import ArgumentError
from tracec.record.tensor import Tensor

EULER = 0.57721566490153286061


class _LocationScale(Distribution):
    """A distribution of one shape, moved and stretched.

    Args:
        loc: Where it lies.
        scale: How wide it is.
        validate_args: Whether to check arguments.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {"loc": constraints.real, "scale": constraints.positive}
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.real

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return self.loc + self._standard(self._extended_shape(sample_shape)) * self.scale

    def _standard(self, shape: tuple[int, ...]) -> Tensor:
        """Values for a location of 0 and a scale of 1."""
        raise NotImplementedError

    def _uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Uniform numbers, neither 0 nor 1."""
        u = fn.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
        return fn.clamp(u, min=eps_of(u) / 2, max=1 - eps_of(u) / 2)

    def _from_center(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return (value - self.loc) / self.scale


class Normal(_LocationScale):
    """The normal distribution, of mean ``loc`` and standard deviation ``scale``."""

    @property
    def stddev(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        return fn.square(self.scale)

    def _standard(self, shape: tuple[int, ...]) -> Tensor:
        return fn.randn(shape, dtype=self.loc.dtype, device=self.loc.device)

    def log_prob(self, value: Tensor) -> Tensor:
        return -0.5 * fn.square(self._from_center(value)) - fn.log(self.scale) - 0.5 * math.log(2 * math.pi)

    def cdf(self, value: Tensor) -> Tensor:
        return 0.5 * (1 + fn.erf(self._from_center(value) / math.sqrt(2)))

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * fn.erfinv(2 * value - 1) * math.sqrt(2)

    def entropy(self) -> Tensor:
        return 0.5 + 0.5 * math.log(2 * math.pi) + fn.log(self.scale)


class Laplace(_LocationScale):
    """The Laplace distribution: ``exp(-|x - loc| / scale) / (2 scale)``."""

    @property
    def variance(self) -> Tensor:
        return 2 * fn.square(self.scale)

    def _standard(self, shape: tuple[int, ...]) -> Tensor:
        u = self._uniform(shape) * 2 - 1
        return -fn.sign(u) * fn.log1p(-fn.abs(u))

    def log_prob(self, value: Tensor) -> Tensor:
        return -fn.log(2 * self.scale) - fn.abs(self._from_center(value))

    def cdf(self, value: Tensor) -> Tensor:
        x = self._from_center(value)
        return 0.5 - 0.5 * fn.sign(x) * fn.expm1(-fn.abs(x))

    def icdf(self, value: Tensor) -> Tensor:
        term = value - 0.5
        return self.loc - self.scale * fn.sign(term) * fn.log1p(-2 * fn.abs(term))

    def entropy(self) -> Tensor:
        return 1 + fn.log(2 * self.scale)


class Gumbel(_LocationScale):
    """The Gumbel distribution, of largest values: ``exp(-exp(-(x - loc) / scale))`` is its distribution function."""

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * EULER

    @property
    def variance(self) -> Tensor:
        return fn.square(self.scale * (math.pi / math.sqrt(6)))

    def _standard(self, shape: tuple[int, ...]) -> Tensor:
        return -fn.log(-fn.log(self._uniform(shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        x = -self._from_center(value)
        return x - fn.exp(x) - fn.log(self.scale)

    def cdf(self, value: Tensor) -> Tensor:
        return fn.exp(-fn.exp(-self._from_center(value)))

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc - self.scale * fn.log(-fn.log(value))

    def entropy(self) -> Tensor:
        return fn.log(self.scale) + (1 + EULER)


class Cauchy(_LocationScale):
    """The Cauchy distribution, which has no mean: ``1 / (π scale (1 + ((x - loc) / scale)²))``."""

    @property
    def mean(self) -> Tensor:
        return fn.full_like(self.loc, math.nan)

    @property
    def variance(self) -> Tensor:
        return fn.full_like(self.loc, math.inf)

    def _standard(self, shape: tuple[int, ...]) -> Tensor:
        return fn.tan(math.pi * (self._uniform(shape) - 0.5))

    def log_prob(self, value: Tensor) -> Tensor:
        return -math.log(math.pi) - fn.log(self.scale) - fn.log1p(fn.square(self._from_center(value)))

    def cdf(self, value: Tensor) -> Tensor:
        return fn.atan(self._from_center(value)) / math.pi + 0.5

    def icdf(self, value: Tensor) -> Tensor:
        return fn.tan(math.pi * (value - 0.5)) * self.scale + self.loc

    def entropy(self) -> Tensor:
        return math.log(4 * math.pi) + fn.log(self.scale)


class LogNormal(_LocationScale):
    """The exponential of a normal variable of mean ``loc`` and standard deviation ``scale``."""

    @property
    def support(self) -> Constraint:
        return constraints.positive

    @property
    def mean(self) -> Tensor:
        return fn.exp(self.loc + fn.square(self.scale) / 2)

    @property
    def mode(self) -> Tensor:
        return fn.exp(self.loc - fn.square(self.scale))

    @property
    def variance(self) -> Tensor:
        square = fn.square(self.scale)
        return fn.expm1(square) * fn.exp(2 * self.loc + square)

    def _normal(self) -> Normal:
        return Normal(self.loc, self.scale, validate_args=False)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        return fn.exp(self._normal().rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        x = fn.log(value)
        return self._normal().log_prob(x) - x

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self._normal().cdf(fn.log(value))

    def icdf(self, value: Tensor) -> Tensor:
        return fn.exp(self._normal().icdf(value))

    def entropy(self) -> Tensor:
        return self._normal().entropy() + self.loc


class HalfNormal(Distribution):
    """The absolute value of a normal variable of mean 0.

    Args:
        scale: Standard deviation of the normal variable.
        validate_args: Whether to check arguments.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {"scale": constraints.positive}
    has_rsample = True

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        (self.scale,) = broadcast_all(scale)
        super().__init__(self.scale.shape, validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.nonnegative

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def mode(self) -> Tensor:
        return fn.zeros_like(self.scale)

    @property
    def variance(self) -> Tensor:
        return fn.square(self.scale) * (1 - 2 / math.pi)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        eps = fn.randn(self._extended_shape(sample_shape), dtype=self.scale.dtype, device=self.scale.device)
        return fn.abs(eps * self.scale)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        inside = 0.5 * math.log(2 / math.pi) - fn.log(self.scale) - 0.5 * fn.square(value / self.scale)
        return fn.where(fn.ge(value, 0), inside, -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return fn.erf(value / self.scale / math.sqrt(2))

    def icdf(self, value: Tensor) -> Tensor:
        return self.scale * fn.erfinv(value) * math.sqrt(2)

    def entropy(self) -> Tensor:
        return 0.5 + 0.5 * math.log(math.pi / 2) + fn.log(self.scale)


class Uniform(Distribution):
    """The same density everywhere between two bounds, the upper one left out.

    Args:
        low: Lower bound.
        high: Upper bound.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: a lower bound is not below its upper bound.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {"low": constraints.real, "high": constraints.real}
    has_rsample = True

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = broadcast_all(low, high)
        super().__init__(self.low.shape, validate_args=validate_args)
        if self._validating and not bool(fn.all(fn.lt(self.low, self.high))):
            raise ArgumentError("Uniform: it is not defined when low >= high")

    @property
    def support(self) -> Constraint:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Tensor:
        return fn.full_like(self.low, math.nan)

    @property
    def variance(self) -> Tensor:
        return fn.square(self.high - self.low) / 12

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        u = fn.rand(self._extended_shape(sample_shape), dtype=self.low.dtype, device=self.low.device)
        return self.low + u * (self.high - self.low)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        inside = fn.logical_and(fn.le(self.low, value), fn.gt(self.high, value))
        return fn.where(inside, -fn.log(self.high - self.low), -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return fn.clamp((value - self.low) / (self.high - self.low), min=0, max=1)

    def icdf(self, value: Tensor) -> Tensor:
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Tensor:
        return fn.log(self.high - self.low)


class Exponential(Distribution):
    """The exponential distribution: ``rate exp(-rate x)``.

    Args:
        rate: One over the mean.
        validate_args: Whether to check arguments.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {"rate": constraints.positive}
    has_rsample = True

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.nonnegative

    @property
    def mean(self) -> Tensor:
        return fn.reciprocal(self.rate)

    @property
    def mode(self) -> Tensor:
        return fn.zeros_like(self.rate)

    @property
    def variance(self) -> Tensor:
        return fn.reciprocal(fn.square(self.rate))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        u = fn.rand(self._extended_shape(sample_shape), dtype=self.rate.dtype, device=self.rate.device)
        return -fn.log1p(-u) / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return fn.log(self.rate) - self.rate * value

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return -fn.expm1(-self.rate * value)

    def icdf(self, value: Tensor) -> Tensor:
        return -fn.log1p(-value) / self.rate

    def entropy(self) -> Tensor:
        return 1 - fn.log(self.rate)


class ContinuousBernoulli(Distribution):
    """The density proportional to ``probs^x (1 - probs)^(1 - x)`` between 0 and 1.

    Args:
        probs: The parameter, from 0 to 1; or
        logits: its log odds.
        lims: Between these the formulas are unstable, and series of them are used.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: both or neither of the parameters are given.

    Source: Loaiza-Ganem, Cunningham, "The continuous Bernoulli: fixing a pervasive error in variational autoencoders",
    2019.
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    has_rsample = True

    def __init__(
        self, probs: Any = None, logits: Any = None, lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        one_of("ContinuousBernoulli", probs, logits)
        self._lims = lims
        if probs is not None:
            (self.probs,) = broadcast_all(probs)
        else:
            (self.logits,) = broadcast_all(logits)
        self._param = self.probs if probs is not None else self.logits
        super().__init__(self._param.shape, validate_args=validate_args)
        if probs is not None:
            self.probs = clamped(self.probs)

    def __getattr__(self, name: str) -> Any:
        if name == "logits":
            return fn.log(self.probs) - fn.log1p(-self.probs)
        if name == "probs":
            return clamped(fn.sigmoid(self.logits))
        raise AttributeError(name)

    def _options(self) -> dict[str, Any]:
        return {"lims": self._lims}

    @property
    def support(self) -> Constraint:
        return constraints.unit_interval

    def _outside(self) -> Tensor:
        """Where the formulas are stable."""
        return fn.logical_or(fn.le(self.probs, self._lims[0]), fn.gt(self.probs, self._lims[1]))

    def _cut(self) -> Tensor:
        """The parameter where the formulas are stable; a harmless value elsewhere."""
        return fn.where(self._outside(), self.probs, self._lims[0])

    def _log_normalizer(self) -> Tensor:
        p = self._cut()
        low = fn.where(fn.le(p, 0.5), p, 0.0)
        high = fn.where(fn.ge(p, 0.5), p, 1.0)
        size = fn.log(fn.abs(fn.log1p(-p) - fn.log(p)))
        formula = size - fn.where(fn.le(p, 0.5), fn.log1p(-2 * low), fn.log(2 * high - 1))
        x = fn.square(self.probs - 0.5)
        return fn.where(self._outside(), formula, math.log(2) + (4 / 3 + 104 / 45 * x) * x)

    @property
    def mean(self) -> Tensor:
        p = self._cut()
        formula = p / (2 * p - 1) + 1 / (fn.log1p(-p) - fn.log(p))
        x = self.probs - 0.5
        return fn.where(self._outside(), formula, 0.5 + (1 / 3 + 16 / 45 * fn.square(x)) * x)

    @property
    def variance(self) -> Tensor:
        p = self._cut()
        formula = p * (p - 1) / fn.square(1 - 2 * p) + 1 / fn.square(fn.log1p(-p) - fn.log(p))
        x = fn.square(self.probs - 0.5)
        return fn.where(self._outside(), formula, 1 / 12 - (1 / 15 - 128 / 945 * x) * x)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        u = fn.rand(self._extended_shape(sample_shape), dtype=self.probs.dtype, device=self.probs.device)
        return self.icdf(fn.clamp(u, min=eps_of(u) / 2, max=1 - eps_of(u) / 2))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return value * self.logits - fn.softplus(self.logits) + self._log_normalizer()

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        p = self._cut()
        formula = (p**value * (1 - p) ** (1 - value) + p - 1) / (2 * p - 1)
        found = fn.where(self._outside(), formula, value)
        return fn.where(fn.le(value, 0), 0.0, fn.where(fn.ge(value, 1), 1.0, found))

    def icdf(self, value: Tensor) -> Tensor:
        p = self._cut()
        formula = (fn.log1p(-p + value * (2 * p - 1)) - fn.log1p(-p)) / (fn.log(p) - fn.log1p(-p))
        return fn.where(self._outside(), formula, value)

    def entropy(self) -> Tensor:
        log0, log1 = fn.log1p(-self.probs), fn.log(self.probs)
        return self.mean * (log0 - log1) - self._log_normalizer() - log0
