"""Whole plans in the emulator: the arena, inputs written in place, train steps, and what users meet without it."""

from __future__ import annotations

import platform
import shutil
from dataclasses import replace

import numpy as np
import pytest

import tracec
from tests.failures import check_form
from tests.models import digits, digits_batches, gpt, gpt_batches
from tracec.codegen.cuda import render
from tracec.errors import ArgumentError, ArgumentTypeError, CompilerMissing, EmulatorError
from tracec.ir.plan import LibraryCall
from tracec.plan import TARGETS, make_plan
from tracec.runtime.emulator import load
from tracec.runtime.emulator_launch import ORDERS

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


# -- the arena ---------------------------------------------------------------------------------------------


def chain(x, w):
    """Three intermediate values that live at different times."""
    a = x.sum(dim=1)
    b = (x * w).sum(dim=1) + a
    return b.cumsum(0) * a


def long_lived(x, w):
    """A value that is read long after it was written, and others that come and go meanwhile."""
    a = x.sum(dim=1)
    return (w.sum(dim=1) * a).cumsum(0).cumsum(0).cumsum(0) * a


def planned(function=chain):
    graph = tracec.trace(function, tracec.ones(40, 33), tracec.ones(40, 33))
    return make_plan(graph, TARGETS["cuda"])


def inputs(plan):
    rng = np.random.default_rng(0)
    return [rng.random(plan.values[i].type.shape).astype(plan.values[i].type.dtype.numpy) for i in plan.inputs]


@needs_compiler
def test_a_plan_runs():
    plan = planned()
    assert sum(v.place == "arena" for v in plan.values) >= 2
    x, w = inputs(plan)
    a = x.sum(1)
    for order in ORDERS:
        for checks in (True, False):
            (found,) = load(plan, render(plan, "sm_90"), order, checks)([x, w])
            np.testing.assert_allclose(found, ((x * w).sum(1) + a).cumsum() * a, rtol=1e-5)


@needs_compiler
def test_values_that_share_memory_while_alive(golden):
    plan = planned()
    placed = [k for k, v in enumerate(plan.values) if v.place == "arena"]
    wrong = replace(plan, values=tuple(replace(v, offset=0) if k in placed else v for k, v in enumerate(plan.values)))
    assert wrong != plan
    with pytest.raises(EmulatorError) as caught:
        load(wrong, render(wrong, "sm_90"))(inputs(wrong))
    assert caught.value.message == golden


@needs_compiler
def test_memory_given_away_too_early(golden):
    plan = planned(long_lived)
    placed = [(k, v) for k, v in enumerate(plan.values) if v.place == "arena"]
    kept, other = next((k, v) for _, k in placed for _, v in placed if k.first + 1 < v.first and v.last < k.last)
    values = tuple(replace(v, offset=kept.offset) if v is other else v for v in plan.values)
    wrong = replace(plan, values=values)
    with pytest.raises(EmulatorError) as caught:
        load(wrong, render(wrong, "sm_90"))(inputs(wrong))
    assert caught.value.message == golden


@needs_compiler
def test_memory_that_is_given_away_in_part(golden):
    """A range that is too short by some bytes, as if its size had been rounded down."""
    plan = planned(long_lived)
    placed = [(k, v) for k, v in enumerate(plan.values) if v.place == "arena"]
    kept, other = next((k, v) for _, k in placed for _, v in placed if k.first + 1 < v.first and v.last < k.last)
    offsets = {kept.name: 2048, other.name: 2048 + kept.type.nbytes - 16}
    values = tuple(replace(v, offset=offsets.get(v.name, v.offset)) for v in plan.values)
    wrong = replace(plan, values=values, memory=replace(plan.memory, peak_bytes=4096))
    program = render(wrong, "sm_90")
    with pytest.raises(EmulatorError) as caught:
        load(wrong, program)(inputs(wrong))
    assert caught.value.message == golden


