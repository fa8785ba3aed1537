"""What is drawn: against distribution functions, means and variances; how it moves with the parameters."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.distributions.cases import CASES, COVARIANCE, LOC, SCALE
from tracec import distributions as D
from tracec.errors import GradientError

COUNT = 4000
DISCRETE = ("Bernoulli", "Binomial", "Geometric", "Poisson", "Categorical", "OneHot", "Multinomial", "NegativeBinomial")


def of_doubles(name):
    make, values = CASES[name]
    return make(D, lambda a: tracec.from_numpy(np.ascontiguousarray(a).astype(np.float64))), values


def has(d, measure):
    try:
        getattr(d, measure)
    except NotImplementedError:
        return False
    return True


def distribution_function(d):
    """One of the values of a distribution of numbers, or None."""
    try:
        d.cdf(d.sample())
    except NotImplementedError:
        return None
    return d.cdf


CONTINUOUS = [n for n in CASES if not n.startswith(DISCRETE) and distribution_function(of_doubles(n)[0])]


def test_there_are_distribution_functions():
    assert {"Gamma", "Chi2", "InverseGamma", "Weibull", "Pareto", "HalfCauchy", "Kumaraswamy"} <= {*CONTINUOUS}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_samples_have_the_distribution_function(name):
    """Kolmogorov and Smirnov's largest distance, which 1.95 over the root of the count is exceeded 1 time in 1000."""
    tracec.manual_seed(0)
    d, _ = of_doubles(name)
    u = np.sort(d.cdf(d.sample((COUNT,))).numpy(), axis=0)
    steps = (np.arange(COUNT) + 0.5).reshape(-1, *(1,) * (u.ndim - 1)) / COUNT
    assert np.abs(u - steps).max() < 2.2 / np.sqrt(COUNT)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_distribution_functions_are_those_of_the_densities(name):
    d, _ = of_doubles(name)
    if name == "ContinuousBernoulli half":
        pytest.skip("near a half the distribution function is that of a half, as PyTorch's")
    tracec.manual_seed(1)
    x = d.sample((7,)).requires_grad_()
    c = d.cdf(x)
    (slope,) = tracec.autograd.grad(c.sum(), x)
    np.testing.assert_allclose(slope.numpy(), np.exp(d.log_prob(x).detach().numpy()), rtol=1e-5)
    try:
        back = d.icdf(c.detach())
    except NotImplementedError:
        return
    np.testing.assert_allclose(back.numpy(), x.detach().numpy(), rtol=1e-5, atol=1e-6)


HEAVY = ("Cauchy", "HalfCauchy", "Pareto", "GeneralizedPareto", "InverseGamma", "FisherSnedecor", "VonMises")
MOMENTS = [
    n
    for n in CASES
    if not n.startswith((*HEAVY, "Categorical")) and all(has(of_doubles(n)[0], m) for m in ("mean", "variance"))
]


@pytest.mark.parametrize("name", MOMENTS)
def test_samples_have_the_mean_and_variance(name):
    tracec.manual_seed(0)
    d, _ = of_doubles(name)
    x = d.sample((COUNT,)).numpy().astype(np.float64)
    mean, deviation = d.mean.numpy(), np.sqrt(d.variance.numpy())
    known = np.isfinite(deviation)
    apart = np.abs(x.mean(0) - mean)[known]
    assert (apart <= 5 * deviation[known] / np.sqrt(COUNT) + 1e-9).all()
    if name not in ("LogNormal", "StudentT"):  # whose fourth moments are large
        np.testing.assert_allclose(x.std(0), np.broadcast_to(deviation, x.shape[1:]), rtol=0.15)


def test_samples_of_classes_have_their_probabilities():
    tracec.manual_seed(0)
    d, _ = of_doubles("Categorical")
    x = d.sample((COUNT,)).numpy()
    for k in range(4):
        np.testing.assert_allclose((x == k).mean(0), d.probs[:, k].numpy(), atol=0.04)


def test_angles_have_their_mean_direction():
    tracec.manual_seed(0)
    d, _ = of_doubles("VonMises")
    x = d.sample((COUNT,)).numpy()
    assert x.min() >= -np.pi and x.max() <= np.pi
    mean = np.exp(1j * x).mean(0)
    np.testing.assert_allclose(np.angle(mean * np.exp(-1j * d.loc.numpy())), 0, atol=0.1)
    np.testing.assert_allclose(1 - np.abs(mean), d.variance.numpy(), atol=0.05)


