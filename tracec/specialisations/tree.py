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
from typing import Any, NamedTuple

from tracec.build import Runner
from tracec.ir.body import structure_of
from tracec.ir.extent import Symbol, Values
from tracec.ir.graph import Graph, substitute, topological, topological_until
from tracec.ir.node import Node, input_node, is_constant
from tracec.record.backend import to_device
from tracec.record.cell import new_tensor
from tracec.record.counts import Counts
from tracec.record.recording import Decision
from tracec.record.tensor import Tensor
from tracec.specialisations.aliasing import Aliasing
from tracec.specialisations.branches import Branch, Leaf, add, change_at, in_words, key_of, other_counts
from tracec.specialisations.checks import guarded
from tracec.specialisations.compared import Compared
from tracec.specialisations.counted import Made, conditions_at, evaluator, values_of_counts
from tracec.specialisations.environment import Environment
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
from tracec.specialisations.sizes import fixed_sizes

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
        segment: A graph's program, for the counts of a call; given the recording that it is a part of.
        end: The program of the end of a path, for the counts of a call; given those that it was recorded with.
    """

    segment: Callable[[Graph, Recorded], Made[Runner]]
    end: Callable[[Recorded, Values], Made[Replay]]


class _Place(NamedTuple):
    """Where a call is in a tree.

    Attributes:
        at: The branch or end.
        saved: The values that are there.
        sizes: The sizes that are known.
        symbols: The numbers that are.
    """

    at: Branch | Leaf
    saved: tuple[Tensor, ...]
    sizes: dict[Symbol, int]
    symbols: dict[int, Any]


class Tree:
    """The paths that a function has taken for one kind of arguments.

    Args:
        builder: How programs are made.
        numbers: The numbers that all of them are given.
        counts: The function's counts, which it tells where they were found to change.
        sizes: What the sizes of arguments are, where paths have symbols for these, too.
    """

    def __init__(
        self, builder: TreeBuilder, numbers: Scalars | None, counts: Counts, sizes: Values = MappingProxyType({})
    ) -> None:
        self._builder = builder
        self.numbers = numbers
        self._counts = counts
        self._sizes = sizes
        self._compared = Compared()
        self._roots: list[Branch] = []
        self._interned = Interner()
        self._segments: dict[Any, Made[Runner]] = {}
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
        parts = [run for made in self._segments.values() for run in made.known]
        return [*parts, *(replay.forward for leaf in self.leaves for replay in leaf.at.known)]

    def fits(self, arguments: Sequence[Tensor]) -> bool:
        """Whether some path can be taken with these arguments."""
        return any(leaf.aliasing.fit(arguments) for leaf in self.leaves)

    def __call__(self, arguments: Sequence[Tensor], symbols: Mapping[int, Any] = MappingProxyType({})) -> Any:
        """What the function gives; `UNSEEN` where it has not been seen to take this path."""
        self.missed = None
        places = [_Place(root, (), dict(self._sizes), dict(symbols)) for root in reversed(self._roots)]
        while places:
            found = self._walk(places.pop(), arguments, places)
            if found is not UNSEEN:
                return found
        return UNSEEN

    def _walk(self, start: _Place, arguments: Sequence[Tensor], others: list[_Place]) -> Any:
        """What the function gives by the paths from a place on; others that may be gone are added to some."""
        at, saved, sizes, symbols = start
        fitting = None
        while isinstance(at, Branch):
            if fitting not in at.leaves:
                fitting = next((leaf for leaf in at.leaves if leaf.aliasing.fit(arguments)), None)
                if fitting is None:  # the memory that segments read may be of another shape
                    return UNSEEN
            outputs: list[Any] = []
            if at.run is not None:
                numbers, run = at.numbers(symbols, sizes), at.run(sizes)
                if numbers is None or run is None:
                    return UNSEEN
                frame = (*arguments, *saved, *numbers)
                arrays = [find(frame) for find in at.finders]
                try:
                    outputs = run([a if a.flags.c_contiguous else a.copy() for a in arrays])
                except REFUSALS as error:
                    raise Unfit(error) from error
            found = [outputs[k] if computed else saved[k]._array for computed, k in at.sources]
            value = at.value([to_device(a, "cpu") for a in found], symbols, sizes)
            new = len(at.saved) - len(at.keeps)
            saved = (*(saved[k] for k in at.keeps), *map(new_tensor, outputs[len(outputs) - new :]))
            ways = at.ways(value, sizes)
            if not ways:
                self.missed = change_at(at, value)
                self._counts.note(changed=at.counts)
                return UNSEEN
            others += [_Place(path, saved, then, dict(symbols)) for path, then in reversed(ways[1:])]
            at, sizes = ways[0]
        if not (at is fitting or at.aliasing.fit(arguments)):
            return UNSEEN
        numbers, replay = at.numbers(symbols, sizes), at.of(sizes)
        if numbers is None or replay is None:
            self.missed = other_counts(at, sizes)
            return UNSEEN
        at.hits += 1
        return replay((*arguments, *saved, *numbers), symbols)

    # How it grows -----------------------------------------------------------------------------------------

    def grow(self, recorded: Recorded, around: Environment, trusted: bool | None = None) -> str | None:
        """Add the path that a recording took.

        Args:
            recorded: The recording.
            around: What the function read besides its arguments.
            trusted: Whether it is known to be right for other counts than its own; None where it is to be compared
                with the recordings before.

        Returns:
            Why there should be no more of them; None where there may.
        """
        if trusted is None:
            trusted, why = self._compared(recorded, around)
            if why is not None:
                self._counts.refuse(f"what is recorded for different counts differs: {why}")
                recorded = fixed_sizes(recorded)
        recorded = self._interned(recorded)  # from here on numbers with formulas may be those of other recordings
        decisions = open_decisions(recorded.recording.decisions)
        conditions = conditions_at(decisions, recorded.conditions)
        recording = without_known(recorded.recording, decisions)
        recorded = replace(recorded, recording=recording)
        asks = what_is_asked(decisions)
        ends = (*recording.graph.outputs, *(c.node for c in recording.checks))
        last_use = last_uses(asks, ends)
        path: list[Branch] = []
        key: Any = None
        at: Branch | Leaf | None = next((r for r in self._roots if r.is_for(decisions[0])), None)
        saved: tuple[Node, ...] = ()
        for i, decision in enumerate(decisions):
            if not (isinstance(at, Branch) and at.is_for(decision)):
                at = self._branch(recorded, decision, asks[i], saved, used_after(last_use, i))
                if path:
                    add(path[-1], key, decisions[i - 1], at)
                else:
                    self._roots.append(at)
            path.append(at)
            saved = at.saved
            key = key_of(decision, conditions.get(i, frozenset()))
            at = at.children.get(key)
        ending, numbers = cut(recorded, saved)
        counts = values_of_counts(decisions)
        of = ending.recording
        aliasing = Aliasing(of, of.inputs, ending.arguments, ending.captured)
        made = self._builder.end(ending, counts)
        leaf = Leaf(made, aliasing, of.surroundings, numbers, counts, trusted)
        self.goes_back = self.goes_back or bool(recorded.derivatives)
        add(path[-1], key, decisions[-1], leaf)
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
        evaluate = None if decision.expression is None else evaluator([decision.expression])
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
    ) -> tuple[Made[Runner], tuple[Callable[[Sequence[Tensor]], Any], ...], LateNumbers]:
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
        key = structure_of(segment)
        run = self._segments.get(key)
        if run is None:
            run = self._segments[key] = self._builder.segment(segment, recorded)
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