@needs_compiler
def test_a_step_that_is_left_out(golden):
    plan = planned()
    program = render(plan, "sm_90")
    for number in range(len(program.steps)):
        shorter = replace(program, steps=program.steps[:number] + program.steps[number + 1 :])
        with pytest.raises(EmulatorError) as caught:
            load(plan, shorter)(inputs(plan))
        assert caught.value.message == golden(f"step-{number}")


@needs_compiler
def test_a_range_that_was_freed(golden):
    """A value that dies too early: what reads it afterwards reads nothing's memory."""
    plan = planned()
    k = next(k for k, v in enumerate(plan.values) if v.place == "arena" and v.last > v.first + 1)
    values = list(plan.values)
    values[k] = replace(values[k], last=values[k].first)
    wrong = replace(plan, values=tuple(values))
    with pytest.raises(EmulatorError) as caught:
        load(wrong, render(wrong, "sm_90"))(inputs(wrong))
    assert caught.value.message == golden


@needs_compiler
def test_donated_inputs_are_written_in_place():
    x = tracec.ones(50)

    def step(x):
        x.add_(2.0)
        return x * 3

    compiled = tracec.compile(step, target="cuda", launcher="emulator")
    for turn in range(3):
        assert compiled(x).numpy().tolist() == [3 * (3 + 2 * turn)] * 50
    assert x.numpy().tolist() == [7] * 50


@needs_compiler
def test_routines_run_in_numpy():
    graph = tracec.trace(lambda x, y: (x @ y).sort(dim=1)[0], tracec.ones(200, 200), tracec.ones(200, 200))
    plan = make_plan(graph, replace(TARGETS["cuda"], gemm=lambda params: True))
    assert any(isinstance(s, LibraryCall) for s in plan.steps)
    x, y = inputs(plan)
    (found,) = load(plan, render(plan, "sm_90"))([x, y])
    np.testing.assert_allclose(found, np.sort(x @ y, axis=1), rtol=1e-4)


@needs_compiler
def test_misaligned_inputs_are_moved():
    """Kernels read packs, which an array may be no place for; a launch on a GPU moves it too."""
    graph = tracec.trace(lambda x: x * 2, tracec.ones(64))
    plan = make_plan(graph, TARGETS["cuda"])
    program = render(plan, "sm_90")
    raw = np.arange(68, dtype=np.float32)
    for start in range(4):
        (found,) = load(plan, program)([raw[start : start + 64]])
        np.testing.assert_array_equal(found, 2 * raw[start : start + 64])


