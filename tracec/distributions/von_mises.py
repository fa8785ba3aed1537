"""The von Mises distribution."""

from __future__ import annotations

import math
from typing import Any

from tracec import functions as fn
from tracec import special
from tracec.distributions import constraints
from tracec.distributions.distribution import Distribution, Shape
from tracec.distributions.utils import broadcast_all
from tracec.functions import variates
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


class VonMises(Distribution):
    """The von Mises distribution of angles: ``exp(concentration cos(x - loc)) / (2 π I0(concentration))``.

    Args:
        loc: The mean angle, in radians.
        concentration: How narrow it is.
        validate_args: Whether to check arguments.
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The circular variance."""
        return 1 - special.i1e(self.concentration) / special.i0e(self.concentration)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draw angles, from -π to π."""
        shape = self._extended_shape(sample_shape)
        with no_grad():
            angle = variates.von_mises(self.concentration.expand(shape)) + self.loc
            return fn.remainder(angle + math.pi, 2 * math.pi) - math.pi

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        # cos(x) - 1, with nothing that cancels where x is small.
        bend = -2 * fn.square(fn.sin((value - self.loc) / 2))
        return self.concentration * bend - math.log(2 * math.pi) - fn.log(special.i0e(self.concentration))
