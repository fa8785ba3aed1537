"""A plan as C: one function a kernel, and one entry that runs the steps in order.

The entry is ``void tracec_run(void *const *io, char *arena, const struct tracec_lib *lib)``: io holds the
pointers of the plan's inputs, then of its outputs; arena is memory for intermediate values, aligned to 64
bytes; lib holds the routines that the runtime found (see ``templates/c/lib.j2``). Where a step is the eager rule of an
operator, which Python runs, the steps up to it have an entry of their own, and so have those after it. To be timed,
each step has one.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from tracec.codegen import c_between, c_fused, c_library, c_structured
from tracec.codegen.c_alike import alike
from tracec.codegen.c_contraction import loops_of_contractions, render_contraction
from tracec.codegen.c_cost import nest_units
from tracec.codegen.c_joined import part_joined
from tracec.codegen.c_lanes import lay_side_by_side
from tracec.codegen.c_loops import LoopWriter, hoist, without_empty_loops, written_names
from tracec.codegen.c_parts import part_loops
from tracec.codegen.c_pieces import shared
from tracec.codegen.c_prelude import prelude
from tracec.codegen.c_rows import RowWriter, choose_rows
from tracec.codegen.c_select import mask_selections
from tracec.codegen.c_source import Function, Head, Parameter, Statement, comments, parameters
from tracec.codegen.c_tiles import TileWriter
from tracec.codegen.c_transpose import TransposeWriter
from tracec.codegen.c_unroll import unroll_short_loops
from tracec.codegen.c_windows import pad_windows
from tracec.codegen.render import render_template
from tracec.codegen.sizes import Name, Table, names_in
from tracec.ir.extent import is_varying, like, plain, writing
from tracec.ir.kernel import Kernel, Loop
from tracec.ir.plan import Branch, Launch, LibraryCall, Plan, Repeat, While, bodies_of, may_vary

ENTRY = "tracec_run"
#: Parameters of entries and bodies.
_PARAMETERS = (
    Parameter("void *const *", "io"), Parameter("char *", "arena"), Parameter("const struct tracec_lib *", "lib")
)  # fmt: skip
#: Characters of kernels for each of which there is a unit, up to so many: compilers run side by side.
PER_UNIT, MOST_UNITS = 12_000, 8
#: Calls one after another, which entries are, are compiled as fast as an eighth as many characters of kernels.
CALLS = 8
#: Results from this size on do not stay in the cache, so writing past it costs the next reader nothing.
MIN_PAST_CACHE = 32 << 20
#: The same for results that no step of the program reads: whatever its caller does next comes first.
MIN_LEAVING = 8 << 20
#: Units of `nest_units` for each byte of its buffers up to which such a kernel waits for memory; one that computes
#: more than it waits gains nothing from strips.
MAX_UNITS_PER_BYTE = 2
#: Pointers that are told to be apart; with the square of their number grows what a compiler takes for that.
MOST_RESTRICTED = 64
#: Shapes whose loops are cut into tiles or blocks; the others are plain nests.
_WRITERS: dict[str, type[LoopWriter]] = {
    **dict.fromkeys(("column", "scan", "scatter", "contraction"), TileWriter),
    **dict.fromkeys(("map", "transpose"), TransposeWriter),
}


@dataclass(frozen=True, slots=True)
class CProgram:
    """C source of a plan.

    Attributes:
        units: Translation units, to be compiled each by itself and linked; the first holds the entries. There are
            none where nothing is to be compiled.
        parts: What to run, in order: symbols of entries, and steps that are eager rules.
        kernels: Function name → its source, for readers.
        sizes: Integers that vary with the sizes of a call, which the entries find behind the pointers of outputs.
        reals: Floats that do, behind them.
    """

    units: tuple[str, ...]
    parts: tuple[str | LibraryCall, ...]
    kernels: dict[str, str]
    sizes: tuple[int, ...] = ()
    reals: tuple[float, ...] = ()

    @property
    def of_one_size(self) -> tuple[str, ...]:
        """The kernels that are written anew for each size, where sizes vary: none."""
        return ()

    def __str__(self) -> str:
        return "\n".join(self.units)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a plan.

    Attributes:
        name: Its symbol.
        steps: Its statements.
        blas: Whether they call BLAS.
        tables: Where the tables of numbers that vary are among its pointers; empty where there are none.
        numbers: Those of their numbers that it names.
        asks: Whether what it calls asks for memory.
        defines: Whether it has the definition of what tells that there was none.
    """

    name: str
    steps: tuple[str, ...]
    blas: bool
    tables: tuple[int, ...]
    numbers: tuple[Name, ...]
    asks: bool
    defines: bool


