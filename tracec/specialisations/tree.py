"""Data-dependent control flow: a tree of programs, in which each value that the function asks for chooses the branch.

    inputs ──> segment ──> value asked for ──┬─ True ──> segment ──> value ──┬─ ... ──> leaf
                  └──> values saved ─────────┴─ False ─> leaf                └─ a value not seen before: record

A recording is a path: its decisions in order, and what it did in the end. Paths that begin alike share the segments
up to where they part. A segment is a program from the inputs, and the values that the segments before it have saved,
to the value that is asked for and to values that are needed later. Nothing is written before the leaf, so a call may
be left half way and recorded anew, as it is where a value is met for the first time. Such trees grow as the trace trees
of JIT compilers do, but for whole calls rather than loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from tracec.build import Runner
from tracec.ir.expression import compile_numbers
from tracec.ir.graph import Graph, substitute, topological, topological_until
from tracec.ir.node import Node, input_node, is_constant
from tracec.record.backend import to_device
from tracec.record.cell import new_tensor
from tracec.record.recording import Decision
from tracec.record.tensor import Tensor
from tracec.specialisations.branches import Branch, Leaf, add, change_at, in_words, key_of, outcome
from tracec.specialisations.checks import guarded
from tracec.specialisations.guards import Change
from tracec.specialisations.inputs import finder
from tracec.specialisations.paths import (
    NO_NUMBERS,
    Interner,
    LateNumbers,
    cut,
    last_uses,
    open_decisions,
    positions,
    used_after,
    what_is_asked,
    without_known,
    worth_saving,
)
from tracec.specialisations.recorded import Recorded
from tracec.specialisations.replay import REFUSALS, Replay, Unfit
from tracec.specialisations.scalars import Scalars

#: Values that one place may be asked for before further ones run eagerly, other than by ``bool``.
MOST_VALUES = 8
#: The same of floats, and of counts of what a condition holds for, none of which came again: these hardly ever do.
FEW_VALUES = 4
#: Paths after which few calls that went one of them are a sign that hardly any will.
FRUITLESS_PATHS = 16
#: Paths of one tree.
MOST_PATHS = 64


class _Unseen:
    """In place of a result: the function was asked to take a path that has not been recorded."""


UNSEEN = _Unseen()


@dataclass(frozen=True, slots=True)
class TreeBuilder:
    """How programs come to be for a tree.

    Attributes:
        segment: A graph's program.
        end: The program of the end of a path.
    """

    segment: Callable[[Graph], Runner]
    end: Callable[[Recorded], Replay]


class Tree:
    """The paths that a function has taken for one kind of arguments.

    Args:
        builder: How programs are made.
        numbers: The numbers that all of them are given.
    """

    def __init__(self, builder: TreeBuilder, numbers: Scalars | None = None) -> None:
        self._builder = builder
        self.numbers = numbers
        self._roots: list[Branch] = []
        self._interned = Interner()
        self._segments: dict[Any, Runner] = {}
        #: Whether gradients go back from what some path gives, by programs.
        self.goes_back = False
        #: Whether it was said that there are no more paths to be.
        self.is_full = False
        #: The value that kept the last call from a path that had been recorded.
        self.missed: Change | None = None

    @property
    def leaves(self) -> Iterator[Leaf]:
        """The ends of all paths."""
        for root in self._roots:
            yield from root.leaves

    def _branches(self) -> Iterator[Branch]:
        stack: list[Branch | Leaf] = [*self._roots]
        while stack:
            at = stack.pop()
            if isinstance(at, Branch):
                yield at
                stack += at.children.values()

    @property
    def hits(self) -> int:
        """Calls that took some path."""
        return sum(leaf.hits for leaf in self.leaves)

    def describe(self) -> list[str]:
        """The values that are asked for, and the paths on from there, a line each."""
        lines: list[str] = []
        stack: list[tuple[int, str, Branch | Leaf]] = [(0, "", root) for root in reversed(self._roots)]
        while stack:
            depth, value, at = stack.pop()
            if isinstance(at, Leaf):
                lines.append(f"{'  ' * depth}{value}: to the end, {at.hits} hits")
                continue
            times = 1
            while (further := at.repeated(value)) is not None:
                at, times = further, times + 1
            said = f"{value}: " if times == 1 and value else f"{value}, {times} times: " if value else ""
            lines.append(f"{'  ' * depth}{said}{in_words(at.asked)}")
            stack += [(depth + 1, at.labels[key], child) for key, child in reversed(at.children.items())]
        return lines

    @property
    def programs(self) -> list[Any]:
        """All programs: those of segments, then those of the ends."""
        return [*self._segments.values(), *(leaf.replay.forward for leaf in self.leaves)]

    def fits(self, arguments: Sequence[Tensor]) -> bool:
        """Whether some path can be taken with these arguments."""
        return any(leaf.replay.fits(arguments) for leaf in self.leaves)

    def __call__(self, arguments: Sequence[Tensor], symbols: Mapping[int, Any] = MappingProxyType({})) -> Any:
        """What the function gives; `UNSEEN` where it has not been seen to take this path."""
        for root in self._roots:
            found = self._walk(root, arguments, dict(symbols))
            if found is not UNSEEN:
                return found
        return UNSEEN

    def _walk(self, at: Branch | Leaf | None, arguments: Sequence[Tensor], symbols: dict[int, Any]) -> Any:
        self.missed, fitting = None, None
        saved: list[Tensor] = []
        while isinstance(at, Branch):
            if fitting not in at.leaves:
                fitting = next((leaf for leaf in at.leaves if leaf.replay.fits(arguments)), None)
                if fitting is None:  # the memory that segments read may be of another shape
                    return UNSEEN
            outputs: list[Any] = []
            if at.run is not None:
                numbers = at.numbers(symbols)
                if numbers is None:
                    return UNSEEN
                frame = (*arguments, *saved, *numbers)
                arrays = [find(frame) for find in at.finders]
                try:
                    outputs = at.run([a if a.flags.c_contiguous else a.copy() for a in arrays])
                except REFUSALS as error:
                    raise Unfit(error) from error
            found = [outputs[k] if computed else saved[k]._array for computed, k in at.sources]
            value = at.value([to_device(a, "cpu") for a in found], symbols)
            new = len(at.saved) - len(at.keeps)
            saved = [*(saved[k] for k in at.keeps), *map(new_tensor, outputs[len(outputs) - new :])]
            path = at.children.get(outcome(value, at.asked.how))
            if path is None:
                self.missed = change_at(at, value)
            at = path
        if at is None or not (at is fitting or at.replay.fits(arguments)):
            return UNSEEN
        numbers = at.numbers(symbols)
        if numbers is None:
            return UNSEEN
        at.hits += 1
        return at.replay((*arguments, *saved, *numbers), symbols)

    # How it grows -----------------------------------------------------------------------------------------

    def grow(self, recorded: Recorded) -> str | None:
        """Add the path that a recording took.

        Returns:
            Why there should be no more of them; None where there may.
        """
        recorded = self._interned(recorded)
        decisions = open_decisions(recorded.recording.decisions)
        recording = without_known(recorded.recording, decisions)
        recorded = replace(recorded, recording=recording)
        asks = what_is_asked(decisions)
        ends = (*recording.graph.outputs, *(c.node for c in recording.checks))
        last_use = last_uses(asks, ends)
        path: list[Branch] = []
        at: Branch | Leaf | None = next((r for r in self._roots if r.is_for(decisions[0])), None)
        saved: tuple[Node, ...] = ()
        for i, decision in enumerate(decisions):
            if not (isinstance(at, Branch) and at.is_for(decision)):
                at = self._branch(recorded, decision, asks[i], saved, used_after(last_use, i))
                if path:
                    add(path[-1], decisions[i - 1], at)
                else:
                    self._roots.append(at)
            path.append(at)
            saved = at.saved
            at = at.children.get(key_of(decision))
        ending, numbers = cut(recorded, saved)
        leaf = Leaf(self._builder.end(ending), numbers)
        self.goes_back = self.goes_back or leaf.replay.goes_back
        add(path[-1], decisions[-1], leaf)
        for branch in path:
            branch.leaves.insert(0, leaf)
        return self._full(path)

    def _full(self, path: Sequence[Branch]) -> str | None:
        for branch in path:
            most = FEW_VALUES if branch.is_of_many and not any(leaf.hits for leaf in branch.leaves) else MOST_VALUES
            if len(branch.children) >= most:
                why = f"which was another one {most} times"
                return f"asks for the value of a tensor ({in_words(branch.asked)}), {why}"
        leaves = list(self.leaves)
        apart = sum(len(b.children) - 1 for b in self._branches() if b.is_of_many)
        fruitless = len(leaves) >= FRUITLESS_PATHS and self.hits * 4 < len(leaves)
        if fruitless or (apart >= FEW_VALUES and not self.hits):
            return (
                f"asks for values of tensors ({in_words(path[-1].asked)} is the last one), by which {len(leaves)} "
                "calls took different paths, and few the same"
            )
        if len(leaves) >= MOST_PATHS:
            return (
                f"asks for values of tensors ({in_words(path[-1].asked)} is the last one), by which it went "
                f"{MOST_PATHS} different paths"
            )
        return None

    def _branch(
        self, recorded: Recorded, decision: Decision, asks: Sequence[Node], saved: tuple[Node, ...],
        needed: Callable[[Node], bool],
    ) -> Branch:  # fmt: skip
        """A branch for a value, with the segment that computes it.

        Args:
            recorded: The whole path.
            decision: The value.
            asks: The nodes whose values it takes.
            saved: The values that are there before.
            needed: Whether a value is used after this one was asked for.
        """
        keeps = tuple(k for k, n in enumerate(saved) if needed(n))
        kept = tuple(saved[k] for k in keeps)
        evaluate = None if decision.expression is None else compile_numbers((), [decision.expression])
        fetches = tuple((k, asks.index(n)) for k, n in decision.symbols if n in asks)
        computed = [n for n in asks if n not in saved]
        sources = tuple((True, computed.index(n)) if n in computed else (False, saved.index(n)) for n in asks)
        if not computed:
            return Branch(decision, None, (), sources, keeps, kept, NO_NUMBERS, evaluate, fetches)
        inside = [n for n in topological_until(computed, saved) if not is_constant(n)]
        new = worth_saving(inside, needed)
        run, finders, numbers = self._segment(recorded, (*computed, *new), inside, saved)
        return Branch(decision, run, finders, sources, keeps, (*kept, *new), numbers, evaluate, fetches)

    def _segment(
        self, recorded: Recorded, outputs: Sequence[Node], inside: Sequence[Node], saved: tuple[Node, ...]
    ) -> tuple[Runner, tuple[Callable[[Sequence[Tensor]], Any], ...], LateNumbers]:
        """The program of a segment, how its inputs are found, and the numbers among them.

        Args:
            recorded: The whole path.
            outputs: What it computes.
            inside: All that it takes for that, inputs included.
            saved: The values that are there before.
        """
        placeholders = {n: input_node(n.type, f"saved{k}") for k, n in enumerate(saved)}
        among = set(inside)
        checks = [c for c in recorded.recording.checks if c.node in among or c.node in placeholders]
        new = substitute((*outputs, *(c.node for c in checks)), dict(placeholders))
        checks = [c._replace(node=n) for c, n in zip(checks, new[len(outputs) :], strict=True)]
        # The end of the path tests them.
        given_here = recorded.recording.inputs
        new = guarded(Graph((), new[: len(outputs)]), checks, given_here, before=False)[0].outputs
        here = positions(recorded.arguments)
        late = {n: scalar for n, scalar in recorded.recording.late.items() if n in among}
        given = {v.node: finder(v, here) for v in recorded.recording.inputs if v.node in among and v.node not in late}
        given |= {n: _of_frame(len(recorded.arguments) + k) for k, n in enumerate((*placeholders.values(), *late))}
        used = set(topological(new))
        inputs = tuple(n for n in given if n in used)
        segment = Graph(inputs, new, recorded.recording.graph.name)
        key = segment.key()
        run = self._segments.get(key)
        if run is None:
            run = self._segments[key] = self._builder.segment(segment)
        return run, tuple(given[n] for n in inputs), LateNumbers(late.values())


def apart(run: Runner, lent: Sequence[int]) -> Runner:
    """A program whose outputs at these positions, which are inputs, get memory of their own.

    The end of a path writes into inputs, while it still reads what was saved.
    """

    def call(arrays: Sequence[Any]) -> list[Any]:
        found = run(arrays)
        for k in lent:
            found[k] = found[k].copy()
        return found

    return call


def _of_frame(k: int) -> Callable[[Sequence[Tensor]], Any]:
    return lambda frame: frame[k]._array