def test_covariances_of_vectors_and_means_of_matrices():
    tracec.manual_seed(0)
    for name in ("MultivariateNormal", "LowRankMultivariateNormal"):
        d, _ = of_doubles(name)
        x = d.sample((COUNT,)).numpy() - d.mean.numpy()
        found = np.einsum("nbi,nbj->bij", x, x) / COUNT
        np.testing.assert_allclose(found, d.covariance_matrix.numpy(), atol=0.15)
    found = D.Wishart(5.0, tracec.from_numpy(COVARIANCE)).sample((COUNT,)).numpy().mean(0)
    np.testing.assert_allclose(found, 5 * COVARIANCE, atol=0.1 * np.abs(5 * COVARIANCE).max())


@pytest.mark.parametrize("eta", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_each_correlation_of_a_random_matrix_is_a_beta_variable(n, eta):
    # Lewandowski, Kurowicka, Joe: of shapes eta - 1 + n / 2, from -1 to 1.
    tracec.manual_seed(0)
    factor = D.LKJCholesky(n, eta).sample((COUNT,))
    matrix = (factor @ factor.mT).numpy()
    np.testing.assert_allclose(np.diagonal(matrix, 0, -2, -1), 1, rtol=1e-5)
    shape = eta - 1 + n / 2
    variance = 4 * D.Beta(shape, shape).variance.item()
    for i in range(n):
        for j in range(i):
            np.testing.assert_allclose(matrix[:, i, j].mean(), 0, atol=5 * np.sqrt(variance / COUNT))
            np.testing.assert_allclose(matrix[:, i, j].var(), variance, rtol=0.12)


# Gradients --------------------------------------------------------------------------------------------

MOVING = [
    "Gamma", "Chi2", "Beta", "Dirichlet", "StudentT", "Weibull", "Kumaraswamy", "Normal", "LogNormal", "HalfNormal",
    "Exponential", "Uniform", "Laplace", "Gumbel", "ContinuousBernoulli", "MultivariateNormal",
    "LowRankMultivariateNormal", "Wishart tril", "Independent of a Gamma",
]  # fmt: skip


@pytest.mark.parametrize("name", MOVING)
def test_the_mean_of_the_gradient_is_the_gradient_of_the_mean(name):
    tracec.manual_seed(0)
    leaves = []

    def leaf(a):
        leaves.append(tracec.from_numpy(np.ascontiguousarray(a).astype(np.float64)).requires_grad_())
        return leaves[-1]

    d = CASES[name][0](D, leaf)
    all_leaves = list(leaves)
    if name == "StudentT":  # whose mean does not depend on its degrees of freedom, in a way that takes many samples
        leaves = leaves[1:]
    weights = tracec.from_numpy(np.random.default_rng(0).normal(size=(*d.batch_shape, *d.event_shape)))
    wanted = tracec.autograd.grad((d.mean * weights).sum(), leaves, allow_unused=True)
    parts = []
    for _ in range(20):
        given = iter(all_leaves)
        d = CASES[name][0](D, lambda a, given=given: next(given))
        drawn = tracec.autograd.grad((d.rsample((200,)) * weights).sum() / 200, leaves, allow_unused=True)
        parts.append([np.zeros(1) if g is None else g.numpy() for g in drawn])
    for each, w in zip(zip(*parts, strict=True), wanted, strict=True):
        each = np.stack(each)
        error = each.std(0) / np.sqrt(len(each) - 1)
        w = 0.0 if w is None else w.numpy()
        assert (np.abs(each.mean(0) - w) <= 5 * error + 1e-7).all()


def test_gamma_variates_keep_their_probability_as_the_shape_moves():
    shapes = np.array([0.02, 0.3, 0.9, 1.0, 2.5, 15.0, 30.0, 400.0])
    a = tracec.tensor(shapes, requires_grad=True)
    x = D.Gamma(a, tracec.ones(8, dtype=tracec.float64)).rsample((50,))
    (slope,) = tracec.autograd.grad(x[7].sum(), a)
    step = 1e-6 * shapes

    def probability(shape, value):
        return tracec.special.gammainc(tracec.tensor(shape), tracec.tensor(value)).numpy()

    at = x[7].detach().numpy()
    above = probability(shapes + step, at + step * slope.numpy())
    below = probability(shapes - step, at - step * slope.numpy())
    np.testing.assert_allclose((above - below) / step, 0, atol=1e-6)


def test_small_shapes_stay_finite():
    # Most of these variates are smaller than any float32.
    a = tracec.full((1000, 3), 1e-3, requires_grad=True)
    for d in (D.Dirichlet(a), D.Beta(a, a), D.Gamma(a, 1.0)):
        x = d.rsample()
        (slope,) = tracec.autograd.grad((x * tracec.arange(3.0)).sum(), a)
        assert bool(x.isfinite().all()) and bool((x > 0).all()) and bool(slope.isfinite().all())
    rows = D.Dirichlet(a).sample().sum(-1)
    np.testing.assert_allclose(rows.numpy(), 1, rtol=1e-5)


def test_a_second_derivative_is_refused():
    a = tracec.tensor([2.0], requires_grad=True)
    (slope,) = tracec.autograd.grad(D.Gamma(a, 1.0).rsample(), a, create_graph=True)
    with pytest.raises(GradientError, match="second derivative of gamma variates"):
        slope.sum().backward()


# Compiled ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_a_compiled_function_draws_the_same(name):
    make, _ = CASES[name]
    arrays = []
    make(D, lambda a: arrays.append(np.ascontiguousarray(a)) or tracec.from_numpy(arrays[-1]))

    def draw(*tensors):
        given = iter(tensors)
        d = make(D, lambda a: next(given))
        x = d.rsample((3,)) if d.has_rsample else d.sample((3,))
        return x, d.log_prob(x)

    tensors = [tracec.from_numpy(a) for a in arrays]
    tracec.manual_seed(3)
    expected = [draw(*tensors) for _ in range(3)]
    tracec.manual_seed(3)
    compiled = tracec.compile(draw)
    for x, density in expected:
        found, its = compiled(*tensors)
        np.testing.assert_allclose(found.numpy(), x.numpy(), rtol=2e-5, atol=1e-6)
        finite = np.isfinite(density.numpy())
        np.testing.assert_allclose(its.numpy()[finite], density.numpy()[finite], rtol=2e-3, atol=2e-4)


def test_variates_hang_on_their_place_alone():
    shapes = tracec.tensor([0.5, 2.0, 30.0])
    tracec.manual_seed(1)
    first = D.Gamma(shapes, 1.0).sample()
    tracec.manual_seed(1)
    second = D.Gamma(tracec.tensor([0.7, 2.0, 31.0]), 1.0).sample()
    assert first[1] == second[1] and first[0] != second[0] and first[2] != second[2]
    tracec.manual_seed(1)
    longer = D.Gamma(tracec.tensor([0.5, 2.0, 30.0, 4.0]), 1.0).sample()
    assert tracec.equal(longer[:3], first)


def test_bounds_of_gamma_variates():
    a = tracec.tensor([0.0, -1.0, float("nan"), float("inf"), 1e30])
    x = D.Gamma(a, tracec.ones(5), validate_args=False).sample()
    assert x[0] > 0 and x[1:3].isnan().all() and x[3] == float("inf")
    np.testing.assert_allclose(x[4].item(), 1e30, rtol=1e-4)


def test_gradients_of_compiled_variates():
    def loss(a, b):
        return (D.Gamma(a, b).rsample((5,)) ** 2).mean() + D.Dirichlet(a).rsample().max() + D.Beta(a, b).rsample().sum()

    tracec.manual_seed(2)
    compiled = tracec.compile(loss)
    a = tracec.tensor(SCALE[0] * 3, requires_grad=True)
    b = tracec.tensor(np.abs(LOC[0]) + 0.1, requires_grad=True)
    found = [tracec.autograd.grad(compiled(a, b), (a, b)) for _ in range(3)]
    tracec.manual_seed(2)
    for pair in found:
        for f, w in zip(pair, tracec.autograd.grad(loss(a, b), (a, b)), strict=True):
            np.testing.assert_allclose(f.numpy(), w.numpy(), rtol=1e-4)
