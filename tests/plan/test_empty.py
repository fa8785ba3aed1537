"""Values without elements take no kernel, and what reads them has them all the same."""

from __future__ import annotations

import numpy as np
import pytest

import tracec

EMPTY = tracec.zeros(0, dtype=tracec.int64)


def rows(a, i):
    x = a[i] * 2
    return (x * x).sum(1)


def gradient_of_rows(a, i):
    return tracec.autograd.grad(rows(a, i).sum(), a)[0]


def pairs(a, i):
    j, k = tracec.triu_indices(1, 1, 1)
    return ((a[j] - a[k]) ** 2).sum(-1), a.sum()


def written(a, i):
    b = a.clone()
    b[i + 1] = tracec.exp(a[i])
    return b


def nothing_left(a, i):
    return tracec.cat([a[:0] * 3, a, a[i]]), a[:0].max(1).values, (a[:0].t() @ a[:0]).exp()


@pytest.mark.parametrize("function", [rows, gradient_of_rows, pairs, written, nothing_left], ids=lambda f: f.__name__)
@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_compiled_is_eager(function, target):
    a = tracec.rand(1, 3, requires_grad=True)
    expected = function(a, EMPTY)
    if target == "cuda":
        assert tracec.compile(function).lower(a, EMPTY, target="cuda").stages["source"] is not None
        return
    compiled = tracec.compile(function)
    compiled(a, EMPTY)
    found = compiled(a, EMPTY)
    for f, e in zip(*(x if isinstance(x, tuple) else (x,) for x in (found, expected)), strict=True):
        np.testing.assert_allclose(f.detach().numpy(), e.detach().numpy(), rtol=1e-5)


def test_a_step_over_nothing():
    p = tracec.zeros(5, requires_grad=True)

    @tracec.compile
    def step(i):
        p.grad = None
        y = p[i] * 2
        y.sum().backward()
        return y

    for _ in range(3):
        assert step(EMPTY).shape == (0,) and p.grad.tolist() == [0.0] * 5


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_writes_into_nothing(shape):
    @tracec.compile
    def f(x, y):
        x.mul_(2.0)
        y.zero_()
        return x + y

    for _ in range(3):
        x, y = tracec.zeros(shape), tracec.ones(shape)
        assert f(x, y).shape == shape
    assert "2 hits" in f.explain()
