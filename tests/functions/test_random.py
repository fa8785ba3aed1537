"""Random functions: distribution, reproducibility, and arguments that make no sense."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tracec
from tracec import functions as F
from tracec.errors import ArgumentError, DTypeError


@pytest.fixture(autouse=True)
def _seeded():
    tracec.manual_seed(0)


def test_the_same_seed_gives_the_same_numbers():
    first = [F.rand(5), F.randn(5), F.randint(0, 10, (5,)), F.randperm(5)]
    again = F.rand(5)
    tracec.manual_seed(0)
    second = [F.rand(5), F.randn(5), F.randint(0, 10, (5,)), F.randperm(5)]
    for a, b in zip(first, second, strict=True):
        assert a.equal(b)
    assert not again.equal(first[0])


def test_a_generator_of_ones_own():
    a, b = tracec.Generator(seed=3), tracec.Generator(seed=3)
    assert F.randn(4, generator=a).equal(F.randn(4, generator=b))
    assert not F.randn(4, generator=a).equal(F.randn(4))


@pytest.mark.parametrize("dtype", [tracec.float32, tracec.float64, tracec.float16, tracec.bfloat16])
def test_uniform_numbers(dtype):
    x = F.rand(20_000, dtype=dtype).to(tracec.float64)
    assert float(x.min()) >= 0 and float(x.max()) < 1
    assert float(x.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(x.var()) == pytest.approx(1 / 12, abs=0.01)


@pytest.mark.parametrize("dtype", [tracec.float32, tracec.float64])
def test_normal_numbers(dtype):
    x = F.randn(100, 200, dtype=dtype)
    assert x.dtype is dtype and tuple(x.shape) == (100, 200)
    x = x.numpy()
    assert x.mean() == pytest.approx(0, abs=0.02) and x.var() == pytest.approx(1, abs=0.03)
    assert (np.abs(x) < 1).mean() == pytest.approx(math.erf(math.sqrt(0.5)), abs=0.01)
    assert abs(np.corrcoef(x[0], x[1])[0, 1]) < 0.2


def test_normal_of_tensors():
    x = F.normal(F.tensor([0.0, 100.0]), F.tensor([1.0, 0.0]))
    assert float(x[1]) == 100.0
    assert tuple(F.normal(2.0, 3.0, (4, 5)).shape) == (4, 5)
    with pytest.raises(ArgumentError, match="normal: std=-1"):
        F.normal(0.0, -1.0, (2,))


def test_integers_cover_their_range_evenly():
    counts = F.randint(-2, 3, (10_000,)).add(2).bincount(minlength=5).numpy()
    assert counts.sum() == 10_000 and len(counts) == 5
    assert counts.min() > 1800
    wide = F.randint(0, 2**40, (1000,)).numpy()
    assert wide.min() >= 0 and 2**39 < wide.max() < 2**40
    with pytest.raises(ArgumentError, match="randint: from 3 to 3 there is nothing to draw"):
        F.randint(3, 3, (2,))


def test_permutations():
    x = F.randperm(100)
    assert x.dtype is tracec.int64
    assert sorted(x.tolist()) == list(range(100)) != x.tolist()


def test_bernoulli():
    p = F.tensor([0.0, 1.0, 0.25]).expand(4000, 3)
    drawn = p.bernoulli().mean(0).tolist()
    assert drawn[:2] == [0.0, 1.0] and drawn[2] == pytest.approx(0.25, abs=0.03)


def test_multinomial():
    weights = F.tensor([0.0, 1.0, 3.0])
    drawn = F.multinomial(weights, 4000, replacement=True).bincount(minlength=3).numpy()
    assert drawn[0] == 0 and drawn[2] / drawn[1] == pytest.approx(3, rel=0.15)
    firsts = F.multinomial(weights.expand(2000, 3), 2)
    assert sorted(set(firsts.flatten().tolist())) == [1, 2]
    assert float((firsts[:, 0] == 2).float().mean()) == pytest.approx(0.75, abs=0.05)
    with pytest.raises(ArgumentError, match="multinomial: cannot draw 4 of 3 without replacement"):
        F.multinomial(weights, 4)


def test_dropout_keeps_the_mean():
    x = F.ones(100, 100)
    y = F.dropout(x, 0.25)
    assert set(np.unique(y.numpy())) == {np.float32(0.0), np.float32(1 / 0.75)}
    assert float(y.mean()) == pytest.approx(1, abs=0.03)
    assert F.dropout(x, 0.25, training=False) is x
    assert float(F.dropout(x, 1.0).sum()) == 0
    channels = F.dropout2d(F.ones(4, 50, 3, 3), 0.5).numpy()
    assert all(len(np.unique(c)) == 1 for c in channels.reshape(200, 9))
    with pytest.raises(ArgumentError, match=r"dropout: p=1.5 is not a probability"):
        F.dropout(x, 1.5)


def test_the_gradient_of_dropout_is_zero_where_it_dropped():
    x = F.ones(50, requires_grad=True)
    y = F.dropout(x, 0.5)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


def test_writing_random_numbers():
    x = F.zeros(1000)
    assert x.uniform_(-1, 3) is x
    assert -1 <= float(x.min()) < -0.9 and 2.9 < float(x.max()) < 3
    assert float(x.normal_(5.0, 0.1).mean()) == pytest.approx(5, abs=0.05)
    assert set(x.bernoulli_(0.5).tolist()) == {0.0, 1.0}
    assert float(x.exponential_(2.0).mean()) == pytest.approx(0.5, abs=0.06)
    assert set(x.random_(3).tolist()) == {0.0, 1.0, 2.0}


def test_arguments_of_the_ways_to_write_random_numbers():
    x = F.zeros(4000)
    assert 2 <= float(x.uniform_(to=3, **{"from": 2}).min()) <= 3
    assert float(x.log_normal_(0.0, 0.5).log().std()) == pytest.approx(0.5, abs=0.05)
    assert float((x.cauchy_(1.0, 2.0) < 1).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert float(((x > -1) & (x < 3)).float().mean()) == pytest.approx(0.5, abs=0.05)
    trials = F.zeros(4000, dtype=tracec.int64).geometric_(0.25)
    assert int(trials.min()) == 1 and float(trials.float().mean()) == pytest.approx(4, rel=0.1)
    chances = F.tensor([0.0, 1.0]).expand(50, 2)
    assert F.zeros(50, 2).bernoulli_(chances).mean(0).tolist() == [0, 1]
    assert float(x.random_().max()) <= 2**24
    small = F.zeros(2000, dtype=tracec.int8).random_()
    assert int(small.min()) == 0 and int(small.max()) == 127
    assert int(F.zeros(9, dtype=tracec.int64).random_().min()) >= 0
    assert set(F.zeros(99, dtype=tracec.bool).random_().tolist()) == {False, True}
    assert set(F.zeros(99).random_(5, 7).tolist()) == {5.0, 6.0}


def test_keywords():
    g = tracec.Generator().manual_seed(5)
    assert F.randint(high=3, size=(4,), dtype=tracec.float32, generator=g, requires_grad=True).requires_grad
    assert F.randint_like(F.ones(3), 5, device="cpu", layout=tracec.strided).dtype is tracec.float32
    assert F.randint_like(F.ones(3), low=2, high=3).tolist() == [2, 2, 2]
    assert F.randperm(4, dtype=tracec.int32, device="cpu").dtype is tracec.int32
    assert tuple(F.rand(size=(2, 3)).shape) == (2, 3) and F.randn(3, dtype=tracec.float64, requires_grad=True).is_leaf
    into = F.empty(3)
    assert F.rand(3, out=into) is into and F.normal(0.0, 1.0, (3,), out=into) is into
    assert tuple(F.normal(F.zeros(2, 1), F.ones(3)).shape) == (2, 3)
    assert not F.normal(F.zeros(2, requires_grad=True), 1.0).requires_grad


@pytest.mark.parametrize(
    "f, message",
    [
        (lambda x: x.uniform_(1, 0), "uniform_: from=1 is above to=0"),
        (lambda x: x.exponential_(0), "exponential_: lambd=0 is not above 0"),
        (lambda x: x.cauchy_(0, -1), "cauchy_: sigma=-1"),
        (lambda x: x.log_normal_(0, -1), "log_normal_: std=-1"),
        (lambda x: x.normal_(0, -1), "normal_: std=-1"),
        (lambda x: x.geometric_(0), "geometric_: p=0"),
        (lambda x: x.bernoulli_(1.5), "bernoulli_: p=1.5"),
        (lambda x: x.random_(3, 3), "random_: from 3 to 3"),
    ],
)
def test_parameters_out_of_range(f, message):
    with pytest.raises(ArgumentError, match=message):
        f(F.ones(3))
    with pytest.raises(TypeError, match="uniform_: got an unexpected argument 'high'"):
        F.ones(3).uniform_(high=3)


def test_integers_have_no_uniform_numbers():
    with pytest.raises(DTypeError, match="rand: dtype int64 is neither floating nor complex"):
        F.rand(3, dtype=tracec.int64)


def test_counts():
    rates = F.tensor([0.0, 0.5, 4.0, 300.0]).expand(4000, 4)
    drawn = F.poisson(rates)
    assert drawn.dtype is tracec.float32 and set((drawn % 1).flatten().tolist()) == {0.0}
    np.testing.assert_allclose(drawn.mean(0).numpy(), [0, 0.5, 4, 300], rtol=0.1)
    np.testing.assert_allclose(drawn.var(0).numpy(), [0, 0.5, 4, 300], rtol=0.15)
    successes = F.binomial(F.full((4000, 1), 20.0), F.tensor([0.0, 0.25, 1.0]))
    assert tuple(successes.shape) == (4000, 3) and set(successes[:, 2].tolist()) == {20.0}
    np.testing.assert_allclose(successes.mean(0).numpy(), [0, 5, 20], rtol=0.05)
    for f, message in (
        (lambda: F.bernoulli(F.tensor([0.5, 1.5])), "bernoulli: a probability is out of its range"),
        (lambda: F.poisson(F.tensor([-1.0])), "poisson: a rate is out of its range"),
        (lambda: F.binomial(F.ones(1), F.tensor([1.5])), "binomial: a probability is out of its range"),
        (lambda: F.binomial(F.tensor([float("nan")]), F.ones(1)), "binomial: a count is out of its range"),
    ):
        with pytest.raises(ArgumentError, match=message):
            f()


def test_counts_are_the_same_compiled():
    run = tracec.compile(lambda x: F.poisson(x) * 100 + F.binomial(x, x / 10))
    x = F.linspace(0, 9, 50)
    tracec.manual_seed(4)
    expected = [F.poisson(x) * 100 + F.binomial(x, x / 10) for _ in range(3)]
    tracec.manual_seed(4)
    for e in expected:
        assert run(x).equal(e)
    assert not expected[0].equal(expected[1])


@pytest.mark.parametrize("weights", [[-1.0, 1.0], [float("nan"), 1.0], [float("inf"), 1.0], [0.0, 0.0]])
def test_what_is_no_weight(weights):
    with pytest.raises(RuntimeError, match="multinomial"):
        tracec.multinomial(tracec.tensor(weights), 1)
    with pytest.raises(RuntimeError, match="multinomial"):
        tracec.multinomial(tracec.tensor([[1.0, 1.0], weights]), 1, True)


def test_negative_deviations():
    with pytest.raises(RuntimeError, match="std is out of its range"):
        tracec.normal(tracec.zeros(2), tracec.tensor([1.0, -1.0]))
