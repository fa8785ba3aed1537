"""Whole train steps: compiled equals eager, with every optimisation on and off, on every target's source."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.models import DigitsNet, digits, digits_batches, gpt, gpt_batches
from tests.resources.survey import LIMITS
from tracec import build, optimize

pytest.importorskip("sklearn")

STEPS = {"digits": (digits, digits_batches), "gpt": (gpt, gpt_batches)}
NAMES = (*(p.name for p in optimize.PIPELINE.passes), *build.PLANNING)


def losses(name, count, wrap=lambda step: step, seed=0):
    make, batches = STEPS[name]
    net, step = make(seed)
    run = wrap(step)
    # Dropout draws from the one default generator, as in PyTorch: both ways start it at the same place.
    tracec.manual_seed(seed)
    return [run(x, y).item() for x, y in batches(count)], net


def test_digits_losses_are_equal_over_50_steps():
    eager, _ = losses("digits", 50)
    compiled, _ = losses("digits", 50, tracec.compile)
    np.testing.assert_allclose(compiled, eager, rtol=1e-4)
    assert compiled[-1] < 1.0


@pytest.mark.parametrize("name", STEPS)
def test_the_same_seed_gives_the_same_bits(name):
    (a, net), (b, other) = losses(name, 5, tracec.compile, seed=5), losses(name, 5, tracec.compile, seed=5)
    assert a == b
    for p, q in zip(net.state_dict().values(), other.state_dict().values(), strict=True):
        assert p.numpy().tobytes() == q.numpy().tobytes()


@pytest.mark.parametrize("off", [*((n,) for n in NAMES), NAMES], ids=lambda off: "all" if len(off) > 1 else off[0])
@pytest.mark.parametrize("name", STEPS)
def test_each_optimisation_off_and_all_off(name, off):
    eager, net = losses(name, 3)
    compiled, other = losses(name, 3, lambda step: tracec.compile(step, disable=list(off)))
    np.testing.assert_allclose(compiled, eager, rtol=1e-4)
    for (key, p), q in zip(net.state_dict().items(), other.state_dict().values(), strict=True):
        # AdamW divides a gradient by its own size: where batch norm makes the true one zero, only rounding is left.
        if not (name == "digits" and key in ("c1.bias", "c2.bias", "b1.running_mean", "b2.running_mean")):
            np.testing.assert_allclose(q.numpy(), p.numpy(), rtol=1e-3, atol=1e-4, err_msg=key)


@pytest.mark.parametrize("name", STEPS)
def test_planned_memory_is_near_the_lower_bound(name):
    make, batches = STEPS[name]
    _, step = make()
    memory = tracec.compile(step).lower(*next(iter(batches(1)))).memory
    assert memory.peak_bytes <= 1.1 * memory.lower_bound_bytes
    assert memory.peak_bytes < memory.unplanned_bytes


def check_kernels(step, batch, arch):
    """Kernels of a step compile for an architecture, do not spill, and ask for what a block has."""
    pytest.importorskip("cupy")
    lowered = tracec.compile(step).lower(*batch, target="cuda", arch=arch)
    for kernel, rendered in zip(lowered.kernels, lowered.settled.program.kernels, strict=True):
        assert len(kernel.cubin()) > 500
        assert kernel.resources.spill_bytes == 0, kernel.name
        asked = max(e.shared_bytes for e in rendered.entries)
        assert kernel.resources.shared_bytes + asked <= LIMITS[arch], kernel.name


@pytest.mark.parametrize(
    "arch", ["sm_80", "sm_90", "sm_100", *(pytest.param(f"sm_{n}", marks=pytest.mark.slow) for n in (75, 86, 120))]
)
@pytest.mark.parametrize("name", STEPS)
def test_cuda_kernels_compile_without_spills(name, arch):
    make, batches = STEPS[name]
    check_kernels(make()[1], next(iter(batches(1))), arch)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_75", "sm_90", "sm_120"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", STEPS)
def test_cuda_kernels_of_mixed_precision_compile_without_spills(name, dtype, arch):
    make, batches = STEPS[name]
    _, step = make()

    def mixed(x, y):
        with tracec.autocast("cpu", dtype=getattr(tracec, dtype)):
            return step(x, y)

    check_kernels(mixed, next(iter(batches(1))), arch)


def test_a_compiled_module_trains_with_an_eager_loop():
    found = []
    for wrap in (lambda net: net, tracec.compile):
        tracec.manual_seed(0)
        net = DigitsNet(dropout=0.0)
        model = wrap(net)
        optimizer = tracec.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        run = []
        for x, y in digits_batches(6):
            optimizer.zero_grad()
            loss = tracec.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            run.append(loss.item())
        model.eval()
        run += model(x).detach().numpy().ravel().tolist()
        found.append(run)
    np.testing.assert_allclose(found[1], found[0], rtol=2e-4, atol=1e-5)
