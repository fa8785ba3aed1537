"""Loads of a stripe's rows that are made before a row is computed: by the row, by a row ahead, or once for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_access import Packs, certain_loads
from tracec.codegen.cuda_chunk import first_of_pack
from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import ceil_div
from tracec.codegen.cuda_row_body import loop_nest
from tracec.codegen.cuda_share import Share
from tracec.codegen.cuda_writer import Writer
from tracec.codegen.tree import Block, Line, Tree
from tracec.ir.kernel import Expr, Let, Load, Loop, Ref, Stmt, Var, subexpressions


@dataclass(frozen=True, slots=True)
class EarlyLoad:
    """A load that is made before the row is computed.

    Attributes:
        buffer: What is loaded.
        index: Where.
        kind: Its type in registers.
        single: Whether it is one value for the whole row.
        steady: Whether all rows read the same, which is loaded once.
        words: 32-bit words of a thread's piece; 0 where it is no whole number of them.
        name: What names of arrays end in.
    """

    buffer: str
    index: Expr
    kind: str
    single: bool
    steady: bool
    words: int
    name: str

    def array(self, writer: Writer, what: str) -> str:
        """What holds it: of ``all`` rows, of the ``row`` that is computed, or of the one ``ahead``."""
        return f"{writer.name(self.buffer)}_{what}{self.name}"


def early_loads(
    writer: Writer, row: Sequence[Stmt], packs: Mapping[int, Packs], rows: Sequence[Var], width: int
) -> Iterator[EarlyLoad]:
    """The loads of a row that depend on nothing that is computed.

    Args:
        writer: Writes the kernel.
        row: What is computed of a row.
        packs: Of each loop of the row, by its identity, what is accessed by packs.
        rows: Loops over the rows of a stripe.
        width: Elements of a pack.
    """
    roles = {b.name: b.role for b in writer.kernel.buffers}
    names = {v.name for v in rows}
    found: dict[tuple[str, Expr], bool] = {}
    for stmt in row:
        if isinstance(stmt, Let):
            for load in certain_loads([stmt]):
                if roles.get(load.buffer) == "in" and _moves(load, names):
                    found.setdefault((load.buffer, load.index), True)
        if isinstance(stmt, Loop):
            variables, nest = loop_nest(stmt)
            for load in certain_loads(nest):
                at = (load.buffer, load.index)
                packed = at in packs[id(stmt)].loads if width > 1 else roles.get(load.buffer) == "in"
                steady = roles.get(load.buffer) == "in" and _moves(load, {v.name for v in variables})
                if packed and (_moves(load, names) or steady):
                    found.setdefault(at, False)
    for number, ((buffer, index), single) in enumerate(found.items()):
        kind = memory_type(writer.buffers[buffer])
        if not single and width > 1:
            kind = f"Pack<{kind}, {width}>"
        words, rest = divmod(writer.buffers[buffer].itemsize * width, 4)
        steady = not _mentions(index, names)
        yield EarlyLoad(buffer, index, kind, single, steady, 0 if rest or single else words, str(number))


def _moves(load: Load, names: set[str]) -> bool:
    """Whether an address depends on some of these loop variables, and on nothing that is computed."""
    return not any(isinstance(p, (Ref, Load)) for p in subexpressions(load.index)) and _mentions(load.index, names)


def _mentions(index: Expr, names: set[str]) -> bool:
    return any(isinstance(p, Var) and p.name in names for p in subexpressions(index))


def pack_words(writer: Writer, load: EarlyLoad, width: int) -> int:
    """32-bit words of a pack; of what all rows read, in the type that is computed in."""
    dtype = writer.buffers[load.buffer]
    return 0 if load.single else ceil_div((dtype.compute if load.steady else dtype).itemsize * width, 4)


def take_from_registers(writer: Writer, load: EarlyLoad, width: int) -> None:
    """Let what is computed of a row read a load from the registers that it was made into."""
    at = (load.buffer, load.index)
    name = load.array(writer, "all" if load.steady else "row")
    if load.single:
        writer.packs[at] = name
    elif width > 1:
        writer.held[at] = f"{name}[part]"
    else:
        writer.packs[at] = f"{name}[part]"


class Prefetch:
    """Writes the loads of a row that are made before it is computed.

    Args:
        writer: Writes the kernel.
        loads: The loads.
        rows: Loops over the rows of a stripe.
        columns: Loops over a row.
        share: How threads share a row.
        chunks: Packs of a row.
        width: Elements of a pack.
    """

    def __init__(
        self, writer: Writer, loads: Sequence[EarlyLoad], rows: Sequence[Var], columns: Sequence[Var], share: Share,
        chunks: int, width: int,
    ) -> None:  # fmt: skip
        self._writer = writer
        self._steady = [x for x in loads if x.steady]
        self._of_row = [x for x in loads if not x.steady]
        self._rows, self._columns = rows, columns
        self._share = share
        self._chunks, self._width = chunks, width

    def once(self) -> tuple[Tree, ...]:
        """Declares and loads what all rows read."""
        return (*self._declared(self._steady, "all"), *self._loads(self._steady, "all"))

    def first(self, height: int, ragged: bool) -> tuple[Tree, ...]:
        """Declares what holds the next row, and loads the first, which a stripe or a group of threads may not have."""
        first = "first + threadIdx.y" if height > 1 else "first"
        at = self._writer.unflatten(f"({first})" if height > 1 else first, self._rows)
        head = f"if ({first} < stop)" if ragged else ""
        return (*self._declared(self._of_row, "ahead"), Block(head, (*at, *self._loads(self._of_row, "ahead"))))

    def row(self, early: bool, height: int, counter: str) -> tuple[Tree, ...]:
        """Loads a row, or takes what was loaded before and loads the next, if the counter says that there is one."""
        declared = tuple(self._declared(self._of_row, "row"))
        if not early:
            return (*declared, *self._loads(self._of_row, "row"))
        count = self._writer.count
        at = self._writer.unflatten(f"(turn + {count(height)})", self._rows)
        more = Block(f"if ({counter} + {count(height)} < stop)", (*at, *self._loads(self._of_row, "ahead")))
        return (*declared, *self._copies(), more)

    def _declared(self, loads: Sequence[EarlyLoad], what: str) -> Iterator[Tree]:
        for x in loads:
            kind = f"Pack<unsigned, {x.words}>" if what == "ahead" and x.words else x.kind
            yield Line(f"{kind} {x.array(self._writer, what)}{'' if x.single else f'[{self._share.parts}]'};")

    def _copies(self) -> Iterator[Tree]:
        """Takes the row that was loaded ahead."""
        copied: list[Tree] = []
        for x in self._of_row:
            row, ahead = x.array(self._writer, "row"), x.array(self._writer, "ahead")
            if x.single:
                yield Line(f"{row} = {ahead};")
            else:
                take = f"take_words({row}[part], {ahead}[part]);" if x.words else f"{row}[part] = {ahead}[part];"
                copied.append(Line(take))
        if copied:
            yield Block(f"for (int part = 0; part < {self._share.parts}; ++part)", tuple(copied), ("unroll",))

    def _loads(self, loads: Sequence[EarlyLoad], what: str) -> Iterator[Tree]:
        writer = self._writer
        for x in loads:
            if x.single:
                yield Line(f"{x.array(writer, what)} = {writer.name(x.buffer)}[{writer.write(x.index)}];")
        packs = [x for x in loads if not x.single]
        if not packs:
            return
        body = self._packs(packs, what)
        if self._share.parts * self._share.threads != self._chunks:
            body = [Block(f"if (chunk < {writer.count(self._chunks)})", tuple(body))]
        chunk = Line(f"const {writer.flat} chunk = part * {writer.count(self._share.threads)} + thread;")
        yield Block(f"for (int part = 0; part < {self._share.parts}; ++part)", (chunk, *body), ("unroll",))

    def _packs(self, packs: Sequence[EarlyLoad], what: str) -> list[Tree]:
        """Loads one pack of each."""
        writer, last = self._writer, self._columns[-1]
        if self._width > 1:
            body: list[Tree] = [*first_of_pack(writer, "chunk", self._columns, self._width)]
            inner = writer.derive({last.name: f"{writer.name(last.name)}_first"})
        else:
            body = [*writer.unflatten("chunk", self._columns)]
            inner = writer
        for x in packs:
            at = f"{writer.name(x.buffer)} + {inner.write(x.index)}"
            if what == "ahead" and x.words:
                value = f"load_ahead<{x.words}>({at})"
            else:
                value = f"load_pack<{self._width}>({at})" if self._width > 1 else f"*({at})"
            body.append(Line(f"{x.array(writer, what)}[part] = {value};"))
        return body
