"""Densities, moments, entropies, supports and divergences against PyTorch's, and their gradients."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest

import tracec
from tests.distributions.cases import CASES
from tracec import distributions as D

torch = pytest.importorskip("torch")

#: What is not compared: of a distribution, where PyTorch's own value is wrong.
WRONG = {
    ("Kumaraswamy", "mode"),  # NaN, where the density has its peak
    ("Weibull", "mode"),  # NaN for concentrations below 1, whose densities fall from 0 on
}
MEASURES = ["mean", "variance", "stddev", "mode", "entropy", "cdf", "icdf", "enumerate_support"]


def made(name, leaf=lambda module, a: module.from_numpy(a)):
    """A case of both libraries, with values of it."""
    make, values = CASES[name]
    pairs = []
    for module, d in ((tracec, D), (torch, torch.distributions)):
        distribution = make(d, lambda a, module=module: leaf(module, np.ascontiguousarray(a)))
        pairs.append((distribution, module.from_numpy(np.asarray(values))))
    return pairs


def close(found, wanted, **options):
    options = {"rtol": 2e-4, "atol": 2e-5, **options}
    np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), **options)


def measured(d, x, measure):
    """The value of a property or method, of the numbers between 0 and 1 for icdf; None where PyTorch has none."""
    given = {"cdf": (x,), "icdf": (x.abs() / (1 + x.abs()),)}.get(measure, ())
    try:
        found = getattr(d, measure)
        return found(*given) if callable(found) else found
    except NotImplementedError:
        return None


@pytest.mark.parametrize("name", CASES)
def test_measures(name):
    (ours, x), (theirs, y) = made(name)
    assert ours.batch_shape == tuple(theirs.batch_shape) and ours.event_shape == tuple(theirs.event_shape)
    close(ours.log_prob(x), theirs.log_prob(y))
    compared = 0
    for measure in MEASURES:
        wanted = measured(theirs, y, measure)
        if wanted is None or any(name.startswith(n) and measure == m for n, m in WRONG):
            continue
        found = measured(ours, x, measure)
        assert found is not None, measure
        close(found, wanted)
        compared += 1
    assert compared >= 1 or name in ("LKJCholesky", "LogisticNormal") or "Relaxed" in name or "stick" in name
    assert ours.has_rsample == theirs.has_rsample
    assert ours.has_enumerate_support == theirs.has_enumerate_support


@pytest.mark.parametrize("name", CASES)
def test_shapes_of_samples_and_of_expanded_ones(name):
    (ours, x), (theirs, y) = made(name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Singular sample")
        assert ours.sample((5, 2)).shape == tuple(theirs.sample((5, 2)).shape)
        assert ours.sample().dtype.name == str(theirs.sample().dtype).removeprefix("torch.")
    batch = (4, *ours.batch_shape)
    wide = ours.expand(batch)
    assert type(wide) is type(ours) and wide.batch_shape == batch and wide.event_shape == ours.event_shape
    assert wide.sample((2,)).shape == (2, *batch, *ours.event_shape)
    close(wide.log_prob(x), theirs.expand(batch).log_prob(y))
    assert ours.support.event_dim == theirs.support.event_dim
    assert ours.support.is_discrete == theirs.support.is_discrete
    assert bool(ours.support.check(ours.sample((3,))).all())


def gradients(name, measure):
    found = []
    for module, d in ((tracec, D), (torch, torch.distributions)):
        leaves = []

        def leaf(a, module=module, leaves=leaves):
            leaves.append(module.from_numpy(np.ascontiguousarray(a)).requires_grad_())
            return leaves[-1]

        distribution = CASES[name][0](d, leaf)
        out = measure(distribution, module.from_numpy(np.asarray(CASES[name][1]))).sum()
        if out.requires_grad:
            out.backward()
        found.append([None if t.grad is None else t.grad.numpy() for t in leaves])
    return zip(*found, strict=True)


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_log_prob(name):
    for f, w in gradients(name, lambda d, x: d.log_prob(x)):
        if w is not None and np.isfinite(w).all():  # PyTorch's of the generalised Pareto distribution are not at 0
            if "tril" in name and w.shape[-2:] == (2, 2):
                w = np.tril(w)  # PyTorch's reach the triangle that it does not read
            np.testing.assert_allclose(f, w, rtol=1e-3, atol=1e-4)


SMOOTH = ["Normal", "Gamma", "Beta", "Dirichlet", "StudentT", "InverseGamma", "Weibull", "Wishart", "Kumaraswamy"]


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_of_entropies(name):
    for f, w in gradients(name, lambda d, x: d.entropy()):
        if w is None:
            assert f is None or not f.any()
        else:
            np.testing.assert_allclose(f, w, rtol=1e-3, atol=1e-4)


# Divergences ------------------------------------------------------------------------------------------

ALIKE = [
    "Normal", "LogNormal", "Laplace", "Gumbel", "HalfNormal", "Exponential", "Bernoulli", "Geometric", "Cauchy",
    "Categorical logits", "OneHotCategorical", "MultivariateNormal", "Independent", "ContinuousBernoulli", "Poisson",
    "Binomial", "Gamma", "Chi2", "Beta", "Dirichlet", "Pareto", "LowRankMultivariateNormal", "Independent of a Gamma",
    "LogisticNormal",
]  # fmt: skip
SEVERAL = [
    "Normal", "Laplace", "Gumbel", "Exponential", "ContinuousBernoulli", "Gamma", "Beta", "Pareto", "Uniform",
]  # fmt: skip
PAIRS = [
    *((a, b) for a in SEVERAL for b in SEVERAL if a != b), ("Bernoulli", "Poisson"), ("Poisson", "Binomial"),
    ("MultivariateNormal", "LowRankMultivariateNormal"), ("LowRankMultivariateNormal", "MultivariateNormal"),
]  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_divergences_within_a_family(name):
    make, _ = CASES[name]
    pairs = []
    for d, t in ((D, tracec.from_numpy), (torch.distributions, torch.from_numpy)):
        p = make(d, lambda a, t=t: t(np.ascontiguousarray(a)))
        q = make(d, lambda a, t=t: t(np.ascontiguousarray(a[::-1])))
        pairs.append(d.kl_divergence(p, q))
    close(*pairs)


@pytest.mark.parametrize("first, second", PAIRS)
def test_divergences_between_families(first, second):
    (ours, _), (theirs, _) = made(first)
    (ours_q, _), (theirs_q, _) = made(second)
    try:
        wanted = torch.distributions.kl_divergence(theirs, theirs_q)
    except NotImplementedError:
        with pytest.raises(NotImplementedError, match="no formula"):
            D.kl_divergence(ours, ours_q)
        return
    close(D.kl_divergence(ours, ours_q), wanted)


def test_all_divergences_of_pytorch_are_there():
    from torch.distributions.kl import _KL_REGISTRY

    from tracec.distributions.kl import _KNOWN

    def names(table):
        return {(p.__name__, q.__name__) for p, q in table}

    assert not names(_KL_REGISTRY) - names(_KNOWN)


# Names ------------------------------------------------------------------------------------------------


def test_names_and_arguments_are_pytorchs():
    for name in torch.distributions.__all__:
        theirs, ours = getattr(torch.distributions, name), getattr(D, name)
        if not isinstance(theirs, type):
            continue
        assert isinstance(ours, type), name
        wanted, found = (list(inspect.signature(c).parameters) for c in (theirs, ours))
        assert found == wanted, name
        module = theirs.__module__.removeprefix("torch.")
        assert tracec.distributions is D
        __import__(f"tracec.{module}")
    for module in ("constraints", "transforms"):
        assert all(hasattr(getattr(D, module), n) for n in getattr(torch.distributions, module).__all__)
