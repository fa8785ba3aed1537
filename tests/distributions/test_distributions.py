"""What distributions do besides drawing and measuring: gradients, seeds, compiling, expanding, printing, refusing."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tracec
from tests.distributions.cases import CASES, LOGITS
from tracec import distributions as D
from tracec.errors import ArgumentError, ArgumentTypeError, UnsupportedError


def test_probabilities_sum_to_one():
    for name in ("Bernoulli", "Categorical", "OneHotCategorical"):
        d = CASES[name][0](D, tracec.from_numpy)
        total = tracec.exp(d.log_prob(d.enumerate_support())).sum(0)
        np.testing.assert_allclose(total.numpy(), 1, rtol=1e-5)


def test_gradients_flow_through_rsample_and_not_through_sample():
    loc, scale = tracec.zeros(3, requires_grad=True), tracec.ones(3, requires_grad=True)
    d = D.Normal(loc, scale)
    d.rsample((5,)).sum().backward()
    assert loc.grad.tolist() == [5, 5, 5]
    assert not d.sample().requires_grad
    logits = tracec.zeros(4, requires_grad=True)
    (D.OneHotCategoricalStraightThrough(logits=logits).rsample() * tracec.arange(4.0)).sum().backward()
    assert logits.grad.abs().sum() > 0


def test_the_seed_decides():
    d = D.Normal(tracec.zeros(3), tracec.ones(3))
    tracec.manual_seed(1)
    first = d.sample((4,))
    tracec.manual_seed(1)
    assert tracec.equal(first, d.sample((4,)))


def test_compiled():
    def loss(logits, actions, rewards):
        d = D.Categorical(logits=logits)
        return -(d.log_prob(actions) * rewards).mean() - 0.01 * d.entropy().mean()

    logits, actions, rewards = tracec.from_numpy(LOGITS), tracec.tensor([0, 1, 2]), tracec.tensor([1.0, -1.0, 0.5])
    compiled = tracec.compile(loss)
    for _ in range(3):
        assert float(compiled(logits, actions, rewards)) == pytest.approx(
            float(loss(logits, actions, rewards)), rel=1e-5
        )
    assert "eager" not in compiled.explain()


def test_expanding_and_printing():
    d = D.Normal(tracec.zeros(2), 1.0).expand((3, 2))
    assert d.batch_shape == (3, 2) and d.sample().shape == (3, 2)
    assert D.Independent(D.Normal(tracec.zeros(2), 1.0), 1).expand((4,)).sample().shape == (4, 2)
    assert D.Categorical(tracec.ones(3)).expand((5,)).sample().shape == (5,)
    assert repr(D.Normal(0.0, 1.0)) == "Normal(loc: 0.0, scale: 1.0)"
    assert repr(D.Normal(tracec.zeros(2), 1.0)) == "Normal(loc: (2,), scale: (2,))"


ERRORS = [
    (ArgumentError, "parameter scale .* constraint GreaterThan", lambda: D.Normal(0.0, -1.0)),
    (ArgumentError, "constraint", lambda: D.Bernoulli(tracec.tensor([0.5, 1.5]))),
    (ArgumentError, "either `probs` or `logits`", lambda: D.Bernoulli()),
    (ArgumentError, "either `probs` or `logits`", lambda: D.Categorical(tracec.ones(2), tracec.ones(2))),
    (ArgumentError, "at least one-dimensional", lambda: D.Categorical(tracec.ones(()))),
    (ArgumentError, "within the support", lambda: D.Categorical(tracec.ones(3)).log_prob(tracec.tensor(3))),
    (ArgumentError, "not broadcastable", lambda: D.Normal(tracec.zeros(3), 1.0).log_prob(tracec.zeros(2))),
    (ArgumentTypeError, "must be a Tensor", lambda: D.Normal(0.0, 1.0).log_prob(1.0)),
    (ArgumentError, "low >= high", lambda: D.Uniform(1.0, 0.0)),
    (ArgumentError, "exactly one of", lambda: D.MultivariateNormal(tracec.zeros(2))),
    (ArgumentError, "reinterpreted_batch_ndims", lambda: D.Independent(D.Normal(0.0, 1.0), 1)),
    (UnsupportedError, "no formula", lambda: D.kl_divergence(D.Normal(0.0, 1.0), D.StudentT(3.0))),
    (UnsupportedError, "no cdf", lambda: D.Categorical(tracec.ones(2)).cdf(tracec.tensor(0))),
    (ArgumentError, "numbers or tensors", lambda: D.Normal("0", 1.0)),
]


@pytest.mark.parametrize("error, message, make", ERRORS, ids=[m for _, m, _ in ERRORS])
def test_errors(error, message, make):
    with pytest.raises(error, match=message):
        make()


def test_checks_can_be_left_out():
    D.Normal(0.0, -1.0, validate_args=False)
    D.Distribution.set_default_validate_args(False)
    try:
        D.Normal(0.0, -1.0)
    finally:
        D.Distribution.set_default_validate_args(True)


def test_binomials_of_several_numbers_of_trials():
    several = D.Binomial(tracec.tensor([2.0, 3.0]), 0.5)
    with pytest.raises(NotImplementedError, match=r"Binomial.enumerate_support: several numbers of trials"):
        several.enumerate_support()
    with pytest.raises(NotImplementedError, match="the second Binomial has more trials"):
        D.kl_divergence(D.Binomial(3, tracec.tensor(0.5)), D.Binomial(4, tracec.tensor(0.5)))
    assert D.kl_divergence(D.Binomial(4, tracec.tensor(0.5)), D.Binomial(3, tracec.tensor(0.5))).item() == math.inf
