"""Which calls of a compiled function one recording serves: all whose arguments differ in sizes alone.

    sizes ──> seen for the first time: a program of its own
         ──> another one of the same family: recorded with a symbol for each size that differs
         ──> any other: the same recording, and the same machine code, with other numbers, where its conditions hold

Sizes of 0 and 1 are of families of their own, since operators treat them otherwise. Before a recording is trusted for
sizes that it was not made with, it is compared with one that was made with other sizes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tracec.errors import TracecError
from tracec.inspect.arguments import Part
from tracec.ir.extent import Condition, Extent, Symbol, Values, noting, symbolic, symbols_of, text
from tracec.ir.types import Shape, contiguous_strides
from tracec.record.tensor import Tensor
from tracec.specialisations.program import Program, Recorded, build_program
from tracec.specialisations.sizes import consistent, difference, fixed_sizes, plain_value, program_at, resized
from tracec.specialisations.specialisation import Specialisation
from tracec.specialisations.ways import open_decisions
from tracec.workshop import Workshop

#: Recordings of one family.
MOST = 8
#: Sizes that are kept ready.
MOST_SERVED = 256
#: How far around a size others are looked for that a condition holds for.
_NEAR = 8
#: Choices that sizes decide are made for sizes of this much at least, or the largest that there have been.
_TYPICAL = 64
Shapes = tuple[Shape, ...]


@dataclass(slots=True, eq=False)
class Variant:
    """A recording for many sizes.

    Attributes:
        shapes: Shapes of the arguments, with symbols.
        recorded: What was recorded.
        made: What the function read around it, and what is left out of programs.
        programs: What was built of it, and under what conditions on the sizes it is right.
        trusted: Whether it was compared with a recording of other sizes.
    """

    shapes: Shapes
    recorded: Recorded
    made: Specialisation
    programs: list[tuple[tuple[Condition, ...], Program]] = field(default_factory=list)
    trusted: bool = False

    def values(self, shapes: Shapes) -> dict[Symbol, int] | None:
        """What the symbols are for these shapes; None where they do not fit."""
        found: dict[Symbol, int] = {}
        for mine, given in zip(self.shapes, shapes, strict=True):
            for size, now in zip(mine, given, strict=True):
                if isinstance(size, Extent):
                    (symbol,) = symbols_of(size.form)
                    if found.setdefault(symbol, now) != now:
                        return None
                elif size != now:
                    return None
        return found if holds(self.recorded.conditions, found) else None


def holds(conditions: Sequence[Condition] | Any, values: Values) -> bool:
    """Whether all conditions hold."""
    return all(c.holds(values) for c in conditions)


class Family:
    """Arguments that differ in sizes alone."""

    def __init__(self) -> None:
        self.seen: list[Shapes] = []
        self.variants: list[Variant] = []
        #: (argument, axis) → why its size is no symbol.
        self.fixed: dict[tuple[int, int], str] = {}
        #: What was recorded for the first sizes.
        self.first: Specialisation | None = None

    def symbols(self, shapes: Shapes) -> Shapes | None:
        """The shapes with a symbol for each size that differs between calls; None where none does, or can.

        Sizes that have always been equal share a symbol.
        """
        varied: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for k, shape in enumerate(shapes):
            for axis in range(len(shape)):
                sizes = tuple(seen[k][axis] for seen in (*self.seen, shapes))
                if len(set(sizes)) > 1 and (k, axis) not in self.fixed:
                    varied.setdefault(sizes, []).append((k, axis))
        if not varied or len(self.variants) >= MOST:
            return None
        found = [list(shape) for shape in shapes]
        for places in varied.values():
            k, axis = places[0]
            size = symbolic(Symbol(f"size({k}, {axis})", shapes[k][axis]))
            for k, axis in places:
                found[k][axis] = size
        return tuple(map(tuple, found))

    def specialise(self, shapes: Shapes, conditions: Any) -> bool:
        """Note which symbols the function went by the values of; whether there are any."""
        pinned: dict[Symbol, str] = {}
        for c, line in conditions.items():
            symbols = symbols_of(c.left) | symbols_of(c.right)
            if len(symbols) == 1 and _fails_elsewhere(c, *symbols):
                pinned.setdefault(symbols.pop(), f"the function goes by {text(c.left)}, at {line}")
        self.fix(shapes, pinned)
        return bool(pinned)

    def fix(self, shapes: Shapes, why: Any) -> None:
        """Let sizes be no symbols any more; ``why`` is a reason for each of some symbols, or one for all."""
        for k, shape in enumerate(shapes):
            for axis, size in enumerate(shape):
                if isinstance(size, Extent):
                    (symbol,) = symbols_of(size.form)
                    reason = why if isinstance(why, str) else why.get(symbol)
                    if reason is not None:
                        self.fixed.setdefault((k, axis), reason)


def _fails_elsewhere(condition: Condition, symbol: Symbol) -> bool:
    """Whether a condition holds for a size alone, and for none near it."""
    return not any(condition.holds({symbol: symbol.value + k}) for k in (*range(-_NEAR, 0), *range(1, _NEAR + 1)))


class Sizes:
    """The families of one compiled function's arguments.

    Args:
        dynamic: Whether sizes are symbols: True from the first call on, False never, None where they differ.
        workshop: Builds programs.
    """

    def __init__(self, dynamic: bool | None, workshop: Workshop) -> None:
        self.dynamic = dynamic
        self._workshop = workshop
        self.families: dict[Hashable, Family] = {}
        self._served: deque[tuple[Hashable, Specialisation]] = deque()
        #: Whether some recording serves many sizes.
        self.any = False

    def family(self, key: Hashable) -> tuple[Family, Shapes]:
        """The family that a call's key is of, and the shapes in it."""
        general, shapes = _general(key)
        return self.families.setdefault(general, Family()), shapes

    def match(self, key: Hashable, tried: Sequence[Variant]) -> tuple[Variant, dict[Symbol, int]] | None:
        """The recording that serves a call, and its sizes; those that were tried are left out."""
        general, shapes = _general(key)
        family = self.families.get(general)
        for variant in () if family is None else family.variants:
            if variant in tried:
                continue
            values = variant.values(shapes) if variant.trusted else None
            if values is not None and variant.made.surroundings.fails() is None:
                return variant, values
        return None

    def begin(self, key: Hashable) -> Shapes | None:
        """Shapes with symbols to record a call with; None where it is recorded for its own sizes."""
        if self.dynamic is False:
            return None
        family, shapes = self.family(key)
        if self.dynamic and not family.seen:
            family.seen.append(tuple(tuple(-1 if n > 1 else n for n in shape) for shape in shapes))
        return family.symbols(shapes)

    def took(
        self, key: Hashable, symbols: Shapes | None, recorded: Recorded, made: Specialisation
    ) -> tuple[Recorded, Specialisation | None]:
        """What comes of a recording.

        Returns:
            The recording for its own sizes; and what serves this call, where the recording serves others as well.
        """
        family, shapes = self.family(key)
        if shapes not in family.seen:
            family.seen.append(shapes)
        if symbols is None:
            if family.first is None and family.seen[0] == shapes and recorded.eager is None:
                family.first = made
            return recorded, None
        if recorded.eager is not None:
            return fixed_sizes(recorded), None
        if open_decisions(recorded.recording.decisions):
            family.fix(symbols, "the function asks for values")
        elif self._workshop.target(recorded.recording.graph) != "cpu":
            family.fix(symbols, "kernels for a GPU are made for one size")
        elif not family.specialise(symbols, recorded.conditions):
            variant = Variant(symbols, recorded, made)
            why = self._compared(family, variant)
            if why is None:
                found = self.serve(key, variant, variant.values(shapes) or {}, made.kept, made.parts)
                if found is not None:
                    return replace(recorded, out=plain_value(recorded.out, {})), found
            else:
                family.fix(symbols, f"what is recorded for different sizes differs: {why}")
        return fixed_sizes(recorded), None

    def _compared(self, family: Family, variant: Variant) -> str | None:
        """Why a new variant does not hold; None where it does, or where that is to be seen."""
        for older in family.variants:  # one that waited for a recording of other sizes
            values = None if older.trusted else older.values(family.seen[-1])
            if values is not None:
                mine = resized(variant.recorded, {}).recording
                theirs = resized(older.recorded, values).recording
                why = difference(theirs.graph, mine.graph, theirs.inputs, mine.inputs)
                if why is not None:
                    family.variants.remove(older)
                    return why
                variant.trusted = True
                family.variants.remove(older)
        first = family.first
        if first is not None and not variant.trusted and first.surroundings.fails() is None:
            values = variant.values(family.seen[0])
            if values is not None:
                mine = resized(variant.recorded, values).recording
                inputs = getattr(first.replay, "inputs", ())
                why = difference(first.graph, mine.graph, inputs, mine.inputs)
                if why is not None:
                    return why
                variant.trusted = True
        family.variants.append(variant)
        self.any = True
        return None

    def serve(
        self, key: Hashable, variant: Variant, values: dict[Symbol, int], kept: list[Any], parts: tuple[Part, ...]
    ) -> Specialisation | None:
        """A recording's program for some sizes; None where its operators do not agree on them."""
        family, _ = self.family(key)
        disabled = variant.made.disabled

        def build(recorded: Recorded) -> Program:
            return build_program(recorded, *self._workshop.arguments("cpu", recorded.recording.graph, disabled))

        program = serve(variant, values, family.seen, build)
        if program is None:
            family.variants.remove(variant)
            family.fix(variant.shapes, "operators do not agree on other sizes")
            return None
        found = Specialisation(program.recorded.recording, variant.made.surroundings, kept, parts, disabled)
        found.variant, found.replay = variant, program.load()
        return found

    def keep(self, known: dict[Hashable, list[Specialisation]], key: Hashable, made: Specialisation) -> None:
        """Enter what serves a size; of many, what was entered first goes, and is made anew when it is asked for."""
        known.setdefault(key, []).append(made)
        self._served.append((key, made))
        if len(self._served) > MOST_SERVED:
            before, oldest = self._served.popleft()
            known[before].remove(oldest)

    def describe(self) -> list[str]:
        """What is known of sizes, in words."""
        lines = []
        for family in self.families.values():
            for variant in family.variants:
                symbols = sorted(
                    {
                        s.name
                        for shape in variant.shapes
                        for n in shape
                        if isinstance(n, Extent)
                        for s in symbols_of(n.form)
                    }
                )
                lines.append(f"any {', '.join(symbols)} (argument, axis): {len(variant.programs)} programs")
                if variant.recorded.conditions:
                    lines.append(f"  where {', '.join(dict.fromkeys(map(str, variant.recorded.conditions)))}")
            lines += [f"size({k}, {axis}) is as recorded: {why}" for (k, axis), why in family.fixed.items()]
        return lines


