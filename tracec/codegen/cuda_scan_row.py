"""A scan taken apart: what comes before its update and after, and accesses along a row by packs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_access import alignment, certain_loads, peel, stride
from tracec.codegen.cuda_chunk import mentions
from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import lines
from tracec.codegen.cuda_writer import Element, Writer
from tracec.codegen.tree import Block, Line, Tree
from tracec.ir.extent import divides, plain
from tracec.ir.kernel import (
    Acc,
    Expr,
    Kernel,
    Let,
    Linear,
    Load,
    Loop,
    Ref,
    Stmt,
    Store,
    Update,
    Var,
    expressions,
    subexpressions,
)  # fmt: skip

#: Bytes that are copied ahead by one instruction.
COPIED = (4, 8, 16)


@dataclass(frozen=True, slots=True)
class Row:
    """A scan taken apart.

    Attributes:
        variables: The loops over rows.
        loop: The loop along a row.
        outer: Statements of a row, before the scan.
        lets: Statements of an element before its update.
        update: The update.
        after: Statements of an element after it.
    """

    variables: tuple[Var, ...]
    loop: Loop
    outer: tuple[Stmt, ...]
    lets: tuple[Stmt, ...]
    update: Update
    after: tuple[Stmt, ...]


def row_of(kernel: Kernel) -> Row | None:
    """The parts of a scan of one loop with one update; None for others."""
    variables, body = peel(kernel.body)
    serial = [s for s in body if isinstance(s, Loop)]
    accs = [s for s in body if isinstance(s, Acc)]
    if len(serial) != 1 or len(accs) != 1 or any(isinstance(s, Loop) for s in serial[0].body):
        return None
    updates = [(n, s) for n, s in enumerate(serial[0].body) if isinstance(s, Update)]
    if len(updates) != 1:
        return None
    ((place, update),) = updates
    outer = tuple(s for s in body if not isinstance(s, (Acc, Loop)))
    inner = serial[0].body
    return Row(variables, serial[0], outer, inner[:place], update, inner[place + 1 :])


def neighbours(row: Row) -> int:
    """How many rows lie next to each other, element by element."""
    stores = [s for s in row.after if isinstance(s, Store)]
    if not row.variables or any(stride(s.index, row.loop.var) in (1, -1) for s in stores):
        return 0
    last = row.variables[-1]
    return plain(last.extent) if any(stride(s.index, last) == 1 for s in stores) else 0


def used(statements: Sequence[Tree], row: Row, writer: Writer) -> bool:
    """Whether statements after the update mention names from before it."""
    return any(mentions(statements, writer.name(s.name)) for s in row.lets if isinstance(s, Let))


@dataclass(frozen=True, slots=True)
class Packs:
    """Accesses along a row by packs: their index at the pack's first element in memory, and whether they run back."""

    width: int
    loads: dict[tuple[str, Expr], tuple[Expr, bool]]
    stores: dict[tuple[str, Expr], tuple[Expr, bool]]

    @property
    def buffers(self) -> set[str]:
        return {buffer for buffer, _ in (*self.loads, *self.stores)}


def find_packs(writer: Writer, row: Row) -> Packs:
    """The widest packs that all accesses along the row can have; those that do not move with it are left alone."""
    var = row.loop.var
    loads = {(x.buffer, x.index) for x in certain_loads(row.loop.body)}
    stores = {(s.buffer, s.index) for s in row.after if isinstance(s, Store) and not s.add}
    named = {s.name for s in row.loop.body if isinstance(s, Let)}
    written = {buffer for buffer, _ in stores}
    moving = {a for a in loads | stores if stride(a[1], var) in (1, -1)}
    apart = not any(buffer in written for buffer, _ in loads)
    if (
        not moving
        or not apart
        or any(isinstance(e, Ref) and e.name in named for _, i in moving for e in subexpressions(i))
    ):
        return Packs(1, {}, {})
    width = 16 // max(writer.buffers[buffer].itemsize for buffer, _ in moving)
    while width > 1:
        first = {a: _first(a[1], var, width) for a in moving}
        if divides(width, var.extent) and all(alignment(i, var) % width == 0 for i, _ in first.values()):
            return Packs(
                width, {a: f for a, f in first.items() if a in loads}, {a: f for a, f in first.items() if a in stores}
            )
        width //= 2
    return Packs(1, {}, {})


