"""Running programs both ways, and the scripts of those that differ."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import tracec
from tests.doubles.driver import pretended
from tests.random_programs import prelude
from tests.random_programs.shrink import shrink
from tracec import build


class Outcome(NamedTuple):
    """What came of a program.

    Attributes:
        difference: The first difference between the eager and the compiled run, in words; None where there is none.
        kind: Its kind.
        replays: Calls that ran compiled code.
        others: Calls that were recorded, or ran eagerly.
    """

    difference: str | None
    kind: str | None
    replays: int
    others: int


def outcome(text: str, compiler: Callable[..., Any] = tracec.compile) -> Outcome:
    """Run a program eagerly and compiled, and compare."""
    made: list[Any] = []

    def compiled(function: Any) -> Any:
        made.append(compiler(function))
        return made[-1]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        eager = prelude.run(load(text), lambda f: f)
        found = prelude.run(load(text), compiled)
    kind, difference = prelude.difference(eager, found) or (None, None)
    return Outcome(difference, kind, *served(made))


def shrunk(text: str, compiler: Callable[..., Any] = tracec.compile) -> str:
    """The smallest program found that differs in the same way."""
    kind = outcome(text, compiler).kind

    def differs(candidate: str) -> bool:
        try:
            return "run.wrap(" in candidate and outcome(candidate, compiler).kind == kind
        except Exception:  # it is no program that runs eagerly
            return False

    return shrink(text, differs)


def load(text: str) -> Any:
    """The function of a program's text."""
    space = dict(vars(prelude))
    space["__name__"] = "random_program"
    exec(compile(text, "<program>", "exec"), space)
    return space["program"]


def served(made: list[Any]) -> tuple[int, int]:
    """Calls of compiled functions that ran compiled code, and others."""
    found = [s for function in made for s in function.explain().specialisations]
    recordings = sum(len(function.explain().recordings) for function in made)
    eager = sum(s.hits for s in found if not s.compiled)
    return sum(s.hits for s in found if s.compiled), recordings + eager


_SCRIPT = """{prelude}

{program}

if __name__ == "__main__":
    print(difference(run(program, lambda f: f), run(program, tracec.compile)) or "no difference")
"""


def script(text: str) -> str:
    """A program as a script that needs nothing but tracec."""
    return _SCRIPT.format(prelude=inspect.getsource(prelude), program=text)


@contextmanager
def operator_by_operator() -> Iterator[None]:
    """Within, programs are run by the operators' eager rules, as on a machine with no C compiler: it takes less time
    than to compile them, and all that stands around a program is the same."""
    before = build._on_cpu
    build._on_cpu = lambda built: build.interpreted(built.graph, built.donate)
    try:
        yield
    finally:
        build._on_cpu = before


@contextmanager
def on_pretended_gpu() -> Iterator[None]:
    """Within, tensors are on a pretended GPU: NumPy's arrays behind CuPy's rules, whose kernels the emulator runs."""
    with pretended():
        tracec.set_default_device("cuda")
        try:
            yield
        finally:
            tracec.set_default_device(None)