def serve(variant: Variant, values: dict[Symbol, int], seen: Sequence[Shapes], build: Any) -> Program | None:
    """The program of a recording for these sizes; None where its operators do not agree.

    Args:
        variant: The recording.
        values: The sizes.
        seen: Shapes that there have been.
        build: From a recording to a program.
    """
    try:
        recorded = resized(variant.recorded, values)
        if not consistent(recorded.recording.graph):
            return None
    except (TracecError, ArithmeticError):  # which the function itself will raise
        return None
    for conditions, program in variant.programs:
        if holds(conditions, values):
            return program_at(program, recorded, values)
    sizes = values
    if not variant.programs:  # what is chosen by size alone is chosen for a large one
        largest = _largest(variant, seen, values)
        sizes = largest if holds(variant.recorded.conditions, largest) else values
    for reference in dict.fromkeys([tuple(sizes.items()), tuple(values.items())]):
        noted: dict[Condition, None] = {}
        with noting(lambda c: noted.setdefault(c), named=True):  # noqa: B023
            program = build(resized(variant.recorded, dict(reference)))
        variant.programs.append((tuple(noted), program))
        if holds(noted, values):
            break
    return program_at(variant.programs[-1][1], recorded, values)


def _largest(variant: Variant, seen: Sequence[Shapes], values: dict[Symbol, int]) -> dict[Symbol, int]:
    found = {symbol: max(n, _TYPICAL) for symbol, n in values.items()}
    for shapes in seen:
        for mine, given in zip(variant.shapes, shapes, strict=True):
            for size, now in zip(mine, given, strict=True):
                if isinstance(size, Extent):
                    (symbol,) = symbols_of(size.form)
                    found[symbol] = max(found[symbol], now)
    return found


def _general(key: Any) -> tuple[Hashable, Shapes]:
    """A key without the sizes of its tensors, and these."""
    parts: list[Hashable] = []
    shapes: list[Shape] = []
    for part in key:
        if type(part) is tuple and len(part) == 6 and isinstance(part[0], type) and issubclass(part[0], Tensor):
            cls, dtype, shape, strides, *rest = part
            shapes.append(shape)
            order = _order(shape, strides, dtype.itemsize)
            if order is not None:
                part = (cls, dtype, tuple(n if n < 2 else None for n in shape), order, *rest)
        parts.append(part)
    return tuple(parts), tuple(shapes)


def _order(shape: Shape, strides: Shape, itemsize: int) -> tuple[int, ...] | None:
    """The order of axes in which elements lie one behind the other; None where they do not, or it is not clear."""
    if strides == tuple(n * itemsize for n in contiguous_strides(shape)):
        return tuple(range(len(shape)))
    if not all(n > 1 for n in shape):
        return None
    order = tuple(sorted(range(len(shape)), key=lambda a: -strides[a]))
    expected = contiguous_strides(tuple(shape[a] for a in order))
    return order if all(strides[a] == n * itemsize for a, n in zip(order, expected, strict=True)) else None
