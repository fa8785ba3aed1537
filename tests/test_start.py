"""Before the first replay: compiling in the background, and ahead of the first call."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tracec
from tracec import nn, progress
from tracec.errors import CompileError
from tracec.program_builder import ProgramBuilder
from tracec.runtime.compiler import Compiler


@pytest.fixture
def gate(monkeypatch):
    """Lets programs be built when it is set."""
    gate = threading.Event()
    gate.waited_for = False
    replay = ProgramBuilder.replay

    def held(self, *recorded):
        gate.waited_for = True
        assert gate.wait(60)
        return replay(self, *recorded)

    monkeypatch.setattr(ProgramBuilder, "replay", held)
    yield gate
    gate.set()


def called_and_built(compiled, *args):
    compiled(*args)
    compiled.wait()


def test_calls_run_eagerly_until_the_program_is_there(gate):
    def f(x):
        return tracec.sin(x) * 3.75

    compiled = tracec.compile(f, mode="async")
    x = tracec.ones(4)
    want = f(x).tolist()
    for _ in range(3):
        assert compiled(x).tolist() == want
    (only,) = compiled.explain().specialisations
    assert not only.compiled and "no program: it is being compiled, 2 hits" in compiled.explain()
    assert len(compiled.explain().recordings) == 1
    gate.set()
    compiled.wait()
    assert np.allclose(compiled(x).numpy(), want)
    (only,) = compiled.explain().specialisations
    assert only.compiled and only.hits == 3 and only.kernels == 1


def test_a_step_that_trains_goes_on_where_eager_calls_have_left_it(gate):
    def run(make):
        tracec.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 2))
        optimizer = tracec.optim.Adam(model.parameters(), lr=0.05)

        def step(x):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        return make(step)

    x = tracec.arange(12.0).reshape(3, 4)
    eager = run(lambda step: [step(x).item() for _ in range(6)])

    def background(step):
        compiled = tracec.compile(step, mode="async")
        losses = [compiled(x).item() for _ in range(3)]
        gate.set()
        compiled.wait()
        losses += [compiled(x).item() for _ in range(3)]
        assert compiled.explain().specialisations[0].compiled
        return losses

    np.testing.assert_allclose(run(background), eager, rtol=1e-5)


def test_functions_that_ask_for_values_are_compiled_in_the_background():
    def f(x):
        return x * 2 if x.sum() > 0 else x - 1

    compiled = tracec.compile(f, mode="async")
    x = tracec.ones(3)
    for _ in range(3):
        for sign in (1, -1):
            assert compiled(x * sign).tolist() == f(x * sign).tolist()
            compiled.wait()
    assert len(compiled.explain().recordings) == 2
    assert compiled.explain().specialisations[0].compiled


def test_an_error_in_the_background_is_a_warning(monkeypatch):
    def fail(self, *recorded):
        raise CompileError("cc: out of order")

    monkeypatch.setattr(ProgramBuilder, "replay", fail)
    compiled = tracec.compile(lambda x: x + 1, mode="async")
    x = tracec.ones(2)
    with pytest.warns(RuntimeWarning, match=r"could not be compiled: CompileError: cc: out of order") as caught:
        called_and_built(compiled, x)
    assert caught[0].filename == __file__
    assert compiled(x).tolist() == [2.0, 2.0]
    assert "no program: it could not be compiled" in compiled.explain()


def test_source_that_does_not_compile_in_the_background_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    compiled = tracec.compile(lambda x: x * 1.375, mode="async")
    tracec.compile(lambda x: x + 17.5)(tracec.ones(3))

    def fail(self, units):
        raise CompileError("cc: rejects generated C")

    monkeypatch.setattr(Compiler, "_build", fail)
    with pytest.warns(RuntimeWarning, match="operator by operator in NumPy"):
        called_and_built(compiled, tracec.ones(2))
    assert compiled(tracec.ones(2)).tolist() == [1.375] * 2


def test_a_tensor_that_is_given_other_memory_meanwhile(gate):
    x = tracec.ones(3)
    compiled = tracec.compile(lambda x: x * 2, mode="async")
    compiled(x)
    x.data = tracec.zeros(3)
    gate.set()
    compiled.wait()
    assert compiled.explain().specialisations == ()
    assert compiled(x).tolist() == [0.0] * 3
    compiled.wait()
    assert compiled(x).tolist() == [0.0] * 3 and compiled.explain().specialisations[0].compiled


def is_running(pid):
    """Whether a process runs: it may have ended, and nobody asked it yet how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("how", ["ends", "fails"])
def test_a_program_that_ends_while_something_is_compiled_leaves_nothing(how, tmp_path):
    slow = tmp_path / "cc"
    slow.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/pids\nexec sleep 60\n")
    slow.chmod(0o755)
    code = f"""
import os, sys, tempfile, time
import tracec
from tracec.runtime import compiler, cpu
found = compiler.find_compiler()
slow = compiler.Compiler(({str(slow)!r},), found.flags, "slow")
cpu.find_compiler = lambda: slow
f = tracec.compile(lambda x: x * 2.625, mode="async")
f(tracec.ones(3))
while not os.path.exists({str(tmp_path / "pids")!r}):
    time.sleep(0.01)
{"raise SystemExit(3)" if how == "fails" else ""}
"""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=50)
    assert done.returncode == (3 if how == "fails" else 0), done.stderr
    assert time.perf_counter() - start < 30 and list(temporary.iterdir()) == []
    for pid in (tmp_path / "pids").read_text().split():
        until = time.perf_counter() + 10  # whoever it is left to may take a while
        while is_running(int(pid)):
            assert time.perf_counter() < until
            time.sleep(0.05)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_compiles_what_its_parent_had_not(gate):
    compiled = tracec.compile(lambda x: x * 2.125, mode="async")
    x = tracec.ones(3)
    compiled(x)
    while not gate.waited_for:
        time.sleep(0.05)  # until the parent's thread is in the middle of it
    pid = os.fork()
    if not pid:
        status = 1
        try:
            gate.set()
            compiled.wait()
            fine = compiled(x).tolist() == [2.125] * 3 and compiled.explain().specialisations[0].compiled
            status = 0 if fine else 2
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


