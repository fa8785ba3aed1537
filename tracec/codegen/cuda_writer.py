"""Statements of kernels as CUDA C++: what one thread computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tracec.codegen.cuda_dialect import CUDA, CUDA_WIDE, HEADERS, memory_type
from tracec.codegen.expressions import ATOM, ExpressionWriter, Written, conversion
from tracec.codegen.tree import Block, Line, Tree
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.dtype import DType
from tracec.ir.extent import Extent, is_varying
from tracec.ir.kernel import (
    Acc,
    Call,
    Const,
    Div,
    Expr,
    Kernel,
    Let,
    Linear,
    Load,
    Loop,
    Mod,
    Ref,
    Scratch,
    Stmt,
    Store,
    Update,
    Var,
    expressions,
    identity,
    subexpressions,
    walk,
)  # fmt: skip

_COMPARISONS = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))
LIMIT = 2**31


def is_wide(kernel: Kernel) -> bool:
    """Whether positions need 64 bits: a buffer, an index or a counter passes 2³¹.

    Counters run over the parallel loops, or over those that a thread or block goes through; never over both.
    """
    for stmt in walk(kernel.body):
        if any(_reach(part) >= LIMIT for e in expressions(stmt) for part in subexpressions(e)):
            return True
    points = (n for parallel in (True, False) for n in _points(kernel.body, parallel))
    return any(n >= LIMIT for n in points) or any(b.size >= LIMIT for b in kernel.buffers)


def _points(body: Iterable[Stmt], parallel: bool, outside: int = 1) -> Iterator[int]:
    """Iterations of each innermost loop, where either the parallel loops count or the others."""
    for s in body:
        if isinstance(s, Loop):
            counts = (s.kind == "parallel") == parallel and not (type(s.var.extent) is int and s.var.extent < 1)
            times = outside * s.var.extent if counts else outside
            yield times
            yield from _points(s.body, parallel, times)


def _reach(expr: Expr) -> int:
    """The largest size of any partial sum of an index, or of a size that varies; 0 for values of other kinds."""
    if isinstance(expr, Const) and isinstance(expr.value, Extent):
        value: int = abs(expr.value)
        return value
    if not isinstance(expr, Linear):
        return 0
    reach = abs(expr.offset)
    for term, coefficient in expr.terms:
        inner = ix.bounds(term)
        low, high = (abs(n) for n in inner or (0, 1))
        reach += abs(coefficient) * (high if low == 0 else max(low, high))
    return reach


def is_position(expr: Expr) -> bool:
    """Whether an i64 expression is made of loop variables, and so has the dialect's index type in the source."""
    return isinstance(expr, (Var, Linear, Div, Mod))


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a function is given memory by.

    Attributes:
        type: What lies there: ``const float``.
        name: Its name.
        apart: Whether nothing else is there: what is only read a compiler may then load when it likes.
    """

    type: str
    name: str
    apart: bool = True

    def __str__(self) -> str:
        return f"{self.type} *{'__restrict__ ' * self.apart}{self.name}"


@dataclass(frozen=True, slots=True)
class Element:
    """One of a pack's elements, which ``e`` numbers."""

    pack: str

    def __str__(self) -> str:
        return f"{self.pack}.at[e]"


@dataclass(frozen=True, slots=True)
class Accumulator:
    """An accumulator, as templates combine it across threads.

    Attributes:
        name: Its identifier.
        type: Its type.
        identity: What it starts from.
        combine: The statement that combines ``other`` into it.
        tile: An identifier for the threads' accumulators in shared memory.
    """

    name: str
    type: str
    identity: str
    combine: str
    tile: str


@dataclass(frozen=True, slots=True)
class Copies:
    """What is stored as it has been loaded.

    Attributes:
        loads: What is stored → the load.
        unused: Names that nothing else takes.
    """

    loads: Mapping[Expr, Load]
    unused: frozenset[str]


