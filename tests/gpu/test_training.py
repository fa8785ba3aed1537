"""Train steps on the device, eager and compiled, against eager runs on the CPU."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import tracec
from tests.gpu.place import DEVICE, compiled, fetch, on_gpu, runs_compiled
from tests.models import digits, digits_batches, gpt, gpt_batches
from tracec import nn
from tracec.nn import functional as F

pytestmark = on_gpu

STEPS = {"digits": (digits, digits_batches), "gpt": (gpt, gpt_batches)}
WAYS = {
    "eager": lambda step: step,
    "compiled": compiled,
    "launch by launch": lambda step: compiled(step, cuda_graph=False),
    "overlapping": lambda step: compiled(step, disable=["serial"]),
    "nothing fused": lambda step: compiled(step, disable=["fuse", "horizontal", "remat", "memory", "join"]),
}


def train(name, count, device, wrap):
    """The losses of some steps, the parameters after them, and what ran."""
    if name == "digits":
        pytest.importorskip("sklearn")
    make, batches = STEPS[name]
    net, step = make(0, device)
    # Dropout draws from the device's generator: every way starts it at the same place.
    tracec.manual_seed(7)
    run = wrap(step)
    losses = [run(x.to(device), y.to(device)).item() for x, y in batches(count)]
    return losses, {key: fetch(value) for key, value in net.state_dict().items()}, run


@functools.cache
def on_cpu(name, count):
    return train(name, count, "cpu", lambda step: step)[:2]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", STEPS)
def test_losses_and_state_are_the_cpus(name, way):
    expected, state = on_cpu(name, 6)
    losses, found, run = train(name, 6, DEVICE, WAYS[way])
    assert way == "eager" or runs_compiled(run)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert losses[-1] != losses[0]
    for key, value in state.items():
        # AdamW divides a gradient by its own size: where batch norm makes the true one zero, only rounding is left.
        if not (name == "digits" and key in ("c1.bias", "c2.bias", "b1.running_mean", "b2.running_mean")):
            np.testing.assert_allclose(found[key], value, rtol=1e-3, atol=2e-4, err_msg=key)


@pytest.mark.parametrize("name", STEPS)
def test_the_same_seed_gives_the_same_bits(name):
    (a, state, _), (b, other, _) = train(name, 5, DEVICE, compiled), train(name, 5, DEVICE, compiled)
    assert a == b
    for key, value in state.items():
        assert value.tobytes() == other[key].tobytes(), key


def test_a_compiled_module_trains_with_an_eager_loop():
    found = []
    for device, wrap in (("cpu", lambda net: net), (DEVICE, compiled)):
        tracec.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 3)).to(device)
        model, optimizer = wrap(net), tracec.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        rng, losses = np.random.default_rng(1), []
        for _ in range(5):
            x = tracec.tensor(rng.normal(size=(9, 6)).astype(np.float32), device=device)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), tracec.tensor(rng.integers(0, 3, 9), device=device))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        found.append(losses)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


OPTIMIZERS = {
    "sgd": lambda ps: tracec.optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda ps: tracec.optim.Adam(ps, lr=0.1),
    "adamw": lambda ps: tracec.optim.AdamW(ps, lr=0.1),
    "rmsprop": lambda ps: tracec.optim.RMSprop(ps, lr=0.1, centered=True, momentum=0.5),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_update_as_on_the_cpu(name):
    found = []
    for device, wrap in (("cpu", lambda step: step), (DEVICE, compiled)):
        rng = np.random.default_rng(0)
        sizes = [(4, 3), (7,), (2, 5), (33,)]
        params = [tracec.tensor(rng.normal(size=s).astype(np.float32), device=device).requires_grad_() for s in sizes]
        optimizer = OPTIMIZERS[name](params)

        def step(x, params=params, optimizer=optimizer):
            optimizer.zero_grad()
            loss = sum((p * p * x).sum() for p in params)
            loss.backward()
            optimizer.step()
            return loss

        run = wrap(step)
        for k in range(5):
            run(tracec.tensor(1.0 + k, device=device))
        found.append([fetch(p) for p in params])
    for p, q in zip(*found, strict=True):
        np.testing.assert_allclose(q, p, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [tracec.float16, tracec.bfloat16], ids=str)
def test_narrow_models_stay_near_float64(dtype):
    def logits(device, dtype, wrap):
        tracec.manual_seed(0)
        net = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 16)).to(device, dtype)
        run, x = wrap(net), np.random.default_rng(2).normal(size=(32, 64)).astype(np.float32)
        out = [run(tracec.tensor(x, device=device).to(dtype)) for _ in range(2)][-1]
        return fetch(out.to(tracec.float64))

    exact = logits("cpu", tracec.float64, lambda net: net)
    for wrap in (lambda net: net, compiled):
        found = logits(DEVICE, dtype, wrap)
        error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
        assert 0 < error < (3e-3 if dtype is tracec.float16 else 2e-2)
