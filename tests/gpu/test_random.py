"""Random numbers on the device are the CPU's, eager and compiled."""

from __future__ import annotations

import pytest

import tracec
from tests.gpu.place import DEVICE, compiled, fetch, on_gpu
from tracec.nn import functional as F

pytestmark = on_gpu

#: Equal bit for bit wherever it is drawn.
EXACT = {
    "rand": lambda device: tracec.rand(37, 101, device=device),
    "rand odd": lambda device: tracec.rand(3, device=device),
    "rand float64": lambda device: tracec.rand(1000, dtype=tracec.float64, device=device),
    "rand bfloat16": lambda device: tracec.rand(1000, dtype=tracec.bfloat16, device=device),
    "randint": lambda device: tracec.randint(-5, 1000, (999,), device=device),
    "randperm": lambda device: tracec.randperm(500, device=device),
    "dropout": lambda device: F.dropout(tracec.ones(64, 33, device=device), 0.3),
    "bernoulli": lambda device: tracec.bernoulli(tracec.full((777,), 0.25, device=device)),
    "randn": lambda device: tracec.randn(1001, device=device),
    "randn float64": lambda device: tracec.randn(101, dtype=tracec.float64, device=device),
    "randn bfloat16": lambda device: tracec.randn(101, dtype=tracec.bfloat16, device=device),
    "normal": lambda device: tracec.normal(0.3, tracec.linspace(0.1, 2.0, 77, device=device)),
    "exponential": lambda device: tracec.empty(777, device=device).exponential_(0.7),
    "uniform": lambda device: tracec.empty(777, device=device).uniform_(-2.1, 3.3),
    "multinomial": lambda device: tracec.multinomial(tracec.arange(1.0, 18.0, device=device), 5),
}


@pytest.mark.parametrize("name", EXACT)
def test_the_same_bits_as_on_the_cpu(name):
    draw = EXACT[name]
    tracec.manual_seed(11)
    expected = [fetch(draw("cpu")) for _ in range(4)]
    for wrap in (lambda f: f, compiled):
        tracec.manual_seed(11)
        run = wrap(lambda: draw(DEVICE))
        for first in expected:
            found = fetch(run())
            assert found.dtype == first.dtype and found.tobytes() == first.tobytes()
    assert expected[0].tobytes() != expected[1].tobytes()


def test_eager_and_compiled_draws_take_turns():
    def draw():
        return tracec.rand(10, device=DEVICE)

    tracec.manual_seed(5)
    expected = [fetch(draw()) for _ in range(6)]
    tracec.manual_seed(5)
    run = compiled(draw)
    found = [fetch(way()) for way in (run, draw, run, run, draw, run)]
    assert [f.tobytes() for f in found] == [e.tobytes() for e in expected]


def test_a_generator_of_ones_own():
    def draws(device, wrap):
        generator = tracec.Generator(device, seed=9)
        run = wrap(lambda: tracec.rand(50, generator=generator, device=device))
        return [fetch(run()).tobytes() for _ in range(3)]

    assert draws(DEVICE, compiled) == draws(DEVICE, lambda f: f) == draws("cpu", lambda f: f)
