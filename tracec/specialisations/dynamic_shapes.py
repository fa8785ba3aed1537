"""Dynamic shapes: which calls one recording serves, all those whose arguments differ in sizes alone.

    sizes ──> seen for the first time: a program for these sizes
         ──> a second combination: recorded with a symbol for each size that differs between calls
         ──> any other: the same recording and machine code with other numbers, where its conditions hold

Sizes of 0 and 1 are never symbols, since operators treat them otherwise (broadcasting, empty results). Before a
recording is trusted for sizes that it was not made with, its graph is compared with one that was recorded with other
sizes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tracec.inspect.arguments import Part
from tracec.ir.extent import Condition, Extent, Symbol, Values, at, is_varying, symbolic, symbols_of, text
from tracec.program_builder import ProgramBuilder
from tracec.record.counts import Counts
from tracec.specialisations.compared import Known, Shapes, counts_in
from tracec.specialisations.counted import without_counts
from tracec.specialisations.keys import without_sizes
from tracec.specialisations.paths import open_decisions
from tracec.specialisations.recorded import Recorded
from tracec.specialisations.sizes import fixed_sizes, plain_value
from tracec.specialisations.specialisation import Specialisation
from tracec.specialisations.tree import Tree
from tracec.specialisations.variants import AtSizes, Prepared, Variant, values_of

#: Recordings of one family.
MOST = 8
#: And those among them that are paths of one tree.
MOST_PATHS = 12
#: Sizes that are kept ready.
MOST_SERVED = 256
#: How far around a size others are looked for that a condition holds for.
_NEAR = 8


#: Sizes that may be special cases beside a recording for others, before all are recorded each by itself.
_SPECIAL = 3


class Family:
    """Arguments that differ in sizes alone."""

    def __init__(self) -> None:
        self.seen: list[Shapes] = []
        self.variants: list[Variant] = []
        #: (argument, axis) → why its size is no symbol.
        self.fixed: dict[tuple[int, int], str] = {}
        #: Recordings with symbols that went by what these were.
        self.pinned = 0
        #: What was recorded for single sizes.
        self.known: list[Known] = []

    def symbols(self, shapes: Shapes) -> Shapes | None:
        """The shapes with a symbol for each size that differs between calls; None where none does, or can.

        Sizes that have always been equal share a symbol. Those of paths of a tree are those of the paths before.
        """
        for variant in self.variants:
            values = values_of(variant.shapes, shapes) if variant.asks else None
            if values is not None and not any(map(self.fixed.__contains__, _places(variant.shapes))):
                paths = sum(v.prepared is variant.prepared for v in self.variants)
                return None if paths >= MOST_PATHS else tuple(tuple(at(n, values) for n in s) for s in variant.shapes)
        varied: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for k, shape in enumerate(shapes):
            for axis in range(len(shape)):
                sizes = tuple(seen[k][axis] for seen in (*self.seen, shapes))
                if len(set(sizes)) > 1 and (k, axis) not in self.fixed:
                    varied.setdefault(sizes, []).append((k, axis))
        if not varied or len({v.prepared for v in self.variants}) >= MOST:
            return None
        found = [list(shape) for shape in shapes]
        for places in varied.values():
            k, axis = places[0]
            size = symbolic(Symbol(f"size({k}, {axis})", shapes[k][axis]))
            for k, axis in places:
                found[k][axis] = size
        return tuple(map(tuple, found))

    def prepared(self, shapes: Shapes) -> Prepared:
        """Where what is built of a recording over the symbols in shapes is kept."""
        symbols = _symbols(shapes)
        return next((v.prepared for v in self.variants if _symbols(v.shapes) == symbols), None) or Prepared()

    def specialise(self, shapes: Shapes, values: Values, conditions: Any) -> bool:
        """Note which symbols the function went by the values of; whether there are any."""
        pinned: dict[Symbol, str] = {}
        for c, line in conditions.items():
            symbols = {s for s in symbols_of(c.left) | symbols_of(c.right) if s.chosen is None}
            if not symbols <= values.keys():
                self.fix(shapes, f"the function goes by {text(c.left)}, which another recording has left, at {line}")
                return True
            if len(symbols) == 1 and _fails_elsewhere(c, values, *symbols):
                pinned.setdefault(symbols.pop(), f"the function goes by {text(c.left)}, at {line}")
        self.pinned += bool(pinned)
        # One size may be a special case of a recording that serves others.
        if self.pinned > _SPECIAL or not any(v.trusted for v in self.variants):
            self.fix(shapes, pinned)
        return bool(pinned)

    def fix(self, shapes: Shapes, why: Any) -> None:
        """Let sizes be no symbols any more; ``why`` is a reason for each of some symbols, or one for all."""
        for (k, axis), symbol in _places(shapes).items():
            reason = why if isinstance(why, str) else why.get(symbol)
            if reason is not None:
                self.fixed.setdefault((k, axis), reason)


def _places(shapes: Shapes) -> dict[tuple[int, int], Symbol]:
    """(argument, axis) → the symbol that its size is."""
    found = {}
    for k, shape in enumerate(shapes):
        for axis, size in enumerate(shape):
            if isinstance(size, Extent):
                (found[k, axis],) = symbols_of(size.form)
    return found


def _symbols(shapes: Shapes) -> set[Symbol]:
    return set(_places(shapes).values())


def _fails_elsewhere(condition: Condition, values: Values, symbol: Symbol) -> bool:
    """Whether a condition holds for a size alone, and for none near it."""
    return not any(condition.holds({symbol: values[symbol] + k}) for k in (*range(-_NEAR, 0), *range(1, _NEAR + 1)))


class DynamicShapes:
    """The families of one compiled function's arguments.

    Args:
        dynamic: Whether sizes are symbols: True from the first call on, False never, None where they differ.
        builder: Builds programs.
        counts: The function's counts.
    """

    def __init__(self, dynamic: bool | None, builder: ProgramBuilder, counts: Counts) -> None:
        self.dynamic = dynamic
        self._builder = builder
        self._counts = counts
        self.families: dict[Hashable, Family] = {}
        self._served: deque[tuple[Hashable, Specialisation]] = deque()
        #: Whether some recording serves many sizes.
        self.any = False

    def family(self, key: Hashable) -> tuple[Family, Shapes]:
        """The family that a call's key is of, and the shapes in it."""
        general, shapes = without_sizes(key)
        return self.families.setdefault(general, Family()), shapes

    def match(self, key: Hashable, tried: Sequence[Variant]) -> tuple[Variant, dict[Symbol, int]] | None:
        """The recording that serves a call, and its sizes; those that were tried are left out."""
        general, shapes = without_sizes(key)
        family = self.families.get(general)
        for variant in () if family is None else family.variants:
            if variant in tried:
                continue
            values = variant.values(shapes) if variant.serves(shapes) else None
            if values is not None:
                return variant, values
        return None

    def near(self, key: Hashable) -> list[Specialisation]:
        """What was recorded for many sizes, those of a call among them, and does not serve it for what is around it."""
        general, shapes = without_sizes(key)
        family = self.families.get(general)
        variants = () if family is None else family.variants
        return [v.made for v in variants if v.values(shapes) is not None and v.made.surroundings.fails() is not None]

    def begin(self, key: Hashable, why: str | None = None) -> Shapes | None:
        """Shapes with symbols to record a call with; None where it is recorded for its own sizes.

        Args:
            key: The call's key.
            why: Why no size may be a symbol; None where they may be.
        """
        if self.dynamic is False:
            return None
        family, shapes = self.family(key)
        if self.dynamic and not family.seen:
            family.seen.append(tuple(tuple(-1 if n > 1 else n for n in shape) for shape in shapes))
        symbols = family.symbols(shapes)
        if why is not None and symbols is not None:
            family.fix(symbols, why)
            return None
        return symbols

    def took(
        self, key: Hashable, symbols: Shapes | None, recorded: Recorded, made: Specialisation,
        fitting: Sequence[Specialisation],
    ) -> tuple[Recorded, Specialisation | None]:  # fmt: skip
        """What comes of a recording.

        Args:
            key: The call's key.
            symbols: Shapes with symbols that it was recorded for; None where it was for its own sizes.
            recorded: The recording.
            made: What it belongs to.
            fitting: What there is for the key already, and may be used.

        Returns:
            The recording for its own sizes; and what serves this call, where the recording serves others as well.
        """
        family, shapes = self.family(key)
        if shapes not in family.seen:
            family.seen.append(shapes)
        if symbols is None:
            if recorded.eager is None and len(family.known) < MOST:
                family.known.append(Known(recorded, shapes, made.surroundings))
            return recorded, None
        values = values_of(symbols, shapes)
        recorded = replace(recorded, own=values or {})
        if recorded.eager is not None or values is None:
            return fixed_sizes(recorded), None
        asked = next(
            (n for d in open_decisions(recorded.recording.decisions) for n in d.nodes if is_varying(n.shape)), None
        )
        if asked is not None:
            family.fix(symbols, f"the function asks for the values of {asked.type}, made at {asked.source}")
        elif not family.specialise(symbols, values, without_counts(recorded.conditions, recorded.recording.decisions)):
            variant = Variant(symbols, shapes, recorded, made, family.prepared(symbols))
            why = self._compared(family, variant)
            if why is None:
                found = self.serve(key, variant, values, made.kept, made.parts, fitting)
                if found is not None:
                    return replace(recorded, out=plain_value(recorded.out, {**values, **variant.counts})), found
            else:
                family.fix(symbols, f"what is recorded for different sizes differs: {why}")
        return fixed_sizes(recorded), None

    def _compared(self, family: Family, variant: Variant) -> str | None:
        """Why a new variant does not hold; None where it does, or where that is to be seen."""
        decisions = open_decisions(variant.recorded.recording.decisions)
        mine = variant.known(variant.sizes, decisions)
        for older in [v for v in family.variants if not v.is_certain]:  # which waited for another recording
            theirs = None if older.was_for(variant) else older.known(variant.sizes, decisions)
            if mine is not None and theirs is not None and theirs.compares_with(mine):
                family.variants.remove(older)
                why = theirs.difference(mine)
                if why is not None:
                    return why
                variant.trust(older.sizes, older.counts)
        for known in () if variant.is_certain else family.known:
            mine = variant.known(known.shapes, known.decisions)
            if mine is not None and known.compares_with(mine):
                why = known.difference(mine)
                if why is not None:
                    return why
                variant.trust(known.shapes, counts_in(known.decisions, decisions) or {})
        family.variants.append(variant)
        self.any = True
        return None

    def serve(
        self, key: Hashable, variant: Variant, values: dict[Symbol, int], kept: list[Any], parts: tuple[Part, ...],
        fitting: Sequence[Specialisation],
    ) -> Specialisation | None:  # fmt: skip
        """What serves a call by a recording; None where its operators do not agree on the sizes.

        Args:
            key: The call's key.
            variant: The recording.
            values: The sizes.
            kept: Objects whose identity is in the key.
            parts: The arguments.
            fitting: What there is for the key already, and may be used: a tree among them gets the path that it lacks.
        """
        family, shapes = self.family(key)
        sizes = AtSizes(variant.prepared, values, partial(variant.typical, values, family.seen))
        made = _served_by(variant, kept, parts)
        try:
            served = (self._tree if variant.asks else self._alone)(made, variant, values, sizes, fitting)
        except ArithmeticError:  # a number has no value for these sizes, which the function itself will raise
            served = None
        if served is None:
            family.variants.remove(variant)
            family.fix(variant.shapes, "operators do not agree on other sizes")
            return None
        if variant.asks:
            self._grow(served, variant, [v for v in family.variants if v is variant or v.serves(shapes)])
        return served

    def _alone(
        self, made: Specialisation, variant: Variant, values: Values, sizes: AtSizes, _: Sequence[Specialisation]
    ) -> Specialisation | None:
        """A recording that asks for no values, with its program; None where its operators do not agree."""
        recorded = variant.fitting(values)
        if recorded is None:
            return None
        made.replay = self._builder.replay(recorded, made.disabled, sizes)
        return made

    def _tree(
        self, made: Specialisation, variant: Variant, values: Values, sizes: AtSizes, fitting: Sequence[Specialisation]
    ) -> Specialisation:
        """The tree that a recording is a path of: one that fits, or a new one."""
        tree = next((s for s in fitting if s.variants and variant.goes_with(s.variants[0])), None)
        if tree is not None:
            return tree
        numbers = variant.recorded.numbers_at(values)
        made.variants = []
        made.replay = Tree(self._builder.tree_builder(made.graph, sizes), numbers, self._counts, values)
        return made

    @staticmethod
    def _grow(tree: Specialisation, variant: Variant, paths: Sequence[Variant]) -> None:
        """Give a tree the paths that it lacks."""
        for path in paths:
            if isinstance(tree.replay, Tree) and path.goes_with(variant) and path not in tree.variants:
                tree.replay.grow(path.recorded, path.made.surroundings, path.trusts_counts or not path.counts)
                tree.variants.append(path)

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
        if self._counts.why_not is not None and self.dynamic is not False:
            lines.append(f"counts are as recorded: {self._counts.why_not}")
        for family in self.families.values():
            for prepared in dict.fromkeys(v.prepared for v in family.variants):
                paths = [v for v in family.variants if v.prepared is prepared]
                symbols = sorted(s.name for s in _symbols(paths[0].shapes))
                count = f"{len(paths)} paths, " if paths[0].asks else ""
                lines.append(f"any {', '.join(symbols)} (argument, axis): {count}{len(prepared)} programs")
                if prepared.of_one_size:
                    lines.append(f"  kernels compiled for each size by itself: {', '.join(prepared.of_one_size)}")
                conditions = dict.fromkeys(str(c) for v in paths for c in v.recorded.conditions)
                if conditions:
                    lines.append(f"  where {', '.join(conditions)}")
            lines += [f"size({k}, {axis}) is as recorded: {why}" for (k, axis), why in family.fixed.items()]
        return lines


def _served_by(variant: Variant, kept: list[Any], parts: tuple[Part, ...]) -> Specialisation:
    """A case of a recording for many sizes, without its program."""
    made = variant.made
    found = Specialisation(variant.recorded.recording.graph, made.surroundings, kept, parts, made.disabled)
    found.variants = [variant]
    return found
