"""Functions that ask for values of tensors on the device: each way is compiled there."""

from __future__ import annotations

import numpy as np

import tracec
from tests.gpu.place import compiled, fetch, on_gpu, put, runs_compiled

pytestmark = on_gpu


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_branches_and_loops_on_values():
    def newton(x, tolerance):
        turns = 0
        while True:
            new = 0.5 * (x + 2.0 / x)
            if (new - x).abs().max() < tolerance:
                return new, turns
            x, turns = new, turns + 1

    run = compiled(newton)
    for start in (1.0, 100.0, 1.0, 1.5, 100.0, 1.5):
        x = put(np.full(1000, start, np.float32))
        (found, turns), (expected, as_many) = run(x, 1e-4), newton(x, 1e-4)
        assert turns == as_many
        np.testing.assert_allclose(fetch(found), fetch(expected), rtol=1e-6)
    assert runs_compiled(run)


def test_a_train_step_that_clips_its_gradient_and_gives_its_loss_as_a_number():
    def trained(wrap):
        w = put(numbers(64, 32, seed=1)).requires_grad_()

        def step(x):
            loss = (x @ w).square().mean()
            loss.backward()
            norm = w.grad.norm()
            if norm > 0.5:
                w.grad.mul_(0.5 / norm)
            with tracec.no_grad():
                w.sub_(w.grad)
            w.grad = None
            return loss.item()

        run = wrap(step)
        losses = [run(put(numbers(16, 64, seed=k) * (0.1, 1.0)[k % 2])) for k in range(8)]
        return losses, fetch(w.detach()), run

    losses, w, run = trained(compiled)
    expected, v, _ = trained(lambda f: f)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    np.testing.assert_allclose(w, v, rtol=1e-4, atol=1e-5)
    assert runs_compiled(run)


def test_masks_and_numbers_read_from_the_device():
    def f(x):
        chosen = x[x > 1]
        return chosen.sum(), chosen.numel(), x * x.max().item()

    run = compiled(f)
    for k in range(6):
        x = put(np.random.default_rng(k).permutation(numbers(50)).astype(np.float32))
        (total, count, scaled), (a, b, c) = run(x), f(x)
        assert count == b
        np.testing.assert_allclose(total.item(), a.item(), rtol=1e-5)
        np.testing.assert_allclose(fetch(scaled), fetch(c), rtol=1e-6)
    assert runs_compiled(run)
