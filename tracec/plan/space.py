"""Iteration spaces: the loops that a group of nodes shares, and which of them are reductions."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tracec.ir import index
from tracec.ir.extent import divides, formula_key, plain
from tracec.ir.kernel import Expr, Var
from tracec.ir.lower import Index, Reduction, input_types
from tracec.ir.node import Node
from tracec.ir.types import Shape, numel

#: Whether a value has an element for each point of a space, or for each row.
FULL, ROW = "full", "row"


@dataclass(frozen=True)
class Space:
    """Loops in row-major order of the values that the group works on.

    Attributes:
        extents: Sizes of the loops; none is 1.
        reduced: Whether each loop is reduced.
    """

    extents: Shape
    reduced: tuple[bool, ...]

    @property
    def key(self) -> tuple[Shape, tuple[bool, ...]]:
        """What it is, to be compared by formulas where sizes vary."""
        return self.extents, self.reduced

    @cached_property
    def total(self) -> int:
        return numel(self.extents)

    @cached_property
    def kept(self) -> int:
        """Number of rows: elements that are left after the reduction."""
        return numel(e for e, r in zip(self.extents, self.reduced, strict=True) if not r)

    @cached_property
    def row(self) -> int:
        """Number of elements that one row reduces."""
        return numel(e for e, r in zip(self.extents, self.reduced, strict=True) if r)

    @property
    def has_reduction(self) -> bool:
        return any(self.reduced)

    @cached_property
    def vars(self) -> tuple[Var, ...]:
        """A loop variable for each loop: ``i…`` kept, ``r…`` reduced."""
        names: list[Var] = []
        count = {False: 0, True: 0}
        for extent, reduced in zip(self.extents, self.reduced, strict=True):
            names.append(Var(f"{'r' if reduced else 'i'}{count[reduced]}", extent))
            count[reduced] += 1
        return tuple(names)

    @cached_property
    def flat(self) -> Expr:
        """Position among all elements."""
        return index.flatten(self.vars, self.extents)

    @cached_property
    def kept_vars(self) -> tuple[Var, ...]:
        return tuple(v for v, r in zip(self.vars, self.reduced, strict=True) if not r)

    @cached_property
    def reduced_vars(self) -> tuple[Var, ...]:
        return tuple(v for v, r in zip(self.vars, self.reduced, strict=True) if r)

    @cached_property
    def row_flat(self) -> Expr:
        """Position of the row among the kept elements."""
        return index.flatten(self.kept_vars, tuple(v.extent for v in self.kept_vars))

    @cached_property
    def within_flat(self) -> Expr:
        """Position within the row."""
        return index.flatten(self.reduced_vars, tuple(v.extent for v in self.reduced_vars))

    def normal(self) -> Space:
        """Adjacent loops of one class merged: equal normal forms walk the same rows."""
        extents: list[int] = []
        reduced: list[bool] = []
        for e, r in zip(self.extents, self.reduced, strict=True):
            if extents and reduced[-1] == r:
                extents[-1] *= e
            else:
                extents.append(e)
                reduced.append(r)
        return Space(tuple(extents), tuple(reduced))

    def refine(self, shapes: Iterable[Shape], *, rows: bool = False) -> Space:
        """Loops split so that each of ``shapes`` indexes by whole loops, where the sizes allow it.

        Args:
            shapes: Shapes of values over the whole space, or over its rows.
            rows: Whether the shapes are of one element a row.
        """
        if self.total == 0:
            return self
        chosen = [i for i, r in enumerate(self.reduced) if not (rows and r)]
        sizes = [self.extents[i] for i in chosen]
        cuts = _suffix_products(sizes)
        for shape in shapes:
            more = _ordered((*cuts, *_suffix_products(shape)))
            if all(divides(a, b) for a, b in itertools.pairwise(more)):  # which orders them for all sizes
                cuts = more
        extents: list[int] = []
        reduced: list[bool] = []
        inner = numel(sizes)
        position = {i: k for k, i in enumerate(chosen)}
        for i, (e, r) in enumerate(zip(self.extents, self.reduced, strict=True)):
            if i not in position:
                extents.append(e)
                reduced.append(r)
                continue
            outer, inner = inner, inner // max(e, 1)
            within = [c for c in cuts if plain(inner) <= plain(c) <= plain(outer)]
            parts = [b // a for a, b in itertools.pairwise(within)] if len(within) > 1 else [e]
            extents.extend(reversed(parts))
            reduced.extend([r] * len(parts))
        return Space(tuple(extents), tuple(reduced))


def _ordered(sizes: Sequence[int]) -> list[int]:
    """The distinct sizes in rising order."""
    if all(type(s) is int for s in sizes):
        return sorted({*sizes})
    return sorted({formula_key(s): s for s in sizes}.values(), key=plain)


def _suffix_products(shape: Iterable[int]) -> list[int]:
    products, step = [1], 1
    for size in reversed(tuple(shape)):
        if size != 1:
            step *= size
            products.append(step)
    return products


def of_shape(shape: Shape, reduced: Iterable[int] = ()) -> Space:
    """The space of a value's elements with some axes reduced."""
    axes = set(reduced)
    kept = [(e, i in axes) for i, e in enumerate(shape) if e != 1]
    return Space(tuple(e for e, _ in kept), tuple(r for _, r in kept))


def reduced_shape(node: Node) -> tuple[Shape, Shape]:
    """A reduction's full iteration shape and its reduced axes."""
    lower = node.op.lower
    assert isinstance(lower, Reduction)
    types, params = input_types(node), dict(node.params)
    if lower.axes is not None:
        return types[0].shape, lower.axes(types, **params)
    extents = lower.extents(types, **params)
    return (*node.shape, *extents), tuple(range(node.ndim, node.ndim + len(extents)))


def reduction_index(node: Node, space: Space) -> tuple[Index, Index]:
    """A reduction's output index and reduced index in a space's loop variables."""
    shape, axes = reduced_shape(node)
    kept_shape = tuple(s for i, s in enumerate(shape) if i not in axes)
    red_shape = tuple(s for i, s in enumerate(shape) if i in axes)
    assert numel(kept_shape) == space.kept
    assert numel(red_shape) == space.row
    kept = index.unflatten(space.row_flat, kept_shape)
    return index.reshape(kept, kept_shape, node.shape), index.unflatten(space.within_flat, red_shape)
