"""Student's t-distribution."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.chi2 import Chi2
from tracec.distributions.distribution import Distribution, Shape
from tracec.distributions.utils import broadcast_all
from tracec.record.tensor import Tensor


class StudentT(Distribution):
    """Student's t-distribution, of a normal variable over the root of a chi-squared one over its degrees of freedom.

    Args:
        df: Degrees of freedom.
        loc: Where it lies.
        scale: How wide it is.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        super().__init__(self.df.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return fn.where(fn.gt(self.df, 1), self.loc, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        finite = fn.gt(self.df, 2)
        df = fn.where(finite, self.df, 3.0)
        heavy = fn.where(fn.gt(self.df, 1), math.inf, math.nan)
        return fn.where(finite, fn.square(self.scale) * df / (df - 2), heavy)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        x = fn.randn(self._extended_shape(sample_shape), dtype=self.df.dtype, device=self.df.device)
        z = Chi2(self.df, validate_args=False).rsample(sample_shape)
        return self.loc + self.scale * (x * fn.rsqrt(z / self.df))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        y = (value - self.loc) / self.scale
        half = 0.5 * (self.df + 1.0)
        size = fn.log(self.scale) + 0.5 * fn.log(self.df) + 0.5 * math.log(math.pi)
        size = size + fn.lgamma(0.5 * self.df) - fn.lgamma(half)
        return -half * fn.log1p(fn.square(y) / self.df) - size

    def entropy(self) -> Tensor:
        half, whole = 0.5 * self.df, 0.5 * (self.df + 1)
        log_beta = fn.lgamma(half) + math.lgamma(0.5) - fn.lgamma(half + 0.5)
        slope = whole * (fn.digamma(whole) - fn.digamma(half))
        return fn.log(self.scale) + slope + 0.5 * fn.log(self.df) + log_beta
