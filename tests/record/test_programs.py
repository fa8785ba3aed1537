"""Random programs of views, writes and arithmetic: eager runs, recordings and PyTorch agree."""

import random

import numpy as np
import pytest

import tracec
from tracec.ir import evaluate, verify
from tracec.record import Recorder
from tracec.specialisations.inputs import finder, storage_finder

torch = pytest.importorskip("torch")


def program(seed):
    """A function of a library and two tensors, as a list of steps chosen at random."""
    rng = random.Random(seed)
    steps = []
    for _ in range(rng.randint(4, 12)):
        kind = rng.choice(["view", "view", "write", "write", "new", "set", "detach"])
        steps.append((kind, rng.random(), rng.random(), rng.random(), rng.randint(0, 10**6)))
    return steps


def pick(pool, fraction):
    return pool[int(fraction * len(pool))]


def view(x, rng):
    choices = [lambda v: v.reshape(-1), lambda v: v[...], lambda v: v.unsqueeze(rng.randint(0, v.ndim))]
    if x.ndim:
        size = x.shape[0]
        start = rng.randint(0, max(size - 1, 0))
        choices += [lambda v: v[start:], lambda v: v[:: rng.randint(1, 2)], lambda v: v.transpose(0, v.ndim - 1)]
        if size:
            choices += [lambda v: v[start], lambda v: v[start - size]]
    if x.ndim >= 2:
        choices += [lambda v: v.T if v.ndim == 2 else v.permute(*reversed(range(v.ndim))), lambda v: v[..., 0:1]]
    return rng.choice(choices)(x)


def compute(x, y, rng):
    y = y.sum() if y.shape != x.shape else y
    return rng.choice([lambda: x * 0.5 + y, lambda: (x - y).tanh(), lambda: x.sin() * 0.3, lambda: y - x * 0.1])()


def write(x, y, rng):
    y = y.mean() if y.shape != x.shape else y
    rng.choice(
        [
            lambda: x.mul_(0.5),
            lambda: x.add_(y * 0.1),
            lambda: x.copy_(y.clone()),
            lambda: x.sub_(0.25).tanh_(),
            lambda: x.fill_(rng.random()),
        ]
    )()


def run(steps, x, y):
    pool = [x, y]
    for kind, a, b, _, seed in steps:
        rng = random.Random(seed)
        target, other = pick(pool, a), pick(pool, b)
        if kind == "view":
            pool.append(view(target, rng))
        elif kind == "new":
            pool.append(compute(target, other, rng))
        elif kind == "detach":
            pool.append(target.detach())
        elif kind == "write":
            write(target, other, rng)
        elif target.ndim and target.shape[0]:
            i = rng.randrange(target.shape[0])
            value = other.mean() * 0.5
            if rng.random() < 0.5:
                target[i] = value
            else:
                target[i:] = value
    return pool


def inputs(seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (3, 4)), rng.uniform(-1, 1, (4,))


def agree(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(a.detach()), np.asarray(b.detach()), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(150))
def test_values_are_pytorchs(seed):
    steps, data = program(seed), inputs(seed)
    ours = run(steps, *(tracec.tensor(v) for v in data))
    theirs = run(steps, *(torch.tensor(v) for v in data))
    agree(ours, theirs)


@pytest.mark.parametrize("seed", range(150))
def test_recordings_replay(seed):
    steps = program(seed)
    first = [tracec.tensor(v) for v in inputs(seed)]
    # The second argument is a view: half the time of memory that the program also knows.
    first[1] = first[0].T[:, 1] if seed % 2 else first[1].reshape(2, 2).reshape(4)
    with Recorder(first) as recorder:
        out = run(steps, *first)
    recording = recorder.finish(out)
    verify(recording.graph)
    again = [tracec.tensor(v) for v in inputs(seed + 1)]
    again[1] = again[0].T[:, 1] if seed % 2 else again[1].reshape(2, 2).reshape(4)
    expected = [tracec.tensor(v) for v in inputs(seed + 1)]
    expected[1] = expected[0].T[:, 1] if seed % 2 else expected[1].reshape(2, 2).reshape(4)
    pool = run(steps, *expected)
    values = [v.copy() for v in evaluate(recording.graph, [finder(v, {})(again) for v in recording.inputs])]
    found = {v.storage: storage_finder(v, {})(again) for v in recording.inputs}
    for storage, k in recording.writes:
        found[storage].write(values[k])
    for result, value in zip(recording.results, pool, strict=True):
        found_value = values[result.output]
        for step in result.steps if result.shared else ():
            found_value = step.op.eager(np, found_value, **step.keywords)
        np.testing.assert_allclose(found_value, np.asarray(value), rtol=1e-9, atol=1e-12)
    agree(again, expected)


@pytest.mark.parametrize("seed", range(150))
def test_gradients_are_finite_differences(seed):
    steps, data = program(seed), inputs(seed)
    weights = np.random.default_rng(seed).uniform(-1, 1, 100)

    def loss(x, y):
        pool = run(steps, x * 1, y * 1)
        total = 0
        for k, v in enumerate(pool):
            total = total + (v * v).sum() * weights[k]
        return total

    leaves = [tracec.tensor(v).requires_grad_() for v in data]
    # Detached tensors hide dependence from gradients that finite differences see.
    if any(kind == "detach" for kind, *_ in steps):
        steps = [s for s in steps if s[0] != "detach"]
    grads = tracec.autograd.grad(loss(*leaves), leaves, materialize_grads=True)
    direction = [np.random.default_rng(seed + 7 + k).uniform(-1, 1, v.shape) for k, v in enumerate(data)]
    step = 1e-6
    up, down = (
        loss(*(tracec.tensor(v + sign * step * d) for v, d in zip(data, direction, strict=True))).item()
        for sign in (1, -1)
    )
    along = sum((g.numpy() * d).sum() for g, d in zip(grads, direction, strict=True))
    assert along == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-7)