# What is shown meanwhile -------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_is_told_of_what_takes_long(monkeypatch):
    monkeypatch.setattr(progress, "FIRST", 0.05)
    replay = ProgramBuilder.replay

    def slow(self, *recorded):
        time.sleep(0.4)
        return replay(self, *recorded)

    def some_step(x):
        return x * 2.375

    monkeypatch.setattr(ProgramBuilder, "replay", slow)
    for stream, told in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        tracec.compile(some_step)(tracec.ones(3))
        assert ("tracec: compiling" in stream.getvalue()) == told
        assert ("some_step, 0 s" in stream.getvalue()) == told
        assert stream.getvalue().endswith("\r\x1b[2K" if told else "")  # nothing is left of it
    monkeypatch.setattr(ProgramBuilder, "replay", replay)
    monkeypatch.setattr(progress, "FIRST", 60.0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    tracec.compile(some_step)(tracec.ones(4))
    assert sys.stderr.getvalue() == ""


def test_each_recording_tells_how_long_its_stages_took():
    def some_step(x):
        return (x * 2.5).sum()

    f = tracec.compile(some_step)
    f(tracec.ones(3))
    (recording,) = f.explain().recordings
    stages = ["running", "looking for its plan", "optimising", "planning", "writing source", "compiling source for cpu"]
    assert list(recording.stages) == stages
    assert min(recording.stages.values()) > 0
    assert recording.seconds == pytest.approx(sum(recording.stages.values()))
    slow = replace(recording, stages={"running": 0.004, "planning": 0.25}, seconds=0.254)
    assert str(slow) == "recording 1 (0.25 s: planning 0.25): first call"


def test_stages_within_stages_are_told_apart():
    with progress.timing("first") as clock:
        with progress.timing("within") as inner:
            progress.stage("deep")
        progress.stage("second")
    progress.stage("after")
    assert list(inner.read()) == ["within", "deep"]
    assert list(clock.read()) == ["first", "second"]


def test_what_is_shown_names_the_stage():
    stream = Terminal()
    line = progress._Line("compiling f", stream)
    line.stage = "planning"
    line._start -= 3
    line._done.wait(progress.FIRST + 0.2)
    line.end()
    assert "\r\x1b[2Ktracec: compiling f (planning), 4 s" in stream.getvalue()


# Ahead of the first call ------------------------------------------------------------------------------------


def test_after_warmup_the_first_call_replays():
    tracec.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.BatchNorm1d(3))
    optimizer = tracec.optim.Adam(model.parameters(), lr=0.1)
    counts = {"steps": 0}

    @tracec.compile
    def step(x):
        optimizer.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    x = tracec.randn(5, 4)
    state = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    slots = [v.numpy().copy() for v in optimizer.state_dict()["state"][0].values()]
    random = tracec.get_rng_state().numpy().copy()
    assert step.warmup(x) is None
    assert all(np.array_equal(v.numpy(), state[k]) for k, v in model.state_dict().items())
    assert all(
        np.array_equal(v.numpy(), s) for v, s in zip(optimizer.state_dict()["state"][0].values(), slots, strict=True)
    )
    assert np.array_equal(tracec.get_rng_state().numpy(), random) and all(p.grad is None for p in model.parameters())
    step(x)
    assert len(step.explain().recordings) == 1 and step.explain().specialisations[0].hits == 1
    assert counts == {"steps": 0}
    step.warmup(x)
    assert len(step.explain().recordings) == 1


def test_warmup_waits_in_the_background_too():
    compiled = tracec.compile(lambda x: x * 5.5, mode="async")
    compiled.warmup(tracec.ones(3))
    assert compiled(tracec.ones(3)).tolist() == [5.5] * 3
    assert compiled.explain().specialisations[0].hits == 1


def test_what_is_set_up_at_the_first_call_is_set_up_then():
    log: list[float] = []
    cache: dict[str, tracec.Tensor] = {}

    @tracec.compile
    def f(x):
        if "w" not in cache:
            cache["w"] = x * 0 + 2
            log.append(1.0)
        return x * cache["w"]

    f.warmup(tracec.ones(3))
    assert cache == {} and log == []
    for _ in range(3):
        assert f(tracec.ones(3)).tolist() == [2.0] * 3
        assert log == [1.0] and cache["w"].tolist() == [2.0] * 3
    assert [s.hits for s in f.explain().specialisations] == [1, 1]


def test_an_error_in_warmup_leaves_state_as_it_was():
    w = tracec.zeros(3)

    @tracec.compile
    def f(x, ok):
        w.add_(x)
        if not ok:
            raise KeyError("no")
        return w * 1

    with pytest.raises(KeyError):
        f.warmup(tracec.ones(3), False)
    f.warmup(tracec.ones(3), True)
    assert w.tolist() == [0.0] * 3
    assert f(tracec.ones(3), True).tolist() == [1.0] * 3 and f.explain().specialisations[0].hits == 1


def test_state_that_an_error_in_warmup_leaves_half_way_is_put_back():
    log: list[int] = []

    @tracec.compile
    def f(x):
        log.append(1)
        raise KeyError("no")

    with pytest.raises(KeyError):
        f.warmup(tracec.ones(3))
    assert log == []
