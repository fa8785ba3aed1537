"""The normal distribution."""

from __future__ import annotations

import math

from tracec import functions as fn
from tracec.distributions.exp_family import ExponentialFamily
from tracec.distributions.location_scale import LocationScale
from tracec.record.tensor import Tensor


class Normal(LocationScale, ExponentialFamily):
    """The normal distribution, of mean ``loc`` and standard deviation ``scale``.

    Args:
        loc: The mean, a number or a floating tensor.
        scale: The standard deviation, likewise, above 0; broadcasts with the mean.
        validate_args: Whether parameters and values are checked; None goes by `Distribution.set_default_validate_args`.

    Raises:
        ArgumentError: parameters, or values given later, are out of their range.
    """

    _mean_carrier_measure = -0.5 * math.log(2 * math.pi)

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

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        square = fn.square(self.scale)
        return self.loc / square, -0.5 / square

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        x, y = natural_params
        return -0.25 * fn.square(x) / y - 0.5 * fn.log(-2 * y)
