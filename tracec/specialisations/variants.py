"""Recordings over symbolic sizes, and what is built of them: the same machine code, given other numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tracec.build import Built
from tracec.errors import TracecError
from tracec.ir.body import structure_of
from tracec.ir.extent import Condition, Extent, Symbol, Values, formula_key, noting, symbols_of
from tracec.ir.graph import Graph
from tracec.ir.resize import settled
from tracec.ir.types import Shape
from tracec.record.cell import Constant
from tracec.specialisations.branches import path_of
from tracec.specialisations.paths import open_decisions
from tracec.specialisations.program import Program
from tracec.specialisations.recorded import Recorded
from tracec.specialisations.sizes import Resizing, built_at, consistent, difference, program_at, resized
from tracec.specialisations.specialisation import Specialisation

#: Choices that sizes decide are made for sizes of this much at least, or the largest that there have been.
_TYPICAL = 64
Shapes = tuple[Shape, ...]
T = TypeVar("T")


def holds(conditions: Iterable[Condition], values: Values) -> bool:
    """Whether all conditions hold."""
    return all(c.holds(values) for c in conditions)


def values_of(symbolic: Shapes, shapes: Shapes) -> dict[Symbol, int] | None:
    """What the symbols in shapes are for other shapes; None where they do not fit."""
    found: dict[Symbol, int] = {}
    for mine, given in zip(symbolic, shapes, strict=True):
        for size, now in zip(mine, given, strict=True):
            if isinstance(size, Extent):
                (symbol,) = symbols_of(size.form)
                if found.setdefault(symbol, now) != now:
                    return None
            elif size != now:
                return None
    return found


class Prepared:
    """What was built of recordings over the same symbols, and under what conditions on these it is right."""

    def __init__(self) -> None:
        self._made: dict[Hashable, list[tuple[tuple[Condition, ...], Any]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._made.values()))

    @property
    def of_one_size(self) -> list[str]:
        """The kernels among it that are compiled for each size by themselves."""
        made = [m for known in self._made.values() for _, m in known]
        built = [
            b for m in made for b in ([m] if isinstance(m, Built) else [m.forward, *(b for _, b, _ in m.backward)])
        ]
        return list(dict.fromkeys(name for b in built for name in b.program.of_one_size))

    def __call__(self, key: Hashable, values: Values, typical: Callable[[], Values], build: Callable[[Values], T]) -> T:
        """What is built for some sizes, to be given their numbers.

        Args:
            key: What it is built of.
            values: The sizes.
            typical: Gives those to make choices for, where it is built for the first time.
            build: What builds it for sizes.
        """
        known = self._made.setdefault(key, [])
        for conditions, made in known:
            if holds(conditions, values):
                return made  # type: ignore[no-any-return]
        for sizes in (values,) if known or (large := typical()) == values else (large, values):
            noted: dict[Condition, None] = {}
            with noting(lambda c: noted.setdefault(c), named=True):  # noqa: B023
                found = build(sizes)
            known.append((tuple(noted), found))
            if holds(noted, values):
                break
        return found


@dataclass(slots=True, eq=False)
class Variant:
    """A recording for many sizes.

    Attributes:
        shapes: Shapes of the arguments, with symbols.
        sizes: Those that it was made with.
        recorded: What was recorded.
        made: What the function read around it, and what is left out of programs.
        prepared: What was built of it, and of others over the same symbols.
        trusted: Whether it was compared with a recording of other sizes.
    """

    shapes: Shapes
    sizes: Shapes
    recorded: Recorded
    made: Specialisation
    prepared: Prepared
    trusted: bool = False

    @property
    def asks(self) -> bool:
        """Whether it is one path of several, by values that the function asks for."""
        return bool(open_decisions(self.recorded.recording.decisions))

    def values(self, shapes: Shapes) -> dict[Symbol, int] | None:
        """What the symbols are for these shapes; None where they do not fit."""
        found = values_of(self.shapes, shapes)
        return found if found is None or holds(self.recorded.conditions, found) else None

    def serves(self, shapes: Shapes) -> bool:
        """Whether it is known to be right for these shapes, and for what is around the function now."""
        fits = self.trusted and self.values(shapes) is not None
        return fits and self.made.surroundings.fails() is None

    def goes_with(self, other: Variant) -> bool:
        """Whether another recording is another path of the same tree."""
        return (
            self.asks
            and other.asks
            and self.prepared is other.prepared
            and self.recorded.numbers == other.recorded.numbers
            and self.made.surroundings.is_like(other.made.surroundings)
        )

    def known(self, shapes: Shapes) -> Known | None:
        """The recording for these shapes, to be compared; None where it does not say what it is for them."""
        values = self.values(shapes)
        try:
            return None if values is None else Known(resized(self.recorded, values), shapes, self.made)
        except ArithmeticError:
            return None

    def at(self, values: Values) -> Recorded | None:
        """The recording for these sizes; None where its operators do not agree on them."""
        try:
            recorded = resized(self.recorded, values)
            return recorded if consistent(recorded.recording.graph) else None
        except (TracecError, ArithmeticError):  # which the function itself will raise
            return None

    def typical(self, values: dict[Symbol, int], seen: Sequence[Shapes]) -> Values:
        """Sizes to make choices for: large ones, if the recording is right for these.

        Args:
            values: Sizes of a call.
            seen: Shapes that there have been.
        """
        found = {symbol: max(n, _TYPICAL) for symbol, n in values.items()}
        for shapes in seen:
            for symbol, n in (values_of(self.shapes, shapes) or {}).items():
                found[symbol] = max(found[symbol], n)
        is_right = holds(self.recorded.conditions, found) and self.at(found) is not None
        return found if is_right else values


class Known:
    """What a recording of some sizes is compared with: what it computes, and which path it took.

    Args:
        recorded: The recording, for these sizes.
        shapes: The sizes.
        made: What the function read around it.
    """

    def __init__(self, recorded: Recorded, shapes: Shapes, made: Specialisation) -> None:
        recording = recorded.recording
        asked = (n for d in recording.decisions for n in d.nodes)
        checked = (c.node for c in recording.checks)
        self.graph = recording.graph.with_outputs((*recording.graph.outputs, *asked, *checked))
        self._conditions = [(settled(c.requires.bounds), c.requires.ignored) for c in recording.checks]
        self.path = path_of(recording.decisions), None if recorded.numbers is None else recorded.numbers.conditions
        self.shapes, self.surroundings = shapes, made.surroundings
        computed = (*recording.numbers, *(expression for expression, _ in recording.late.values()))
        self._numbers = tuple(e for e in computed if e.kind != "constant")
        self._had_grad = {id(x): found is not None for x, found in recording.grad_reads.items()}
        self._constants = {v.node: v.storage.array for v in recording.inputs if isinstance(v.storage, Constant)}

    def compares_with(self, other: Known) -> bool:
        """Whether another recording should be the same: one of the same path, while what is around is as it was.

        Gradients that the one found and the other did not are added to by the one alone.
        """
        grads = all(other._had_grad.get(x, had) == had for x, had in self._had_grad.items())
        return self.path == other.path and grads and self.surroundings.fails() is None

    def difference(self, other: Known) -> str | None:
        """Where another recording of the same path differs; None where it does not."""
        if self._numbers != other._numbers:
            return "numbers"
        if self._conditions != other._conditions:
            return "what values are checked for"
        return difference(self.graph, other.graph, self._constants, other._constants)


class AtSizes:
    """Programs for some sizes.

    Args:
        variant: The recording, or one of several paths.
        values: The sizes.
        typical: Gives those to make choices for.
    """

    def __init__(self, variant: Variant, values: Values, typical: Callable[[], Values]) -> None:
        self._prepared, self._values, self._typical = variant.prepared, values, typical

    def segment(self, graph: Graph, build: Callable[[Graph], Built]) -> Built:
        """What is built of a graph."""
        key = "segment", *structure_of(graph)
        made = self._prepared(key, self._values, self._typical, lambda sizes: build(Resizing(sizes).graph(graph)))
        return built_at(made, self._values)

    def end(self, recorded: Recorded, build: Callable[[Recorded], Program]) -> Program:
        """The program of the end of a path."""
        recording = recorded.recording
        whole = recording.graph.with_outputs((*recording.graph.outputs, *(c.node for c in recording.checks)))
        asked = formula_key([(c.requires.bounds, c.requires.ignored) for c in recording.checks])
        key = "end", tuple(map(id, recorded.derivatives)), asked, *structure_of(whole)
        made = self._prepared(key, self._values, self._typical, lambda sizes: build(resized(recorded, sizes)))
        return program_at(made, recorded, self._values)