def render(plan: Plan, apart: bool = False) -> CProgram:
    """The C source of a plan.

    Args:
        plan: What to write.
        apart: Whether each step has an entry of its own.
    """
    table = Table()
    if not may_vary(plan):
        return _rendered(plan, table, apart)
    with writing(table.write):
        return _rendered(plan, table, apart)


def _rendered(plan: Plan, table: Table, apart: bool) -> CProgram:
    functions = _Functions()
    functions.add_kernels(plan)
    parts: list[str | LibraryCall] = []
    entries: dict[str, list[Statement]] = {}

    def entry() -> list[Statement]:
        """Statements of the entry that is being written."""
        if apart or not parts or isinstance(parts[-1], LibraryCall):
            parts.append(f"{ENTRY}{len(entries) or ''}")
        return entries.setdefault(str(parts[-1]), [])

    for numbers in together(plan):
        step = plan.steps[numbers[0]]
        if isinstance(step, LibraryCall) and step.routine == "eager":
            parts.append(step)
        else:
            entry().extend(functions.statements(plan, numbers))
    kernels = [f.with_tables() for f in shared(alike(functions.functions))]
    kernels += loops_of_contractions(kernels)
    varies = bool(table.sizes or table.reals)
    with_tables = {f.name for f in kernels if f.head.has_tables} | (set(functions.bodies) if varies else set())
    asking = _asking(kernels, functions.bodies)
    bodies = [_body(name, steps, with_tables, asking).source for name, steps in functions.bodies.items()]
    first = len(plan.inputs) + len(plan.outputs)
    tables = (first, first + 1) if varies else ()
    written = [
        _entry(name, steps, with_tables, tables, asking, defines=n == 0 and bool(asking))
        for n, (name, steps) in enumerate(entries.items())
    ]
    text = "\n".join([*bodies, *written])
    units = _units(kernels, text) if entries else ()
    return CProgram(units, tuple(parts), _for_readers(kernels), tuple(table.sizes), tuple(table.reals))


def _asking(functions: Iterable[Function], bodies: Mapping[str, Sequence[Statement]]) -> frozenset[str]:
    """The functions that ask for memory, and the bodies that call them; a body stands behind those that it calls."""
    found = {f.name for f in functions if f.asks}
    for name, statements in bodies.items():
        if any(not found.isdisjoint(s.callees) for s in statements):
            found.add(name)
    return frozenset(found)


def _body(name: str, statements: Iterable[Statement], with_tables: Set[str], asking: Set[str]) -> Function:
    """The function of a loop's or branch's body, which is called as entries are."""
    steps = [s.written(with_tables, asking, "return") for s in statements]
    head = Head(name, _PARAMETERS, has_tables=name in with_tables, numbers=names_in("\n".join(steps)))
    return Function(head, "".join(f"  {s}\n" for s in steps))


def _entry(
    name: str, statements: Sequence[Statement], with_tables: Set[str], tables: tuple[int, ...], asking: Set[str], *,
    defines: bool,
) -> str:  # fmt: skip
    """An entry.

    Args:
        name: Its symbol.
        statements: What it does.
        with_tables: Functions that are given the tables of numbers that vary.
        tables: Where these are among its pointers; empty where there are none.
        asking: Functions that ask for memory.
        defines: Whether it has the definition of what tells that there was none.
    """
    steps = [s.written(with_tables, asking, "goto out") for s in statements]
    asks = any(not asking.isdisjoint(s.callees) for s in statements)
    blas = any(s.blas for s in statements)
    entry = Entry(name, tuple(steps), blas, tables, names_in("\n".join(steps)), asks, defines)
    return render_template("c/entry.j2", e=entry)


def together(plan: Plan) -> list[tuple[int, ...]]:
    """The numbers of the steps of a plan, those that one function computes together."""
    joined = c_between.find(plan)
    inside = {n for one in joined.values() for n in one.steps[1:]}
    return [joined[n].steps if n in joined else (n,) for n in range(len(plan.steps)) if n not in inside]


