"""Variates of distributions that PyTorch has no public function for: those that `tracec.distributions` draws."""

from __future__ import annotations

from tracec import ops
from tracec.functions.common import check_floating
from tracec.functions.random_draws import bits
from tracec.record.random import Generator
from tracec.record.tensor import Tensor

_WORDS = 4


def standard_gamma(concentration: Tensor, log: bool = False, generator: Generator | None = None) -> Tensor:
    """A gamma variate of scale 1 of each shape, through which gradients flow by implicit reparameterisation.

    Args:
        concentration: The shapes, positive; of others the variate is NaN.
        log: Whether to give its logarithm, which stays finite where the variate would be rounded to 0.
        generator: Where the bits come from.

    Raises:
        DTypeError: the shapes are not floating.
    """
    check_floating("standard_gamma", concentration, "concentration")
    return ops.standard_gamma(concentration, bits((_WORDS,), generator, concentration.device), log=log)


def von_mises(concentration: Tensor, generator: Generator | None = None) -> Tensor:
    """An angle from -pi to pi of each concentration, about 0; no gradients flow through.

    Raises:
        DTypeError: the concentrations are not floating.
    """
    check_floating("von_mises", concentration, "concentration")
    return ops.von_mises(concentration.detach(), bits((_WORDS,), generator, concentration.device))
