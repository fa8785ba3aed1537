"""Rows in stripes: a block walks the rows of one, and each thread keeps sums of the columns that are its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tracec.codegen.cuda_access import Packs, certain_loads, extent, find_packs, peel
from tracec.codegen.cuda_chunk import first_of_pack
from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import Entry, Head, alignments, ceil_div, head, lines
from tracec.codegen.cuda_rows import (
    ALL_LANES,
    SCRATCH,
    Stage,
    loop_nest,
    row_packs,
    row_space,
    scratch_words,
    share_stages,
)
from tracec.codegen.cuda_share import Share
from tracec.codegen.cuda_stripe_share import stripe_share
from tracec.codegen.cuda_writer import Writer
from tracec.codegen.render import render_template
from tracec.codegen.tree import Block, Line, Tree
from tracec.errors import CompileError
from tracec.ir.extent import is_varying
from tracec.ir.kernel import Expr, Kernel, Let, Load, Loop, Ref, Scratch, Stmt, Var, subexpressions


@dataclass(frozen=True, slots=True)
class Sum:
    """Sums of columns: their type and their name."""

    type: str
    name: str


@dataclass(frozen=True, slots=True)
class StripeView:
    """What ``stripe.j2`` needs; of a row what ``row_stages.j2`` does.

    Attributes:
        start: Where the stripe is, and the arrays of a thread.
        zeros: What sums start from.
        ahead: Loads of the first row, where a row is loaded while the one before it is computed.
        length: Rows of a stripe; the last one may have fewer.
        rows: Rows of all stripes, where the last one has fewer; else empty.
        group: Which of the groups of threads that each take a row a thread is in.
        groups: Rows that a block takes at a time.
        abreast: Whether all groups go through the loop equally often,
        uneven: and some of them once more than they have rows.
        turn: Where a row is, its loads, and those of the next.
        stages: What is computed of it.
        copies: Arrays that warps exchange an accumulator in, so that two rows do not meet; empty for one.
        copy: Which of them.
        sums: The sums that several groups of threads have to combine.
        height: How many groups there are.
        words: Elements of a sum that one thread has.
        lanes: Threads of a group.
        results: What writes the sums.
        lane_bits: A bit for each lane of a group, where groups of a warp meet by themselves; empty elsewhere.
        mask: The lanes that meet.
    """

    head: Head
    start: tuple[str, ...]
    zeros: tuple[Stage, ...]
    ahead: tuple[str, ...]
    length: str
    rows: str
    group: str
    groups: str
    abreast: bool
    uneven: bool
    turn: tuple[str, ...]
    stages: tuple[Stage, ...]
    copies: str
    copy: str
    sums: tuple[Sum, ...]
    height: int
    words: int
    lanes: int
    results: tuple[Stage, ...]
    share: str
    chunks: str
    warps_share: bool
    warps: int
    first_step: int
    lane_bits: str
    mask: str


@dataclass(frozen=True, slots=True)
class Held:
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


def stripe_entry(kernel: Kernel, name: str) -> Entry:
    """A function in which a block computes one stripe of rows, and what their columns sum to."""
    outer, body = peel(kernel.body)
    place = next((n for n, s in enumerate(body) if isinstance(s, Loop) and s.kind == "share"), None)
    if place is None:
        raise CompileError(f"kernel {kernel.name}: a stripe has no rows")
    inner, row = peel((body[place],), "share")
    writer = Writer(kernel)
    loops = tuple(s for s in (*body[:place], *row, *body[place + 1 :]) if isinstance(s, Loop))
    space = row_space((*(s for s in (*body, *row) if isinstance(s, Scratch)), *loops), kernel)
    width = max((p.width for p in row_packs(writer, row).values()), default=1)  # sums are written once
    memory = {b.name: b.dtype for b in kernel.buffers}
    packs = {id(s): find_packs(nest, v[-1], memory, width) for s in loops for v, nest in [loop_nest(s)]}
    held = tuple(_held(writer, row, packs, inner, width))
    chunks, rows = extent(space) // width, extent(inner)
    length = ceil_div(rows, extent(outer))
    ragged = is_varying((rows, length)) or length * extent(outer) != rows
    words = (sum(_words(writer, h, width) for h in held if h.steady is steady) for steady in (True, False))
    plan = stripe_share(chunks, length, scratch_words((*body, *row)) * width, *words)
    shared = _Shared(writer, chunks * width) if plan.share.in_shared else None
    share, height, early = plan.share, plan.height, plan.early
    held = tuple(h for h in held if share.parts and (plan.steady or not h.steady))
    warps = share.threads > 32
    uneven = ragged or length % height != 0
    # Groups of several warps meet in barriers of the whole block, and go through the loop side by side.
    abreast = height > 1 and (warps or not uneven)
    uneven = uneven and warps and abreast
    # Groups of lanes that leave the loop before others of their warp meet by themselves.
    apart = share.threads < 32 and (ragged or length % height != 0 or share.threads * height % 32 != 0)
    for stmt in (*body, *row):
        if isinstance(stmt, Scratch):
            writer.arrays[stmt.name] = ""
    arrays = shared or partial(_arrays, writer, share.parts * width)
    start = (*writer.unflatten("stripe", outer), *arrays(body), *(arrays(row) if shared else ()))
    fetch = _Fetch(writer, held, inner, space, share, chunks, width)
    start += fetch.once()
    ahead = fetch.ahead(height, ragged) if early else ()
    next_row = fetch.turn(early, height, "base" if abreast and not uneven else "turn")
    turn = (*writer.unflatten("turn", inner), *(() if shared else arrays(row)), *next_row)
    for h in held:
        _hold(writer, h, width)
    barrier = "__syncthreads();" if warps else "__syncwarp(lanes);" if apart else "__syncwarp();"

    def stages(part: Sequence[Stmt]) -> tuple[Stage, ...]:
        """Statements by who does them."""
        part = [s for s in part if not isinstance(s, Scratch)]
        found = {n: packs[id(s)] for n, s in enumerate(part) if id(s) in packs}
        return share_stages(writer, part, found, share, once, barrier)

    once = "live && thread == 0" if uneven else "thread == 0"
    writer.store_guard = writer.add_guard = "live" if uneven else ""
    computed = stages(row)
    once, writer.store_guard, writer.add_guard = "thread == 0", "", ""
    zeros = tuple(s for s in stages(body[:place]) if s.deal)
    if shared is None:  # registers for elements past the end are there
        zeros = tuple(replace(s, deal=replace(s.deal, guarded=False)) for s in zeros if s.deal)
    twice = warps and sum(bool(s.accs) for s in computed) == 1
    sums = [Sum(writer.dialect.types[s.dtype], writer.name(s.name)) for s in body if isinstance(s, Scratch)]
    threads = share.threads * height
    copies = [*([height] if warps and height > 1 else ()), *([2] if twice else ())]
    count = f"base / {writer.count(height)}" if height > 1 else "turn"
    copy = [*(["threadIdx.y"] if warps and height > 1 else ()), *([f"{count} % 2"] if twice else ())]
    view = StripeView(
        replace(head(writer, name, threads), blocks=plan.blocks), lines(start), zeros, lines(ahead),
        writer.count(length), writer.count(rows) if ragged else "", "threadIdx.y" if height > 1 else "",
        writer.count(height),
        abreast, uneven, lines(turn), computed,
        "".join(f"[{c}]" for c in copies), "".join(f"[{c}]" for c in copy),
        tuple(sums) if height > 1 else (), height, share.parts * width, share.threads, stages(body[place + 1 :]),
        writer.count(share.threads), writer.count(chunks), warps, share.threads // 32, min(share.threads, 32) // 2,
        f"{(1 << share.threads) - 1:#x}u" if apart else "", "lanes" if apart else ALL_LANES,
    )  # fmt: skip
    each = f"{share.threads} {'threads' if warps else 'lanes'}"
    who = f"a block of {threads}" if warps and height == 1 else f"{height} groups of {each}"
    wide = f", packs of {width}" if width > 1 else ""
    kept = " in shared memory" if share.in_shared else f", {share.parts} unrolled"
    schedule = f"{who} a stripe of {length} rows of {extent(space)}{kept}{wide}"
    return Entry(
        name, render_template("cuda/stripe.j2", k=view), (extent(outer), 1, 1), (share.threads, height, 1),
        shared.nbytes if shared else 0, alignments(kernel, packs.values()), schedule=schedule,
    )  # fmt: skip


def _held(
    writer: Writer, row: Sequence[Stmt], packs: Mapping[int, Packs], rows: Sequence[Var], width: int
) -> Iterator[Held]:
    """The loads of a row that hang on nothing that is computed."""
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
        yield Held(buffer, index, kind, single, steady, 0 if rest or single else words, str(number))


def _moves(load: Load, names: set[str]) -> bool:
    """Whether an address hangs on some of these loop variables, and on nothing that is computed."""
    return not any(isinstance(p, (Ref, Load)) for p in subexpressions(load.index)) and _mentions(load.index, names)


def _mentions(index: Expr, names: set[str]) -> bool:
    return any(isinstance(p, Var) and p.name in names for p in subexpressions(index))


def _words(writer: Writer, held: Held, width: int) -> int:
    """32-bit words of a pack; of what all rows read, in the type that is computed in."""
    dtype = writer.buffers[held.buffer]
    return 0 if held.single else ceil_div((dtype.compute if held.steady else dtype).itemsize * width, 4)


def _hold(writer: Writer, held: Held, width: int) -> None:
    """Let what is computed of a row take a load from where it is held."""
    at = (held.buffer, held.index)
    name = f"{writer.name(held.buffer)}_{'all' if held.steady else 'row'}{held.name}"
    if held.single:
        writer.packs[at] = name
    elif width > 1:
        writer.held[at] = f"{name}[part]"
    else:
        writer.packs[at] = f"{name}[part]"


def _arrays(writer: Writer, size: int, body: Sequence[Stmt]) -> tuple[Tree, ...]:
    """Declarations of scratch of so many elements."""
    return tuple(
        Line(f"{writer.dialect.types[s.dtype]} {writer.name(s.name)}[{size}];") for s in body if isinstance(s, Scratch)
    )


class _Shared:
    """Declarations of scratch in shared memory: of all of the row, where each thread has its own part."""

    def __init__(self, writer: Writer, size: int) -> None:
        self.writer, self.size = writer, size
        self.nbytes = 0

    def __call__(self, body: Sequence[Stmt]) -> Iterator[Tree]:
        for s in body:
            if isinstance(s, Scratch):
                if not self.nbytes:
                    yield Line(SCRATCH)
                kind, name = self.writer.dialect.types[s.dtype], self.writer.name(s.name)
                yield Line(f"{kind} *const {name} = reinterpret_cast<{kind} *>(scratch + {self.nbytes});")
                self.nbytes += -(-self.size * s.dtype.itemsize // 16) * 16


class _Fetch:
    """Writes the loads of a row that are made before it is computed."""

    def __init__(
        self, writer: Writer, held: Sequence[Held], rows: Sequence[Var], space: Sequence[Var], share: Share,
        chunks: int, width: int,
    ) -> None:  # fmt: skip
        self.writer = writer
        self.steady = [h for h in held if h.steady]
        self.held = [h for h in held if not h.steady]
        self.rows = rows
        self.space = space
        self.share = share
        self.chunks = chunks
        self.width = width

    def once(self) -> tuple[Tree, ...]:
        """Declares and loads what all rows read."""
        return (*self._declared(self.steady, "all"), *self._loads(self.steady, "all"))

    def ahead(self, height: int, ragged: bool) -> tuple[Tree, ...]:
        """Declares what holds the next row, and loads the first, which a stripe or a group of threads may not have."""
        first = "first + threadIdx.y" if height > 1 else "first"
        at = self.writer.unflatten(f"({first})" if height > 1 else first, self.rows)
        head = f"if ({first} < stop)" if ragged else ""
        return (*self._declared(self.held, "ahead"), Block(head, (*at, *self._loads(self.held, "ahead"))))

    def turn(self, early: bool, height: int, counter: str) -> tuple[Tree, ...]:
        """Loads a row, or takes what was loaded before and loads the next, if the counter says that there is one."""
        declared = tuple(self._declared(self.held, "row"))
        if not early:
            return (*declared, *self._loads(self.held, "row"))
        count = self.writer.count
        at = self.writer.unflatten(f"(turn + {count(height)})", self.rows)
        more = Block(f"if ({counter} + {count(height)} < stop)", (*at, *self._loads(self.held, "ahead")))
        return (*declared, *self._copies(), more)

    def _name(self, held: Held, what: str) -> str:
        return f"{self.writer.name(held.buffer)}_{what}{held.name}"

    def _declared(self, held: Sequence[Held], what: str) -> Iterator[Tree]:
        for h in held:
            kind = f"Pack<unsigned, {h.words}>" if what == "ahead" and h.words else h.kind
            yield Line(f"{kind} {self._name(h, what)}{'' if h.single else f'[{self.share.parts}]'};")

    def _copies(self) -> Iterator[Tree]:
        copied: list[Tree] = []
        for h in self.held:
            row, ahead = self._name(h, "row"), self._name(h, "ahead")
            if h.single:
                yield Line(f"{row} = {ahead};")
            else:
                copied.append(
                    Line(f"take_words({row}[part], {ahead}[part]);" if h.words else f"{row}[part] = {ahead}[part];")
                )
        if copied:
            yield Block(f"for (int part = 0; part < {self.share.parts}; ++part)", tuple(copied), ("unroll",))

    def _loads(self, held: Sequence[Held], what: str) -> Iterator[Tree]:
        writer, last = self.writer, self.space[-1]
        for h in held:
            if h.single:
                yield Line(f"{self._name(h, what)} = {writer.name(h.buffer)}[{writer.write(h.index)}];")
        packs = [h for h in held if not h.single]
        if not packs:
            return
        threads = self.share.threads
        body: list[Tree] = []
        if self.width > 1:
            body += first_of_pack(writer, "chunk", self.space, self.width)
            inner = writer.derive({last.name: f"{writer.name(last.name)}_first"})
        else:
            body += writer.unflatten("chunk", self.space)
            inner = writer
        for h in packs:
            at = f"{writer.name(h.buffer)} + {inner.write(h.index)}"
            if what == "ahead" and h.words:
                value = f"load_ahead<{h.words}>({at})"
            else:
                value = f"load_pack<{self.width}>({at})" if self.width > 1 else f"*({at})"
            body.append(Line(f"{self._name(h, what)}[part] = {value};"))
        if self.share.parts * threads != self.chunks:
            body = [Block(f"if (chunk < {writer.count(self.chunks)})", tuple(body))]
        chunk = Line(f"const {writer.flat} chunk = part * {writer.count(threads)} + thread;")
        yield Block(f"for (int part = 0; part < {self.share.parts}; ++part)", (chunk, *body), ("unroll",))
