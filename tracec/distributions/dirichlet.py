"""The Dirichlet distribution."""

from __future__ import annotations

from tracec import functions as fn
from tracec.distributions import constraints
from tracec.distributions.distribution import Shape
from tracec.distributions.exp_family import ExponentialFamily
from tracec.distributions.utils import tiny_of
from tracec.errors import ArgumentError
from tracec.functions.variates import standard_gamma
from tracec.record.tensor import Tensor


class Dirichlet(ExponentialFamily):
    """The Dirichlet distribution, of probabilities; `Beta` is that of two.

    Args:
        concentration: Shapes, one for each class, along the last axis.
        validate_args: Whether to check arguments.

    Raises:
        ArgumentError: there is no axis of classes.
    """

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.ndim < 1:
            raise ArgumentError("Dirichlet: `concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args=validate_args)

    @property
    def _total(self) -> Tensor:
        return fn.sum(self.concentration, dim=-1, keepdim=True)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self._total

    @property
    def mode(self) -> Tensor:
        """The most likely value; with shapes that are all below 1 the corner of the largest one."""
        above = fn.clamp(self.concentration - 1, min=0)
        total = fn.sum(above, dim=-1, keepdim=True)
        corner = fn.one_hot(fn.argmax(self.concentration, dim=-1), self.event_shape[0]).to(above.dtype)
        all_below = fn.all(fn.lt(self.concentration, 1), dim=-1, keepdim=True)
        return fn.where(all_below, corner, above / fn.where(all_below, 1.0, total))

    @property
    def variance(self) -> Tensor:
        total = self._total
        return self.concentration * (total - self.concentration) / (fn.square(total) * (total + 1))

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shapes = self.concentration.expand(self._extended_shape(sample_shape))
        value = fn.softmax(standard_gamma(shapes, log=True), dim=-1)
        return fn.clamp(value, min=tiny_of(value))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        powers = fn.sum(fn.xlogy(self.concentration - 1, value), dim=-1)
        return powers - self._log_beta(self.concentration)

    def entropy(self) -> Tensor:
        a, n = self.concentration, self.event_shape[0]
        total = fn.sum(a, dim=-1)
        each = fn.sum((a - 1) * fn.digamma(a), dim=-1)
        return self._log_beta(a) - (n - total) * fn.digamma(total) - each

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.concentration - 1,)

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        return self._log_beta(natural_params[0] + 1)

    @staticmethod
    def _log_beta(a: Tensor) -> Tensor:
        """The logarithm of the beta function of several variables."""
        return fn.sum(fn.lgamma(a), dim=-1) - fn.lgamma(fn.sum(a, dim=-1))
