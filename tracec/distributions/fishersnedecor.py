"""Fisher's and Snedecor's F-distribution."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.distribution import Distribution, Shape
from tracec.distributions.gamma import Gamma
from tracec.distributions.utils import broadcast_all, tiny_of
from tracec.record.tensor import Tensor


class FisherSnedecor(Distribution):
    """The distribution of the ratio of two chi-squared variables, each over its degrees of freedom.

    Args:
        df1: Degrees of freedom of the numerator.
        df2: Degrees of freedom of the denominator.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None) -> None:
        self.df1, self.df2 = broadcast_all(df1, df2)
        super().__init__(self.df1.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        finite = fn.gt(self.df2, 2)
        df2 = fn.where(finite, self.df2, 3.0)
        return fn.where(finite, df2 / (df2 - 2), math.nan)

    @property
    def mode(self) -> Tensor:
        mode = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return fn.where(fn.gt(self.df1, 2), mode, math.nan)

    @property
    def variance(self) -> Tensor:
        finite = fn.gt(self.df2, 4)
        df2 = fn.where(finite, self.df2, 5.0)
        value = 2 * fn.square(df2) * (self.df1 + df2 - 2) / (self.df1 * fn.square(df2 - 2) * (df2 - 4))
        return fn.where(finite, value, math.nan)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        above, below = (
            Gamma(df * 0.5, df * 0.5, validate_args=False).rsample(sample_shape) for df in (self.df1, self.df2)
        )
        value = above / below
        return fn.clamp(value, min=tiny_of(value))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        half1, half2 = self.df1 * 0.5, self.df2 * 0.5
        ratio = self.df1 / self.df2
        log_beta = fn.lgamma(half1) + fn.lgamma(half2) - fn.lgamma(half1 + half2)
        powers = half1 * fn.log(ratio) + (half1 - 1) * fn.log(value) - (half1 + half2) * fn.log1p(ratio * value)
        return powers - log_beta