VIEWS = {
    "transposed": lambda x: x.T,
    "every other": lambda x: x[::2, 1::3],
    "from the middle": lambda x: x[3:, 1:],
    "flipped": lambda x: x.flip(0, 1),
    "expanded": lambda x: x[:, :1].expand(37, 29),
    "one element": lambda x: x[:1, :1],
    "nothing": lambda x: x[:0],
}
READERS = {
    "map": lambda x: x * 2 + 1,
    "row": lambda x: x.softmax(dim=1),
    "column": lambda x: x.sum(dim=0),
    "full": lambda x: x.sum(),
    "scan": lambda x: x.cumsum(dim=1),
    "product": lambda x: x @ x.T,
    "gather": lambda x: x[tracec.arange(x.shape[0]) // 2],
}


@needs_compiler
@pytest.mark.parametrize("reader", READERS)
def test_views_that_are_not_contiguous(reader):
    read = READERS[reader]
    base = tracec.tensor(np.random.default_rng(0).standard_normal((37, 29)).astype(np.float32))

    def all_views(x):
        return [read(view(x)) for view in VIEWS.values()]

    expected = all_views(base)
    inside = tracec.compile(all_views).lower(base, target="cuda").run(base, launcher="emulator")
    views = [view(base) for view in VIEWS.values()]
    outside = tracec.compile(lambda *given: [read(x) for x in given], target="cuda", launcher="emulator")
    outside(*views)
    for found in (inside, outside(*views)):
        for f, e in zip(found, expected, strict=True):
            np.testing.assert_allclose(f.numpy(), e.numpy(), rtol=1e-5, atol=1e-5)


# -- train steps -------------------------------------------------------------------------------------------

STEPS = {"digits": (digits, lambda n: digits_batches(n, 16)), "gpt": (gpt, gpt_batches)}


def losses(name, run, count=3):
    """Losses of some steps, and the net afterwards."""
    make, batches = STEPS[name]
    net, step = make()
    call = run(step)
    tracec.manual_seed(0)  # dropout draws from the one default generator
    return [float(call(x, y)) for x, y in batches(count)], net


@needs_compiler
@pytest.mark.parametrize("name", STEPS)
def test_train_steps_are_eager(name, monkeypatch):
    """The first call records; the steps after it run in the emulator, each in another order of threads."""
    if name == "digits":
        pytest.importorskip("sklearn")
    programs = []

    def emulated(plan, program):
        programs.append(load(plan, program))
        return programs[-1]

    def in_turn(step):
        compiled = tracec.compile(step, target="cuda", launcher="emulator")
        orders = iter(("ascending", *ORDERS))

        def run(x, y):
            order = next(orders)
            for program in programs:
                program.order = order
            return compiled(x, y)

        return run

    monkeypatch.setattr("tracec.build.emulator_runtime.load", emulated)
    eager, net = losses(name, lambda step: step, 4)
    found, other = losses(name, in_turn, 4)
    assert programs
    np.testing.assert_allclose(found, eager, rtol=1e-4)
    for (key, p), q in zip(net.state_dict().items(), other.state_dict().values(), strict=True):
        # AdamW divides a gradient by its own size: where batch norm makes the true one zero, only rounding is left.
        if not (name == "digits" and key in ("c1.bias", "c2.bias", "b1.running_mean", "b2.running_mean")):
            np.testing.assert_allclose(q.numpy(), p.numpy(), rtol=1e-3, atol=1e-4, err_msg=key)


@needs_compiler
def test_a_lowered_step_runs_in_the_emulator():
    make, batches = STEPS["gpt"]
    ((x, y),) = batches(1)
    (_, step), (_, again) = make(), make()
    lowered = tracec.compile(step).lower(x, y, target="cuda", arch="sm_80")
    np.testing.assert_allclose(float(lowered.run(x, y, launcher="emulator")), float(again(x, y)), rtol=1e-4)


# -- what it says ------------------------------------------------------------------------------------------


def test_unknown_names(golden):
    f = tracec.compile(lambda x: x + 1)
    plan = planned()
    mistakes = [
        lambda: f.lower(tracec.ones(3), target="cuda").run(tracec.ones(3), launcher="simulator"),
        lambda: tracec.compile(lambda x: x, launcher="simulator"),
        lambda: load(plan, render(plan, "sm_90"), order="backwards"),
    ]
    texts = []
    for mistake in mistakes:
        with pytest.raises(ArgumentError) as caught:
            mistake()
        texts.append(str(check_form(caught.value)))
    assert "\n\n".join(texts) == golden


@needs_compiler
def test_other_arrays_are_refused():
    plan = planned()
    with pytest.raises(ArgumentTypeError, match="takes arrays of the CPU, list given"):
        load(plan, render(plan, "sm_90"))([[1.0], [2.0]])
    with pytest.raises(ArgumentError, match="takes 2 inputs, 1 given"):
        load(plan, render(plan, "sm_90"))(inputs(plan)[:1])


@pytest.mark.parametrize("missing", ["PATH", "TRACEC_CXX", "machine", "system"])
def test_where_it_cannot_run(missing, monkeypatch, golden, tmp_path):
    if missing == "PATH":
        monkeypatch.delenv("TRACEC_CXX", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
    elif missing == "TRACEC_CXX":
        monkeypatch.setenv("TRACEC_CXX", "no-such-compiler")
    elif missing == "machine":
        monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    else:
        monkeypatch.setattr(platform, "system", lambda: "Darwin")
    x = tracec.ones(3)
    with pytest.raises(CompilerMissing) as caught:
        tracec.compile(lambda x: x + 1).lower(x, target="cuda").run(x, launcher="emulator")
    assert str(check_form(caught.value)) == golden
