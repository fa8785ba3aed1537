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
    assert {k: e.count for k, e in found.items() if k in ("tracec::dot", "tracec::sin", "forward", "DotBackward0")} == {
        "tracec::dot": 2, "tracec::sin": 2, "forward": 2, "DotBackward0": 2
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
