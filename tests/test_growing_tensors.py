"""Tensors in attributes that have another size at each call: a cache of keys and values that grows, a running list."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

import tracec
from tests.random_programs.check import operator_by_operator
from tracec import nn

tracec.manual_seed(0)
Q, K, V = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
WAYS = {
    "C": (nullcontext, {}, 20),
    "without a compiler": (operator_by_operator, {}, 20),
    "emulator": (nullcontext, {"target": "cuda", "launcher": "emulator"}, 7),
}


class Cache:
    """Keys and values of the steps so far."""

    def __init__(self):
        self.keys = self.values = None
        self.steps = 0


def attend(cache, x):
    k, v = K(x), V(x)
    cache.keys = k if cache.keys is None else tracec.cat([cache.keys, k], 0)
    cache.values = v if cache.values is None else tracec.cat([cache.values, v], 0)
    cache.steps += 1
    return tracec.softmax(Q(x) @ cache.keys.T / cache.keys.shape[0] ** 0.5, -1) @ cache.values


def window(cache, x):
    """A cache of at most so many steps."""
    cache.keys = x if cache.keys is None else tracec.cat([cache.keys, x], 0)[-6:]
    return cache.keys.sum(0) / len(cache.keys)


def means(cache, x):
    """One of two tensors grows."""
    cache.values = x * 0 if cache.values is None else cache.values * 0.9 + x * 0.1
    cache.keys = cache.values if cache.keys is None else tracec.cat([cache.keys, cache.values])
    return cache.keys.mean(0), cache.values


def drops(cache, x):
    """It begins anew now and then."""
    cache.steps += 1
    if cache.keys is None or cache.keys.shape[0] >= 7:
        cache.keys = x
    else:
        cache.keys = tracec.cat([cache.keys, x])
    return cache.keys.norm(dim=0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step, most", [(attend, 7), (window, 10), (means, 8), (drops, 16)])
def test_a_tensor_that_grows_in_a_place_takes_few_recordings(step, most, way):
    around, options, calls = WAYS[way]
    expected, found = Cache(), Cache()
    with tracec.no_grad(), around():
        compiled = tracec.compile(lambda x: step(found, x), **options)
        for k in range(calls):
            x = tracec.from_numpy(np.random.default_rng(k).normal(size=(1, 8)).astype(np.float32))
            np.testing.assert_allclose(_flat(compiled(x)), _flat(step(expected, x)), rtol=1e-5, atol=1e-6)
            for name in ("keys", "values"):
                mine, theirs = getattr(found, name), getattr(expected, name)
                assert (mine is None) == (theirs is None)
                if mine is not None:
                    assert tuple(mine.shape) == tuple(theirs.shape)
                    np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)
            assert found.steps == expected.steps
        for cache in (found, expected):  # a second text
            cache.keys = cache.values = None
        for k in range(calls):
            x = tracec.full((1, 8), float(k))
            np.testing.assert_allclose(_flat(compiled(x)), _flat(step(expected, x)), rtol=1e-5, atol=1e-6)
    assert len(compiled.explain().recordings) <= most, compiled.explain()


def _flat(out):
    parts = out if isinstance(out, tuple) else (out,)
    return np.concatenate([p.numpy().reshape(-1) for p in parts])


def test_gradients_by_a_tensor_that_grows_in_a_place():
    class Box:
        rows = tracec.ones(2, 3)

    box, w = Box(), tracec.ones(3, requires_grad=True)
    compiled = tracec.compile(lambda x: ((box.rows @ w) * x).sum())
    for n in (2, 3, 4, 5, 9, 2):
        box.rows = tracec.arange(n * 3).reshape(n, 3).float()
        (found,) = tracec.autograd.grad(compiled(tracec.tensor(2.0)), w)
        assert found.tolist() == (box.rows.sum(0) * 2).tolist()
    assert len(compiled.explain().recordings) <= 4


def test_one_tensor_as_an_argument_and_in_a_place():
    class Box:
        x = tracec.ones(2)

    box = Box()
    compiled = tracec.compile(lambda y: (box.x * 2 + y, box.x.add_(1)))
    for n in (2, 3, 4, 5, 6):
        box.x = tracec.ones(n)
        for y in (box.x, tracec.ones(n), box.x):
            before = box.x.tolist(), y.tolist()
            found = compiled(y)[0].tolist()
            assert found == [2 * a + b for a, b in zip(*before, strict=True)]
            assert box.x.tolist() == [v + 1 for v in before[0]]
