"""First values of parameters."""

import math

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentError
from tracec.nn import init


@pytest.fixture(autouse=True)
def seed():
    tracec.manual_seed(0)


def moments(t):
    a = t.numpy().astype(np.float64)
    return a.mean(), a.std(), a.min(), a.max()


@pytest.mark.parametrize("shape, fans", [((6, 4), (4, 6)), ((8, 3, 5, 5), (75, 200))])
def test_fans(shape, fans):
    assert init._calculate_fan_in_and_fan_out(tracec.empty(*shape)) == fans


def test_uniform_and_normal():
    mean, _, low, high = moments(init.uniform_(tracec.empty(100, 200), -2.0, 3.0))
    assert mean == pytest.approx(0.5, abs=0.05) and -2.0 <= low < -1.99 and 2.99 < high <= 3.0
    mean, std, _, _ = moments(init.normal_(tracec.empty(100, 200), 1.0, 0.5))
    assert mean == pytest.approx(1.0, abs=0.02) and std == pytest.approx(0.5, rel=0.02)


def test_scaled_by_fans():
    w = tracec.empty(120, 80)
    assert moments(init.xavier_uniform_(w, 2.0))[1] == pytest.approx(2.0 * math.sqrt(2 / 200), rel=0.03)
    assert moments(init.xavier_normal_(w))[1] == pytest.approx(math.sqrt(2 / 200), rel=0.03)
    assert moments(init.kaiming_uniform_(w, a=math.sqrt(5)))[3] == pytest.approx(1 / math.sqrt(80), rel=0.01)
    std = moments(init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"))[1]
    assert std == pytest.approx(math.sqrt(2 / 120), rel=0.03)


def test_truncated_normal_has_the_right_distribution():
    stats = pytest.importorskip("scipy.stats")
    w = init.trunc_normal_(tracec.empty(20000), 0.5, 2.0, -1.0, 3.0).numpy()
    assert w.min() >= -1.0 and w.max() <= 3.0
    assert stats.kstest(w, stats.truncnorm(-0.75, 1.25, 0.5, 2.0).cdf).pvalue > 0.01
    tails = init.trunc_normal_(tracec.empty(20000), 0.0, 1.0, -8.0, 8.0).numpy()
    assert stats.kstest(tails, "norm").pvalue > 0.01 and np.isfinite(tails).all()


def test_values_that_are_not_random():
    assert init.constant_(tracec.empty(2), 3.0).tolist() == [3.0, 3.0]
    assert init.ones_(tracec.empty(2)).tolist() == [1.0, 1.0]
    assert init.zeros_(tracec.ones(2)).tolist() == [0.0, 0.0]
    assert init.eye_(tracec.empty(2, 3)).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


@pytest.mark.parametrize("shape, groups", [((3, 2, 3), 1), ((4, 2, 3, 3), 2), ((2, 2, 3, 2, 3), 1)])
def test_dirac_is_that_of_torch(shape, groups):
    torch = pytest.importorskip("torch")
    ours = init.dirac_(tracec.empty(*shape), groups).numpy()
    assert np.array_equal(ours, torch.nn.init.dirac_(torch.empty(*shape), groups).numpy())


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 2, 3)])
def test_orthogonal(shape):
    w = init.orthogonal_(tracec.empty(*shape), gain=2.0).numpy().reshape(shape[0], -1)
    small = w @ w.T if w.shape[0] < w.shape[1] else w.T @ w
    np.testing.assert_allclose(small, 4.0 * np.eye(len(small)), atol=1e-5)


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert init.calculate_gain("leaky_relu", 0.3) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.3))


def test_sparse():
    tracec.manual_seed(0)
    w = init.sparse_(tracec.empty(10, 60), 0.25, std=2.0).numpy()
    assert ((w == 0).sum(0) == 3).all()
    assert len({tuple(column) for column in (w == 0).T}) > 20
    assert w[w != 0].std() == pytest.approx(2.0, rel=0.15)
    with pytest.raises(ArgumentError, match="only tensors with 2 dimensions"):
        init.sparse_(tracec.empty(3), 0.5)


@pytest.mark.parametrize("name", [
    "uniform", "normal", "constant", "eye", "dirac", "xavier_uniform", "xavier_normal", "kaiming_uniform",
    "kaiming_normal", "orthogonal", "sparse",
])  # fmt: skip
def test_older_names(name):
    rest = {"constant": (2.0,), "sparse": (0.5,)}.get(name, ())
    tensor = tracec.zeros(3, 3, 3) if name == "dirac" else tracec.zeros(3, 3)
    with pytest.warns(FutureWarning, match=f"nn.init.{name} is now deprecated in favor of nn.init.{name}_."):
        assert getattr(init, name)(tensor, *rest) is tensor
    assert tensor.any()


def test_leaves_are_written_and_the_seed_is_followed():
    w = tracec.zeros(3, 3, requires_grad=True)
    generator = tracec.Generator()
    generator.manual_seed(4)
    first = init.normal_(w, generator=generator).detach().clone()
    generator.manual_seed(4)
    assert init.normal_(w, generator=generator).tolist() == first.tolist()
    assert w.is_leaf and w.requires_grad


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_other_dtypes(dtype):
    w = init.xavier_normal_(tracec.empty(40, 40, dtype=getattr(tracec, dtype)))
    assert w.dtype is getattr(tracec, dtype)
    assert w.float().numpy().std() == pytest.approx(math.sqrt(2 / 80), rel=0.1)


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: init.xavier_uniform_(tracec.empty(3)), r"fan in and fan out can not be computed for shape \(3,\)"),
        (lambda: init.kaiming_normal_(tracec.empty(3, 3), mode="fan"), "mode 'fan' is not supported"),
        (lambda: init.calculate_gain("gelu"), "unsupported nonlinearity 'gelu'"),
        (lambda: init.eye_(tracec.empty(3)), r"eye_: shape \(3,\)"),
        (lambda: init.dirac_(tracec.empty(3, 3)), r"dirac_: shape \(3, 3\)"),
        (lambda: init.orthogonal_(tracec.empty(3)), r"orthogonal_: shape \(3,\)"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ArgumentError, match=text):
        make()
