"""Divergences of distributions of different families, of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tracec import functions as fn
from tracec.distributions.bernoulli import Bernoulli
from tracec.distributions.beta import Beta
from tracec.distributions.binomial import Binomial
from tracec.distributions.continuous_bernoulli import ContinuousBernoulli
from tracec.distributions.distribution import Distribution
from tracec.distributions.exponential import Exponential
from tracec.distributions.gamma import Gamma
from tracec.distributions.gumbel import Gumbel
from tracec.distributions.kl import register_kl
from tracec.distributions.laplace import Laplace
from tracec.distributions.normal import Normal
from tracec.distributions.pareto import Pareto
from tracec.distributions.poisson import Poisson
from tracec.distributions.uniform import Uniform
from tracec.distributions.utils import EULER
from tracec.record.tensor import Tensor

# Where p has values that q has not --------------------------------------------------------------------

#: Distributions → others that do not have all of their values.
_WIDER: dict[type[Distribution], tuple[type[Distribution], ...]] = {
    Beta: (Pareto,),
    ContinuousBernoulli: (Pareto,),
    Exponential: (Beta, ContinuousBernoulli, Pareto, Uniform),
    Gamma: (Beta, ContinuousBernoulli, Pareto, Uniform),
    Gumbel: (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    Laplace: (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    Normal: (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    Pareto: (Beta, ContinuousBernoulli, Uniform),
    Poisson: (Bernoulli, Binomial),
}


def _infinite(p: Distribution, q: Distribution) -> Tensor:
    return fn.expand_as(fn.full_like(p.mean, math.inf), p.mean + q.mean)


for _p, _others in _WIDER.items():
    for _q in _others:
        register_kl(_p, _q)(_infinite)

# Formulas: the mean of -log q under p, less p's entropy -------------------------------------------------

#: ``(q, mean of x, mean of x²) -> mean of -log q(x)``
Surprise = Callable[[Any, Tensor, Tensor], Tensor]


def _of_normal(q: Normal, mean: Tensor, square: Tensor) -> Tensor:
    apart = square - 2 * q.loc * mean + fn.square(q.loc)
    return 0.5 * apart / fn.square(q.scale) + fn.log(q.scale) + 0.5 * math.log(2 * math.pi)


def _of_exponential(q: Exponential, mean: Tensor, square: Tensor) -> Tensor:
    return q.rate * mean - fn.log(q.rate)


def _square_mean(p: Distribution) -> Tensor:
    return p.variance + fn.square(p.mean)


def _by_moments(surprise: Surprise) -> Callable[[Any, Any], Tensor]:
    return lambda p, q: surprise(q, p.mean, _square_mean(p)) - p.entropy()


for _p in (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Uniform):
    register_kl(_p, Normal)(_by_moments(_of_normal))
for _p in (Beta, ContinuousBernoulli, Gamma):
    register_kl(_p, Exponential)(_by_moments(_of_exponential))


@register_kl(Pareto, Normal)
def _pareto_normal(p: Pareto, q: Normal) -> Tensor:
    finite = _by_moments(_of_normal)(p, q)
    return fn.where(fn.le(p.alpha, 2), math.inf, finite)


@register_kl(Pareto, Exponential)
def _pareto_exponential(p: Pareto, q: Exponential) -> Tensor:
    return fn.where(fn.le(p.alpha, 1), math.inf, _of_exponential(q, p.mean, p.mean) - p.entropy())


def _of_gamma(q: Gamma, mean: Tensor, log_mean: Tensor) -> Tensor:
    """The mean of -log q by the means of x and of its logarithm."""
    a = q.concentration
    return fn.lgamma(a) - a * fn.log(q.rate) - (a - 1) * log_mean + q.rate * mean


@register_kl(Beta, Gamma)
def _beta_gamma(p: Beta, q: Gamma) -> Tensor:
    log_mean = fn.digamma(p.concentration1) - fn.digamma(p.concentration1 + p.concentration0)
    return _of_gamma(q, p.mean, log_mean) - p.entropy()


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Exponential, q: Gamma) -> Tensor:
    return _of_gamma(q, p.mean, -fn.log(p.rate) - EULER) - p.entropy()


@register_kl(Pareto, Gamma)
def _pareto_gamma(p: Pareto, q: Gamma) -> Tensor:
    found = _of_gamma(q, p.mean, fn.log(p.scale) + fn.reciprocal(p.alpha)) - p.entropy()
    return fn.where(fn.le(p.alpha, 1), math.inf, found)


def _of_gumbel(q: Gumbel, mean: Tensor, exponential_mean: Tensor) -> Tensor:
    """The mean of -log q by the means of x and of ``exp(-(x - loc) / scale)``."""
    return (mean - q.loc) / q.scale + exponential_mean + fn.log(q.scale)


@register_kl(Exponential, Gumbel)
def _exponential_gumbel(p: Exponential, q: Gumbel) -> Tensor:
    ratio = q.scale * p.rate
    return _of_gumbel(q, p.mean, fn.exp(q.loc / q.scale) * ratio / (ratio + 1)) - p.entropy()


@register_kl(Gamma, Gumbel)
def _gamma_gumbel(p: Gamma, q: Gumbel) -> Tensor:
    exponential_mean = fn.exp(q.loc / q.scale - p.concentration * fn.log1p(1 / (p.rate * q.scale)))
    return _of_gumbel(q, p.mean, exponential_mean) - p.entropy()


@register_kl(Normal, Gumbel)
def _normal_gumbel(p: Normal, q: Gumbel) -> Tensor:
    exponential_mean = fn.exp((q.loc - p.loc) / q.scale + 0.5 * fn.square(p.scale / q.scale))
    return _of_gumbel(q, p.mean, exponential_mean) - p.entropy()


@register_kl(Uniform, Gumbel)
def _uniform_gumbel(p: Uniform, q: Gumbel) -> Tensor:
    low, high = ((bound - q.loc) / q.scale for bound in (p.low, p.high))
    exponential_mean = (fn.exp(-low) - fn.exp(-high)) / (high - low)
    return _of_gumbel(q, p.mean, exponential_mean) - p.entropy()


@register_kl(Normal, Laplace)
def _normal_laplace(p: Normal, q: Laplace) -> Tensor:
    apart = p.loc - q.loc
    ratio = apart / p.scale
    size = math.sqrt(2 / math.pi) * p.scale * fn.exp(-0.5 * fn.square(ratio)) + apart * fn.erf(math.sqrt(0.5) * ratio)
    return size / q.scale + fn.log(2 * q.scale) - p.entropy()


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Bernoulli, q: Poisson) -> Tensor:
    return q.rate - p.probs * fn.log(q.rate) - p.entropy()


# Where p's bounds decide ------------------------------------------------------------------------------


def _inside(p: Uniform, low: Any, high: Any) -> Tensor:
    return fn.logical_and(fn.ge(p.low, low), fn.le(p.high, high))


@register_kl(Beta, Uniform)
@register_kl(ContinuousBernoulli, Uniform)
def _from_0_to_1_uniform(p: Beta | ContinuousBernoulli, q: Uniform) -> Tensor:
    inside = fn.logical_and(fn.le(q.low, 0), fn.ge(q.high, 1))
    return fn.where(inside, fn.log(q.high - q.low) - p.entropy(), math.inf)


@register_kl(Beta, ContinuousBernoulli)
def _beta_continuous_bernoulli(p: Beta, q: ContinuousBernoulli) -> Tensor:
    return -p.entropy() - p.mean * q.logits - fn.log1p(-q.probs) - q._log_norm_const()


def _log_moment(p: Uniform) -> Tensor:
    """The mean of ``log(x)`` of positive values."""
    return (fn.xlogy(p.high, p.high) - fn.xlogy(p.low, p.low)) / (p.high - p.low) - 1


@register_kl(Uniform, Beta)
def _uniform_beta(p: Uniform, q: Beta) -> Tensor:
    mirrored = (fn.xlogy(1 - p.low, 1 - p.low) - fn.xlogy(1 - p.high, 1 - p.high)) / (p.high - p.low) - 1
    a, b = q.concentration1, q.concentration0
    size = fn.lgamma(a) + fn.lgamma(b) - fn.lgamma(a + b)
    found = size - (a - 1) * _log_moment(p) - (b - 1) * mirrored - p.entropy()
    return fn.where(_inside(p, 0, 1), found, math.inf)


@register_kl(Uniform, ContinuousBernoulli)
def _uniform_continuous_bernoulli(p: Uniform, q: ContinuousBernoulli) -> Tensor:
    found = -p.entropy() - p.mean * q.logits - fn.log1p(-q.probs) - q._log_norm_const()
    return fn.where(_inside(p, 0, 1), found, math.inf)


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Uniform, q: Exponential) -> Tensor:
    return fn.where(fn.lt(p.low, 0), math.inf, _of_exponential(q, p.mean, p.mean) - p.entropy())


@register_kl(Uniform, Gamma)
def _uniform_gamma(p: Uniform, q: Gamma) -> Tensor:
    return fn.where(fn.lt(p.low, 0), math.inf, _of_gamma(q, p.mean, _log_moment(p)) - p.entropy())


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Uniform, q: Pareto) -> Tensor:
    found = (q.alpha + 1) * _log_moment(p) - fn.log(q.alpha) - q.alpha * fn.log(q.scale) - p.entropy()
    return fn.where(fn.lt(p.low, q.scale), math.inf, found)
