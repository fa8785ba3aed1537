"""Where paths of a tree part and end: what is asked for there, which value leads on where, and how that reads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tracec.build import Runner
from tracec.ir.expression import Evaluator
from tracec.ir.extent import Condition, Symbol, Values, plain
from tracec.ir.node import Node
from tracec.record.conversion import as_number
from tracec.record.counts import FEW
from tracec.record.recording import Decision, Surroundings
from tracec.record.tensor import Tensor
from tracec.specialisations.aliasing import Aliasing
from tracec.specialisations.counted import AnyCount, Made
from tracec.specialisations.guards import Change
from tracec.specialisations.paths import LateNumbers, open_decisions
from tracec.specialisations.replay import Replay

#: Elements that a condition is asked of from which on their count is one of many.
_MANY = 16
#: Larger values are told apart by a digest.
_LONG = 1 << 10


@dataclass(slots=True, eq=False)
class Branch:
    """A value that the function asks for, and the paths on from there.

    Attributes:
        asked: What it asks for.
        run: The segment: inputs to the values that are not there yet, then those saved; None where all are there.
        finders: For each input of ``run`` how its array is found among the arguments and the values saved.
        sources: For each value asked for where it is: (True, output of ``run``) or (False, among those saved before).
        keeps: Which of the values saved before are kept.
        saved: The values that are there from here on: those that are kept, then those of the segment.
        numbers: The inputs of ``run`` that are computed from values asked for before; they come behind those saved.
        evaluate: Of an expression, what gives its value, of those of its symbols.
        fetches: The symbols that are asked for here, and which of the values they are: nodes that are one have several.
        symbol: What stands for the count that is asked for, on paths that are for any.
        children: Value → path on.
        labels: Value → how a reader sees it.
        leaves: The ends of all paths from here.
    """

    asked: Decision
    run: Made[Runner] | None
    finders: tuple[Callable[[Sequence[Tensor]], Any], ...]
    sources: tuple[tuple[bool, int], ...]
    keeps: tuple[int, ...]
    saved: tuple[Node, ...]
    numbers: LateNumbers
    evaluate: Made[Evaluator] | None
    fetches: tuple[tuple[int, int], ...]
    symbol: Symbol | None = None
    children: dict[Any, Branch | Leaf] = field(default_factory=dict)
    labels: dict[Any, str] = field(default_factory=dict)
    leaves: list[Leaf] = field(default_factory=list)

    @property
    def counts(self) -> bool:
        """Whether it asks for a count that a symbol may stand for."""
        return self.asked.how == "nonzero" and any(plain(n.type.size) > FEW for n in self.asked.node.inputs)

    @property
    def is_of_many(self) -> bool:
        """Whether it asks for more than a decision: for floats, or counts of many, each of which is another one."""
        if self.asked.how == "number":
            return all(cls is float for cls, _ in self.children)
        if self.asked.how == "nonzero":
            return any(plain(n.type.size) >= _MANY for n in self.asked.node.inputs)
        return self.asked.how != "bool" and self.asked.node.dtype.kind == "f"

    def is_for(self, decision: Decision) -> bool:
        """Whether another recording asks for the same."""
        a, b = self.asked, decision
        return (a.how, a.expression, a.symbols) == (b.how, b.expression, b.symbols) and a.node is b.node

    def repeated(self, value: str) -> Branch | None:
        """The branch that follows, where there is one path on, by the value that led here, to the same question."""
        path = next(iter(self.children.values()), None)  # none where growing was interrupted
        if not isinstance(path, Branch) or len(self.children) > 1 or list(self.labels.values()) != [value]:
            return None
        return path if in_words(path.asked) == in_words(self.asked) else None

    def value(self, found: Sequence[Any], symbols: dict[int, Any], sizes: Values) -> Any:
        """What is asked for, given the arrays; the values of its symbols are entered."""
        if self.evaluate is None:
            return found[0]
        symbols.update((symbol, as_number(found[k].item())) for symbol, k in self.fetches)
        evaluate = self.evaluate(sizes)
        values = None if evaluate is None else evaluate(symbols)
        return None if values is None else values[0]

    def ways(self, value: Any, sizes: dict[Symbol, int]) -> list[tuple[Branch | Leaf, dict[Symbol, int]]]:
        """The paths on from a value, one for that value before those for any, and the sizes that are known there."""
        path = self.children.get(outcome(value, self.asked.how))
        found = [] if path is None else [(path, sizes)]
        if self.symbol is not None and value >= self.symbol.least:
            known = {**sizes, self.symbol: int(value)}
            ways = [c for key, c in self.children.items() if type(key) is AnyCount and key.fits(known)]
            found += [(c, known) for c in ways]
        return found


@dataclass(slots=True, eq=False)
class Leaf:
    """The end of a path: what is computed when all values have been asked for, and everything that is written.

    Attributes:
        at: The program, for the counts of a call; its last arguments are the values saved, and numbers.
        aliasing: What it asks of arguments.
        surroundings: The tensors from outside that are used.
        numbers: These numbers.
        counts: Those that it was recorded with.
        trusted: Whether it was compared with a recording of other counts, so that it may serve others.
        hits: Calls that ended here.
    """

    at: Made[Replay]
    aliasing: Aliasing
    surroundings: Surroundings
    numbers: LateNumbers
    counts: Mapping[Symbol, int]
    trusted: bool
    hits: int = 0

    def of(self, sizes: Values) -> Replay | None:
        """The program for these counts; None where there is none that may serve them."""
        if self.trusted or all(sizes[s] == n for s, n in self.counts.items()):
            return self.at(sizes)
        return None


def add(branch: Branch, key: Any, decision: Decision, path: Branch | Leaf) -> None:
    """Let a path go on from a branch, by what leads there."""
    branch.children[key] = path
    branch.labels[key] = str(key) if type(key) is AnyCount else _label(branch, decision.value)
    branch.symbol = branch.symbol or decision.size


def _label(branch: Branch, value: Any) -> str:
    if branch.asked.expression is not None:
        return "computed" if branch.asked.expression.kind == "computed" else repr(value)
    return str(value.reshape(())) if value.size == 1 else f"one value of {branch.asked.node.type}"


def in_words(decision: Decision) -> str:
    """What is asked for."""
    if decision.expression is not None:
        return str(decision.expression)
    return f"{decision.how} of {decision.node.type}, made at {decision.node.source}"


def change_at(branch: Branch, value: Any) -> Change:
    """That a value is none of those that were met before."""
    asked = branch.asked
    name = f"{asked.how}(...)" if asked.expression is None else str(asked.expression)
    before = " or ".join(dict.fromkeys(branch.labels.values()))
    return Change(name, before, _label(branch, value), None if asked.node.source is None else str(asked.node.source))


def other_counts(leaf: Leaf, sizes: Values) -> Change | None:
    """That counts are others than those of the one call that a path was recorded for, which it holds for alone yet."""
    if not leaf.counts:
        return None
    before, now = (", ".join(f"{s} = {values[s]}" for s in leaf.counts) for values in (leaf.counts, sizes))
    return Change("nonzero(...)", before, now, None)


def path_of(decisions: Sequence[Decision]) -> tuple[Any, ...]:
    """Which path a recording took: what was asked for, and what was the answer."""
    return tuple((d.how, d.expression, *(k for k, _ in d.symbols), key_of(d)) for d in open_decisions(decisions))


def key_of(decision: Decision, conditions: frozenset[Condition] = frozenset()) -> Any:
    """What of a decision chooses the path, where conditions on counts have to hold from there on."""
    return outcome(decision.value, decision.how) if decision.size is None else AnyCount(conditions)


def outcome(value: Any, how: str) -> Any:
    """What of a value chooses the path."""
    if how == "number":
        return type(value), repr(value)
    if how == "bool":
        return bool(value.reshape(())) if value.size == 1 else value.tobytes()
    data = np.ascontiguousarray(value).tobytes()
    return data if len(data) <= _LONG else hashlib.blake2b(data).digest()
