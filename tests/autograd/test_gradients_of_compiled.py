"""Gradients of gradients through compiled functions, asked for outside of them: penalties, three times over."""

from __future__ import annotations

import gc
import warnings
import weakref
from contextlib import nullcontext

import numpy as np
import pytest

import tracec as T
from tests.random_programs.check import operator_by_operator
from tracec import func, nn

T.manual_seed(0)
W = T.tensor([0.5, -1.0, 2.0]).double().requires_grad_()
MODEL = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def branch(x):
    return func.cond(x.sum() > 0, lambda x: (x.sin() * x * W).sum(), lambda x: (x**3).sum(), (x,))


def decided(x):
    return (x.sin() * x).sum() if x.sum() > 0 else (x**3 * W).sum()


def detached(x):
    return (x.detach() * x**2 + x * W.detach()).sum()


def loop(x):
    return func.scan(lambda c, t: (c * t.sin() + c * c * W, None), x * 0.3, T.stack([x, x * 2]))[0].sum()


def repeated(x):
    return (func.while_loop(lambda x: x.sum() < 9, lambda x: (x.abs() * 1.5 + x.sin().abs(),), (x,))[0] ** 2).sum()


def masked(x):
    return func.cond(x.sum() > 0, lambda x: x[x > 1].pow(3).sum(), lambda x: (x**4).sum(), (x,))


def module(x):
    return MODEL(x).sum() + (x**2).sum() * 0.1


PROGRAMS = (branch, decided, detached, loop, repeated, masked, module)
WAYS = {
    "C": (nullcontext, {}),
    "without a compiler": (operator_by_operator, {}),
    "emulator": (nullcontext, {"target": "cuda", "launcher": "emulator"}),
}


def penalty(f, x):
    x = x.clone().requires_grad_()
    value = f(x)
    (g,) = T.autograd.grad(value, x, create_graph=True)
    leaves = [x, W, *MODEL.parameters()]
    found = T.autograd.grad(value + (g**2).sum(), leaves, allow_unused=True)
    return [g, *(T.zeros_like(p) if t is None else t for t, p in zip(found, leaves, strict=True))]


def three_times(f, x):
    x = x.clone().requires_grad_()
    (g,) = T.autograd.grad(f(x), x, create_graph=True)
    (h,) = T.autograd.grad((g**2).sum(), x, create_graph=True)
    return [g, h, *T.autograd.grad((h * h).sum(), x)]


def backward_twice(f, x):
    x = x.clone().requires_grad_()
    f(x).backward(create_graph=True)
    g, x.grad, W.grad = x.grad, None, None
    (g * g).sum().backward()
    found, W.grad = x.grad, None
    for p in MODEL.parameters():
        p.grad = None
    return [g, found]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("use", [penalty, three_times, backward_twice])
@pytest.mark.parametrize("f", PROGRAMS)
def test_as_eagerly(f, use, way):
    around, options = WAYS[way]
    with around():
        compiled = T.compile(f, **options)
        for k in (1.0, -1.0, 1.01, -1.01, 1.0):
            x = T.tensor([1.0, 2.0, 3.0]).double() * k
            for a, b in zip(use(compiled, x), use(f, x), strict=True):
                np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-9)
    assert sum(s.hits for s in compiled.explain().specialisations if s.compiled) >= 2


def test_refused_once_what_it_read_has_changed():
    w = T.ones(3, requires_grad=True)
    factor = [2.0]
    compiled = T.compile(lambda x: (x * x * w).sum() * factor[0])
    for change in (lambda: w.data.mul_(2), lambda: factor.__setitem__(0, 3.0)):
        x = T.ones(3, requires_grad=True)
        for _ in range(3):
            value = compiled(x)
        change()
        with pytest.raises(T.errors.GradientError, match="only where it changes nothing and as long as"):
            T.autograd.grad(value, x, create_graph=True)


def test_refused_where_the_function_changes_something():
    seen = []

    def f(x):
        seen.append(1)
        return (x * x).sum()

    compiled = T.compile(f)
    for k in range(5):
        x = T.ones(3, requires_grad=True)
        value = compiled(x)
        if k > 3:
            with pytest.raises(T.errors.GradientError, match="only where it changes nothing and as long as"):
                T.autograd.grad(value, x, create_graph=True)
    assert len(seen) == 5


def test_arguments_live_no_longer_than_what_gradients_need():
    compiled = T.compile(lambda x, y: (x * y).sum())
    kept = []
    for _ in range(4):
        x, y = T.ones(3, requires_grad=True), T.ones(3)
        kept.append(compiled(x, y))
        kept[-1].backward()
        alive = weakref.ref(y)
        del x, y
        gc.collect()
    assert alive() is None


def test_gradients_of_a_tensor_from_outside_that_had_a_history_go_elsewhere():
    """Each call adds to where they go, though the tensor required grad before."""
    found = []
    for wrap in (lambda f: f, T.compile):
        w = T.tensor(1.5, requires_grad=True)
        s = w * 2

        def add(x, s=s, w=w):
            s.add_(w * x.sum())
            return s

        compiled = wrap(lambda x, add=add: add(x))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(3):
                compiled(T.ones(2))
        s.backward()
        found.append(w.grad.item())
    assert found == [8.0, 8.0]
