"""Conditions on symbolic sizes, noted when they are compared, and who is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from tracec.ir.formula import Values, evaluate, text


class Condition(NamedTuple):
    """What a comparison of sizes gave.

    Attributes:
        test: ``==``, ``<`` or ``<=``.
        left: One side: a `Form`, or the tree of a `Ratio`.
        right: The other.
        outcome: Whether it held.
    """

    test: str
    left: Any
    right: Any
    outcome: bool

    def holds(self, values: Values) -> bool:
        """Whether the comparison gives the same for these sizes; not where a side has no value for them."""
        try:
            return TESTS[self.test](evaluate(self.left, values), evaluate(self.right, values)) is self.outcome
        except ArithmeticError:
            return False

    def __str__(self) -> str:
        sign = self.test if self.outcome else {"==": "!=", "<": ">=", "<=": ">"}[self.test]
        return f"{text(self.left)} {sign} {text(self.right)}"


TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


class _Watch(threading.local):
    note: Callable[[Condition], None] | None = None
    write: Callable[[Any], str] | None = None
    named: bool = False


WATCH = _Watch()


@contextmanager
def noting(note: Callable[[Condition], None] | None, named: bool = False) -> Iterator[None]:
    """Within, in this thread, what comparisons give is noted.

    Args:
        note: Is told; None where nobody is.
        named: Whether the text of such a number is its formula, so that those of two formulas differ.
    """
    before = WATCH.note, WATCH.named
    WATCH.note, WATCH.named = note, named
    try:
        yield
    finally:
        WATCH.note, WATCH.named = before


@contextmanager
def unnoted() -> Iterator[None]:
    """Within, comparisons are those of plain numbers."""
    before, WATCH.note = WATCH.note, None
    try:
        yield
    finally:
        WATCH.note = before


@contextmanager
def writing(write: Callable[[Any], str]) -> Iterator[None]:
    """Within, in this thread, the text of such a number is what ``write`` gives."""
    before, WATCH.write = WATCH.write, write
    try:
        yield
    finally:
        WATCH.write = before
