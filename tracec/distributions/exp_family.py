"""What exponential families share."""

from __future__ import annotations

from tracec import functions as fn
from tracec.autograd import grad
from tracec.distributions.distribution import Distribution
from tracec.distributions.utils import sum_rightmost
from tracec.errors import UnsupportedError
from tracec.record.mode import enable_grad
from tracec.record.tensor import Tensor


class ExponentialFamily(Distribution):
    """A distribution of density ``exp(sum(t(x) * natural) - log_normalizer(natural) + k(x))``.

    A class that says what these are has an entropy and a divergence from others of its kind.

    Attributes:
        _mean_carrier_measure: The mean of ``k(x)``.
    """

    _mean_carrier_measure: float

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        """The natural parameters."""
        raise UnsupportedError(f"{type(self).__name__}: the natural parameters of this family are not given")

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        """The logarithm of what the density is divided by."""
        raise UnsupportedError(f"{type(self).__name__}: the normalizer of this family is not given")

    def _normalizer_and_means(self) -> tuple[Tensor, list[Tensor]]:
        """The normalizer's logarithm and its derivatives by the natural parameters: the means of ``t(x)``."""
        with enable_grad():
            natural = [p if p.requires_grad else p.detach().requires_grad_() for p in self._natural_params]
            normalizer = self._log_normalizer(*natural)
            means = grad(fn.sum(normalizer), natural, create_graph=True)
        return normalizer, [mean for mean in means if mean is not None]

    def entropy(self) -> Tensor:
        """The entropy in nats, of the family's formula.

        Source: Nielsen, Nock, "Entropies and Cross-entropies of Exponential Families", 2010.
        """
        normalizer, means = self._normalizer_and_means()
        result = normalizer - self._mean_carrier_measure
        for natural, mean in zip(self._natural_params, means, strict=True):
            term = natural * mean
            result = result - sum_rightmost(term, term.ndim - len(self.batch_shape))
        return result
