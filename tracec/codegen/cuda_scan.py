"""Running combinations: a block a row where rows are contiguous, else a thread a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_access import extent, peel, stride
from tracec.codegen.cuda_chunk import mentions
from tracec.codegen.cuda_entry import Entry, Head, head, lines
from tracec.codegen.cuda_map import map_entry
from tracec.codegen.cuda_writer import Accumulator, Writer
from tracec.codegen.expressions import ATOM
from tracec.codegen.render import render_template
from tracec.ir.kernel import Acc, Kernel, Let, Loop, Stmt, Store, Update

#: Shorter scans run in one thread.
SHORT = 64
#: As do those of so many rows that threads next to each other walk rows next to each other.
MANY_ROWS = 4096
MOST_THREADS = 512


@dataclass(frozen=True, slots=True)
class ScanView:
    """What ``scan.j2`` needs: the statements before and after a running combination."""

    head: Head
    start: tuple[str, ...]
    acc: Accumulator
    carry_combine: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    length: str
    threads: str
    warps: int


def scan_entry(kernel: Kernel, name: str) -> Entry:
    """A function in which a block scans one row, tile by tile."""
    variables, body = peel(kernel.body)
    serial = [s for s in body if isinstance(s, Loop)]
    accs = [s for s in body if isinstance(s, Acc)]
    if len(serial) != 1 or len(accs) != 1 or not _is_simple(serial[0].body):
        return map_entry(kernel, name)
    loop, rows = serial[0], extent(variables)
    strides = {stride(s.index, loop.var) for s in loop.body if isinstance(s, Store)}
    contiguous = strides <= {1, -1}
    if loop.var.extent <= SHORT or (rows >= MANY_ROWS and not contiguous):
        return map_entry(kernel, name)
    writer = Writer(kernel)
    place = next(i for i, s in enumerate(loop.body) if isinstance(s, Update))
    update = loop.body[place]
    assert isinstance(update, Update)
    threads = min(MOST_THREADS, -(-loop.var.extent // 32) * 32)
    acc = writer.accumulator(update.name)
    outer = [s for s in body if not isinstance(s, (Acc, Loop))]
    position = writer.unflatten("chunk", [loop.var])
    before, after = (writer.statements(part) for part in (loop.body[:place], loop.body[place + 1 :]))
    names = [writer.name(s.name) for s in loop.body[:place] if isinstance(s, Let)]
    if any(mentions(after, n) for n in names):
        after = (*before, *after)
    start = lines((*writer.unflatten("row", variables), *writer.statements(outer)))
    view = ScanView(
        head(writer, name, threads), start, acc,
        writer.derive({update.name: "carry"}).update(update.name, "other", ATOM),
        lines((*position, *before, *writer.statements([update]))), lines((*position, *after)),
        writer.count(loop.var.extent), writer.count(threads), threads // 32,
    )  # fmt: skip
    schedule = f"a block of {threads} a row of {loop.var.extent}, tile by tile"
    text = render_template("cuda/scan.j2", k=view)
    alignment = tuple(b.dtype.itemsize for b in kernel.buffers)
    return Entry(name, text, (rows, 1, 1), (threads, 1, 1), 0, alignment, schedule=schedule)


def _is_simple(body: Sequence[Stmt]) -> bool:
    """One update, and no loops: what a scan splits at."""
    updates = sum(isinstance(s, Update) for s in body)
    return updates == 1 and not any(isinstance(s, Loop) for s in body)
