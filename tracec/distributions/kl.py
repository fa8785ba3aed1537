"""Kullback-Leibler divergences, by the types of the two distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tracec import functions as fn
from tracec import linalg
from tracec.distributions.composed import Independent, sum_rightmost
from tracec.distributions.continuous import (
    Cauchy,
    ContinuousBernoulli,
    Exponential,
    Gumbel,
    HalfNormal,
    Laplace,
    LogNormal,
    Normal,
    Uniform,
)
from tracec.distributions.counts import Binomial, Poisson
from tracec.distributions.discrete import Bernoulli, Categorical, Geometric, OneHotCategorical
from tracec.distributions.distribution import Distribution
from tracec.distributions.multivariate import MultivariateNormal, mahalanobis
from tracec.errors import ArgumentError, ArgumentTypeError, UnsupportedError
from tracec.ir.types import broadcast_shapes
from tracec.record.tensor import Tensor

Divergence = Callable[[Any, Any], Tensor]
_KNOWN: dict[tuple[type, type], Divergence] = {}


def register_kl(type_p: type[Distribution], type_q: type[Distribution]) -> Callable[[Divergence], Divergence]:
    """A decorator of functions that compute the divergence of two types of distributions.

    Raises:
        ArgumentTypeError: one is no type of distribution.
    """
    for t in (type_p, type_q):
        if not (isinstance(t, type) and issubclass(t, Distribution)):
            raise ArgumentTypeError(f"register_kl: expected a Distribution subclass but got {t!r}")

    def enter(function: Divergence) -> Divergence:
        _KNOWN[type_p, type_q] = function
        return function

    return enter


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """How far q is from p: the mean under p of ``log p(x) - log q(x)``, in nats; shape of the batch.

    Raises:
        UnsupportedError: there is no formula for the two.
    """
    for a in type(p).__mro__:
        for b in type(q).__mro__:
            if (a, b) in _KNOWN:
                return _KNOWN[a, b](p, q)
    raise UnsupportedError(
        f"kl_divergence: no formula for {type(p).__name__} and {type(q).__name__}", hint="add one with register_kl"
    )


@register_kl(Normal, Normal)
def _normals(p: Normal, q: Normal) -> Tensor:
    ratio = fn.square(p.scale / q.scale)
    apart = fn.square((p.loc - q.loc) / q.scale)
    return 0.5 * (ratio + apart - 1 - fn.log(ratio))


@register_kl(LogNormal, LogNormal)
def _log_normals(p: LogNormal, q: LogNormal) -> Tensor:
    return _normals(p, q)


@register_kl(HalfNormal, HalfNormal)
def _half_normals(p: HalfNormal, q: HalfNormal) -> Tensor:
    ratio = fn.square(p.scale / q.scale)
    return 0.5 * (ratio - 1 - fn.log(ratio))


@register_kl(Laplace, Laplace)
def _laplaces(p: Laplace, q: Laplace) -> Tensor:
    ratio, apart = p.scale / q.scale, fn.abs(p.loc - q.loc)
    return -fn.log(ratio) + apart / q.scale + ratio * fn.exp(-apart / p.scale) - 1


@register_kl(Gumbel, Gumbel)
def _gumbels(p: Gumbel, q: Gumbel) -> Tensor:
    ratio = p.scale / q.scale
    at, base = q.loc / q.scale, p.loc / q.scale
    mean = ratio * 0.57721566490153286061
    return -fn.log(ratio) - at + base + mean + fn.exp(at + fn.lgamma(1 + ratio) - base) - (1 + 0.57721566490153286061)


@register_kl(Cauchy, Cauchy)
def _cauchys(p: Cauchy, q: Cauchy) -> Tensor:
    return fn.log(fn.square(p.scale + q.scale) + fn.square(p.loc - q.loc)) - fn.log(4 * p.scale * q.scale)


@register_kl(Exponential, Exponential)
def _exponentials(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return -fn.log(ratio) + ratio - 1


@register_kl(Uniform, Uniform)
def _uniforms(p: Uniform, q: Uniform) -> Tensor:
    inside = fn.logical_and(fn.le(q.low, p.low), fn.ge(q.high, p.high))
    return fn.where(inside, fn.log((q.high - q.low) / (p.high - p.low)), math.inf)


@register_kl(Bernoulli, Bernoulli)
def _bernoullis(p: Bernoulli, q: Bernoulli) -> Tensor:
    one = p.probs * (fn.softplus(-q.logits) - fn.softplus(-p.logits))
    one = fn.where(fn.eq(p.probs, 0), 0.0, fn.where(fn.eq(q.probs, 0), math.inf, one))
    other = (1 - p.probs) * (fn.softplus(q.logits) - fn.softplus(p.logits))
    other = fn.where(fn.eq(p.probs, 1), 0.0, fn.where(fn.eq(q.probs, 1), math.inf, other))
    return one + other


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoullis(p: ContinuousBernoulli, q: ContinuousBernoulli) -> Tensor:
    mean = p.mean * (p.logits - q.logits)
    return mean + p._log_normalizer() + fn.log1p(-p.probs) - q._log_normalizer() - fn.log1p(-q.probs)


@register_kl(Poisson, Poisson)
def _poissons(p: Poisson, q: Poisson) -> Tensor:
    return p.rate * (fn.log(p.rate) - fn.log(q.rate)) - (p.rate - q.rate)


@register_kl(Binomial, Binomial)
def _binomials(p: Binomial, q: Binomial) -> Tensor:
    if fn.any(fn.gt(q.total_count, p.total_count)):
        raise UnsupportedError("kl_divergence: the second Binomial has more trials than the first")
    odds = p.probs * (p.logits - q.logits) + fn.log1p(-p.probs) - fn.log1p(-q.probs)
    return fn.where(fn.gt(p.total_count, q.total_count), math.inf, p.total_count * odds)


@register_kl(Geometric, Geometric)
def _geometrics(p: Geometric, q: Geometric) -> Tensor:
    return -p.entropy() - fn.log1p(-q.probs) / p.probs - q.logits


@register_kl(Categorical, Categorical)
def _categoricals(p: Categorical, q: Categorical) -> Tensor:
    each = p.probs * (p.logits - q.logits)
    each = fn.where(fn.eq(q.probs, 0), math.inf, each)
    return fn.sum(fn.where(fn.eq(p.probs, 0), 0.0, each), dim=-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hots(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return _categoricals(p._categorical, q._categorical)


@register_kl(Independent, Independent)
def _independents(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise ArgumentError("kl_divergence: the two are independent over different numbers of axes")
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariates(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ArgumentError(
            f"kl_divergence: the two are of vectors of {p.event_shape[0]} and {q.event_shape[0]} elements"
        )
    n = p.event_shape[0]
    shape = (*broadcast_shapes(tuple(p.batch_shape), tuple(q.batch_shape)), n, n)
    solved = linalg.solve_triangular(q.scale_tril.expand(shape), p.scale_tril.expand(shape), upper=False)
    trace = fn.sum(fn.square(solved), dim=(-2, -1))
    apart = mahalanobis(q.scale_tril, q.loc - p.loc)
    return q._half_log_det() - p._half_log_det() + 0.5 * (trace + apart - n)  # type: ignore[no-any-return]
