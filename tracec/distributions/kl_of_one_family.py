"""Divergences of distributions of one family, of numbers and classes."""

from __future__ import annotations

import math

from tracec import functions as fn
from tracec.distributions.bernoulli import Bernoulli
from tracec.distributions.beta import Beta
from tracec.distributions.binomial import Binomial
from tracec.distributions.categorical import Categorical
from tracec.distributions.cauchy import Cauchy
from tracec.distributions.continuous_bernoulli import ContinuousBernoulli
from tracec.distributions.dirichlet import Dirichlet
from tracec.distributions.exponential import Exponential
from tracec.distributions.gamma import Gamma
from tracec.distributions.geometric import Geometric
from tracec.distributions.gumbel import Gumbel
from tracec.distributions.half_normal import HalfNormal
from tracec.distributions.kl import register_kl
from tracec.distributions.laplace import Laplace
from tracec.distributions.log_normal import LogNormal
from tracec.distributions.normal import Normal
from tracec.distributions.one_hot_categorical import OneHotCategorical
from tracec.distributions.pareto import Pareto
from tracec.distributions.poisson import Poisson
from tracec.distributions.uniform import Uniform
from tracec.distributions.utils import EULER
from tracec.errors import UnsupportedError
from tracec.record.tensor import Tensor


@register_kl(Normal, Normal)
@register_kl(LogNormal, LogNormal)
def _normals(p: Normal, q: Normal) -> Tensor:
    ratio = fn.square(p.scale / q.scale)
    apart = fn.square((p.loc - q.loc) / q.scale)
    return 0.5 * (ratio + apart - 1 - fn.log(ratio))


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
    apart = (p.loc - q.loc) / q.scale
    return -fn.log(ratio) + apart + (ratio - 1) * EULER + fn.exp(fn.lgamma(1 + ratio) - apart) - 1


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


@register_kl(Pareto, Pareto)
def _paretos(p: Pareto, q: Pareto) -> Tensor:
    ratio = q.alpha / p.alpha
    found = q.alpha * fn.log(p.scale / q.scale) - fn.log(ratio) + ratio - 1
    return fn.where(fn.lt(p.scale, q.scale), math.inf, found)


@register_kl(Gamma, Gamma)
def _gammas(p: Gamma, q: Gamma) -> Tensor:
    a, b = p.concentration, q.concentration
    rates = b * fn.log(p.rate / q.rate) + (q.rate - p.rate) * (a / p.rate)
    return rates + fn.lgamma(b) - fn.lgamma(a) + (a - b) * fn.digamma(a)


@register_kl(Beta, Beta)
def _betas(p: Beta, q: Beta) -> Tensor:
    a, b = p.concentration1, p.concentration0
    total_p, total_q = a + b, q.concentration1 + q.concentration0
    size = fn.lgamma(q.concentration1) + fn.lgamma(q.concentration0) + fn.lgamma(total_p)
    size = size - (fn.lgamma(a) + fn.lgamma(b) + fn.lgamma(total_q))
    slopes = (a - q.concentration1) * fn.digamma(a) + (b - q.concentration0) * fn.digamma(b)
    return size + slopes + (total_q - total_p) * fn.digamma(total_p)


@register_kl(Dirichlet, Dirichlet)
def _dirichlets(p: Dirichlet, q: Dirichlet) -> Tensor:
    a, b = p.concentration, q.concentration
    total = fn.sum(a, dim=-1, keepdim=True)
    slopes = fn.sum((a - b) * (fn.digamma(a) - fn.digamma(total)), dim=-1)
    return q._log_beta(b) - p._log_beta(a) + slopes


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
    return mean + p._log_norm_const() + fn.log1p(-p.probs) - q._log_norm_const() - fn.log1p(-q.probs)


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
