"""Running programs both ways."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import tracec
from tests.random_programs import prelude
from tests.random_programs.shrink import shrink


class Outcome(NamedTuple):
    """What came of a program.

    Attributes:
        difference: The first difference between the eager and the compiled run, in words; None where there is none.
        kind: Its kind.
        refused: Why the compiler raised an error of its own, if it did.
        replays: Calls that ran compiled code.
        eager: Calls that recorded, or ran eagerly.
    """

    difference: str | None
    kind: str | None
    refused: str | None
    replays: int
    eager: int


def outcome(text: str, compiler: Callable[..., Any] = tracec.compile) -> Outcome:
    """Run a program eagerly and compiled, and compare."""
    made: list[Any] = []

    def compiled(function: Any) -> Any:
        made.append(compiler(function))
        return made[-1]

    function = load(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        eager = prelude.run(function, lambda f: f)
        found = prelude.run(load(text), compiled)
    refused = found[-1][1] if found and isinstance(found[-1], tuple) and found[-1][0] == "refused" else None
    kind, difference = prelude.difference(eager, found) or (None, None)
    return Outcome(difference, kind, refused, *served(made))


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
    """Replays and calls otherwise of compiled functions."""
    replays = eager = 0
    for function in made:
        for candidates in function._known.values():
            for c in candidates:
                replays += c.hits if c.eager is None else 0
                eager += 1 if c.eager is None else c.hits
    return replays, eager
