"""What one process has planned, others read; what does not fit is planned anew."""

from __future__ import annotations

import io
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tracec
from tracec import build, nn, plan_cache
from tracec.autotune import Choices, Times
from tracec.ir import dtype as dt
from tracec.ir.expression import compile_numbers
from tracec.ir.extent import Symbol, symbolic
from tracec.ir.graph import Graph
from tracec.ir.node import input_node
from tracec.ir.types import TensorType
from tracec.ops import add
from tracec.plan import TARGETS


@pytest.fixture(autouse=True)
def _kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRACEC_KEEP_PLANS", "1")
    monkeypatch.setattr(plan_cache, "LEAST_SECONDS", 0.0)


def model(x: Any, w: Any) -> Any:
    x = x.detach().requires_grad_()
    loss = nn.functional.softmax(x @ w, dim=-1).square().mean()
    loss.backward()
    return loss, x.grad


def given() -> list[Any]:
    tracec.manual_seed(0)
    return [tracec.randn(5, 7), tracec.randn(7, 3)]


def refuse(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("planned anew")


def plans(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.plan"))


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_plan_that_is_kept_is_what_was_planned(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tracec.compile(model).lower(*given(), target=target)
    assert len(plans(tmp_path)) == 1
    monkeypatch.setattr(build, "make_plan", refuse)
    second = tracec.compile(model).lower(*given(), target=target)
    assert second.plan == first.plan
    for name in first.stages:
        ours, theirs = (re.sub(r"[\d.]+ ms", "", s.stages[name]) for s in (second, first))
        assert ours == theirs
    assert str(second.graph) == str(first.graph)


def test_calls_give_the_same_and_tell_that_a_plan_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = given()
    eager = model(*args)
    f = tracec.compile(model)
    f(*args)
    monkeypatch.setattr(build, "make_plan", refuse)
    again = tracec.compile(model)
    for _ in range(3):
        for ours, theirs in zip(again(*args), eager, strict=True):
            tracec.testing.assert_close(ours, theirs)
    assert "planning" not in again.explain().recordings[0].stages


def test_lines_of_the_program_may_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "def f(x):\n    y = x.sin() * 2\n    return (y - y.mean()).exp()\n"
    lowered = []
    for number, before in enumerate(("", "# a new line\n\n")):
        path = tmp_path / f"program{number}.py"
        path.write_text(before + text)
        scope: dict[str, Any] = {}
        exec(compile(path.read_text(), str(path), "exec"), scope)
        lowered.append(tracec.compile(scope["f"]).lower(tracec.ones(3, 5), target="cuda"))
        monkeypatch.setattr(build, "make_plan", refuse)
    first, second = (low.stages["source"] for low in lowered)
    assert "program0.py:2: y = x.sin() * 2" in first
    assert "program1.py:4: y = x.sin() * 2" in second
    assert re.sub(r"program0.py:(\d)", lambda m: f"program1.py:{int(m[1]) + 2}", first) == second
    assert "program1.py:5" in str(lowered[1].plan)


def test_without_a_compiler_the_graph_of_a_kept_plan_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    args = given()
    tracec.compile(model)(*args)
    monkeypatch.setenv("TRACEC_CC", "no-such-compiler")
    monkeypatch.setattr(build, "make_plan", refuse)
    monkeypatch.setattr(build, "_warned_fallback", True)
    f = tracec.compile(model)
    f(*args)
    for ours, theirs in zip(f(*args), model(*args), strict=True):
        tracec.testing.assert_close(ours, theirs)


def test_damaged_and_foreign_entries_are_planned_anew(tmp_path: Path) -> None:
    def lowered() -> Any:
        return tracec.compile(model).lower(*given()).plan

    expected = lowered()
    (path,) = plans(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"?" + whole[101:])
    assert lowered() == expected
    for data in (b"no pickle", pickle.dumps(["no plan"]), pickle.dumps(os.getcwd)):
        tracec.runtime.cache.default_cache().store(path.stem, "plan", data)
        assert lowered() == expected


def test_reading_runs_nothing() -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return os.putenv, ("TRACEC_WAS_RUN", "1")

    class Calls:
        def __reduce__(self) -> Any:
            return compile_numbers, ((), ())

    store = tracec.runtime.cache.default_cache().store
    for runs in (Runs(), Calls()):
        store("name", "plan", pickle.dumps(runs))
        assert plan_cache.read(plan_cache.Place("name", ()), None) is None
        with pytest.raises(pickle.UnpicklingError, match="is no part of a plan"):
            plan_cache._Unpickler(io.BytesIO(pickle.dumps(runs)), ()).load()
    assert "TRACEC_WAS_RUN" not in os.environ


def test_a_full_disk_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def store(*args: Any) -> Path:
        raise OSError(28, "No space left on device")

    plan = tracec.compile(model).lower(*given(), target="cuda").plan
    monkeypatch.setattr(tracec.runtime.cache.DiskCache, "store", store)
    plan_cache.keep(plan_cache.Place("name", ()), plan_cache.Found(plan, {}, ()), 1.0)
    plan_cache.store_template(b"", "name")
    assert plan_cache.read(plan_cache.Place("name", ()), None) is None


def graph_of(size: Any = 3, text: str = "f") -> Graph:
    x = input_node(TensorType(dt.float32, (size, 2)))
    return Graph((x,), (add(x, x),), text)


def test_names_tell_apart_whatever_a_plan_hangs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def name(graph: Graph, target: str = "cpu", arch: str = "sm_90", **more: Any) -> str | None:
        given: dict[str, Any] = {"donate": {}, "disabled": frozenset(), **more}
        place = plan_cache.place_of(graph, TARGETS[target], arch, **given)
        return None if place is None else place.name

    graph = graph_of()
    names = [
        name(graph), name(graph_of(4)), name(graph, "cuda"), name(graph, arch="sm_80"), name(graph, donate={0: 0}),
        name(graph, disabled=frozenset({"fuse"})),
    ]  # fmt: skip
    assert None not in names and len(set(names)) == len(names)
    assert name(graph_of()) == names[0]
    monkeypatch.setattr(plan_cache, "_compiler", lambda: ("another",))
    assert name(graph) != names[0]


def test_what_a_text_does_not_tell_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan_cache.place_of(graph_of(symbolic(Symbol("n", 3))), TARGETS["cpu"], "sm_90", {}, frozenset()) is None
    assert not plan_cache._is_plain((1, object()))
    for variable, value in (("TRACEC_KEEP_PLANS", "0"), ("TRACEC_VERIFY", "1")):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            assert plan_cache.place_of(graph_of(), TARGETS["cpu"], "sm_90", {}, frozenset()) is None


def test_names_are_the_same_in_all_processes() -> None:
    program = (
        "from tests.test_plan_cache import graph_of; from tracec import plan_cache; from tracec.plan import TARGETS\n"
        "off = frozenset({'fuse', 'cse'})\n"
        "print(*(plan_cache.place_of(graph_of(), t, 'sm_90', {1: 0}, off).name for t in TARGETS.values()))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in (1, 2)
    }  # fmt: skip
    assert len(found) == 1


def test_other_choices_of_products_are_planned_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    params = {
        "batch": (), "m": 256, "n": 256, "k": 256, "a_batch": (), "b_batch": (), "trans_a": False, "trans_b": False,
        "lda": 256, "ldb": 256, "a_offset": 0, "b_offset": 0, "dtype": dt.float32,
    }  # fmt: skip
    monkeypatch.setattr("tracec.runtime.cublas.available", lambda: True)
    monkeypatch.setattr(Choices, "_read", lambda self, name: None)
    choices = Choices(0)
    plan = tracec.compile(model).lower(*given(), target="cuda").plan
    place = plan_cache.Place("name", ())
    plan_cache.keep(place, plan_cache.Found(plan, {}, ((params, True),)), 1.0)
    assert plan_cache.read(place, None) is not None
    assert plan_cache.read(place, choices) is None  # not measured on this GPU
    (shape,) = choices.unknown
    choices.unknown.clear()
    choices.times[shape] = Times(kernel=9.0, library=2.0, passing=1.0)
    assert plan_cache.read(place, choices) is not None
    choices.times[shape] = Times(kernel=2.0, library=9.0, passing=1.0)
    assert plan_cache.read(place, choices) is None


def test_compiled_templates_are_read_by_other_processes(tmp_path: Path) -> None:
    program = (
        "import tracec, jinja2.environment as e\n"
        "made = []; compile = e.Environment.compile\n"
        "e.Environment.compile = lambda *a, **k: made.append(1) or compile(*a, **k)\n"
        "print(tracec.compile(lambda x: x * 2).lower(tracec.ones(3)).stages['source'], len(made))"
    )
    texts = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.rsplit(
            " ", 1
        )
        for _ in range(2)
    ]
    assert texts[0][0] == texts[1][0]
    assert int(texts[0][1]) > 0 == int(texts[1][1])
    assert list(tmp_path.glob("*.template"))
