"""Random programs over sizes and counts that are others at each call, compiled and eagerly: results and gradients.

What they return may be views of each other, and may be chosen by masks.
"""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest

import tracec as tc
from tests.sizes import flat

F = tc.nn.functional


def _written(x):
    y = x.clone()
    y[0] = 1.0
    y[1:2] += 3
    return y


def _chosen(x):
    return x[x > 0] if x.ndim == 1 else x[x.reshape(x.shape[0], -1)[:, 0] > 0]


STEPS = [
    lambda x: x * 1.5, lambda x: x.relu(), lambda x: x.reshape(-1), lambda x: x.transpose(0, -1), lambda x: x[:2],
    lambda x: x[0] if x.ndim > 1 else x[:1], lambda x: x[-1:], lambda x: x[1:], lambda x: x[::2], lambda x: x.flip(0),
    lambda x: x.cumsum(0), lambda x: tc.cat([x, x * 2], 0), lambda x: x.softmax(-1), lambda x: x.mean(0, keepdim=True),
    lambda x: x - x.mean(0), lambda x: x.unsqueeze(1), lambda x: x[tc.tensor([0, 1, 0])], lambda x: x.roll(1, 0),
    lambda x: F.pad(x, (1, 2)), lambda x: x * (x > 0), lambda x: tc.where(x > 0.1, x, -x), _chosen,
    lambda x: x.sort(0)[0], lambda x: x.unsqueeze(0).expand(2, *x.shape), lambda x: x[: x.shape[0] // 2],
    lambda x: x.chunk(2, 0)[0], lambda x: x.split(2)[-1], lambda x: x * x.shape[0], lambda x: x.var(0, correction=0),
    lambda x: x / (1 + x.numel()), lambda x: x @ x.transpose(-1, -2) if x.ndim > 1 else x.outer(x), _written,
    lambda x: x.max(0).values, lambda x: x.unfold(0, 2, 1), lambda x: x.gather(0, (x > 0).long()),
    lambda x: x.movedim(0, -1), lambda x: x.tril() if x.ndim > 1 else x, lambda x: x.diagonal() if x.ndim > 1 else x,
]  # fmt: skip


def program(seed):
    """A function of one tensor, and the sizes that it is called with."""
    draw = random.Random(seed)
    steps = [draw.choice(STEPS) for _ in range(draw.randrange(2, 7))]
    given = {len(steps) - 1, *(draw.randrange(len(steps)) for _ in range(draw.randrange(3)))}

    def function(x):
        out = []
        for k, step in enumerate(steps):
            x = step(x)
            if k in given:
                out.append(x)
        return tuple(out)

    return function, [draw.randrange(4, 30) for _ in range(3)] + [draw.randrange(4, 90) for _ in range(6)]


def run(function, x):
    """Results and gradient, or the class of the error; NumPy's arrays."""
    x = x.clone().requires_grad_()
    try:
        out = flat(function(x))
        ends = [(t * 1.1).sum() for t in out if t.requires_grad]
        if ends:
            sum(ends).backward()
    except Exception as error:
        return type(error)
    return [t.detach().numpy() for t in out] + ([] if x.grad is None else [x.grad.numpy()])


def check(seed):
    function, sizes = program(seed)
    rng = np.random.default_rng(seed)
    compiled = tc.compile(function)
    for n in sizes:
        x = tc.tensor(rng.standard_normal((n, 3) if seed % 5 else n), dtype=tc.float32)
        found, expected = run(compiled, x), run(function, x)
        if isinstance(expected, type):
            assert found is expected, (seed, n)
            continue
        assert len(found) == len(expected), (seed, n)
        for a, b in zip(found, expected, strict=True):
            assert a.shape == b.shape, (seed, n)
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3, err_msg=f"seed {seed}, size {n}")


@pytest.mark.parametrize("first", range(0, 40, 4))
def test_programs_over_sizes_that_vary(first):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(first, first + 4):
            check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 1300, 50))
def test_many_programs_over_sizes_that_vary(first):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(first, first + 50):
            check(seed)
