"""Parts that a compiled function freezes for a while: gradients go where they went when it was written."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import tracec as T
from tracec import nn


def around(x, w, v):
    v.requires_grad_(False)
    out = ((x @ w).tanh() @ v).sum()
    v.requires_grad_(True)
    return out


def frozen_then_not(x, w, v):
    v.requires_grad = False
    out = (x @ w @ v).tanh().sum()
    v.requires_grad = True
    return out + (x @ v).sin().sum()


def several_times(x, w, v):
    out = (x @ v).sum()
    for flag in (False, True, False, True):
        v.requires_grad = flag
        out = out + (v * v * x[0, 0]).sum() + (v @ w).sin().sum()
    return out


def going_back_within(x, w, v):
    v.requires_grad_(False)
    first = ((x @ w).tanh() @ v).sum()
    first.backward()
    v.requires_grad_(True)
    return (x @ w @ v).sum()


def thawed(x, w, v):
    w.requires_grad_(False)
    inner = x.clone().requires_grad_()
    (slope,) = T.autograd.grad((inner @ w).tanh().sum(), inner)
    w.requires_grad_(True)
    return (slope @ w @ v).sum()


def gradients(f, calls):
    rng = np.random.default_rng(0)
    w, v = (T.tensor(rng.normal(size=(3, 3))).requires_grad_() for _ in range(2))
    x, found = T.tensor(rng.normal(size=(2, 3))), []
    for k in range(calls):
        w.grad = v.grad = None
        out = f(x * (k + 1), w, v)
        out.backward()
        assert w.requires_grad and v.requires_grad
        found += [out.item(), *(None if p.grad is None else p.grad.tolist() for p in (w, v))]
    return found


@pytest.mark.parametrize("f", [around, frozen_then_not, several_times, going_back_within, thawed])
def test_gradients_go_where_they_went(f):
    compiled = T.compile(f)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = gradients(compiled, 3)
    for a, b in zip(got, gradients(f, 3), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-10)
    assert "3 hits" in str(compiled.explain()) or "2 hits" in str(compiled.explain())


def test_one_that_is_frozen_outside_is_another_function():
    compiled = T.compile(around)
    w, v, x = T.ones(2, 2, requires_grad=True), T.ones(2, 2, requires_grad=True), T.ones(1, 2)
    compiled(x, w, v), compiled(x, w, v)
    v.requires_grad_(False)
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compiled(x, w, v.requires_grad_(False))
        assert v.requires_grad
    w.requires_grad_(False)
    for _ in range(2):
        assert not compiled(x, w, v).requires_grad


def test_generators_train_against_a_critic_that_is_frozen_meanwhile():
    def make():
        T.manual_seed(0)
        generator, critic = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2)), nn.Linear(2, 1)
        return generator, critic, T.optim.Adam(generator.parameters(), lr=0.1)

    def step_of(generator, critic, optimizer):
        def step(z):
            for p in critic.parameters():
                p.requires_grad = False
            generator.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(critic(generator(z)), T.ones(z.shape[0], 1))
            loss.backward()
            optimizer.step()
            for p in critic.parameters():
                p.requires_grad = True
            return loss

        return step

    mine, theirs = make(), make()
    compiled, eager = T.compile(step_of(*mine)), step_of(*theirs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in range(4):
            z = T.arange(6.0).reshape(3, 2) / (k + 1)
            np.testing.assert_allclose(compiled(z).item(), eager(z).item(), rtol=1e-5)
    for p, q in zip(mine[0].parameters(), theirs[0].parameters(), strict=True):
        np.testing.assert_allclose(p.tolist(), q.tolist(), rtol=1e-4, atol=1e-6)
    assert all(p.grad is None and p.requires_grad for p in mine[1].parameters())
    assert "1 specialisation" in repr(compiled)