class Writer(ExpressionWriter):
    """Writes expressions and statements of one kernel.

    Args:
        kernel: The kernel.
        names: What stands for variables and values, where that is not their own name.
        wide: Whether positions have 64 bits; None goes by the sizes of the buffers.
        copies: What is stored as it has been loaded; None looks for it.

    Attributes:
        wide: Positions are 64 bits.
        packs: (buffer, index) → the element of a pack that stands for that access.
        random: Random words that are there already → their names.
        arrays: Scratch → the subscript of this thread's element.
        far: Condition under which scratch is in registers, and the counter of the thread's chunks in shared memory
            otherwise; None where all of it is in one place.
        far_arrays: Scratch → the subscript of this thread's element in shared memory.
        held: (buffer, index) → a pack that has been loaded before.
        each: Names of values of which there is one for each element of a pack, which ``e`` numbers.
        pack: The loop whose iterations a pack takes, and the names that are not the same for all of them.
        store_guard: Condition under which stores to memory happen; empty for always.
        add_guard: Condition under which something is added to scratch; empty for always.
    """

    def __init__(
        self, kernel: Kernel, names: Mapping[str, str] | None = None, *, wide: bool | None = None,
        copies: Copies | None = None,
    ) -> None:  # fmt: skip
        self.kernel = kernel
        self.wide = is_wide(kernel) if wide is None else wide
        super().__init__(CUDA_WIDE if self.wide else CUDA, names)
        self.packs: dict[tuple[str, Expr], Element | str] = {}
        self.random: dict[Call, str] = {}
        self.arrays: dict[str, str] = {}
        self.far: tuple[str, str] | None = None
        self.far_arrays: dict[str, str] = {}
        self.held: dict[tuple[str, Expr], str] = {}
        self.each: frozenset[str] = frozenset()
        self.pack: tuple[Var, frozenset[str]] | None = None
        self.store_guard = ""
        self.add_guard = ""
        self.buffers: dict[str, DType] = {b.name: b.dtype for b in kernel.buffers}
        self.buffers |= {s.name: s.dtype for s in walk(kernel.body) if isinstance(s, Scratch)}
        self._copies = _copies(kernel) if copies is None else copies
        self.combines: dict[str, tuple[str, DType]] = {
            s.name: (s.combine, s.dtype) for s in walk(kernel.body) if isinstance(s, Acc)
        }

    @property
    def memory(self) -> dict[str, DType]:
        """What lies in memory, scratch left out."""
        return {b.name: b.dtype for b in self.kernel.buffers}

    @property
    def index(self) -> str:
        """The type of positions that may be negative."""
        return self.dialect.index

    @property
    def flat(self) -> str:
        """The type of counters, never negative: divisions by constants are cheaper."""
        return "unsigned long long" if self.wide else "unsigned"

    def count(self, value: int) -> str:
        """A literal of the counters' type."""
        if is_varying(value):
            return f"({self.flat}){value}"
        return f"{value}{'ULL' if self.wide else 'u'}"

    def derive(self, names: Mapping[str, str]) -> Writer:
        """The same writer with other texts for some loop variables."""
        other = Writer(self.kernel, {**self.names, **names}, wide=self.wide, copies=self._copies)
        other.packs, other.arrays, other.random = dict(self.packs), dict(self.arrays), dict(self.random)
        other.far, other.far_arrays = self.far, dict(self.far_arrays)
        other.held, other.each, other.store_guard = self.held, self.each, self.store_guard
        other.add_guard, other.pack = self.add_guard, self.pack
        return other

    # -- expressions ---------------------------------------------------------------------------------------

    def _one(self, expr: Expr, operands: tuple[Written, ...]) -> Written:
        match expr:
            case Load(buffer, index, _):
                pack = self.packs.get((buffer, index))
                if pack is not None:
                    return str(pack), ATOM
                if buffer in self.arrays:
                    return self._scratch(buffer), ATOM
                return f"{self.name(buffer)}[{_position(index, operands[0])}]", ATOM
            case Call("cast", (Load(buffer, index, dt.bfloat16),), dt.float32) if isinstance(
                element := self.packs.get((buffer, index)), Element
            ):
                return f"widened_bfloat16({element.pack}, e)", ATOM
            case Call("philox", _, _) if expr in self.random:
                return self.random[expr], ATOM
            case Call("eq" | "ne" as op, args, _) if (place := self._asked_place(args)) is not None:
                first = f"{self.name(args[place].name)}_first"  # type: ignore[union-attr]
                return f"{'!' * (op == 'ne')}is_at({operands[1 - place][0]}, {first}, e)", ATOM
            case Call(op, args, _) if op in _COMPARISONS and all(is_position(a) or _is_small(a) for a in args):
                operands = tuple(
                    (str(a.value), operand[1]) if isinstance(a, Const) else operand
                    for a, operand in zip(args, operands, strict=True)
                )
            case Call(op, args, _) if op not in ("cast", "select") and not self.wide:
                # Values are 64-bit integers even where positions fit 32 bits.
                operands = tuple(
                    _widened(operand) if is_position(a) else operand for a, operand in zip(args, operands, strict=True)
                )
        return super()._one(expr, operands)

    def _asked_place(self, args: tuple[Expr, ...]) -> int | None:
        """Which operand of a comparison is the place within a pack's loop, where the other is one for all of it."""
        if self.pack is None or self.wide:
            return None
        last, moving = self.pack
        for place, (one, other) in enumerate((args, args[::-1])):
            if one == last and isinstance(other, Ref) and other.dtype is dt.int64 and other.name not in moving:
                return place
        return None

    def _divide(self, quotient: bool, value: Expr, by: int, operand: Written) -> Written:
        known = ix.bounds(value)
        if known is not None and known[0] >= 0:
            return super()._divide(quotient, value, by, operand)
        name = "floor_div" if quotient else "remainder"
        dtype = dt.int64 if known is None or self.wide else dt.int32
        entry = self.dialect.operation(name, dtype)
        return entry.text.format(operand[0], self.dialect.literal(by, dtype)), entry.level

    # -- statements ----------------------------------------------------------------------------------------

    def accumulator(self, name: str) -> Accumulator:
        """How templates combine an accumulator of the kernel."""
        combine, dtype = self.combines[name]
        start = self.dialect.literal(identity(combine, dtype), dtype)
        identifier = self.name(name)
        tile = f"{self.dialect.identifier(name)}_tile"
        return Accumulator(identifier, self.dialect.types[dtype], start, self.update(name, "other", ATOM), tile)

    def update(self, name: str, value: str, level: int) -> str:
        """``name = combine(name, value)``."""
        combine, dtype = self.combines[name]
        entry = self.dialect.operation(combine, dtype)
        needed = entry.operands[1] if len(entry.operands) > 1 else 0
        value = f"({value})" if level < needed else value
        identifier = self.name(name)
        if entry.text == "{0} + {1}":
            return f"{identifier} += {value};"
        return f"{identifier} = {entry.text.format(identifier, value)};"

    def statements(self, body: Iterable[Stmt]) -> tuple[Tree, ...]:
        """What one thread does; loops run in the thread."""
        return tuple(tree for stmt in body for tree in self.statement(stmt))

    def statement(self, stmt: Stmt) -> tuple[Tree, ...]:
        match stmt:
            case Let(name) if name in self._copies.unused:
                return ()
            case Let(name, value):
                return (Line(f"const {self.dialect.types[value.dtype]} {self.name(name)} = {self.write(value)};"),)
            case Acc(name, _, _):
                acc = self.accumulator(name)
                return (Line(f"{acc.type} {acc.name} = {acc.identity};"),)
            case Update(name, value):
                text, level = self._written(value)
                return (Line(self.update(name, text, level)),)
            case Scratch(name, dtype, size):
                return (Line(f"{self.dialect.types[dtype]} {self.name(name)}[{max(size, 1)}];"),)
            case Store():
                local = stmt.buffer in self.arrays or (stmt.buffer, stmt.index) in self.packs
                guard = self.store_guard if not local else self.add_guard if stmt.add else ""
                return (Line(f"if ({guard}) {self.store(stmt)}" if guard else self.store(stmt)),)
            case Loop(var, body, _):
                unroll = ("unroll",) if not is_varying(var.extent) and 0 < var.extent <= 32 else ()
                name = self.name(var.name)
                head = f"for ({self.index} {name} = 0; {name} < {var.extent}; ++{name})"
                return (Block(head, self.statements(body), unroll),)

    def store(self, stmt: Store) -> str:
        """The assignment of a store."""
        dtype = self.buffers[stmt.buffer]
        target = self.packs.get((stmt.buffer, stmt.index)) or self.element(stmt.buffer, stmt.index)
        if not stmt.add:
            return f"{target} = {self.convert(self._copies.loads.get(stmt.value, stmt.value), dtype)};"
        if self.kernel.shape == "atomic":
            value = self.convert(stmt.value, dtype)
            if dtype is dt.int64:  # CUDA has it for unsigned ones, whose sums have the same bits
                return f"atomicAdd((unsigned long long *)&{target}, (unsigned long long)({value}));"
            return f"atomicAdd(&{target}, {value});"
        wide = dtype.compute
        entry = self.dialect.operation("add", wide)
        before = self.dialect.cast(dtype, wide).text.format(target)
        total = entry.text.format(before, self.convert(stmt.value, wide, ATOM))
        return f"{target} = {self.dialect.cast(wide, dtype).text.format(total)};"

    def element(self, buffer: str, index: Expr) -> str:
        """An element as something to assign to."""
        if buffer in self.arrays:
            return self._scratch(buffer)
        return f"{self.name(buffer)}[{_position(index, self._written(index))}]"

    def _scratch(self, buffer: str) -> str:
        """This thread's element of a scratch array."""
        near = f"{self.name(buffer)}[{self.arrays[buffer]}]"
        if self.far is None:
            return near
        return f"({self.far[0]} ? {near} : {self.name(buffer)}_far[{self.far_arrays[buffer]}])"

    def unflatten(self, flat: str, variables: Sequence[Var], each: int = 1) -> tuple[Tree, ...]:
        """Loop variables, outermost first, from an unsigned counter over all of their extents.

        Args:
            flat: The counter.
            variables: The variables.
            each: Points of the last one that are counted as one: it is the first of them.
        """
        lines: list[Tree] = []
        stride = 1
        for position, var in reversed(list(enumerate(variables))):
            extent = max(var.extent, 1)
            value = flat if stride == 1 else f"{flat} / {self.count(stride)}"
            if position:
                value = f"{value} % {self.count(extent)}"
            value = "0" if extent == 1 else f"({self.index}){value if value == flat else f'({value})'}"
            times = f" * {each}" if not lines and each > 1 else ""
            lines.append(Line(f"const {self.index} {self.name(var.name)} = {value}{times};"))
            stride *= extent
        return tuple(reversed(lines))

    # -- declarations --------------------------------------------------------------------------------------

    def parameters(self) -> tuple[Parameter, ...]:
        """The kernel's parameters. No two name the same memory: what is written in place is one buffer."""
        return tuple(
            Parameter(f"{'const ' if b.role == 'in' else ''}{memory_type(b.dtype)}", self.name(b.name))
            for b in self.kernel.buffers
        )


