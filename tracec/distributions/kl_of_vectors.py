"""Divergences of normal distributions of vectors."""

from __future__ import annotations

from typing import Any

from tracec import functions as fn
from tracec import linalg
from tracec.distributions.kl import register_kl
from tracec.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from tracec.distributions.multivariate_normal import MultivariateNormal, half_log_det, mahalanobis
from tracec.errors import ArgumentError
from tracec.ir.types import broadcast_shapes
from tracec.record.tensor import Tensor


def _trace_of(tril: Tensor, factor: Tensor) -> Tensor:
    """The sum of the squares of ``tril⁻¹ factor``."""
    batch = broadcast_shapes(tuple(tril.shape[:-2]), tuple(factor.shape[:-2]))
    wide = (x.expand(*batch, *x.shape[-2:]) for x in (tril, factor))
    return fn.sum(fn.square(linalg.solve_triangular(*wide, upper=False)), dim=(-2, -1))


def _check(p: Any, q: Any) -> None:
    if p.event_shape != q.event_shape:
        raise ArgumentError(
            f"kl_divergence: the two are of vectors of {p.event_shape[0]} and {q.event_shape[0]} elements"
        )


def _trace_of_low_rank(q: LowRankMultivariateNormal, factor: Tensor) -> Tensor:
    """The trace of q's inverse covariance times ``factor factorᵀ``, by Woodbury's identity."""
    scaled = factor / fn.unsqueeze(q.cov_diag, -1)
    along = fn.matmul(q.cov_factor.mT, scaled)
    return fn.sum(factor * scaled, dim=(-2, -1)) - _trace_of(q._capacitance_tril, along)


def _divergence(p: Any, q: Any, log_det: Tensor, trace: Tensor, apart: Tensor) -> Tensor:
    """The divergence by the logarithm of the ratio of the determinants, and by what q's covariance makes of p's."""
    return 0.5 * (log_det + trace + apart - p.event_shape[0])


@register_kl(MultivariateNormal, MultivariateNormal)
def _full_full(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    _check(p, q)
    log_det = 2 * (half_log_det(q.scale_tril) - half_log_det(p.scale_tril))
    return _divergence(p, q, log_det, _trace_of(q.scale_tril, p.scale_tril), mahalanobis(q.scale_tril, q.loc - p.loc))


@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _low_full(p: LowRankMultivariateNormal, q: MultivariateNormal) -> Tensor:
    _check(p, q)
    diagonal = fn.diag_embed(fn.sqrt(p.cov_diag))
    trace = _trace_of(q.scale_tril, p.cov_factor) + _trace_of(q.scale_tril, diagonal)
    log_det = 2 * half_log_det(q.scale_tril) - p._log_det()
    return _divergence(p, q, log_det, trace, mahalanobis(q.scale_tril, q.loc - p.loc))


@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _full_low(p: MultivariateNormal, q: LowRankMultivariateNormal) -> Tensor:
    _check(p, q)
    log_det = q._log_det() - 2 * half_log_det(p.scale_tril)
    return _divergence(p, q, log_det, _trace_of_low_rank(q, p.scale_tril), q._mahalanobis(q.loc - p.loc))


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _low_low(p: LowRankMultivariateNormal, q: LowRankMultivariateNormal) -> Tensor:
    _check(p, q)
    diagonal = fn.diag_embed(fn.sqrt(p.cov_diag))
    trace = _trace_of_low_rank(q, p.cov_factor) + _trace_of_low_rank(q, diagonal)
    return _divergence(p, q, q._log_det() - p._log_det(), trace, q._mahalanobis(q.loc - p.loc))
