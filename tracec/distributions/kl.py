"""Kullback-Leibler divergences, by the types of the two distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracec.distributions.distribution import Distribution
from tracec.distributions.exp_family import ExponentialFamily
from tracec.distributions.independent import Independent
from tracec.distributions.transformed_distribution import TransformedDistribution
from tracec.distributions.utils import sum_rightmost
from tracec.errors import ArgumentTypeError, UnsupportedError
from tracec.record.tensor import Tensor

Divergence = Callable[[Any, Any], Tensor]
_KNOWN: dict[tuple[type, type], Divergence] = {}


def register_kl(type_p: type[Distribution], type_q: type[Distribution]) -> Callable[[Divergence], Divergence]:
    """A decorator of functions that compute the divergence of two types of distributions.

    Args:
        type_p: The one; a class that distributions have besides `Distribution` does, as Pyro's own is.
        type_q: The other.

    Raises:
        ArgumentTypeError: one is no class.
    """
    for t in (type_p, type_q):
        if not isinstance(t, type):
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


@register_kl(ExponentialFamily, ExponentialFamily)
def _families(p: ExponentialFamily, q: ExponentialFamily) -> Tensor:
    """Of one family: the difference of the normalizers, less its linear part at p."""
    if type(p) is not type(q):
        raise UnsupportedError(
            f"kl_divergence: no formula for {type(p).__name__} and {type(q).__name__}", hint="add one with register_kl"
        )
    normalizer, means = p._normalizer_and_means()
    result = q._log_normalizer(*q._natural_params) - normalizer
    for ours, theirs, mean in zip(p._natural_params, q._natural_params, means, strict=True):
        term = (theirs - ours) * mean
        result = result - sum_rightmost(term, len(q.event_shape))
    return result


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: TransformedDistribution, q: TransformedDistribution) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise UnsupportedError(
            "kl_divergence: the two are of different transforms", hint="a bijection keeps the divergence, if it is one"
        )
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Independent, Independent)
def _independents(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise UnsupportedError("kl_divergence: the two are independent over different numbers of axes")
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


from tracec.distributions import kl_of_one_family, kl_of_several, kl_of_vectors  # noqa: E402 (which enter theirs)

__all__ = ["kl_divergence", "kl_of_one_family", "kl_of_several", "kl_of_vectors", "register_kl"]
