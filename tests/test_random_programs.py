"""Random programs with writes, views, branches and changes between calls: compiled they do what they do eagerly."""

from __future__ import annotations

import io
import warnings
from contextlib import nullcontext, redirect_stdout

import pytest

from tests.codegen.emulated import needs_compiler
from tests.random_programs.check import on_pretended_gpu, operator_by_operator, outcome, script, shrunk
from tests.random_programs.generate import program
from tracec.record.recorder import Recorder
from tracec.specialisations.aliasing import Aliasing
from tracec.specialisations.environment import Environment
from tracec.specialisations.replay import Replay

GROUP = 25


def compare(seeds):
    """Run the programs; calls that ran compiled code, and others."""
    replays = others = 0
    for seed in seeds:
        found = outcome(program(seed))
        assert found.difference is None, (
            f"program {seed}: {found.difference}; in short:\n{script(shrunk(program(seed)))}"
        )
        replays, others = replays + found.replays, others + found.others
    return replays, others


@pytest.mark.parametrize("first", range(0, 250, GROUP))
def test_programs_are_as_eager(first):
    with operator_by_operator():
        replays, others = compare(range(first, first + GROUP))
    assert replays > 0.5 * others


@pytest.mark.parametrize("first", range(250, 300, GROUP))
def test_programs_of_generated_code_are_as_eager(first):
    compare(range(first, first + GROUP))


@needs_compiler
@pytest.mark.parametrize("first", range(10_000, 10_016, 8))
def test_programs_on_a_pretended_gpu_are_as_eager(first):
    with on_pretended_gpu():
        replays, _ = compare(range(first, first + 8))
    assert replays > 8


@pytest.mark.slow
@pytest.mark.parametrize("first", range(300, 10_000, 100))
def test_many_programs_are_as_eager(first):
    with operator_by_operator():
        compare(range(first, first + 100))


# The comparison itself: compilers that are wrong are found out --------------------------------------------


def guards_always_hold(patch):
    patch.setattr(Environment, "fails", lambda self: None)


def everything_fits(patch):
    patch.setattr(Aliasing, "fit", lambda self, arguments: True)


def drops(field):
    """Recordings without the last of what they write, or set."""

    def one_is_dropped(patch):
        finish = Recorder.finish

        def finished(self, *given):
            recording = finish(self, *given)
            for name in ("writes", "counts") if field == "writes" else (field,):
                object.__setattr__(recording, name, getattr(recording, name)[:-1])
            return recording

        patch.setattr(Recorder, "finish", finished)

    return one_is_dropped


def results_share_memory(patch):
    patch.setattr(Replay, "_outputs_to_copy", lambda self, places, results, backwards: ())


def saved_values_are_not_kept(patch):
    patch.setattr("tracec.specialisations.histories.add_reader", lambda readers, operation: None)


def layouts_are_lost(patch):
    patch.setattr(Recorder, "_layout", lambda self, x, shared: None)


def values_choose_no_way(patch):
    patch.setattr("tracec.specialisations.branches.outcome", lambda value, how: True)


#: What depends on where a program's results lie is seen of generated code only.
OF_CODE = ("results share memory",)
BROKEN = {
    "guards always hold": guards_always_hold,
    "everything fits": everything_fits,
    "a write is dropped": drops("writes"),
    "a gradient is dropped": drops("grads"),
    "results share memory": results_share_memory,
    "saved values are not kept": saved_values_are_not_kept,
    "layouts are lost": layouts_are_lost,
    "values choose no way": values_choose_no_way,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_compiler_is_found(name, monkeypatch):
    BROKEN[name](monkeypatch)
    with nullcontext() if name in OF_CODE else operator_by_operator():
        assert any(outcome(program(seed)).difference for seed in range(150))


def test_what_differs_is_a_short_script(monkeypatch):
    drops("writes")(monkeypatch)
    text = (
        "def program(run):\n    s = data(3)\n    def f(x):\n        y = x * 2\n        x += 1\n        return y + s\n"
    )
    text += "    f = run.wrap(f)\n    for k in range(4):\n        a = data(3, seed=k)\n        r = run.attempt(f, a)\n"
    text += "        run.see(r=r, a=a)\n"
    found = shrunk(text)
    assert len(found.splitlines()) <= 10
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(script(found), "script", "exec"), {"__name__": "__main__"})
    assert printed.getvalue().startswith("('values', ")


def test_the_script_of_a_program_that_does_not_differ():
    printed = io.StringIO()
    with redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(script(program(0)), "script", "exec"), {"__name__": "__main__"})
    assert printed.getvalue() == "no difference\n"
