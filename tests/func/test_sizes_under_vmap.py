"""vmap in compiled functions that are given many sizes: few recordings, whatever runs for each example."""

from __future__ import annotations

import warnings
from contextlib import nullcontext

import numpy as np
import pytest

import tracec as T
from tests.random_programs.check import operator_by_operator
from tracec import func, nn

T.manual_seed(0)
W, LAYER = T.ones(3, 3), nn.Linear(3, 4)

PROGRAMS = {
    "a mean": lambda x: func.vmap(lambda r: (r * 2).sum() / r.shape[0])(x),
    "the number of examples": lambda x: func.vmap(lambda r: (r * x.shape[0]).sum() / len(x))(x),
    "a layer": lambda x: func.vmap(lambda r: LAYER(T.tanh(r @ W) + r))(x),
    "gradients": lambda x: func.vmap(func.grad(lambda r: (r**3).sum()))(x),
    "second derivatives": lambda x: func.vmap(func.hessian(lambda r: (r**3).sum()))(x),
    "all others": lambda x: func.vmap(lambda r: r * x)(x),
    "sizes of examples": lambda x: func.vmap(lambda c: c.sum() / len(c), in_dims=1)(x),
    "within another": lambda x: func.vmap(lambda r: func.vmap(lambda s: (r * s).sum())(x))(x),
    "views": lambda x: func.vmap(lambda r: T.cat([r, r[:1]]).reshape(2, 2).t())(x),
    "along the end": lambda x: func.vmap(lambda r: T.where(r > 0, r, r * 0.1).softmax(0), out_dims=1)(x),
    "positions": lambda x: func.vmap(lambda r, i: r[i])(x, T.arange(x.shape[0]) % 3),
    "a branch": lambda x: func.vmap(lambda r: func.cond(r.sum() > 0, lambda r: r * 2, lambda r: -r, (r,)))(x),
    "a loop": lambda x: func.vmap(lambda r: func.scan(lambda c, t: (c + t, c * t), r.sum(), r)[1])(x),
    "an order": lambda x: func.vmap(lambda r: r.sort()[0].flip(0)[1:])(x),
}
WAYS = {
    "C": (nullcontext, {}, range(4, 13)),
    "without a compiler": (operator_by_operator, {}, range(4, 13)),
    "emulator": (nullcontext, {"target": "cuda", "launcher": "emulator"}, (4, 5, 7)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_many_numbers_of_examples_take_two_recordings(name, way):
    f, (around, options, sizes) = PROGRAMS[name], WAYS[way]
    with warnings.catch_warnings(), around():
        warnings.simplefilter("error")
        compiled = T.compile(f, **options)
        for n in sizes:
            x = T.from_numpy(np.random.default_rng(n).standard_normal((n, 3)).astype(np.float32))
            found, expected = compiled(x).detach().numpy(), f(x).detach().numpy()
            assert found.shape == expected.shape
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert len(compiled.explain().recordings) == 2, compiled.explain()


def test_sizes_that_do_not_fit_raise_as_eagerly():
    def f(x, y):
        return func.vmap(lambda a, b: a * b)(x, y)

    compiled = T.compile(f)
    for n, m in ((4, 4), (5, 5), (6, 6), (6, 7), (7, 7), (8, 3)):
        if n == m:
            assert compiled(T.ones(n), T.ones(m)).shape == (n,)
        else:
            with pytest.raises(T.errors.ArgumentError, match=rf"got sizes \[{n}, {m}\]"):
                compiled(T.ones(n), T.ones(m))
