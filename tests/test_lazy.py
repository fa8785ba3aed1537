"""Functions that no program stands in for: what they compute is compiled in parts, and nothing of it shows."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tests.footguns import harness
from tests.footguns.harness import FOOTGUNS, as_it_is
from tests.lazy import Step, compiled_parts, lazily, numbers, without_values
from tests.random_programs.check import operator_by_operator, outcome, script, shrunk
from tests.random_programs.generate import program
from tracec.record import deferred
from tracec.specialisations.lazy import _Segment

for path in sorted((Path(__file__).parent / "footguns").glob("[!_]*.py")):
    if path.stem != "harness" and not path.stem.startswith("test_"):
        import_module(f"tests.footguns.{path.stem}")


@pytest.fixture(autouse=True)
def _seen():
    with without_values():
        yield


# All that is known to go wrong ------------------------------------------------------------------------


@pytest.mark.parametrize("one", FOOTGUNS, ids=lambda f: f.name)
def test_footguns(one):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracec.manual_seed(0)
        expected = list(harness._observed(one.run(as_it_is)))
        tracec.manual_seed(0)
        found = list(harness._observed(one.run(lazily)))
    assert len(found) == len(expected)
    for k, (a, b) in enumerate(zip(expected, found, strict=True)):
        assert harness._same(a, b, max(one.rounded, 3e-7)), f"observation {k}: eager {a!r}, compiled {b!r}"


@pytest.mark.parametrize("first", range(0, 75, 25))
def test_random_programs(first):
    made: list[Any] = []

    def kept(fn: Any) -> Any:
        made.append(lazily(fn))
        return made[-1]

    with operator_by_operator():
        for seed in range(first, first + 25):
            found = outcome(program(seed), kept)
            assert found.difference is None, f"{seed}: {found.difference}\n{script(shrunk(program(seed), lazily))}"
    assert sum(map(compiled_parts, made)) > 0.3 * sum(f._lazy.others for f in made)


# What is compiled -------------------------------------------------------------------------------------


def test_a_function_that_reads_the_clock_runs_compiled_and_says_so():
    def function(x):
        assert time.time() > 0
        return (x @ x).relu().softmax(-1), x.t() + 1

    compiled, x = tracec.compile(function), numbers(7, 7)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", RuntimeWarning)
        for k in range(8):
            for a, b in zip(compiled(x * k), function(x * k), strict=True):
                np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)
                assert a.stride() == b.stride()
    assert len(said) == 1 and "reads the clock" in str(said[0].message)
    text = str(compiled.explain())
    assert "recorded again at each call and compared: in 6 calls" in text and " segments ran as " in text
    assert "  a part of 6 operations, " in text and ".py:" in text and ": ran 4 times" in text
    assert compiled_parts(compiled) >= 4


@pytest.mark.parametrize("draws", [False, True])
def test_a_train_step(draws):
    eager, step = Step(draws), Step(draws)
    compiled = lazily(step.__call__)
    for k in range(9):
        x, y = numbers(8, 5, seed=k), tracec.arange(8) % 3
        tracec.manual_seed(k)
        expected = eager(x, y)
        tracec.manual_seed(k)
        found = compiled(x, y)
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(step.losses, eager.losses, rtol=1e-5)
    for a, b in zip(step.model.state_dict().values(), eager.model.state_dict().values(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)
    assert compiled_parts(compiled) >= 8
    assert sum(s.program is not None for s in compiled._lazy._known.values()) <= 4  # numbers became inputs


def test_numbers_that_change_become_inputs_and_keep_their_signs():
    def function(x, factor):
        return ((x + 1) * factor).copysign(x * 0 + factor), x * factor

    compiled, x = lazily(function), numbers(5)
    for factor in (2.0, 2.0, 3.0, -0.0, 0.0, float("inf"), 1.5, 2.5):
        for a, b in zip(compiled(x, factor), function(x, factor), strict=True):
            assert a.numpy().tobytes() == b.numpy().tobytes()
    assert len(compiled._lazy._known) <= 4


def test_threads_that_change_other_numbers_lose_none(monkeypatch):
    """A number that is no input, and is another one, would be that of another call."""
    monkeypatch.setattr("tracec.specialisations.lazy._MOST_NUMBERS", 99)

    def form(changed: int) -> Any:
        return SimpleNamespace(rows=[], numbers=[np.float32(k == changed) for k in range(8)])

    def lift(k: int) -> None:
        together.wait()
        segment.lift(form(k))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            for _ in range(200):
                segment, together = _Segment(form(-1)), threading.Barrier(8)
                list(threads.map(lift, range(8)))
                assert set(segment.lifted) == {*range(8)}
    finally:
        sys.setswitchinterval(before)


def test_what_is_not_worth_while_runs_eagerly(monkeypatch):
    monkeypatch.setattr("tracec.specialisations.lazy._SMALLEST", 1 << 16)
    small, large = lazily(lambda x: (x * 2 + 1).relu() - 1), lazily(lambda x: (x * 2 + 1).relu() - 1)
    for k in range(5):
        small(numbers(8, seed=k)), large(numbers(1 << 15, seed=k))
    assert "calls run eagerly now, since what they compute is small" in small._lazy.describe()[0]
    assert compiled_parts(large) == 3 and not compiled_parts(small)
    monkeypatch.setattr("tracec.specialisations.lazy._FRUITLESS", 6)
    shapes = lazily(lambda x: (x * 2 + 1).relu() - 1)
    for k in range(20):
        shapes(numbers(1 << 15, k + 1))
    assert "since few come again" in shapes._lazy.describe()[0] and shapes._lazy.calls == 6


def test_what_nobody_holds_is_no_result_of_a_part():
    compiled, x = lazily(lambda x: [(x * 2 + 1).relu(), (x * 3).relu()][0]), numbers(9)
    graphs, build = [], compiled._lazy._build
    compiled._lazy._build = lambda graph, replaces: graphs.append(graph) or build(graph, replaces)
    for _ in range(4):
        np.testing.assert_array_equal(compiled(x).numpy(), (x * 2 + 1).relu().numpy())
    assert [len(graph.outputs) for graph in graphs] == [1]


def test_in_the_background():
    compiled = lazily(lambda x, k: (x * 2 + k).relu() - 1, background=True)
    for k in (1.0, 1.0, 1.0, 2.0, 2.0):
        x = numbers(7, seed=int(k))
        np.testing.assert_allclose(compiled(x, k).numpy(), compiled.fn(x, k).numpy(), rtol=1e-6)
        compiled.wait()
    assert compiled_parts(compiled) == 1  # then another number came, which had to become an input first
    for k in (2.0, 3.0, 4.0):
        np.testing.assert_allclose(compiled(x, k).numpy(), compiled.fn(x, k).numpy(), rtol=1e-6)
        compiled.wait()
    assert compiled_parts(compiled) == 4


@pytest.mark.parametrize("background", [False, True])
def test_a_part_that_cannot_be_compiled_is_told_once(background):
    compiled = lazily(lambda x: (x * 2).relu() - 1, background=background)
    compiled._lazy._build = lambda graph, replaces: 1 / 0
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for k in range(5):
            assert compiled(numbers(3, seed=k)).tolist() == compiled.fn(numbers(3, seed=k)).tolist()
            compiled.wait()
    told = "a part could not be compiled, and runs operation by operation: ZeroDivisionError"
    assert [told in str(w.message) for w in said] == [True]
    assert not compiled_parts(compiled)


@pytest.mark.parametrize(("error", "seen"), [(RuntimeError, RuntimeWarning), (KeyboardInterrupt, KeyboardInterrupt)])
def test_a_part_that_cannot_be_compiled_is_computed_all_the_same(error, seen):
    kept, met = [], []

    def function(x):
        kept.append((x * 2 + 1).relu() - 1)
        try:
            return kept[-1].sum().item()
        except seen:  # a warning, which is an error here
            met.append(seen)
            kept.append(kept[-1] * 3)
            return kept[-1].tolist()

    def fails(graph, replaces):
        raise error("no compiler")

    compiled, x = lazily(function), numbers(9)
    compiled._lazy._build = fails
    for _ in range(4):
        kept.clear()
        with suppress(seen):
            compiled(x)
        expected = ((x * 2 + 1).relu() - 1).numpy()
        for k, y in enumerate(kept):
            np.testing.assert_array_equal(y.numpy(), expected * 3**k)
    assert len(met) == (1 if error is RuntimeError else 3) and not deferred.ACTIVE


def test_a_function_with_too_many_specialisations_runs_compiled():
    compiled = tracec.compile(lambda x, text: (x * 2 + len(text)).relu() - 1, max_specializations=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(9):
            x = numbers(4, seed=k)
            np.testing.assert_allclose(compiled(x, "a" * k).numpy(), (x * 2 + k).relu().numpy() - 1, rtol=1e-6)
    assert compiled_parts(compiled) >= 2


@needs_compiler
def test_in_the_emulator():
    def function(x):
        x += 1
        return (x * 2).sum(0), x.softmax(0)

    compiled = lazily(function, target="cuda", launcher="emulator")
    a, b = numbers(6, 3), numbers(6, 3)
    for _ in range(5):
        for p, q in zip(compiled(a), function(b), strict=True):
            np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert compiled_parts(compiled)
