"""What a block holds of a row that several loops read: packs as they are in memory, in registers and shared memory.

Rows that fit so are read once, though what is computed of them does not fit: of 16-bit floats there is twice as much
room for what is read as for what is computed of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_access import Packs, certain_loads
from tracec.codegen.cuda_chunk import first_of_pack
from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import ceil_div
from tracec.codegen.cuda_registers import FEW_REGISTERS
from tracec.codegen.cuda_share import Share
from tracec.codegen.cuda_writer import Writer
from tracec.codegen.tree import Line, Tree
from tracec.ir.kernel import Expr, Loop, Stmt, Store, Var, subexpressions, walk

#: Elements of a row that a thread of few registers holds at most: all loops over them are unrolled.
MOST_EACH = 52
#: The same of what is in registers, where what is in shared memory has loops of its own.
NEAR_EACH = 64
#: Bytes that go to shared memory without a register between.
COPIED = (4, 8, 16)


@dataclass(frozen=True, slots=True)
class Load:
    """A load that several loops over a row do.

    Attributes:
        buffer: What is loaded.
        index: Where.
        first: The place of the first such loop among the row's statements.
        last: That of the last.
        name: The array in registers; that in shared memory has a ``_far`` behind it.
        near: How many of a thread's packs are in registers; the others are in shared memory.
        offset: Where these begin.
        scratch: What takes its place from the last such loop on; empty for nothing.
    """

    buffer: str
    index: Expr
    first: int
    last: int
    name: str
    near: int
    offset: int
    scratch: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """Loads that are held.

    Attributes:
        loads: They.
        parts: Packs of each thread; 0 where all are in shared memory.
        shared_bytes: Shared memory that they take.
        split: How many packs of a thread are in registers, of each load alike, where the others have a loop of their
            own; 0 where they have none.
    """

    loads: tuple[Load, ...]
    parts: int
    shared_bytes: int
    split: int = 0


def find_hold(
    writer: Writer, body: Sequence[Stmt], packs: Mapping[int, Packs], chunks: int, room: tuple[int, int], share: Share,
    alike: bool = False, scratch: str = "",
) -> Hold | None:  # fmt: skip
    """Where all that several loops read of a row is held; None where there is no room, or no such loads.

    Args:
        writer: Writes the kernel.
        body: Statements of one row.
        packs: Of each loop, by its place.
        chunks: Packs of a row.
        room: Words of each thread's registers, and bytes of a block's shared memory.
        share: The threads.
        alike: Whether as many packs of each load are in registers, as many as there is room for.
        scratch: An array that is to take the place of a load.
    """
    width = max((p.width for p in packs.values()), default=1)
    candidates = _candidates(writer, body, packs)
    place_of = _left_for(writer, body, candidates, scratch) if scratch else None
    if scratch and place_of is None:
        return None
    sizes = {b: writer.buffers[b].itemsize * width for b, _ in candidates}
    if not candidates or not chunks:
        return None
    words, nbytes = room
    parts = ceil_div(chunks, share.threads)
    most = chunks if share.blocks == 1 else parts * share.each  # of a block
    # In shared memory alone, where all fits: loops are then no longer than they need to be.
    for tried in (words,) if alike else dict.fromkeys((0, words)):
        long = chunks * width * FEW_REGISTERS > MOST_EACH * share.threads * share.registers
        if tried and (width == 1 or (long and not alike)):
            return None
        common = min(_alike(candidates, sizes, tried), NEAR_EACH // width) if alike else parts
        # By place: words that are live in its loop, and where the shared memory that is free then begins.
        taken, ends = dict.fromkeys(packs, 0), dict.fromkeys(packs, 0)
        found: list[Load] = []
        for (buffer, index), places in candidates.items():
            first, last = min(places), max(places)
            each = ceil_div(sizes[buffer], 4)
            kept = scratch if (buffer, index) == place_of else ""
            # It is loaded before the first, as others are still read.
            within = [p for p in packs if first <= p and (p <= last or kept)]
            near = max(min(parts, common, (tried - max(taken[p] for p in within)) // each), 0)
            # What a thread no longer needs gives way to what is dealt out as it was: no other thread has it.
            offset = max(ends[p] for p in (within if len({*sizes.values()}) == 1 else ends))
            end = offset + -(-max(most - near * share.each, 0) * sizes[buffer] // 16) * 16
            for p in within:
                taken[p], ends[p] = taken[p] + near * each, end
            name = f"{writer.name(buffer)}_row{len(found)}"
            found.append(Load(buffer, index, first, last, name, near, offset, kept))
        if max(ends.values()) <= nbytes:
            split = common if alike and 0 < common < parts else 0
            return Hold(tuple(found), parts if min(tried, common) else 0, max(ends.values()), split)
    return None  # what is left over, a compiler would keep in registers that are not there


def _alike(candidates: Mapping[tuple[str, Expr], Sequence[int]], sizes: Mapping[str, int], words: int) -> int:
    """How many packs of each load so many registers have room for, if they are to be as many."""
    places = {p for found in candidates.values() for p in found}
    live = (sum(ceil_div(sizes[b], 4) for (b, _), found in candidates.items() if min(found) <= p) for p in places)
    return words // max(live)


def _left_for(
    writer: Writer, body: Sequence[Stmt], candidates: Mapping[tuple[str, Expr], Sequence[int]], scratch: str
) -> tuple[str, Expr] | None:
    """A load that no loop reads any more behind the one that fills an array of scratch, and that takes as much room."""
    filled = [p for p, s in enumerate(body) if any(isinstance(x, Store) and x.buffer == scratch for x in walk((s,)))]
    kind = writer.buffers[scratch]
    fit = (at for at, places in candidates.items() if filled == [max(places)])
    return next((at for at in fit if writer.buffers[at[0]] == kind and kind.itemsize >= 4), None)


def hold_near(writer: Writer, body: Sequence[Stmt], packs: Mapping[int, Packs], parts: int) -> Hold | None:
    """All that several loops read of a row in a thread's registers, where a compiler would keep what it computes of it.

    Args:
        writer: Writes the kernel.
        body: Statements of one row.
        packs: Of each loop, by its place.
        parts: Packs of each thread.
    """
    found = [
        Load(buffer, index, min(places), max(places), f"{writer.name(buffer)}_row{number}", parts, 0)
        for number, ((buffer, index), places) in enumerate(_candidates(writer, body, packs).items())
    ]
    return Hold(tuple(found), parts, 0) if found else None


def _candidates(writer: Writer, body: Sequence[Stmt], packs: Mapping[int, Packs]) -> dict[tuple[str, Expr], list[int]]:
    """Loads that several loops do, those of the most loops first, and the loops' places."""
    roles = {b.name: b.role for b in writer.kernel.buffers}
    width = max((p.width for p in packs.values()), default=1)
    stored = {at for pack in packs.values() for at in pack.stores}
    found: dict[tuple[str, Expr], list[int]] = {}
    for place, pack in packs.items():
        loop = body[place]
        assert isinstance(loop, Loop)
        names = {s.var.name for s in (loop, *walk(loop.body)) if isinstance(s, Loop)}
        loads = [(x.buffer, x.index) for x in certain_loads(s for s in walk(loop.body) if not isinstance(s, Loop))]
        for at in dict.fromkeys(loads):
            # What is written over where it is read is read by the thread that writes it, and before.
            steady = roles.get(at[0]) == "in" or (at in stored and width > 1)
            packed = (
                at in pack.loads
                if width > 1
                else any(isinstance(e, Var) and e.name in names for e in subexpressions(at[1]))
            )
            if at[0] in roles and steady and packed:
                found.setdefault(at, []).append(place)
    several = {at: places for at, places in found.items() if len(places) > 1}
    return dict(sorted(several.items(), key=lambda item: -len(item[1])))


