"""Probability distributions: drawing values, their densities, entropies, divergences."""

import sys
from typing import TYPE_CHECKING

from tracec.distributions import constraints, transforms
from tracec.distributions.composed import Independent, MixtureSameFamily, TransformedDistribution
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
from tracec.distributions.discrete import (
    Bernoulli,
    Categorical,
    Geometric,
    Multinomial,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
)
from tracec.distributions.distribution import Distribution
from tracec.distributions.kl import kl_divergence, register_kl
from tracec.distributions.multivariate import MultivariateNormal
from tracec.distributions.transforms import (
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    PowerTransform,
    SigmoidTransform,
    TanhTransform,
    Transform,
)
from tracec.errors import name_missing

__all__ = [
    "AffineTransform", "Bernoulli", "Binomial", "Categorical", "Cauchy", "ComposeTransform", "ContinuousBernoulli",
    "Distribution", "ExpTransform", "Exponential", "Geometric", "Gumbel", "HalfNormal", "Independent", "Laplace",
    "LogNormal", "MixtureSameFamily", "Multinomial", "MultivariateNormal", "Normal", "OneHotCategorical",
    "OneHotCategoricalStraightThrough", "Poisson", "PowerTransform", "SigmoidTransform", "TanhTransform", "Transform",
    "TransformedDistribution", "Uniform", "constraints", "kl_divergence", "register_kl", "transforms",
]  # fmt: skip


if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
