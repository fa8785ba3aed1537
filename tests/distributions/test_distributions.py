"""Densities, moments, entropies and divergences against PyTorch's; samples against their own distribution functions."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tracec
from tracec import distributions as D
from tracec.errors import ArgumentError, ArgumentTypeError, UnsupportedError

rng = np.random.default_rng(0)
LOC = rng.normal(size=(3, 2)).astype(np.float32)
SCALE = rng.uniform(0.3, 2.0, size=(3, 2)).astype(np.float32)
PROBS = rng.uniform(0.05, 0.95, size=(3, 2)).astype(np.float32)
LOGITS = rng.normal(size=(3, 4)).astype(np.float32)
WEIGHTS = rng.uniform(0.1, 1.0, size=(3, 4)).astype(np.float32)
FACTOR = np.tril(rng.normal(size=(3, 2, 2))).astype(np.float32)
FACTOR[:, [0, 1], [0, 1]] = SCALE
COVARIANCE = FACTOR @ FACTOR.transpose(0, 2, 1)
REALS = rng.normal(size=(3, 2)).astype(np.float32)
CLASSES = np.array([0, 3, 2])

#: (make, values): ``make(d, t)`` of the module of distributions and a function that makes tensors.
CASES = {
    "Normal": (lambda d, t: d.Normal(t(LOC), t(SCALE)), REALS),
    "Laplace": (lambda d, t: d.Laplace(t(LOC), t(SCALE)), REALS),
    "Gumbel": (lambda d, t: d.Gumbel(t(LOC), t(SCALE)), REALS),
    "Cauchy": (lambda d, t: d.Cauchy(t(LOC), t(SCALE)), REALS),
    "LogNormal": (lambda d, t: d.LogNormal(t(LOC), t(SCALE)), np.exp(REALS)),
    "HalfNormal": (lambda d, t: d.HalfNormal(t(SCALE)), np.abs(REALS)),
    "Uniform": (lambda d, t: d.Uniform(t(LOC), t(LOC + SCALE)), LOC + SCALE * PROBS),
    "Exponential": (lambda d, t: d.Exponential(t(SCALE)), np.abs(REALS)),
    "ContinuousBernoulli": (lambda d, t: d.ContinuousBernoulli(t(PROBS)), PROBS[::-1].copy()),
    "ContinuousBernoulli logits": (lambda d, t: d.ContinuousBernoulli(logits=t(LOC)), PROBS),
    "ContinuousBernoulli half": (lambda d, t: d.ContinuousBernoulli(t(np.full((3, 2), 0.5004, np.float32))), PROBS),
    "Bernoulli": (lambda d, t: d.Bernoulli(t(PROBS)), (PROBS > 0.5).astype(np.float32)),
    "Bernoulli logits": (lambda d, t: d.Bernoulli(logits=t(LOC)), (PROBS > 0.5).astype(np.float32)),
    "Geometric": (lambda d, t: d.Geometric(t(PROBS)), np.floor(SCALE * 3)),
    "Poisson": (lambda d, t: d.Poisson(t(SCALE * 4)), np.floor(SCALE * 3)),
    "Binomial": (lambda d, t: d.Binomial(7, t(PROBS)), np.floor(PROBS * 7)),
    "Binomial logits": (lambda d, t: d.Binomial(3, logits=t(LOC)), np.floor(PROBS * 3)),
    "Categorical": (lambda d, t: d.Categorical(t(WEIGHTS)), CLASSES),
    "Categorical logits": (lambda d, t: d.Categorical(logits=t(LOGITS)), CLASSES),
    "OneHotCategorical": (lambda d, t: d.OneHotCategorical(t(WEIGHTS)), np.eye(4, dtype=np.float32)[CLASSES]),
    "Multinomial": (lambda d, t: d.Multinomial(5, t(WEIGHTS)), np.array([[1, 2, 0, 2]] * 3, np.float32)),
    "MultivariateNormal": (lambda d, t: d.MultivariateNormal(t(LOC), t(COVARIANCE)), REALS),
    "MultivariateNormal tril": (lambda d, t: d.MultivariateNormal(t(LOC), scale_tril=t(FACTOR)), REALS),
    "MultivariateNormal precision": (lambda d, t: d.MultivariateNormal(t(LOC), precision_matrix=t(COVARIANCE)), REALS),
    "Independent": (lambda d, t: d.Independent(d.Normal(t(LOC), t(SCALE)), 1), REALS),
    "MixtureSameFamily": (
        lambda d, t: d.MixtureSameFamily(d.Categorical(t(PROBS)), d.Normal(t(LOC), t(SCALE))), REALS[:, 0]
    ),
    "mixture of vectors": (
        lambda d, t: d.MixtureSameFamily(
            d.Categorical(t(PROBS[0])), d.Independent(d.Normal(t(LOC[:2]), t(SCALE[:2])), 1)
        ),
        REALS[0],
    ),
    "TransformedDistribution": (
        lambda d, t: d.TransformedDistribution(
            d.Normal(t(LOC), t(SCALE)), [d.AffineTransform(1.0, 0.5), d.TanhTransform()]
        ),
        np.tanh(REALS),
    ),
    "sigmoid of a normal": (
        lambda d, t: d.TransformedDistribution(d.Normal(t(LOC), t(SCALE)), [d.SigmoidTransform()]), PROBS
    ),
}  # fmt: skip
MEASURES = ["mean", "variance", "stddev", "mode"]
SAMPLED = [n for n in CASES if n != "ContinuousBernoulli half"]


def both(name):
    torch = pytest.importorskip("torch")
    make, values = CASES[name]
    ours = make(D, tracec.from_numpy)
    theirs = make(torch.distributions, torch.from_numpy)
    return ours, theirs, tracec.from_numpy(np.asarray(values)), torch.from_numpy(np.asarray(values))


def close(found, wanted, **options):
    options = {"rtol": 2e-4, "atol": 2e-5, **options}
    np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), **options)


@pytest.mark.parametrize("name", CASES)
def test_against_pytorch(name):
    ours, theirs, x, y = both(name)
    assert ours.batch_shape == tuple(theirs.batch_shape) and ours.event_shape == tuple(theirs.event_shape)
    close(ours.log_prob(x), theirs.log_prob(y))
    for measure in (*MEASURES, "entropy", "cdf", "icdf", "enumerate_support"):
        try:
            wanted = getattr(theirs, measure)
            argument = {"cdf": (y,), "icdf": (y.abs() / (1 + y.abs()),)}.get(measure, ())
            wanted = wanted(*argument) if callable(wanted) else wanted
        except (NotImplementedError, ValueError, AttributeError):
            continue
        if name.startswith(("Multinomial", "ContinuousBernoulli")) and measure in ("entropy", "mode"):
            continue
        found = getattr(ours, measure)
        given = {"cdf": (x,), "icdf": (x.abs() / (1 + x.abs()),)}.get(measure, ())
        close(found(*given) if callable(found) else found, wanted)
    assert ours.has_rsample == theirs.has_rsample
    assert ours.sample((5, 2)).shape == tuple(theirs.sample((5, 2)).shape)


@pytest.mark.parametrize(
    "name", ["Normal", "Laplace", "Bernoulli logits", "Categorical logits", "MultivariateNormal tril"]
)
def test_gradients_of_log_prob_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    make, values = CASES[name]
    grads = []
    for module, d in ((tracec, D), (torch, torch.distributions)):
        leaves = []

        def leaf(a, module=module, leaves=leaves):
            leaves.append(module.from_numpy(a.copy()).requires_grad_())
            return leaves[-1]

        made = make(d, leaf)
        made.log_prob(module.from_numpy(np.asarray(values))).sum().backward()
        grads.append([t.grad.numpy() for t in leaves])
    for f, w in zip(*grads, strict=True):
        np.testing.assert_allclose(f, w, rtol=1e-4, atol=1e-5)


DIVERGENCES = [
    "Normal", "LogNormal", "Laplace", "Gumbel", "HalfNormal", "Exponential", "Bernoulli", "Geometric", "Cauchy",
    "Categorical logits", "OneHotCategorical", "MultivariateNormal", "Independent", "ContinuousBernoulli", "Poisson",
    "Binomial",
]  # fmt: skip


@pytest.mark.parametrize("name", DIVERGENCES)
def test_divergences_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    make, _ = CASES[name]
    pairs = []
    for d, t in ((D, tracec.from_numpy), (torch.distributions, torch.from_numpy)):
        p, q = make(d, t), make(d, lambda a, t=t: t(np.ascontiguousarray(a[::-1])))
        pairs.append(d.kl_divergence(p, q))
    close(*pairs)


def test_divergences_of_uniforms_and_of_one_from_itself():
    inner, outer = D.Uniform(0.0, 1.0), D.Uniform(-1.0, 1.0)
    assert D.kl_divergence(inner, outer).item() == pytest.approx(math.log(2))
    assert D.kl_divergence(outer, inner).item() == math.inf
    for name in DIVERGENCES:
        p = CASES[name][0](D, tracec.from_numpy)
        assert D.kl_divergence(p, p).abs().max() < 1e-5


@pytest.mark.parametrize("name", SAMPLED)
def test_samples_have_the_mean_and_variance(name):
    tracec.manual_seed(0)
    d = CASES[name][0](D, tracec.from_numpy)
    if name == "Cauchy":  # which has none: its quartiles instead
        x = d.sample((4000,)).numpy()
        np.testing.assert_allclose((x < LOC + SCALE).mean(0), 0.75, atol=0.03)
        return
    x = d.sample((4000,)).numpy().astype(np.float64)
    if name.startswith("Categorical"):
        for k in range(4):
            np.testing.assert_allclose((x == k).mean(0), d.probs[:, k].numpy(), atol=0.04)
        return
    if name in ("TransformedDistribution", "sigmoid of a normal"):
        assert np.isfinite(d.log_prob(tracec.from_numpy(x.astype(np.float32))).numpy()).mean() > 0.99
        return
    mean, deviation = d.mean.numpy(), np.sqrt(d.variance.numpy())
    np.testing.assert_allclose(x.mean(0), np.broadcast_to(mean, x.shape[1:]), atol=6 * deviation.max() / 60)
    if name != "LogNormal":
        np.testing.assert_allclose(x.std(0), np.broadcast_to(deviation, x.shape[1:]), rtol=0.15)


@pytest.mark.parametrize(
    "name", ["Normal", "Laplace", "Gumbel", "Uniform", "Exponential", "HalfNormal", "ContinuousBernoulli"]
)
def test_distribution_functions_and_densities_agree(name):
    # Without PyTorch: the derivative of cdf is the density, and icdf is its inverse.
    d = CASES[name][0](D, lambda a: tracec.from_numpy(a.astype(np.float64)))
    x = d.sample().requires_grad_()
    c = d.cdf(x)
    (slope,) = tracec.autograd.grad(c.sum(), x)
    np.testing.assert_allclose(slope.numpy(), np.exp(d.log_prob(x).detach().numpy()), rtol=1e-5)
    np.testing.assert_allclose(d.icdf(c).detach().numpy(), x.detach().numpy(), rtol=1e-5, atol=1e-6)


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
    (UnsupportedError, "no formula", lambda: D.kl_divergence(D.Normal(0.0, 1.0), D.Uniform(0.0, 1.0))),
    (UnsupportedError, "no cdf", lambda: D.Categorical(tracec.ones(2)).cdf(tracec.tensor(0))),
    (ArgumentTypeError, "numbers or tensors", lambda: D.Normal("0", 1.0)),
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