class Holder:
    """Writes what is held of a row, and lets loops take it from there.

    Args:
        writer: Writes the kernel.
        hold: What is held.
        space: The loops over a row.
        chunks: Packs of a row.
        width: Elements of a pack.
        offset: Where the shared memory that is left begins.
        share: The threads that share the row.
    """

    def __init__(
        self, writer: Writer, hold: Hold, space: Sequence[Var], chunks: int, width: int, offset: int, share: Share
    ) -> None:
        self.writer, self.hold, self.space, self.share = writer, hold, space, share
        self.chunks, self.width, self.offset = chunks, width, offset
        for load in hold.loads:
            held = f"{load.name}_now"
            if width > 1:
                writer.held[load.buffer, load.index] = held
            else:
                writer.packs[load.buffer, load.index] = held

    def _kind(self, load: Load) -> str:
        kind = memory_type(self.writer.buffers[load.buffer])
        return f"Pack<{kind}, {self.width}>" if self.width > 1 else kind

    def declared(self) -> tuple[Tree, ...]:
        """The arrays."""
        found: list[Tree] = []
        for load in self.hold.loads:
            kind = self._kind(load)
            if load.near:
                found.append(Line(f"{kind} {load.name}[{load.near}];"))
            if not load.near or load.near < self.hold.parts:
                start = self.offset + load.offset
                found.append(Line(f"{kind} *const {load.name}_far = reinterpret_cast<{kind} *>(scratch + {start});"))
            if load.scratch:
                found += self._scratch(load)
        return tuple(found)

    def _scratch(self, load: Load) -> Iterator[Tree]:
        """The array that takes a load's place, under its own name."""
        writer, near = self.writer, load.near
        kind, name = writer.dialect.types[writer.buffers[load.scratch]], writer.name(load.scratch)
        writer.arrays[load.scratch] = ""
        yield Line(f"{kind} *const {name} = reinterpret_cast<{kind} *>({load.name}{'' if near else '_far'});")
        if 0 < near < self.hold.parts:
            yield Line(f"{kind} *const {name}_far = reinterpret_cast<{kind} *>({load.name}_far);")

    def beyond(self) -> Writer:
        """Writes what is done of packs in shared memory, where those in registers have a loop of their own."""
        names = (h.scratch for h in self.hold.loads if h.scratch)
        return self.writer.derive({name: f"{self.writer.name(name)}_far" for name in names})

    def fetched(self, place: int, where: str = "") -> tuple[Tree, ...]:
        """Loads the packs that the loop at a place is the first to read; those of chunk ``chunk``.

        Args:
            place: The loop's place.
            where: ``near`` for packs in registers, ``far`` for those in shared memory, which ``own`` counts; empty
                where that is told by the chunk.
        """
        writer, loads = self.writer, [h for h in self.hold.loads if h.first == place]
        if not loads:
            return ()
        if self.width > 1:
            last = self.space[-1]
            at = list(first_of_pack(writer, "chunk", self.space, self.width))
            inner = writer.derive({last.name: f"{writer.name(last.name)}_first"})
        else:
            at, inner = list(writer.unflatten("chunk", self.space)), writer
        for load in loads:
            source = f"{writer.name(load.buffer)} + {inner.write(load.index)}"
            text = f"{{}} = load_pack<{self.width}>({source});" if self.width > 1 else f"{{}} = *({source});"
            far = text
            if self._is_copied(load):
                far = f"copy_ahead<{writer.buffers[load.buffer].itemsize * self.width}>(&{{}}, {source});"
            at += self._either(load, text, far, where)
        return tuple(at)

    def awaited(self, place: int) -> tuple[Tree, ...]:
        """Waits for what the loop at a place is the first to read, as far as it is on its way to shared memory."""
        far = (h for h in self.hold.loads if h.first == place and (not h.near or self.hold.split))
        return (Line("await_copies();"),) if any(map(self._is_copied, far)) else ()

    def _is_copied(self, load: Load) -> bool:
        """Whether what has its place in shared memory comes there without a register between."""
        return self.writer.buffers[load.buffer].itemsize * self.width in COPIED

    def taken(self, place: int, where: str = "") -> tuple[Tree, ...]:
        """Names what the loop at a place reads of the packs of chunk ``chunk``; ``where`` as for `fetched`."""
        found: list[Tree] = []
        for load in self.hold.loads:
            if load.first <= place <= load.last:
                found.append(Line(f"{self._kind(load)} {load.name}_now;"))
                text = f"{load.name}_now = {{}};"
                found += [*self._either(load, text, text, where), Line(f"forget({load.name}_now);")]
        return tuple(found)

    def _either(self, load: Load, text: str, text_far: str, where: str) -> list[Tree]:
        """A statement about a pack, wherever it is."""
        near, far, own = f"{load.name}[part]", f"{load.name}_far", "own" if where == "far" else self.share.own
        if where == "far" or not load.near:
            return [Line(text_far.format(f"{far}[{own}]"))]
        if where == "near" or load.near == self.hold.parts:
            return [Line(text.format(near))]
        first = self.writer.count(load.near * self.share.each)
        return [Line(f"if (part < {load.near}) {text.format(near)} else {text.format(f'{far}[{own} - {first}]')}")]