def _for_readers(functions: Sequence[Function]) -> dict[str, str]:
    """The text of each kernel and routine, below the functions that it calls."""
    within = {f.name: f.source for f in functions if f.within}
    return {
        f.name: "\n".join([*(within[name] for name in f.calls if name in within), f.source])
        for f in functions
        if not f.within
    }


class _Functions:
    """The functions that an entry calls.

    Attributes:
        bodies: Functions of bodies by name, those that others call before them, as statements.
    """

    def __init__(self) -> None:
        self.bodies: dict[str, list[Statement]] = {}
        self._kernels: list[Function] = []
        self._routines: dict[str, Function] = {}
        self._known: dict[int, tuple[Plan, str]] = {}
        self._between: dict[tuple[int, int], tuple[c_between.Between, str]] = {}

    @property
    def functions(self) -> list[Function]:
        """Kernels and routines."""
        return [*self._kernels, *self._routines.values()]

    def add_kernels(self, plan: Plan) -> None:
        """Write a plan's kernels."""
        overlapping, read = _overlapping(plan), _read(plan)
        alone = [plan.steps[n[0]] for n in together(plan) if len(n) == 1]
        launched = {s.kernel for s in alone if isinstance(s, Launch)}
        self._kernels += [
            render_kernel(kernel, restrict=n not in overlapping, past_cache=_past_cache(plan, n, read))
            for n, kernel in enumerate(plan.kernels)
            if n in launched
        ]
        named = {plan.kernels[n].name for n in launched}
        for one in c_between.find(plan).values():
            name = plan.kernels[one.kernel].name
            name = next(n for k in itertools.count(1) if (n := f"{name}_{k}" if k > 1 else name) not in named)
            named.add(name)
            self._kernels.append(c_between.render(plan, one, name, restrict=one.kernel not in overlapping))
            self._between[id(plan), one.steps[0]] = one, name

    def statements(self, plan: Plan, numbers: tuple[int, ...]) -> list[Statement]:
        """Steps that are no eager rules, as statements of an entry."""
        if len(numbers) > 1:
            return [c_between.call(plan, *self._between[id(plan), numbers[0]])]
        step = plan.steps[numbers[0]]
        if isinstance(step, LibraryCall):
            function = c_library.routine(plan, step)
            known = self._routines.setdefault(function.name, function)
            return [c_library.call(plan, step, known.name)]
        if isinstance(step, (Repeat, Branch, While)):
            names = [self._body(b) for b in bodies_of(step)]
            blas = any(s.blas for name in names for s in self.bodies[name])
            return [c_structured.call(plan, step, names, blas=blas)]
        if step.sizes:
            return [c_fused.call(plan, step)]
        return [c_fused.direct_call(plan, step.kernel, args) for args in step.args]

    def _body(self, plan: Plan) -> str:
        """The name of the function that runs a body."""
        if id(plan) not in self._known:
            name = f"body{len(self._known)}"
            self._known[id(plan)] = plan, name  # the plan too: a number is an object's as long as it lives
            self.add_kernels(plan)
            self.bodies[name] = [s for numbers in together(plan) for s in self.statements(plan, numbers)]
        return self._known[id(plan)][1]


def render_kernel(kernel: Kernel, *, restrict: bool = True, past_cache: Collection[str] = ()) -> Function:
    """One kernel's C function.

    Args:
        kernel: The kernel; its buffers become pointers in call order.
        restrict: Whether no buffer that it writes overlaps another one of its buffers.
        past_cache: Buffers that are better written past the cache, if they do not overlap others.
    """
    outermost = kernel.body[0] if kernel.body else None
    if isinstance(outermost, Loop) and outermost.var.extent == -1:
        return c_fused.render_sized(kernel, restrict=restrict)
    if kernel.contraction is not None:
        blocked = render_contraction(kernel, restrict=restrict)
        if blocked is not None:
            return blocked
    kernel = part_joined(kernel)
    restrict = restrict and len(kernel.buffers) <= MOST_RESTRICTED
    parted = pad_windows(kernel)
    short = unroll_short_loops(kernel) if parted is kernel else parted
    parted = part_loops(short, kernel) if parted is kernel else parted
    if parted is short and short is not kernel:
        parted = lay_side_by_side(short)
    kernel = mask_selections(parted)
    kernel = replace(kernel, body=hoist(without_empty_loops(kernel.body), written_names(kernel.body)))
    past_cache = past_cache if restrict else ()
    kernel, rows = choose_rows(kernel)
    writer: LoopWriter = (
        RowWriter(kernel, rows, past_cache)
        if rows
        else _WRITERS.get(kernel.shape, LoopWriter)(kernel, past_cache=past_cache)
    )
    body = writer.nests(kernel.body)
    head = Head(kernel.name, parameters(kernel, restrict=restrict, names=writer.text.names), comments(kernel))
    given = tuple(g for row in rows for g in row.given(writer.text))
    return Function(head, render_template("c/nest.j2", body=body), given)


