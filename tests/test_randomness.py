"""Random numbers are the same bits eagerly, as generated C and as CUDA's kernels: by seed, draw and element."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec import nn

F = nn.functional
WEIGHTS = tracec.arange(1.0, 18.0)
X = tracec.tensor(np.random.default_rng(0).standard_normal(100).astype(np.float32))


def bits(x):
    """Draws that are made of random words by exact steps."""
    return (
        tracec.rand(37), tracec.rand(2, 3, dtype=tracec.float64), tracec.rand(5, dtype=tracec.float16),
        tracec.randint(-5, 1000, (101,)), tracec.randperm(53), tracec.multinomial(WEIGHTS, 5),
        tracec.multinomial(WEIGHTS, 50, replacement=True), tracec.bernoulli(tracec.full((101,), 0.3)),
        F.dropout(x, 0.3), F.dropout2d(x.reshape(1, 4, 5, 5), 0.5), F.alpha_dropout(x, 0.3), tracec.rand_like(x),
        x.clone().bernoulli_(0.7), x.clone().geometric_(0.3), x.clone().random_(0, 100), tracec.rand(0),
        tracec.rand(()), tracec.distributions.Categorical(logits=WEIGHTS).sample((20,)),
    )  # fmt: skip


def real(x):
    """Draws of real numbers, by formulas whose every step is exact to the bit."""
    return (
        tracec.randn(1001), tracec.randn(3, 5, 7), tracec.randn(0), tracec.randn(()), tracec.randn(1),
        tracec.randn_like(x), tracec.normal(x, x.abs()), tracec.normal(0.3, x.abs()), tracec.normal(1.0, 2.0, (9,)),
        x.clone().normal_(1.1, 2.3), x.clone().uniform_(-2.1, 3.3), x.clone().exponential_(),
        x.clone().exponential_(0.3), F.rrelu(x, training=True),
        nn.init.trunc_normal_(x.clone(), 0.1, 1.3), nn.init.kaiming_normal_(x.reshape(10, 10).clone()),
        nn.init.xavier_uniform_(x.reshape(10, 10).clone()), nn.init.sparse_(x.reshape(10, 10).clone(), 0.3),
    )  # fmt: skip


def typed(x):
    """The same in other dtypes."""
    found = []
    for dtype in (tracec.float64, tracec.float16, tracec.bfloat16, tracec.complex64):
        y = x.to(dtype)
        found += [tracec.randn(1001, dtype=dtype), tracec.randn(5, dtype=dtype), tracec.normal(y, 1.3)]
        found += [y.clone().normal_(1.1, 2.3), tracec.rand(77, dtype=dtype), y.clone().uniform_(-2.1, 3.3)]
        if not dtype.is_complex:
            found += [y.clone().exponential_(0.7), y.clone().geometric_(0.2), nn.init.trunc_normal_(y.clone())]
    return [f.view(tracec.int16) if f.dtype is tracec.bfloat16 else f for f in found]


def rounded(x):
    """Draws through functions that libraries round each in their own way."""
    return F.gumbel_softmax(x), x.clone().log_normal_(), x.clone().cauchy_(), tracec.poisson(x.abs())


def drawn(function, wrap):
    """Three calls from one seed, and the state that they leave."""
    run = wrap(function)
    tracec.manual_seed(3)
    calls = [[np.array(t.numpy()) for t in run(X)] for _ in range(3)]
    return calls, tracec.get_rng_state().tolist(), run


PLACES = {
    "cpu": tracec.compile,
    "emulator": lambda f: tracec.compile(f, target="cuda", launcher="emulator"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("function", [bits, real, typed, rounded])
def test_draws_are_as_eager(function, place):
    expected, state, _ = drawn(function, lambda f: f)
    found, left, compiled = drawn(function, PLACES[place])
    assert left == state
    for k, (a, b) in enumerate(zip(expected, found, strict=True)):
        for i, (e, f) in enumerate(zip(a, b, strict=True)):
            if function is not rounded:
                assert f.dtype == e.dtype and f.tobytes() == e.tobytes(), (k, i)
            else:
                np.testing.assert_allclose(f, e, rtol=2e-5, atol=1e-6)
    (specialisation,) = compiled.explain().specialisations
    assert specialisation.compiled and specialisation.hits == 2


def test_a_draw_hangs_on_seed_number_and_element_alone():
    compiled = tracec.compile(lambda x: x + tracec.rand(5))
    zero = tracec.zeros(5)
    tracec.manual_seed(11)
    alone = [compiled(zero).tolist() for _ in range(3)]
    tracec.manual_seed(11)
    mixed = [(compiled(zero) if k % 2 else tracec.rand(5)).tolist() for k in range(3)]
    assert mixed == alone
    tracec.manual_seed(11)
    assert tracec.rand(9).tolist()[:5] == alone[0]  # more elements leave the first ones
    other = tracec.Generator().manual_seed(11)
    assert tracec.rand(5, generator=other).tolist() == alone[0]


def test_the_state_can_be_kept_and_set_between_calls():
    compiled = tracec.compile(lambda x: F.dropout(x, 0.5))
    compiled(X), compiled(X)
    state = tracec.get_rng_state()
    first = [compiled(X).tolist() for _ in range(3)]
    tracec.set_rng_state(state)
    assert [compiled(X).tolist() for _ in range(3)] == first
    with tracec.random.fork_rng():
        compiled(X)
    tracec.set_rng_state(state)
    with tracec.random.fork_rng():
        assert compiled(X).tolist() == first[0]
    assert compiled(X).tolist() == first[0]


def test_draws_in_a_batch_of_calls_are_apart():
    tracec.manual_seed(5)
    draws = tracec.rand(1000)
    assert len(set(draws.tolist())) > 990
    tracec.manual_seed(5)
    compiled = tracec.compile(lambda: tracec.rand(1000))
    assert compiled().tolist() == draws.tolist()
    assert not set(compiled().tolist()) & set(draws.tolist()[:50])
