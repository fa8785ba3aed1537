"""Recordings over symbolic sizes, and what is built of them: the same machine code, given other numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from tracec.build import Built
from tracec.errors import TracecError
from tracec.ir.body import structure_of
from tracec.ir.extent import Condition, Extent, Symbol, Values, formula_key, noting, symbols_of
from tracec.ir.graph import Graph
from tracec.record.recording import Decision
from tracec.specialisations.compared import Known, Shapes, counts_in, known_at
from tracec.specialisations.counted import holds, values_of_counts, without_counts
from tracec.specialisations.paths import open_decisions
from tracec.specialisations.program import Program
from tracec.specialisations.recorded import Recorded
from tracec.specialisations.sizes import Resizing, agreement, built_at, consistent, fitted, program_at, resized

if TYPE_CHECKING:
    from tracec.specialisations.specialisation import Specialisation

#: Choices that sizes decide are made for sizes of this much at least, or the largest that there have been.
_TYPICAL = 64
T = TypeVar("T")


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


class Fitting:
    """A recording for other sizes than its own.

    Args:
        recorded: The recording.
        counts: What counts were when it was made.
    """

    def __init__(self, recorded: Recorded, counts: Values) -> None:
        self._recorded, self._own = recorded, {**recorded.own, **counts}
        self._agreement: list[tuple[Condition, ...] | None] = []

    def __call__(self, values: Values) -> Recorded | None:
        """The recording, as `fitted`; None where its operators do not agree on the sizes."""
        try:
            if not self._agreement:
                self._agreement.append(agreement(Resizing(self._own).graph(self._recorded.recording.graph)))
            (conditions,) = self._agreement
            return None if conditions is None or not holds(conditions, values) else fitted(self._recorded, values)
        except (TracecError, ArithmeticError):  # which the function itself will raise
            return None


def graph_at(graph: Graph, values: Values) -> Graph | None:
    """A graph for other sizes; None where its operators do not agree on them."""
    try:
        found = Resizing(values).graph(graph)
        return found if consistent(found) else None
    except (TracecError, ArithmeticError):
        return None


class Prepared:
    """What was built of recordings over the same symbols, and under what conditions on these it is right."""

    def __init__(self) -> None:
        self._made: dict[Hashable, list[tuple[tuple[Condition, ...], Any]]] = {}
        #: By the identity of a recording, which is kept with its key.
        self._keys: dict[int, tuple[Recorded, Hashable]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._made.values()))

    def key_of(self, recorded: Recorded) -> Hashable:
        """What the program of the end of a path is built of; the same for all sizes."""
        known = self._keys.get(id(recorded))
        if known is None:
            recording = recorded.recording
            whole = recording.graph.with_outputs((*recording.graph.outputs, *(c.node for c in recording.checks)))
            asked = formula_key([(c.requires.bounds, c.requires.ignored) for c in recording.checks])
            key = "end", tuple(map(id, recorded.derivatives)), asked, *structure_of(whole)
            known = self._keys[id(recorded)] = recorded, key
        return known[1]

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
        trusts_counts: Whether with one of other counts; see `tracec.specialisations.counted`.
        fitting: Gives it for other sizes, where it asks for no values.
    """

    shapes: Shapes
    sizes: Shapes
    recorded: Recorded
    made: Specialisation
    prepared: Prepared
    trusted: bool = False
    trusts_counts: bool = False
    fitting: Fitting = field(init=False)

    def __post_init__(self) -> None:
        self.fitting = Fitting(self.recorded, {})

    @property
    def counts(self) -> dict[Symbol, int]:
        """The counts among its sizes, as they were."""
        return values_of_counts(open_decisions(self.recorded.recording.decisions))

    @property
    def is_certain(self) -> bool:
        """Whether nothing more of it has to be compared."""
        return self.trusted and (self.trusts_counts or not self.counts)

    def was_for(self, other: Variant) -> bool:
        """Whether another recording has the same sizes and counts, so that they tell nothing of each other."""
        return self.sizes == other.sizes and self.counts == other.counts

    def trust(self, sizes: Shapes, counts: Mapping[Symbol, int]) -> None:
        """Note that it is the same as what was recorded for these sizes and counts."""
        self.trusted = self.trusted or sizes != self.sizes
        self.trusts_counts = self.trusts_counts or counts != self.counts

    @property
    def asks(self) -> bool:
        """Whether it is one path of several, by values that the function asks for."""
        return bool(open_decisions(self.recorded.recording.decisions))

    def values(self, shapes: Shapes) -> dict[Symbol, int] | None:
        """What the symbols are for these shapes; None where they do not fit."""
        found = values_of(self.shapes, shapes)
        conditions = without_counts(self.recorded.conditions, self.recorded.recording.decisions)
        return found if found is None or holds(conditions, found) else None

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

    def known(self, shapes: Shapes, decisions: Sequence[Decision]) -> Known | None:
        """The recording for these shapes, to be compared; None where it does not say what it is for them.

        Args:
            shapes: The shapes.
            decisions: Those of the recording that it is to be compared with, which has counts of its own.
        """
        values = self.values(shapes)
        counts = counts_in(decisions, open_decisions(self.recorded.recording.decisions)) if self.counts else {}
        if values is None or counts is None:
            return None
        return known_at(self.recorded, {**values, **counts}, shapes, self.made.surroundings)

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
        conditions = without_counts(self.recorded.conditions, self.recorded.recording.decisions)
        is_right = holds(conditions, found) and (self.asks or self.fitting(found) is not None)
        return found if is_right else values


class AtSizes:
    """Programs for some sizes.

    Args:
        prepared: What was built of recordings over the same symbols.
        values: The sizes.
        typical: Gives those to make choices for.
    """

    def __init__(self, prepared: Prepared, values: Values, typical: Callable[[], Values]) -> None:
        self._prepared, self._values, self._typical = prepared, values, typical

    def with_values(self, counts: Values) -> Values:
        """The sizes, and some counts."""
        return {**self._values, **counts}

    def with_counts(self, counts: Values, fits: Callable[[Values], bool]) -> AtSizes:
        """Programs for some counts as well.

        Args:
            counts: The counts.
            fits: Whether what is to be built is right for sizes.
        """
        values = self.with_values(counts)

        def typical() -> Values:
            large = {**self._typical(), **{symbol: max(n, _TYPICAL) for symbol, n in counts.items()}}
            return large if fits(large) else values

        return AtSizes(self._prepared, values, typical)

    def segment(self, graph: Graph, structure: Hashable, build: Callable[[Graph], Built]) -> Built:
        """What is built of a graph, whose structure is given as well."""
        key = "segment", structure
        made = self._prepared(key, self._values, self._typical, lambda sizes: build(Resizing(sizes).graph(graph)))
        return built_at(made, self._values)

    def end(self, recorded: Recorded, build: Callable[[Recorded], Program]) -> Program:
        """The program of the end of a path."""
        like = recorded.like or recorded
        key = self._prepared.key_of(like)
        made = self._prepared(key, self._values, self._typical, lambda sizes: build(resized(like, sizes)))
        return program_at(made, recorded, self._values)
