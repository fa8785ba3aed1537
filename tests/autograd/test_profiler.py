"""The profiler: what it counts, and that it is gone afterwards."""

from __future__ import annotations

import json
import sys

import pytest

import tracec as T
from tracec.autograd.profiler import profile, record_function


def train(x):
    with record_function("forward"):
        loss = (x @ x).sin().sum()
    loss.backward()
    return loss


def test_operators_ways_back_and_regions():
    x = T.ones(4, 4, requires_grad=True)
    before = sys.getprofile()
    with profile(record_shapes=True) as prof:
        train(x)
        train(x)
    assert sys.getprofile() is before
    found = {e.key: e for e in prof.key_averages()}
    assert {k: e.count for k, e in found.items() if k in ("tracec::dot", "tracec::sin", "forward", "MmBackward0")} == {
        "tracec::dot": 2, "tracec::sin": 2, "forward": 2, "MmBackward0": 2
    }  # fmt: skip
    inside = sum(found[f"tracec::{n}"].cpu_time_total for n in ("dot", "sin", "sum"))
    assert found["forward"].cpu_time_total >= inside > 0
    assert abs(found["forward"].self_cpu_time_total - (found["forward"].cpu_time_total - inside)) < 1e-6
    assert all(e.self_cpu_time_total <= e.cpu_time_total for e in found.values())
    shapes = {e.key: e.input_shapes for e in prof.key_averages(group_by_input_shape=True)}
    assert shapes["tracec::dot"] == ((4, 4), (4, 4))
    count = len(prof.function_events)
    train(x)
    assert len(prof.function_events) == count


def test_the_table(tmp_path):
    with profile() as prof:
        train(T.ones(4, 4, requires_grad=True))
    lines = prof.key_averages().table(sort_by="self_cpu_time_total", row_limit=3).splitlines()
    assert lines[1].split()[:3] == ["Name", "Self", "CPU"] and len(lines) == 8
    assert lines[-1].startswith("Self CPU time total: ")
    assert len(prof.table().splitlines()) == 5 + len(prof.key_averages())
    with pytest.raises(ValueError, match="sort_by='speed' is not known"):
        prof.table(sort_by="speed")
    prof.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert {"forward", "tracec::sin"} <= {e["name"] for e in events} and all(e["dur"] >= 0 for e in events)
    assert not any(e["args"] for e in events)
    with profile(record_shapes=True) as prof:
        T.ones(2, 3).sin()
    prof.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [e["args"] for e in events if e["name"] == "tracec::sin"] == [{"Input Dims": [[2, 3]]}]


def test_compiled_programs():
    f = T.compile(lambda x: (x * 2).sin())
    x = T.ones(3)
    f(x)
    with profile() as prof:
        f(x)
    names = [e.key for e in prof.key_averages()]
    assert "compiled program" in names and "tracec::sin" not in names


def test_decorated_functions_errors_and_nesting():
    @record_function("named")
    def run():
        raise KeyError

    with profile() as prof:
        with pytest.raises(KeyError):
            run()
        T.ones(2) + 1
        with pytest.raises(RuntimeError, match="already running"):
            profile().start()
    assert {"named", "tracec::add"} <= {e.key for e in prof.key_averages()}
    with profile(enabled=False) as prof, record_function("quiet"):
        T.ones(2) + 1
    assert not len(prof.key_averages())
    with record_function("no profile"):
        pass


def test_the_newer_names():
    done = []
    with T.profiler.profile(
        activities=[T.profiler.ProfilerActivity.CPU], on_trace_ready=done.append, record_shapes=True
    ) as prof:
        with T.profiler.record_function("region"):
            T.ones(2) + 1
        prof.step()
    assert done == [prof] and prof.step_num == 1 and prof.key_averages()[0].key
    assert any(e.name == "region" for e in prof.events())


ROUNDS = [
    ({"wait": 1, "warmup": 1, "active": 2}, [(4, 2), (8, 2)]),
    ({"wait": 0, "warmup": 1, "active": 3, "repeat": 1}, [(4, 3)]),
    ({"wait": 2, "warmup": 1, "active": 1, "repeat": 2, "skip_first": 1}, [(5, 1), (9, 1)]),
    ({"wait": 3, "warmup": 1, "active": 1, "skip_first_wait": 1}, [(2, 1), (7, 1)]),
    ({"wait": 1, "warmup": 0, "active": 7, "repeat": 2}, [(8, 7), (9, 0)]),
    ({"wait": 1, "warmup": 0, "active": 9}, [(9, 8)]),
]


@pytest.mark.parametrize(("given", "expected"), ROUNDS)
def test_steps_that_are_watched(given, expected):
    """At the end of which step a profile is ready, and how many steps it has watched."""
    found = []

    def ready(prof):
        found.append((prof.step_num, sum(e.count for e in prof.key_averages() if e.key == "step")))

    which = T.profiler.schedule(**given)
    with T.profiler.profile(schedule=which, on_trace_ready=ready, profile_memory=True, with_stack=False) as prof:
        for _ in range(9):
            with T.profiler.record_function("step"):
                pass
            prof.step()
    assert found == expected


@pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")
@pytest.mark.parametrize("given", [given for given, _ in ROUNDS])
def test_schedules_are_those_of_pytorch(given):
    torch = pytest.importorskip("torch")
    ours, theirs = T.profiler.schedule(**given), torch.profiler.schedule(**given)
    assert [ours(k).name for k in range(30)] == [theirs(k).name for k in range(30)]


def test_profiles_are_written_for_tensorboard(tmp_path):
    handler = T.profiler.tensorboard_trace_handler(str(tmp_path / "log"), "worker")
    packed = T.profiler.tensorboard_trace_handler(str(tmp_path / "log"), "packed", use_gzip=True)
    for ready in (handler, packed):
        with T.profiler.profile(on_trace_ready=ready, with_flops=True, with_modules=True, record_shapes=True) as prof:
            T.ones(2) + 1
            prof.step()
    names = sorted(path.name for path in (tmp_path / "log").iterdir())
    assert len(names) == 2 and names[0].startswith("packed.") and names[0].endswith(".pt.trace.json.gz")
    assert names[1].startswith("worker.") and names[1].endswith(".pt.trace.json")
    averages = prof.key_averages(group_by_stack_n=5)
    for order in ("self_cpu_time_total", "cuda_time_total", "self_cpu_memory_usage"):
        assert "tracec::add" in averages.table(sort_by=order, row_limit=10, header="add")


def test_steps_that_cannot_be_watched():
    with pytest.raises(ValueError, match="active=0"):
        T.profiler.schedule(wait=1, warmup=1, active=0)
