"""Random programs of views, writes through them and tensors that become views of themselves, against PyTorch."""

from __future__ import annotations

import random

import numpy as np
import pytest

import tracec

torch = pytest.importorskip("torch")

STEPS = {
    "transpose": lambda t, x, y, k: x.transpose(-1, -2) if x.dim() >= 2 else None,
    "row": lambda t, x, y, k: x[k % x.shape[0]] if x.dim() else None,
    "unsqueeze": lambda t, x, y, k: x.unsqueeze(0) if x.dim() < 4 else None,
    "slice": lambda t, x, y, k: x[..., :2] if x.dim() else None,
    "flat": lambda t, x, y, k: x.view(-1) if x.is_contiguous() else None,
    "t_": lambda t, x, y, k: x.t_() if x.dim() <= 2 else None,
    "unsqueeze_": lambda t, x, y, k: x.unsqueeze_(k % (x.dim() + 1)) if x.dim() < 4 else None,
    "squeeze_": lambda t, x, y, k: x.squeeze_(),
    "transpose_": lambda t, x, y, k: x.transpose_(0, -1) if x.dim() >= 2 else None,
    "mul_": lambda t, x, y, k: x.mul_(0.5 + k / 10),
    "add_": lambda t, x, y, k: x.add_(k),
    "exp_": lambda t, x, y, k: x.mul_(0.3).exp_(),
    "product_": lambda t, x, y, k: x.mul_(y.clone()) if x.shape == y.shape else None,
    "copy_": lambda t, x, y, k: x.copy_(y.clone() * 0.5) if x.shape == y.shape else None,
    "assign": lambda t, x, y, k: x.__setitem__(0, k) if x.dim() else None,
    "augment": lambda t, x, y, k: x.__setitem__((..., slice(1, None)), x[..., 1:] * 1.1) if x.dim() else None,
}
VIEWS = ("transpose", "row", "unsqueeze", "slice", "flat")


def programs():
    draw = random.Random(0)
    for _ in range(120):
        yield [(draw.choice(list(STEPS)), draw.randrange(9), draw.randrange(9)) for _ in range(draw.randint(3, 9))]


def run(t, program):
    w = t.tensor(np.linspace(0.1, 1.2, 6).reshape(2, 3)).requires_grad_()
    live = [w * 1.0]
    for name, i, k in program:
        found = STEPS[name](t, live[i % len(live)], live[k % len(live)], k)
        if name in VIEWS and found is not None:
            live.append(found)
    sum((x * (n + 1)).sum() for n, x in enumerate(live)).backward()
    return [w.grad.numpy(), *(x.detach().numpy() for x in live)]


def test_random_programs():
    ran = 0
    for program in programs():
        try:
            theirs = run(torch, program)
        except RuntimeError:  # PyTorch keeps no copies of values that a write takes from under a gradient
            continue
        ran += 1
        for a, b in zip(run(tracec, program), theirs, strict=True):
            assert a.shape == b.shape, program
            np.testing.assert_allclose(a, b, rtol=1e-9, err_msg=str(program))
    assert ran > 60


def test_a_program_compiled():
    program = [("slice", 0, 0), ("t_", 0, 0), ("mul_", 1, 3), ("unsqueeze_", 0, 1), ("add_", 0, 2), ("exp_", 1, 0)]

    def f(w):
        live = [w * 1.0]
        for name, i, k in program:
            found = STEPS[name](tracec, live[i % len(live)], live[k % len(live)], k)
            if name in VIEWS:
                live.append(found)
        return live

    w = tracec.linspace(0.1, 1.2, 6).reshape(2, 3)
    compiled = tracec.compile(f)
    compiled(w)
    for a, b in zip(compiled(w), f(w), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)