def _read(plan: Plan) -> set[int]:
    """Values that some step reads."""
    found: set[int] = set()
    for step in plan.steps:
        if isinstance(step, LibraryCall):
            found.update(step.inputs)
        elif isinstance(step, (Repeat, Branch, While)):
            found.update(step.reads)
        else:
            buffers = plan.kernels[step.kernel].buffers
            found.update(a for args in step.args for a, b in zip(args, buffers, strict=True) if b.role != "out")
    return found


def _past_cache(plan: Plan, kernel: int, read: Set[int]) -> frozenset[str]:
    """The kernel's results that are too large to stay in the cache until they are read."""
    runs = [args for s in plan.steps if isinstance(s, Launch) and s.kernel == kernel for args in s.args]
    buffers, body = plan.kernels[kernel].buffers, plan.kernels[kernel].body
    waits = nest_units(body) <= MAX_UNITS_PER_BYTE * sum(plain(b.nbytes) for b in buffers)

    def least(n: int) -> int:
        return MIN_LEAVING if waits and read.isdisjoint(args[n] for args in runs) else MIN_PAST_CACHE

    return frozenset(b.name for n, b in enumerate(buffers) if b.role == "out" and plain(b.nbytes) >= least(n))


def _overlapping(plan: Plan) -> set[int]:
    """Kernels that some launch gives overlapping memory, of which it writes a part."""
    found: set[int] = set()
    for step in plan.steps:
        if isinstance(step, Launch) and step.kernel not in found:
            buffers = plan.kernels[step.kernel].buffers
            for args in step.args:
                written = [a for a, b in zip(args, buffers, strict=True) if b.role != "in"]
                if (
                    any(_overlap(plan, a, b) for a in written for b in args if a is not b)
                    or len(set(written)) < len(written)
                    or any(args.count(a) > 1 for a in written)
                ):
                    found.add(step.kernel)
    return found


def _overlap(plan: Plan, a: int, b: int) -> bool:
    """Whether two different values of a step have memory in common."""
    one, other = plan.values[a], plan.values[b]
    if one.place == other.place == "arena" and is_varying(one.offset):
        return a != b and like(one.offset, other.offset)  # else what a step reads and writes lies apart
    return a != b and plan.overlap(a, b)


def _units(functions: Iterable[Function], entry: str) -> tuple[str, ...]:
    """Translation units that take about as long to compile; the entry is in the first."""
    functions = list(functions)
    count = min(max(sum(len(f.source) for f in functions) // PER_UNIT, 1), MOST_UNITS)
    parts: tuple[list[Function], ...] = tuple([] for _ in range(count))
    sizes = [len(entry) // CALLS, *(0 for _ in parts[1:])]
    for f in sorted(functions, key=lambda f: -len(f.source)) if count > 1 else functions:
        smallest = sizes.index(min(sizes))
        parts[smallest].append(f)
        sizes[smallest] += len(f.source)
    elsewhere = [f.declaration for part in parts[1:] for f in part if not f.within]
    return tuple(_unit(p, functions, *((elsewhere, entry) if n == 0 else ([], ""))) for n, p in enumerate(parts))


def _unit(functions: list[Function], every: Sequence[Function], declarations: list[str], entry: str) -> str:
    kernels = [f.source for f in functions]
    named = {name for f in functions for name in (f.name, *f.calls)}
    pieces = [f.declaration for f in every if f.within and f.name in named]
    needed = prelude("\n".join([*kernels, *declarations, *pieces, entry]))
    return render_template(
        "c/unit.j2", prelude=needed, declarations=declarations + pieces, kernels=kernels, entry=entry
    )
