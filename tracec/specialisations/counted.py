"""Sizes that values decide, in a tree of programs: how many elements of a mask hold is a symbol of what comes after.

    segment ──> count ──┬─ 0, 1, or one of few masks: a path for each number
                        └─ any other ──> segments and end over the symbol ──> made for the counts of a call, and kept

What was compared with a count while the function was recorded is a condition on the path behind it: that of the last of
the counts that it is about. As with the sizes of arguments, a path serves other counts than its own once it was
compared with what was recorded for others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from tracec.ir.expression import Evaluator, Expression, at_sizes, compile_numbers, sizes_in
from tracec.ir.extent import Condition, Symbol, Values, formula_key, symbols_of
from tracec.ir.source import Source
from tracec.record.recording import Decision

#: Counts that programs are kept for, of each part of a path.
MOST_KEPT = 64
T = TypeVar("T")


def holds(conditions: Iterable[Condition], sizes: Values) -> bool:
    """Whether all conditions hold."""
    return all(c.holds(sizes) for c in conditions)


class AnyCount(NamedTuple):
    """What leads on behind a count that is a symbol.

    Attributes:
        conditions: What has to hold of it, and of counts before.
    """

    conditions: frozenset[Condition]

    def fits(self, sizes: Values) -> bool:
        """Whether they hold."""
        return holds(self.conditions, sizes)

    def __str__(self) -> str:
        return "any count" + "".join(f", {c}" for c in sorted(map(str, self.conditions)))


def values_of_counts(decisions: Iterable[Decision]) -> dict[Symbol, int]:
    """The counts that stand behind symbols, as they were."""
    return {d.size: int(d.value) for d in decisions if d.size is not None}


def counts_among(symbols: Iterable[Symbol], decisions: Iterable[Decision]) -> set[Symbol]:
    """Those of some symbols that stand for counts."""
    counts = {d.size for d in decisions if d.size is not None}
    return {s for s in symbols if s in counts or (counts and s.chosen is not None)}


def without_counts(
    conditions: Mapping[Condition, Source | None], decisions: Iterable[Decision]
) -> dict[Condition, Source | None]:
    """The conditions that are not about counts."""
    counts = {d.size for d in decisions if d.size is not None}
    if not counts:
        return dict(conditions)
    return {c: line for c, line in conditions.items() if not counts & (symbols_of(c.left) | symbols_of(c.right))}


def conditions_at(decisions: Sequence[Decision], conditions: Iterable[Condition]) -> dict[int, frozenset[Condition]]:
    """For each decision the conditions on counts that can be tested from there on, those on other sizes left out."""
    known = {d.size: i for i, d in enumerate(decisions) if d.size is not None}
    found: dict[int, set[Condition]] = {}
    for condition in conditions:
        symbols = symbols_of(condition.left) | symbols_of(condition.right)
        if any(s.chosen is not None for s in symbols):  # by which, is not known
            places = list(known.values())
        else:
            places = [known[s] for s in symbols if s in known]
        if places:
            found.setdefault(max(places), set()).add(condition)
    return {i: frozenset(tested) for i, tested in found.items()}


class _Unknown:
    """In place of what has not been made."""


_UNKNOWN = _Unknown()


class OfCounts(Generic[T]):
    """What is made of a part of a path, for the counts of a call.

    Args:
        symbols: What it depends on; None for all.
        make: Makes it for some counts; None where it cannot be.
    """

    def __init__(self, symbols: Iterable[Symbol] | None, make: Callable[[Values], T | None]) -> None:
        self._symbols = None if symbols is None else tuple(sorted(symbols, key=str))
        if self._symbols is not None and any(s.chosen is not None for s in self._symbols):
            self._symbols = None  # by which counts they are chosen, is not known
        self._make = make
        self._made: OrderedDict[tuple[tuple[Symbol, int], ...], T | None] = OrderedDict()

    @property
    def known(self) -> list[T]:
        """What has been made."""
        return [made for made in self._made.copy().values() if made is not None]

    def __call__(self, sizes: Values) -> T | None:
        """What was made for these counts; None where it cannot be."""
        key = tuple(sizes.items() if self._symbols is None else [(s, sizes[s]) for s in self._symbols])
        known = self._made.get(key, _UNKNOWN)
        if not isinstance(known, _Unknown):
            with suppress(KeyError):  # another thread may have let it go
                self._made.move_to_end(key)
            return known
        try:
            made = self._make(sizes)
        except ArithmeticError:  # a number that has no value for these
            made = None
        self._made[key] = made
        if len(self._made) > MOST_KEPT:
            with suppress(KeyError):
                self._made.popitem(last=False)
        return made


class Always(Generic[T]):
    """What is the same for all counts."""

    def __init__(self, made: T) -> None:
        self.known = [made]

    def __call__(self, sizes: Values) -> T:
        return self.known[0]


#: What there is for the counts of a call.
Made = OfCounts[T] | Always[T]


def evaluator(expressions: Sequence[Expression]) -> Made[Evaluator]:
    """What gives the values of expressions, of those of their symbols; None where Python refuses to for some counts."""
    sizes_within = [size for e in expressions for size in sizes_in(e)]
    if not sizes_within:
        return Always(compile_numbers((), expressions))
    symbols: set[Symbol] = set().union(*(symbols_of(formula_key(size)) for size in sizes_within))
    return OfCounts(symbols, lambda sizes: compile_numbers((), [at_sizes(e, sizes) for e in expressions]))
