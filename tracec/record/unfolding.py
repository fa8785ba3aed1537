"""Structured control flow that cannot stay one operation of the graph: Python runs it, and it is unrolled.

What asks for values, then, are decisions, as those of Python's own ``if`` and ``while``. Whether a loop or a branch can
be part of the graph is known when its body has been traced, and has had its effects: all that the function did is
undone, and it is recorded again, with that line left to Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tracec.errors import RecordError
from tracec.ir.source import Source, caller
from tracec.record.state import STATE

T = TypeVar("T")
Function = Callable[..., Any]


class Unfolding:
    """What is known of the loops and branches of one function.

    Args:
        never: None of them may be left to Python: errors are the user's.

    Attributes:
        reasons: Lines that are left to Python, and why.
        failed: A line has been added since the recording began, which is void.
        can_undo: Tells whether all that the function did so far can be undone.
        watch: Given functions, what tells what they have changed since.
    """

    can_undo: Callable[[], bool]
    watch: Callable[[Sequence[Function]], Callable[[], str | None]]

    def __init__(self, never: bool = False) -> None:
        self._never = never
        self.reasons: dict[Source | None, str] = {}
        self.failed = False

    def begin(
        self, can_undo: Callable[[], bool], watch: Callable[[Sequence[Function]], Callable[[], str | None]]
    ) -> None:
        """A recording begins."""
        self.failed, self.can_undo, self.watch = False, can_undo, watch

    def end(self) -> None:
        """A recording is over: what it knew to undo it by, all memory that it has written among that, is let go."""
        del self.can_undo, self.watch

    def run(self, name: str, functions: Sequence[Function], build: Callable[[], T], in_python: Callable[[], T]) -> T:
        """What a loop or a branch gives.

        Args:
            name: Its name.
            functions: The user's functions that it runs.
            build: Makes it an operation of the graph, or raises.
            in_python: Runs it as it is without a graph.

        Raises:
            RecordError: the functions have effects on Python's state; the recording is void, or it has to be a graph.
            Exception: any other that ``build`` raises; the same holds.
        """
        site = caller()
        if site in self.reasons:
            return in_python()
        recorder: Any = STATE.recorder
        changed, printed, refused = self.watch(functions), len(recorder.printed), recorder.refused
        try:
            found = build()
            what = changed() or ("what was printed" if len(recorder.printed) > printed else None)
            if what is None:
                return found
            raise RecordError(
                f"{name}: the function changes {what}", hint="return what it makes, and change it outside",
                where=f"at {site}",
            )  # fmt: skip
        except Exception as error:
            if self._never:
                raise
            self.reasons[site] = str(getattr(error, "message", None) or f"{type(error).__name__}: {error}")
            if self.can_undo():
                self.failed = True
                raise
        recorder.refused = refused
        return in_python()

    def describe(self) -> list[str]:
        """What is left to Python, in words."""
        return [f"{site}: runs in Python, and its values choose the way: {why}" for site, why in self.reasons.items()]


def folded(name: str, functions: Sequence[Function], build: Callable[[], T], in_python: Callable[[], T]) -> T:
    """What a loop or a branch gives, while something records it; see `Unfolding.run`."""
    unfolding: Unfolding | None = getattr(STATE.recorder, "unfolding", None)
    return build() if unfolding is None else unfolding.run(name, functions, build, in_python)
