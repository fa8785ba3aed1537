"""How many registers the loops over a row take, and how much of what is kept of it has place next to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_access import Packs
from tracec.codegen.cuda_entry import ceil_div
from tracec.ir.dtype import DType
from tracec.ir.kernel import (
    Acc,
    Call,
    Expr,
    Let,
    Load,
    Loop,
    Ref,
    Scratch,
    Stmt,
    Store,
    Update,
    expressions,
    subexpressions,
    walk,
)  # fmt: skip

#: Registers of a multiprocessor.
REGISTERS = 65536
#: A thread that has so many of them, or fewer, keeps nothing that loops have in common but what they read: a compiler
#: would keep places, and what is computed of these alone, for each of its packs.
FEW_REGISTERS = 64
#: What any loop takes: the row, the thread, and addresses that are offsets from others.
ALWAYS = 16
#: Registers of an address.
ADDRESS = 2
#: Packs that are on their way of each stream that one loop alone reads. An assembler asks for more where it can.
AHEAD = 2
#: What a result takes while those of all threads are combined, which those of one loop are together.
COMBINED = 8
#: Operations → what they take while they are computed.
WORK = {
    "div": 6, "sqrt": 6, "rsqrt": 4, "exp": 8, "expm1": 8, "log": 6, "log1p": 8, "erf": 8, "sigmoid": 6, "tanh": 8,
    "sin": 12, "cos": 12, "pow": 16, "philox": 16,
}  # fmt: skip

#: (buffer, index) of a load, or a scratch array by its name alone → places of the loops that touch it.
Uses = Mapping[tuple[str, Expr | None], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Demand:
    """What a loop needs registers for.

    Attributes:
        beside: Registers next to what several loops have to do with.
        entering: Words for one position that loops before have left: loads, and scratch.
        leaving: The same for loops to come.
        asks: Whether it reads something of a row that no other loop does.
    """

    beside: int
    entering: tuple[int, int]
    leaving: tuple[int, int]
    asks: bool


def uses(body: Sequence[Stmt], packs: Mapping[int, Packs]) -> Uses:
    """What is kept between loops over a row, and which of them touch it."""
    scratch = {s.name for s in body if isinstance(s, Scratch)}
    found: dict[tuple[str, Expr | None], list[int]] = {}
    for place, pack in packs.items():
        statements = _inside(body[place])
        touched = [(x.buffer, x.index) for x in _parts(statements) if isinstance(x, Load)]
        touched += [(s.buffer, s.index) for s in statements if isinstance(s, Store) and s.buffer in scratch]
        for buffer, index in touched:
            if buffer in scratch or (buffer, index) in pack.loads or pack.width == 1:
                found.setdefault((buffer, None if buffer in scratch else index), []).append(place)
    return found


def live_words(found: Uses, packs: Mapping[int, Packs]) -> int:
    """Registers for one position that are taken between two loops, at most: scratch, and what is loaded for both."""
    return max((sum(min(at) < place <= max(at) for at in found.values()) for place in packs), default=0)


def demands(
    body: Sequence[Stmt], packs: Mapping[int, Packs], memory: Mapping[str, DType], held: bool = False
) -> tuple[Demand, ...]:
    """What each loop over a row needs registers for.

    Args:
        body: Statements of one row.
        packs: Of each loop, by its place.
        memory: Buffers in memory, with their types.
        held: Whether what several loops read has registers of its own, and scratch has none.
    """
    found = uses(body, packs)
    made = []
    for place, pack in packs.items():
        entering = {at for at, places in found.items() if min(places) < place <= max(places) and not held}
        leaving = {at for at, places in found.items() if min(places) <= place < max(places) and not held}
        once = {(b, i) for (b, i), places in found.items() if {*places} == {place} and b in memory}
        first = {b for (b, _), places in found.items() if min(places) == place and b in memory}
        beside = _beside(_inside(body[place]), pack, memory, once, first) + _through(body, place)
        if held:  # what is not in registers is taken there, too
            taken = sum(b in memory and place in places and len({*places}) > 1 for (b, _), places in found.items())
            beside += pack.width * (taken if taken > 2 else max(taken - 1, 0))
        beside += pack.width * min(len(entering - leaving), len(leaving - entering))  # both are there for a while
        made.append(Demand(beside, _counted(entering, memory), _counted(leaving, memory), bool(once)))
    return tuple(made)


def near_parts(wanted: Sequence[Demand], parts: int, width: int, registers: int) -> int:
    """Of a thread's packs of a row, those whose scratch has place in its registers; the others' is elsewhere.

    Args:
        wanted: What each loop needs.
        parts: Packs of each thread.
        width: Elements of a pack.
        registers: Of each thread.
    """
    near = parts
    for demand in wanted:
        free = registers - demand.beside
        for loads, scratch in (demand.entering, demand.leaving):
            left = free - parts * width * loads
            if left >= parts * width * scratch:
                continue
            if left < 0 or (demand.asks and (loads, scratch) == demand.leaving):
                return 0  # it asks for more than it will have place for while it makes what is kept
            near = min(near, left // (width * scratch))
    return near


def _counted(kept: set[tuple[str, Expr | None]], memory: Mapping[str, DType]) -> tuple[int, int]:
    """Of what is kept, how much is read of memory, and how much is scratch."""
    loads = sum(buffer in memory for buffer, _ in kept)
    return loads, len(kept) - loads


def _beside(
    inside: Sequence[Stmt], packs: Packs, memory: Mapping[str, DType], once: set[tuple[str, Expr | None]],
    first: set[str],
) -> int:  # fmt: skip
    """Registers that a loop takes next to what several have to do with.

    Args:
        inside: Its statements.
        packs: What it reads and writes in packs.
        memory: Buffers in memory, with their types.
        once: Of what it reads, what no other loop does.
        first: Buffers of which it is the first to read something.
    """
    parts = _parts(inside)
    stores = [s for s in inside if isinstance(s, Store) and s.buffer in memory]
    loads = sum(ceil_div(memory[b].itemsize * packs.width, 4) for b, _ in once)
    written = sum(ceil_div(memory[s.buffer].itemsize * packs.width, 4) for s in stores)
    buffers = first | {s.buffer for s in stores}
    own = {s.name for s in inside if isinstance(s, Let)}
    names = {e.name for e in parts if isinstance(e, Ref)} - own
    results = {s.name for s in inside if isinstance(s, Update)}
    work = max((WORK.get(e.op, 0) for e in parts if isinstance(e, Call)), default=0)
    taken = AHEAD * loads + written + ADDRESS * len(buffers) + len(names | results) + work
    return ALWAYS + max(taken, COMBINED * len(results))


def _through(body: Sequence[Stmt], place: int) -> int:
    """Numbers of a row that are there before a loop, and that others behind it take."""
    before = {s.name for s in body[:place] if isinstance(s, (Let, Acc))}
    inside, later = _inside(body[place]), [s for b in body[place + 1 :] for s in _inside(b)]
    now = {e.name for e in _parts(inside) if isinstance(e, Ref)} | {s.name for s in inside if isinstance(s, Update)}
    return len(before & {e.name for e in _parts(later) if isinstance(e, Ref)} - now)


def _inside(loop: Stmt) -> list[Stmt]:
    return [s for s in walk((loop,)) if not isinstance(s, Loop)]


def _parts(statements: Sequence[Stmt]) -> list[Expr]:
    return [e for s in statements for root in expressions(s) for e in subexpressions(root)]
