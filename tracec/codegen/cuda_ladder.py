"""Ways to write a kernel that take fewer registers, those that cost the least first: the ladder of each kernel shape.

How many registers machine code takes, its assembler alone knows. A kernel is written the way that is best if it has
enough of them; where that spills, by the next rung of its shape's ladder, until one does not. The rung alone decides
what is written: who compiles it says which one (`tracec.spills`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields

#: What a rung has less of, in words.
_WORDS = {
    "kept": "{}% of the registers for what is kept",
    "near": "{}% of it in registers",
    "in_flight": "{}% of the loads at a time",
    "pack": "packs of {} bytes",
    "threads": "{} threads",
    "blocks": "{}% of the blocks at a time",
}


@dataclass(frozen=True, slots=True)
class Rung:
    """How a kernel is to be written.

    Attributes:
        kept: Of the registers that what is kept of a row or a column may have otherwise, how many percent it may have.
        near: Of what a thread keeps of a row, how many percent are in its registers; the others are in shared memory.
        in_flight: The same as ``kept``, of what a thread loads before it waits.
        pack: Bytes of a pack, at most.
        threads: Threads of a block, at most: each of fewer threads may have more registers.
        blocks: Of the blocks of a multiprocessor that registers are left for, how many percent.
    """

    kept: int = 100
    near: int = 100
    in_flight: int = 100
    pack: int = 16
    threads: int = 1024
    blocks: int = 100

    def __str__(self) -> str:
        """What it has less of than the first one, for readers."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return ", ".join(_WORDS[n].format(v) for n, v in given.items() if v != getattr(FIRST, n))


FIRST = Rung()
#: A row: less on its way, less of it in registers, the rest in shared memory or read again; at last by fewer threads.
_ROWS = (
    FIRST,
    Rung(in_flight=50),
    *(Rung(near=n, in_flight=50) for n in (75, 50)),
    Rung(near=50, in_flight=50, threads=512),
    *(Rung(kept=n, near=50, in_flight=50) for n in (75, 50, 25, 0)),
    Rung(kept=0, in_flight=25, pack=8),
    Rung(kept=0, in_flight=0, pack=4, threads=512),
)
#: A column: it is kept by half as many threads, next to fewer columns; at last less of it, where it lies as a row does.
_COLUMNS = (
    FIRST,
    Rung(threads=512),
    Rung(threads=512, in_flight=50),
    Rung(threads=256, in_flight=50, pack=8),
    Rung(threads=256, in_flight=25, pack=4),
    *(Rung(kept=n, near=50, in_flight=50) for n in (75, 50, 25, 0)),
)
#: A stripe of rows, next to the sums of its columns: by other threads, then in shared memory.
_STRIPES = (
    FIRST,
    *(Rung(kept=n) for n in (75, 50, 25)),
    Rung(threads=512),
    Rung(kept=0),
    Rung(kept=0, in_flight=50, threads=512),
    Rung(kept=0, in_flight=25, pack=8, threads=256),
)
#: Elements: fewer in a thread.
_ELEMENTS = (FIRST, Rung(in_flight=50), Rung(in_flight=25), Rung(in_flight=25, pack=8), Rung(in_flight=25, pack=4))

#: What is as it is, for fewer blocks at a time.
_AT_ONCE = (FIRST, *(Rung(blocks=n) for n in (75, 50, 25)))

#: Kernel shape → its ladder. Shapes that are not here have one way to be written.
LADDERS: Mapping[str, tuple[Rung, ...]] = {
    "map": _ELEMENTS,
    "row": _ROWS,
    "full": _ROWS,
    "column": _COLUMNS,
    "stripe": _STRIPES,
    "contraction": _AT_ONCE,
    "sort": _AT_ONCE,
    "scan": _AT_ONCE,
}


def ladder(shape: str) -> tuple[Rung, ...]:
    """The rungs of a kernel shape, the first of which is what is tried first."""
    return LADDERS.get(shape, (FIRST,))


class _Now(threading.local):
    """What kernels are written by in this thread."""

    rung = FIRST


_NOW = _Now()


def rung() -> Rung:
    """What the kernel that is being written is to be written by."""
    return _NOW.rung


def allowed(registers: int) -> int:
    """What of so many registers may be kept on the present rung."""
    return registers * _NOW.rung.kept // 100


@contextmanager
def on_rung(taken: Rung) -> Iterator[None]:
    """Within, kernels are written in this thread by a rung."""
    before, _NOW.rung = _NOW.rung, taken
    try:
        yield
    finally:
        _NOW.rung = before