def _first(index: Expr, var: Var, width: int) -> tuple[Expr, bool]:
    """The index of the first element in memory of a pack that starts at an iteration."""
    if stride(index, var) == 1:
        return index, False
    assert isinstance(index, Linear)
    return Linear(index.terms, index.offset - (width - 1)), True


def fetched(
    writer: Writer, row: Row, packs: Packs, threads: int
) -> tuple[str, tuple[str, ...], tuple[str, ...]] | None:
    """What a tile is read as, ahead, where that is all that is read: its elements' type, what takes a pack of it, and
    what asks for one.
    """
    loads = {(x.buffer, x.index) for x in certain_loads(row.loop.body)}
    every = {(x.buffer, x.index) for s in row.loop.body for e in expressions(s) for x in subexpressions(e)
             if isinstance(x, Load)}  # fmt: skip
    results = writer.statements(row.after)
    if len(packs.loads) != 1 or used(results, row, writer) or loads != packs.loads.keys() or every != loads:
        return None
    ((access, (index, _)),) = packs.loads.items()
    nbytes = packs.width * writer.buffers[access[0]].itemsize
    if nbytes not in COPIED:
        return None
    first, slot = f"{writer.name(row.loop.var.name)}_first", f"ahead + (part * {threads}u + thread) * {packs.width}"
    before, _ = elements(writer, row, packs, slot)
    where = f"{writer.name(access[0])} + {writer.derive({row.loop.var.name: first}).write(index)}"
    chunk = f"const {writer.index} {first} = ({writer.index})chunk;"
    return memory_type(writer.buffers[access[0]]), before, (chunk, f"copy_ahead<{nbytes}>({slot}, {where});")


def elements(writer: Writer, row: Row, packs: Packs, slot: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a thread does for one pack of elements before and after they are combined.

    Args:
        writer: Writes the kernel.
        row: The scan.
        packs: Its accesses.
        slot: Where packs have been copied to; empty for none.
    """
    var, width = row.loop.var, packs.width
    name = writer.name(var.name)
    first = f"{name}_first"
    at_first = writer.derive({var.name: first})
    inner = writer.derive({})
    head_lines: list[Tree] = [Line(f"const {writer.index} {first} = ({writer.index})chunk;")]
    loads: list[Tree] = []
    declared: list[Tree] = []
    stores: list[Tree] = []
    for number, (access, (index, back)) in enumerate({**packs.loads, **packs.stores}.items()):
        pack = f"{writer.name(access[0])}_pack{number}"
        kind = f"Pack<{memory_type(writer.buffers[access[0]])}, {width}>"
        where = f"{writer.name(access[0])} + {at_first.write(index)}"
        inner.packs[access] = f"{pack}.at[{width - 1} - e]" if back else Element(pack)
        if access in packs.loads:
            loads.append(Line(f"const {kind} {pack} = load_pack<{width}>({slot or where});"))
        else:
            declared.append(Line(f"{kind} {pack};"))
            stores.append(Line(f"store_pack({where}, {pack});"))
    own = f"own[part * {width} + e]"
    acc = row.update.name
    lets = inner.statements(row.lets)
    results = inner.derive({acc: own}).statements(row.after)
    again = used(results, row, writer)
    each = Line(f"const {writer.index} {name} = {first} + e;")

    def over(body: Sequence[Tree]) -> Block:
        position = [each] if mentions(body, name) else []
        return Block(f"for (int e = 0; e < {width}; ++e)", (*position, *body), ("unroll",))

    value = Line(f"{own} = {inner.write(row.update.value)};")
    before = (*head_lines, *loads, over((*lets, value)))
    after = (*head_lines, *(loads if again else ()), *declared, over((*(lets if again else ()), *results)), *stores)
    return lines(before), lines(after)
