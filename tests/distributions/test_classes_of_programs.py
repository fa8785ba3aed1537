"""Distributions that programs write as PyTorch's own are written; beside PyTorch."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import tracec
from tracec.distributions import Normal, kl, kl_divergence, register_kl
from tracec.errors import ArgumentTypeError

torch = pytest.importorskip("torch")


def classes(t: Any) -> tuple[Any, Any]:
    utils = importlib.import_module(f"{t.__name__}.distributions.utils")

    class Power(t.distributions.Normal):
        def __init__(self, loc, scale, power, validate_args=None):
            self.power = power
            super().__init__(loc, scale, validate_args=validate_args)

        def expand(self, batch_shape, _instance=None):
            made = self._get_checked_instance(Power, _instance)
            made.power = self.power
            return super().expand(batch_shape, _instance=made)

        def log_prob(self, value):
            return super().log_prob(value) * self.power

    class Scaled(t.distributions.Distribution):
        arg_constraints = {"scale": t.distributions.constraints.positive}
        support = t.distributions.constraints.real
        has_rsample = True

        def __init__(self, scale, validate_args=None):
            (self.scale,) = utils.broadcast_all(scale)
            super().__init__(self.scale.size(), validate_args=validate_args)

        def expand(self, batch_shape, _instance=None):
            made = self._get_checked_instance(Scaled, _instance)
            made.scale = self.scale.expand(batch_shape)
            super(Scaled, made).__init__(batch_shape, validate_args=False)
            made._validate_args = self._validate_args
            return made

        def rsample(self, sample_shape=()):
            shape = self._extended_shape(sample_shape)
            return self.scale * utils._standard_normal(shape, dtype=self.scale.dtype, device=self.scale.device)

        def log_prob(self, value):
            return -value * self.scale

    return Power, Scaled


def found(t: Any) -> list[np.ndarray]:
    power, scaled = classes(t)
    wide = power(t.zeros(2), t.ones(2), 3.0).expand((4, 2))
    assert type(wide) is power and wide.power == 3.0 and tuple(wide.batch_shape) == (4, 2)
    own = scaled(t.tensor([1.0, 2.0])).expand((3, 2))
    assert type(own) is scaled and tuple(own.rsample((5,)).shape) == (5, 3, 2)
    vectors = t.distributions.Independent(own, 1).expand((6, 3))
    return [wide.log_prob(t.ones(4, 2)), own.log_prob(t.ones(3, 2)), vectors.log_prob(t.ones(6, 3, 2))]


def test_a_class_that_reads_the_factor():
    covariance = np.array([[2.0, 0.5], [0.5, 1.0]])
    factors = []
    for t in (tracec, torch):

        class Halved(t.distributions.MultivariateNormal):
            @property
            def half(self):
                return self._unbroadcasted_scale_tril / 2

        factors.append(Halved(t.zeros(3, 2, dtype=t.float64), t.from_numpy(covariance)).half)
    np.testing.assert_allclose(np.broadcast_to(factors[0].numpy(), (3, 2, 2))[0], factors[1].numpy(), rtol=1e-9)


def test_classes_that_expand_themselves():
    for ours, theirs in zip(found(tracec), found(torch), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


@pytest.mark.parametrize("t", [tracec, torch])
def test_a_class_of_other_arguments_expands_itself(t):
    scaled = classes(t)[1]

    class One(scaled):
        def __init__(self):
            super().__init__(t.ones(2))

    with pytest.raises(NotImplementedError, match="Subclass One of Scaled that defines a custom __init__"):
        One().expand((3, 2))


def test_what_they_are_written_with():
    rng = np.random.default_rng(0)
    tril, vectors = np.tril(rng.normal(size=(3, 2, 2))) + 3 * np.eye(2), rng.normal(size=(5, 3, 2))
    values = []
    for t in (tracec, torch):
        parts = importlib.import_module(f"{t.__name__}.distributions.multivariate_normal")
        utils = importlib.import_module(f"{t.__name__}.distributions.utils")
        lower, x = t.from_numpy(tril), t.from_numpy(vectors)
        values.append([
            parts._batch_mahalanobis(lower, x), parts._batch_mv(lower, x),
            parts._precision_to_scale_tril(lower @ lower.mT), utils._sum_rightmost(x, 2), utils._sum_rightmost(x, 0),
        ])  # fmt: skip
    for ours, theirs in zip(*values, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-9)


def test_a_divergence_of_classes_that_are_no_subclasses_of_ours():
    """Pyro registers its own base class, which its distributions have besides ours."""

    class Theirs:
        pass

    class Spread(Theirs, Normal):
        pass

    @register_kl(Theirs, Normal)
    def _(p, q):
        return p.loc - q.loc

    try:
        assert kl_divergence(Spread(tracec.tensor(3.0), 1.0), Normal(1.0, 2.0)).item() == 2.0
        with pytest.raises(ArgumentTypeError, match="expected a Distribution subclass but got 3"):
            register_kl(3, Normal)
    finally:
        del kl._KNOWN[Theirs, Normal]