def coherent(parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
    """The parameters, where what is behind them may change: compilers load it when it is needed."""
    return tuple(replace(p, apart=False) for p in parameters)


def _copies(kernel: Kernel) -> Copies:
    """16-bit floats that are stored as they have been loaded, though a name or a cast has made them wider.

    To widen them and round them again takes two instructions, and may change the bits of a NaN.
    """
    halves = {b.name: b.dtype for b in kernel.buffers if b.dtype in (dt.float16, dt.bfloat16)}
    if not halves:
        return Copies({}, frozenset())
    constant = {b.name for b in kernel.buffers if b.role == "in"}
    statements = tuple(walk(kernel.body))
    lets = [s for s in statements if isinstance(s, Let)]
    names = {s.name: s.value for s in lets} if len({s.name for s in lets}) == len(lets) else {}
    found: dict[Expr, Load] = {}
    taken: set[str] = set()
    for s in statements:
        roots = expressions(s)
        if isinstance(s, Store) and not s.add and s.buffer in halves:
            value = names.get(s.value.name, s.value) if isinstance(s.value, Ref) else s.value
            match value:
                case Call("cast", (Load(buffer, _, dtype) as load,), dt.float32) if buffer in constant:
                    if dtype is halves[s.buffer]:
                        found[s.value] = load
                        roots = (s.index, load.index)
        taken |= {e.name for root in roots for e in subexpressions(root) if isinstance(e, Ref)}
    loaded = {value.name for value in found if isinstance(value, Ref)}
    return Copies(found, frozenset(loaded - taken if kernel.shape in ("map", "transpose") else ()))


def headers(text: str) -> tuple[str, ...]:
    """The headers that a source needs."""
    return tuple(sorted({file for name, file in HEADERS.items() if name in text}))


def _position(index: Expr, written: Written) -> str:
    return str(index.value) if isinstance(index, Const) else written[0]


def _is_small(expr: Expr) -> bool:
    return isinstance(expr, Const) and expr.dtype is dt.int64 and -LIMIT <= expr.value < LIMIT


def _widened(operand: Written) -> Written:
    text, level = operand
    cast = conversion("long long")
    return cast.text.format(f"({text})" if level < ATOM else text), cast.level
