"""Loops and branches on the device, whose bodies run as graphs, against the CPU; with their gradients."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.gpu.place import compiled, fetch, on_gpu, put, runs_compiled
from tracec import func

pytestmark = on_gpu

X = np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)
W = np.cos(np.arange(9, dtype=np.float32)).reshape(3, 3)


def recurrent(x, w):
    last, every = func.scan(lambda h, e: (h2 := (h @ w + e).tanh(), h2 * 2), x[0] * 0, x)
    return last + every.sum(0)


def chosen(x, w):
    return func.cond((x.sum() + w[0, 0]) > 0, lambda x, w: (x @ w).sin(), lambda x, w: x * 2, (x, w))


def repeated(x, w):
    found, _ = func.while_loop(lambda x, n: n < 3, lambda x, n: (x @ w * 0.5, n + 1), (x, w[0, 0].long() * 0))
    return found


@pytest.mark.parametrize("function", [recurrent, chosen, repeated], ids=lambda f: f.__name__)
def test_values(function):
    expected = function(tracec.tensor(X), tracec.tensor(W))
    run = compiled(function)
    for way in (function, run, run, run):
        found = way(put(X), put(W))
        assert found.device == put(X).device
        np.testing.assert_allclose(fetch(found), fetch(expected), rtol=2e-5, atol=1e-6)
    assert runs_compiled(run)


@pytest.mark.parametrize("function", [recurrent, chosen], ids=lambda f: f.__name__)
def test_gradients(function):
    def slopes(x, w):
        x, w = x.clone().requires_grad_(), w.clone().requires_grad_()
        return tracec.autograd.grad((function(x, w) ** 2).sum(), (x, w))

    expected = slopes(tracec.tensor(X), tracec.tensor(W))
    run = compiled(slopes)
    for way in (slopes, run, run, run):
        for found, want in zip(way(put(X), put(W)), expected, strict=True):
            np.testing.assert_allclose(fetch(found), fetch(want), rtol=5e-5, atol=1e-5)
    assert runs_compiled(run)
