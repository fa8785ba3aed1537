"""``verify=True`` with functions that draw: both runs draw the same, and what differs is found."""

from __future__ import annotations

import random

import numpy as np
import pytest

import tracec
import tracec.nn.functional as F
from tests.inspect.test_verification import broken_pipeline
from tracec import optimize
from tracec.errors import ReplayError
from tracec.specialisations.draws import Draws
from tracec.specialisations.replay import Replay, Unfit

RNG, OWN = np.random.default_rng(5), random.Random(3)


def plain(x):
    return tracec.sin(x * random.random()) + np.random.rand()


def dropped(x):
    return F.dropout(tracec.sin(x), 0.5) + tracec.rand(3) + random.gauss(0, 1)


def of_others(x):
    return tracec.sin(x) * tracec.tensor(RNG.standard_normal(3).astype(np.float32)) + OWN.uniform(1, 2)


def chosen(x):
    return tracec.sin(x) * 2 if random.random() < 0.5 else tracec.sin(x) * np.random.rand()


def picked(x):
    return tracec.multinomial(tracec.softmax(tracec.sin(x) * 9, 0), 2) + tracec.randperm(2) * random.random()


def asked(x):
    return tracec.sin(x) * 2 * random.random() if random.random() + x.sum() < 0.5 else tracec.sin(x)


FUNCTIONS = [plain, dropped, of_others, chosen, picked, asked]


def seed():
    random.seed(0), np.random.seed(0), tracec.manual_seed(0), OWN.seed(3)
    RNG.bit_generator.state = np.random.default_rng(5).bit_generator.state


def states():
    return repr([random.getstate(), np.random.get_state(), RNG.bit_generator.state, OWN.getstate()]) + str(
        tracec.get_rng_state().tolist()
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_calls_are_compared_and_leave_what_eager_calls_leave(function):
    found = []
    for f in (function, tracec.compile(function, verify=True)):
        seed()
        for k in range(8):
            found.append((f(tracec.ones(3) * k).double().numpy(), states()))
    for (a, before), (b, after) in zip(found[:8], found[8:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
        assert before == after
    assert sum(s.hits for s in f.explain().specialisations) >= 5


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_differs_is_found(function, monkeypatch, tmp_path):
    monkeypatch.setenv("TRACEC_DUMP", str(tmp_path))
    monkeypatch.setattr(optimize, "PIPELINE", broken_pipeline("dce"))
    compiled = tracec.compile(function, verify=True)
    seed()
    before = []

    def calls():
        for _ in range(8):
            before.append(states())
            compiled(tracec.tensor([0.1, 1.0, 2.0]))

    with pytest.raises(ReplayError) as caught:
        calls()
    assert caught.value.stage == "pass dce"
    assert states() == before[-1]


def test_draws_that_differ_are_found(monkeypatch):
    compiled = tracec.compile(plain, verify=True)
    compiled(tracec.ones(3))
    draw = Draws.__call__

    def more(self, values):
        draw(self, values)
        np.random.rand()

    monkeypatch.setattr(Draws, "__call__", more)
    with pytest.raises(ReplayError, match="states of generators"):
        compiled(tracec.ones(3))


def test_a_program_that_raises_alone_is_found(monkeypatch):
    def fail(self, arguments, symbols=None):
        raise Unfit(IndexError("no such row"))

    compiled = tracec.compile(plain, verify=True)
    compiled(tracec.ones(3))
    before = states()
    monkeypatch.setattr(Replay, "__call__", fail)
    with pytest.raises(ReplayError, match="raises IndexError, and the function does not: no such row"):
        compiled(tracec.ones(3))
    assert states() == before
