"""Memory planning: offsets in one arena for all intermediate values, so that values alive together do not overlap.

Offline dynamic storage allocation by lifetimes; see `assign` for the heuristics.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tracec.ir.extent import Symbol, Values, at, is_varying, plain, symbolic, unnoted

#: Offsets are multiples of this: a cache line, and the widest vector load.
ALIGN = 64


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of memory and the steps during which it holds something.

    Attributes:
        size: Bytes.
        first: Step that writes it.
        last: Last step that reads it.
    """

    size: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Layout:
    """An arena of pieces whose sizes vary from call to call.

    Attributes:
        spans: The pieces.
        offsets: What stands for each one's offset.
        total: And for the arena's size.
        bodies: The arenas of what loops and branches run, which are pieces themselves.
    """

    spans: tuple[Span, ...]
    offsets: tuple[Symbol, ...]
    total: Symbol
    bodies: tuple[Layout, ...] = ()

    def values(self, sizes: Values) -> dict[Symbol, int]:
        """The sizes, and for them offsets and sizes of the arena and those within it."""
        for body in self.bodies:
            sizes = body.values(sizes)
        with unnoted():
            spans = [replace(s, size=plain(at(s.size, sizes))) for s in self.spans]
            offsets, total = assign(spans)
        return {**sizes, **dict(zip(self.offsets, offsets, strict=True)), self.total: total}


def aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


def lower_bound(spans: Sequence[Span]) -> int:
    """The most bytes alive during any one step; no arena can be smaller."""
    change: dict[int, int] = {}
    for s in spans:
        change[s.first] = change.get(s.first, 0) + aligned(s.size)
        change[s.last + 1] = change.get(s.last + 1, 0) - aligned(s.size)
    alive = peak = 0
    for step in sorted(change):
        alive += change[step]
        peak = max(peak, alive)
    return peak


def place(spans: Sequence[Span], bodies: Sequence[Layout] = ()) -> tuple[list[int], int, Layout | None]:
    """Offsets and the arena's size; where sizes vary, as what they are for the present ones, and how to find others.

    Args:
        spans: The pieces.
        bodies: The arenas within them.
    """
    if not any(is_varying(s.size) for s in spans):
        return *assign(spans), None
    symbols = tuple(Symbol(f"offset{k}", 0, 0) for k in range(len(spans)))
    layout = Layout(tuple(spans), symbols, Symbol("arena", 0, 0), tuple(bodies))
    offsets, total = assign([replace(s, size=plain(s.size)) for s in spans])
    return list(map(symbolic, layout.offsets, offsets)), symbolic(layout.total, total), layout


def assign(spans: Sequence[Span]) -> tuple[list[int], int]:
    """Offsets and the arena's size: the best of a few first-fit orders.

    Placing the largest first lets small values fill the gaps; placing by area or by time is better for
    some lifetimes. All are tried, since each takes little time. Dynamic storage allocation is NP-hard
    (Garey and Johnson, 1979, SR2); first fit by size is within a few percent for networks.
    """
    bound = lower_bound(spans)
    orders = (
        lambda k: (-spans[k].size, spans[k].first),
        lambda k: (-spans[k].size * (spans[k].last - spans[k].first + 1), spans[k].first),
        lambda k: (spans[k].first, -spans[k].size),
        lambda k: (-(spans[k].last - spans[k].first), -spans[k].size),
        lambda k: (-spans[k].last, -spans[k].size),
    )
    best = _first_fit(spans, sorted(range(len(spans)), key=orders[0]))
    assert best is not None
    for key in orders[1:]:
        if best[1] <= bound:
            break
        best = _first_fit(spans, sorted(range(len(spans)), key=key), best[1]) or best
    return best


def _first_fit(
    spans: Sequence[Span], order: Sequence[int], less_than: float = math.inf
) -> tuple[list[int], int] | None:
    """Give each span the lowest offset that is free during all of its steps; None where that takes too many bytes."""
    offsets = [0] * len(spans)
    placed: list[tuple[int, int, int, int]] = []  # begin, end, first and last step; lowest first, as they are looked at
    total = 0
    for k in order:
        s = spans[k]
        size, first, last, offset = aligned(s.size), s.first, s.last, 0
        for low, high, begins, ends in placed:
            if begins <= last and first <= ends:
                if low - offset >= size:
                    break
                if high > offset:
                    offset = high
        offsets[k] = offset
        insort(placed, (offset, offset + size, first, last))
        total = max(total, offset + size)
        if total >= less_than:
            return None
    return offsets, total
