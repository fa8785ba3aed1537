"""Rows in stripes: a block walks the rows of one, and each thread keeps sums of the columns that are its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tracec.codegen.cuda_access import extent, find_packs, peel
from tracec.codegen.cuda_entry import Entry, Function, View, alignments, ceil_div, head, lines
from tracec.codegen.cuda_row_body import loop_nest, row_packs, row_space, scratch_words
from tracec.codegen.cuda_row_stages import Stage, share_stages
from tracec.codegen.cuda_rows import ALL_LANES, SCRATCH
from tracec.codegen.cuda_stripe_loads import EarlyLoad, Prefetch, early_loads, pack_words, take_from_registers
from tracec.codegen.cuda_stripe_share import Plan, stripe_share
from tracec.codegen.cuda_writer import Writer
from tracec.codegen.tree import Line, Tree
from tracec.errors import CompileError
from tracec.ir.extent import is_varying
from tracec.ir.kernel import Kernel, Loop, Scratch, Stmt, Var


@dataclass(frozen=True, slots=True)
class Sum:
    """Sums of columns: their type and their name."""

    type: str
    name: str


@dataclass(frozen=True, slots=True)
class StripeView(View):
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
class _Nest:
    """The loops of a stripe.

    Attributes:
        stripes: Loops over stripes.
        before: What is done before the rows: sums begin.
        rows: Loops over the rows of a stripe.
        row: What is computed of a row.
        after: What is done behind the rows: sums are written.
        columns: Loops over a row.
    """

    stripes: tuple[Var, ...]
    before: tuple[Stmt, ...]
    rows: tuple[Var, ...]
    row: tuple[Stmt, ...]
    after: tuple[Stmt, ...]
    columns: tuple[Var, ...]

    @property
    def loops(self) -> tuple[Loop, ...]:
        """All loops over columns."""
        return tuple(s for s in (*self.before, *self.row, *self.after) if isinstance(s, Loop))

    @property
    def scratch(self) -> tuple[Scratch, ...]:
        """What is kept of a row, and of its columns."""
        return tuple(s for s in (*self.before, *self.after, *self.row) if isinstance(s, Scratch))


def _nest(kernel: Kernel) -> _Nest:
    stripes, body = peel(kernel.body)
    place = next((n for n, s in enumerate(body) if isinstance(s, Loop) and s.kind == "share"), None)
    if place is None:
        raise CompileError(f"kernel {kernel.name}: a stripe has no rows")
    rows, row = peel((body[place],), "share")
    nest = _Nest(stripes, tuple(body[:place]), rows, tuple(row), tuple(body[place + 1 :]), ())
    return replace(nest, columns=row_space((*nest.scratch, *nest.loops), kernel))


@dataclass(frozen=True, slots=True)
class _Turns:
    """How threads take the rows of a stripe.

    Attributes:
        plan: How many threads take a row, and how many rows a block takes at a time.
        length: Rows of a stripe.
        ragged: Whether the last stripe has fewer.
    """

    plan: Plan
    length: int
    ragged: bool

    @property
    def warps(self) -> bool:
        """Whether several warps share a row: they meet in barriers of the whole block."""
        return self.plan.share.threads > 32

    @property
    def _runs_out(self) -> bool:
        return self.ragged or self.length % self.plan.height != 0

    @property
    def abreast(self) -> bool:
        """Whether all groups of threads go through the loop equally often, as groups of several warps have to."""
        return self.plan.height > 1 and (self.warps or not self._runs_out)

    @property
    def uneven(self) -> bool:
        """Whether some of them then go through it once more than they have rows."""
        return self._runs_out and self.warps and self.abreast

    @property
    def apart(self) -> bool:
        """Whether groups of lanes leave the loop before others of their warp, so that each meets by itself."""
        threads = self.plan.share.threads
        return threads < 32 and (self._runs_out or threads * self.plan.height % 32 != 0)

    @property
    def barrier(self) -> str:
        """Waits for all threads that share a row."""
        return "__syncthreads();" if self.warps else "__syncwarp(lanes);" if self.apart else "__syncwarp();"

    def describe(self, columns: int, width: int) -> str:
        """How loops map to threads, for readers."""
        share, height = self.plan.share, self.plan.height
        each = f"{share.threads} {'threads' if self.warps else 'lanes'}"
        who = f"a block of {share.threads}" if self.warps and height == 1 else f"{height} groups of {each}"
        kept = " in shared memory" if share.in_shared else f", {share.parts} unrolled"
        wide = f", packs of {width}" if width > 1 else ""
        return f"{who} a stripe of {self.length} rows of {columns}{kept}{wide}"


def stripe_entry(kernel: Kernel, name: str) -> Entry:
    """A function in which a block computes one stripe of rows, and what their columns sum to."""
    return _StripeWriter(kernel, name).entry()


class _StripeWriter:
    """Writes the function of a stripe."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.kernel, self.name = kernel, name
        self.nest = nest = _nest(kernel)
        self.writer = writer = Writer(kernel)
        #: Elements of a pack, as rows are read by them: sums are written only once.
        self.width = width = max((p.width for p in row_packs(writer, nest.row).values()), default=1)
        memory = {b.name: b.dtype for b in kernel.buffers}
        self.packs = {id(s): find_packs(body, v[-1], memory, width) for s in nest.loops for v, body in [loop_nest(s)]}
        self.chunks = extent(nest.columns) // width
        loads = tuple(early_loads(writer, nest.row, self.packs, nest.rows, width))
        self.turns = self._turns(loads)
        plan = self.turns.plan
        self.share, self.height = plan.share, plan.height
        self.loads = tuple(x for x in loads if plan.share.parts and (plan.steady or not x.steady))
        for scratch in nest.scratch:
            writer.arrays[scratch.name] = ""

    def _turns(self, loads: Sequence[EarlyLoad]) -> _Turns:
        nest, width = self.nest, self.width
        rows = extent(nest.rows)
        length = ceil_div(rows, extent(nest.stripes))
        words = (
            sum(pack_words(self.writer, x, width) for x in loads if x.steady is steady) for steady in (True, False)
        )
        plan = stripe_share(self.chunks, length, scratch_words(nest.scratch) * width, *words)
        return _Turns(plan, length, is_varying((rows, length)) or length * extent(nest.stripes) != rows)

    def entry(self) -> Entry:
        """The function, and how it is launched."""
        shared = _Shared(self.writer, self.chunks * self.width) if self.share.in_shared else None
        view = self._view(shared)
        return Entry(
            Function("stripe", view), (extent(self.nest.stripes), 1, 1),
            (self.share.threads, self.height, 1), shared.nbytes if shared else 0,
            alignments(self.kernel, self.packs.values()),
            schedule=self.turns.describe(extent(self.nest.columns), self.width),
        )  # fmt: skip

    def _view(self, shared: _Shared | None) -> StripeView:
        nest, writer, turns, share, height = self.nest, self.writer, self.turns, self.share, self.height
        early = turns.plan.early
        arrays = shared or partial(_arrays, writer, share.parts * self.width)
        start = (*writer.unflatten("stripe", nest.stripes), *arrays((*nest.before, *nest.after)))
        start += tuple(arrays(nest.row)) if shared else ()
        fetch = Prefetch(writer, self.loads, nest.rows, nest.columns, share, self.chunks, self.width)
        start += fetch.once()
        ahead = fetch.first(height, turns.ragged) if early else ()
        loaded = fetch.row(early, height, "base" if turns.abreast and not turns.uneven else "turn")
        turn = (*writer.unflatten("turn", nest.rows), *(() if shared else arrays(nest.row)), *loaded)
        for load in self.loads:
            take_from_registers(writer, load, self.width)
        stages = self._stages(nest.row, "live" if turns.uneven else "")
        zeros = tuple(s for s in self._stages(nest.before) if s.deal)
        if shared is None:  # registers for elements past the end are there
            zeros = tuple(replace(s, deal=replace(s.deal, guarded=False)) for s in zeros if s.deal)
        copies = self._copies(stages)
        threads, rows = share.threads, extent(nest.rows)
        return StripeView(
            head=head(writer, self.name, threads * height).leaving_room(turns.plan.blocks),
            start=lines(start),
            zeros=zeros,
            ahead=lines(ahead),
            length=writer.count(turns.length),
            rows=writer.count(rows) if turns.ragged else "",
            group="threadIdx.y" if height > 1 else "",
            groups=writer.count(height),
            abreast=turns.abreast,
            uneven=turns.uneven,
            turn=lines(turn),
            stages=stages,
            copies="".join(f"[{count}]" for count, _ in copies),
            copy="".join(f"[{which}]" for _, which in copies),
            sums=self._sums() if height > 1 else (),
            height=height,
            words=share.parts * self.width,
            lanes=threads,
            results=self._stages(nest.after),
            share=writer.count(threads),
            chunks=writer.count(self.chunks),
            warps_share=turns.warps,
            warps=threads // 32,
            first_step=min(threads, 32) // 2,
            lane_bits=f"{(1 << threads) - 1:#x}u" if turns.apart else "",
            mask="lanes" if turns.apart else ALL_LANES,
        )

    def _stages(self, part: Sequence[Stmt], live: str = "") -> tuple[Stage, ...]:
        """Statements by who does them; ``live`` is the condition under which a thread has a row to do them for."""
        part = [s for s in part if not isinstance(s, Scratch)]
        packs = {n: self.packs[id(s)] for n, s in enumerate(part) if id(s) in self.packs}
        self.writer.store_guard = self.writer.add_guard = live
        once = f"{live} && thread == 0" if live else "thread == 0"
        return share_stages(self.writer, part, packs, self.share, once, self.turns.barrier)

    def _copies(self, stages: Sequence[Stage]) -> list[tuple[int, str]]:
        """Copies of the arrays in which warps exchange an accumulator, and which of them a row takes.

        Each group of threads has its own. Where a row has one exchange, rows take two by turns: no warp writes over
        what another still reads of the row before.
        """
        if not self.turns.warps:
            return []
        copies = [(self.height, "threadIdx.y")] if self.height > 1 else []
        if sum(bool(s.accs) for s in stages) == 1:
            count = f"base / {self.writer.count(self.height)}" if self.height > 1 else "turn"
            copies.append((2, f"{count} % 2"))
        return copies

    def _sums(self) -> tuple[Sum, ...]:
        writer = self.writer
        kept = (s for s in (*self.nest.before, *self.nest.after) if isinstance(s, Scratch))
        return tuple(Sum(writer.dialect.types[s.dtype], writer.name(s.name)) for s in kept)


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
