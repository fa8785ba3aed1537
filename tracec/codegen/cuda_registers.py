"""What loops over a row keep in registers from one to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tracec.codegen.cuda_access import Packs
from tracec.ir.kernel import (
    Expr,
    Load,
    Loop,
    Scratch,
    Stmt,
    Store,
    expressions,
    subexpressions,
    walk,
)  # fmt: skip

#: Registers of a multiprocessor.
REGISTERS = 65536
#: A thread that has so many of them, or fewer, keeps nothing that loops have in common but what they read: a compiler
#: would keep places, and what is computed of these alone, for each of its packs.
FEW_REGISTERS = 64
#: (buffer, index) of a load, or a scratch array by its name alone → places of the loops that touch it.
Uses = Mapping[tuple[str, Expr | None], Sequence[int]]


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


def _inside(loop: Stmt) -> list[Stmt]:
    return [s for s in walk((loop,)) if not isinstance(s, Loop)]


def _parts(statements: Sequence[Stmt]) -> list[Expr]:
    return [e for s in statements for root in expressions(s) for e in subexpressions(root)]
