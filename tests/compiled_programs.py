"""Random programs over the public API, with views and writes, run eagerly and compiled over calls with new data."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import tracec

#: A step: what to do, which two values of the pool to do it with, and a number that settles the details.
Step = tuple[str, int, int, int]

_KINDS = ("view", "view", "new", "new", "write", "write", "set", "state", "index", "detach")
_STEP = st.tuples(st.sampled_from(_KINDS), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))


@st.composite
def programs(draw: Any) -> tuple[list[Step], str, list[int], bool]:
    """Steps, how the two arguments share memory, which values are returned, and whether gradients are asked for."""
    steps = draw(st.lists(_STEP, min_size=1, max_size=8))
    sharing = draw(st.sampled_from(("apart", "same", "views", "transposed")))
    return steps, sharing, draw(st.lists(st.integers(0, 99), min_size=1, max_size=4)), draw(st.booleans())


def _view(x: Any, n: int) -> Any:
    choices = [lambda: x.reshape(-1), lambda: x.unsqueeze(0), lambda: x[...]]
    if x.ndim:
        choices += [lambda: x[n % x.shape[0]], lambda: x[n % x.shape[0] :], lambda: x[:: 1 + n % 2]]
        choices += [lambda: x.transpose(0, x.ndim - 1), lambda: x.flip(0)]
    return choices[n % len(choices)]()


def _new(x: Any, y: Any, n: int) -> Any:
    y = y.sum() if y.shape != x.shape else y
    choices = [lambda: x * 0.5 + y, lambda: (x - y).tanh(), lambda: x.sin() * y, lambda: x * 1, lambda: x.clone()]
    choices += [lambda: tracec.softmax(x.reshape(-1), 0), lambda: tracec.stack([x, x * y]), lambda: x.cumsum(-1)]
    return choices[n % len(choices)]()


def _write(x: Any, y: Any, n: int) -> None:
    y = y.mean() if y.shape != x.shape else y
    choices = [lambda: x.mul_(0.5), lambda: x.add_(y * 0.1), lambda: x.copy_(y), lambda: x.fill_(0.1 * n)]
    choices += [lambda: x.zero_(), lambda: x.tanh_(), lambda: x.copy_(x.clone())]
    choices[n % len(choices)]()


def _apply(step: Step, pool: list[Any], state: Any) -> None:
    kind, a, b, n = step
    x, y = pool[a % len(pool)], pool[b % len(pool)]
    if kind == "view":
        pool.append(_view(x, n))
    elif kind == "new":
        pool.append(_new(x, y, n))
    elif kind == "write":
        _write(x, y, n)
    elif kind == "set" and x.ndim:
        x[n % x.shape[0]] = y.mean()
    elif kind == "state":
        with tracec.no_grad():
            state.mul_(0.9).add_(x.mean().detach())
        pool.append(state * 1)
    elif kind == "index" and x.ndim:
        pool.append(x[tracec.arange(n % 3 + 1, device=x.device) % x.shape[0]])
    elif kind == "detach":
        pool.append(x.detach())


def _random(shape: Any, seed: int, device: str) -> Any:
    return tracec.tensor(np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32), device=device)


def _arguments(sharing: str, seed: int, leaf: Any) -> tuple[Any, Any]:
    device = leaf.device
    data = _random((3, 4), seed, device) * leaf
    if sharing == "same":
        return data, data
    if sharing == "views":
        return data[:2], data[1:]
    if sharing == "transposed":
        return data.T, data[0]
    return data, _random(4, seed + 50, device)


def _run(program: Any, wrap: Any, device: str = "cpu") -> list[Any]:
    steps, sharing, returned, gradients = program
    state = tracec.ones(2, device=device)

    def function(x: Any, y: Any) -> Any:
        pool = [x, y]
        for step in steps:
            _apply(step, pool, state)
        return [pool[k % len(pool)] for k in returned]

    compiled, seen = wrap(function), []
    for call in range(3):
        leaf = tracec.tensor(1.5, device=device, requires_grad=gradients)
        x, y = _arguments(sharing, call, leaf)
        results = compiled(x, y)
        seen += [np.array(v.detach().cpu().numpy()) for v in (*results, x, y, state)]
        seen += [v.requires_grad for v in results]
        total = sum((v * v).sum() for v in (*results, x))
        if gradients and total.requires_grad:
            total.backward()
            seen.append(None if leaf.grad is None else np.array(leaf.grad.cpu().numpy()))
        with tracec.no_grad():  # results share memory as they did
            results[0].add_(1.0)
        seen += [np.array(v.detach().cpu().numpy()) for v in (*results, x, y, state)]
    return seen


def run_program(program: Any, device: str = "cpu", wrap: Any = tracec.compile) -> None:
    """Run a program eagerly on the CPU and compiled on a device, and compare all that can be seen of it."""
    eager, compiled = _run(program, lambda f: f), _run(program, wrap, device)
    assert len(eager) == len(compiled)
    for a, b in zip(eager, compiled, strict=True):
        if isinstance(a, np.ndarray):
            np.testing.assert_allclose(b, a, rtol=2e-4, atol=2e-5)
        else:
            assert b == a
