"""Times of single steps: which there are, what they belong to, and that nothing is changed by taking them."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tests.doubles.driver import Event, pretended
from tracec import nn
from tracec.errors import ArgumentError, CompilerMissing, DeviceError
from tracec.inspect import profile as profiling
from tracec.nn import functional as F

pytestmark = needs_compiler


def trainer(device="cpu"):
    tracec.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.LayerNorm(7), nn.Linear(7, 3)).to(device)
    optimizer = tracec.optim.AdamW(model.parameters(), lr=1e-2)

    @tracec.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step, model, (tracec.randn(6, 5, device=device), tracec.randint(3, (6,), device=device))


def test_every_step_has_a_time():
    step, _, batch = trainer()
    lowered = step.lower(*batch)
    profile = lowered.profile(rounds=3)
    assert [s.steps for s in profile.steps] == [(n,) for n in range(len(lowered.plan.steps))]
    assert profile.rounds == 3
    assert all(s.seconds > 0 for s in profile.steps)
    assert profile.seconds > 0
    assert sum(map(profile.share, profile.steps)) == pytest.approx(1)


def test_steps_are_told_with_kernels_and_lines():
    x = tracec.ones(300, 300)
    profile = tracec.compile(lambda x: F.softmax(x @ x, dim=-1)).lower(x).profile(rounds=1)
    assert {s.sources[0].file for s in profile.steps} == {__file__}
    text = str(profile)
    assert all(f"{s.steps[0]}: {s.name}" in text for s in profile.steps)
    assert "test_profile.py:" in text
    assert "gemm 300×300×300" in text or "contraction" in text


def test_nothing_is_changed():
    step, model, batch = trainer()
    step(*batch)
    before = [p.detach().clone() for p in model.parameters()]
    drawn = tracec.get_rng_state()
    step.lower(*batch).profile(rounds=4)
    assert all(tracec.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    assert tracec.equal(tracec.get_rng_state(), drawn)


def test_steps_apart_compute_what_they_do_together():
    """The timed program is another one: a mistake in it would make its times those of something else."""
    step, _, batch = trainer()
    lowered = step.lower(*batch)
    seconds: list[float] = []
    apart, _ = profiling._apart(lowered.built, seconds)
    together = profiling.load_plainly(lowered.built)
    found, wanted = (run([a.copy() for a in lowered.arrays()]) for run in (apart, together))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(seconds) == len(lowered.plan.steps)


def test_steps_that_python_runs_are_timed_too():
    profile = tracec.compile(lambda x: tracec.linalg.svd(x + 1).S * 2).lower(tracec.randn(6, 6)).profile(rounds=2)
    assert len(profile.steps) >= 3
    assert all(s.seconds > 0 for s in profile.steps)


def test_parallel_loops_are_timed():
    profile = tracec.compile(lambda x: tracec.exp(x).sum(0)).lower(tracec.ones(700, 3000)).profile(rounds=2)
    assert profile.in_steps > 0


def test_sizes_that_vary():
    run = tracec.compile(lambda x: F.softmax(x, dim=-1) * x.shape[0], dynamic=True)
    run(tracec.ones(5, 8))
    assert run.lower(tracec.ones(9, 8)).profile(rounds=1).steps


def test_no_round_is_an_error():
    with pytest.raises(ArgumentError, match="rounds must be at least 1, 0 given"):
        tracec.compile(tracec.sin).lower(tracec.ones(3)).profile(rounds=0)


def test_without_a_compiler_it_says_what_to_install(monkeypatch):
    monkeypatch.setenv("TRACEC_CC", "no-such-compiler")
    with pytest.raises(CompilerMissing, match="TRACEC_CC=no-such-compiler is not there"):
        tracec.compile(tracec.sin).lower(tracec.ones(3)).profile()


def test_without_a_gpu_it_says_so():
    lowered = tracec.compile(tracec.sin).lower(tracec.ones(3), target="cuda")
    with pytest.raises(DeviceError):
        lowered.profile()


def test_launches_on_a_gpu_are_timed_by_events():
    with pretended():
        step, _, batch = trainer("cuda")
        lowered = step.lower(*batch, target="cuda")
        before = Event.recorded
        profile = lowered.profile(rounds=2)
        steps = [n for s in profile.steps for n in s.steps]
        assert sorted(steps) == list(range(len(lowered.plan.steps)))
        assert Event.recorded - before >= 2 * len(lowered.built.program.steps)
        assert profile.target == "cuda"


def test_a_launch_that_does_several_steps_is_told_once():
    x, weight = tracec.randn(64, 40), tracec.randn(40)
    lowered = tracec.compile(lambda x, w: ((x * w).sum(1).sum(), x + 1)).lower(x, weight, target="cuda")
    joined = [s.steps for s in lowered.built.program.steps if len(s.steps) > 1]
    told = profiling._timed_together(lowered.built)
    assert sorted(n for steps, _ in told for n in steps) == list(range(len(lowered.plan.steps)))
    assert sum(parts for _, parts in told) == len(lowered.built.program.steps)
    assert all(any(set(j) <= set(steps) for steps, _ in told) for j in joined)
