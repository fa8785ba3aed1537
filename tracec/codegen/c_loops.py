"""Kernel bodies as C loops: the statements that all kernel shapes share, and plain nests."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from tracec.codegen.c_cost import Sharing, cost_of, share
from tracec.codegen.c_dialect import IN_MEMORY, C
from tracec.codegen.c_strips import Strips, at_strip, plan_strips, replaced
from tracec.codegen.expressions import ExpressionWriter
from tracec.codegen.tree import Block, Line, Tree, loop
from tracec.ir import dtype as dt
from tracec.ir.extent import plain
from tracec.ir.kernel import (
    Acc,
    Call,
    Const,
    Expr,
    Kernel,
    Let,
    Load,
    Loop,
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

#: Loops shorter than this are left to the compiler to unroll.
MIN_SIMD = 4

_REDUCTIONS = {"add": "+", "mul": "*"}


def without_empty_loops(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """The body with loops of no iterations left out."""
    return tuple(
        replace(s, body=without_empty_loops(s.body)) if isinstance(s, Loop) else s
        for s in body
        if not (isinstance(s, Loop) and s.var.extent == 0)
    )


def names_in(stmt: Stmt) -> Iterator[str]:
    """Loop variables, scalars and arrays that a statement's own expressions mention."""
    for root in expressions(stmt):
        for e in subexpressions(root):
            if isinstance(e, (Var, Ref)):
                yield e.name
            elif isinstance(e, Load):
                yield e.buffer


def written_names(body: Iterable[Stmt]) -> frozenset[str]:
    """Arrays and accumulators that a body writes, anywhere in it."""
    found = set()
    for s in walk(tuple(body)):
        if isinstance(s, Store):
            found.add(s.buffer)
        elif isinstance(s, (Update, Acc, Scratch)):
            found.add(s.name)
    return frozenset(found)


def hoist(body: tuple[Stmt, ...], written: frozenset[str]) -> tuple[Stmt, ...]:
    """Move scalars that a loop does not change in front of it.

    The compiler may not do so itself, as it cannot know that stores leave the loaded buffers alone.

    Args:
        body: Statements; loops in it have at least one iteration.
        written: Names whose values change somewhere in the kernel; what reads them stays.
    """
    result: list[Stmt] = []
    defined = {s.name for s in body if isinstance(s, (Let, Acc))}
    for stmt in body:
        if not isinstance(stmt, Loop):
            result.append(stmt)
            continue
        inner = hoist(stmt.body, written)
        changing = {stmt.var.name} | written
        kept: list[Stmt] = []
        for s in inner:
            if isinstance(s, Let) and s.name not in defined and changing.isdisjoint(names_in(s)):
                result.append(s)
                defined.add(s.name)
            else:
                kept.append(s)
                if isinstance(s, (Let, Acc, Scratch)):
                    changing.add(s.name)
        result.append(replace(stmt, body=tuple(kept)))
    return tuple(result)


def chain(stmt: Loop) -> tuple[list[Loop], tuple[Stmt, ...]]:
    """The perfectly nested parallel loops that start here, and the body of the last."""
    loops = [stmt]
    while len(loops[-1].body) == 1:
        (inner,) = loops[-1].body
        if not (isinstance(inner, Loop) and inner.kind == "parallel"):
            break
        loops.append(inner)
    return loops, loops[-1].body


class LoopWriter:
    """Writes the statements of one kernel.

    Args:
        kernel: The kernel, for the dtypes of its buffers and accumulators.
        serial: Keep every loop on one thread.
        past_cache: Buffers that are better written past the cache; they must not overlap what the kernel reads.

    Attributes:
        beginning: What stands at the beginning of the body of the outer loops.
    """

    beginning: tuple[Tree, ...] = ()

    def __init__(self, kernel: Kernel, *, serial: bool = False, past_cache: Collection[str] = ()) -> None:
        self.kernel = kernel
        self.serial = serial
        self.past_cache = past_cache
        self.dtypes = {b.name: b.dtype for b in kernel.buffers}
        self.accs: dict[str, Acc] = {}
        for s in walk(kernel.body):
            if isinstance(s, Scratch):
                self.dtypes[s.name] = s.dtype
            elif isinstance(s, Acc):
                self.accs[s.name] = s
        self.text = ExpressionWriter(C)

    # -- statements ------------------------------------------------------------------------------------------

    def statement(self, stmt: Stmt) -> Tree:
        """A statement that is no loop."""
        match stmt:
            case Let(name, value):
                return Line(f"{C.types[value.dtype]} {self.text.name(name)} = {self.initial(stmt)};")
            case Acc(name, _, dtype):
                return Line(f"{C.types[dtype]} {self.text.name(name)} = {self.initial(stmt)};")
            case Update(name, value):
                return Line(self.update(name, self.text.name(name), value))
            case Scratch(name, dtype, size):
                return Line(f"{IN_MEMORY[dtype]} {self.text.name(name)}[{size}] __attribute__((aligned(64)));")
            case Store(buffer, index, value, add):
                return Line(self.store(f"{self.text.name(buffer)}[{self.text.write(index)}]", buffer, value, add))
            case Loop():
                raise TypeError("a loop is not a plain statement")

    def initial(self, stmt: Let | Acc) -> str:
        """What a scalar starts from."""
        if isinstance(stmt, Let):
            return self.text.write(stmt.value)
        return C.literal(identity(stmt.combine, stmt.dtype), stmt.dtype)

    def update(self, name: str, place: str, value: Expr) -> str:
        """``place = combine(place, value)``, as a statement."""
        acc = self.accs[name]
        if acc.dtype.kind != "b" and acc.combine in _REDUCTIONS:
            if acc.dtype.itemsize >= 4:
                return f"{place} {_REDUCTIONS[acc.combine]}= {self.text.write(value)};"
        combined = Call(acc.combine, (Ref(name, acc.dtype), value), acc.dtype)
        return f"{place} = {self.text.write(combined)};"

    def store(self, element: str, buffer: str, value: Expr, add: bool) -> str:
        """``element = value`` or ``element += value``, converted to the buffer's dtype."""
        dtype = self.dtypes[buffer]
        if not add:
            return f"{element} = {self.text.convert(value, dtype)};"
        wide = dtype.compute
        if wide is dtype and dtype.kind != "b" and dtype.itemsize >= 4:
            return f"{element} += {self.text.convert(value, dtype)};"
        old = Call("cast", (Ref("old", dtype),), wide) if wide is not dtype else Ref("old", dtype)
        new = Call("cast", (value,), wide) if value.dtype is not wide else value
        total = ExpressionWriter(C, {**self.text.names, "old": element})
        return f"{element} = {total.convert(Call('add', (old, new), wide), dtype)};"

    # -- loops -----------------------------------------------------------------------------------------------

    def body(self, body: Iterable[Stmt]) -> tuple[Tree, ...]:
        """Statements and the loops among them, on one thread."""
        return tuple(self.loop(s) if isinstance(s, Loop) else self.statement(s) for s in body)

    def loop(self, stmt: Loop) -> Block:
        """A loop on one thread; vectorised where it is innermost and its iterations allow it."""
        vector = is_vectorisable(stmt)
        if vector and (strips := plan_strips(self.kernel, stmt, past_cache=self.past_cache)):
            return self._strips(stmt, strips, ())
        pragmas = (self.simd(stmt.body),) if vector else ()
        return loop(C.index, self.text.name(stmt.var.name), stmt.var.extent, self.body(stmt.body), pragmas=pragmas)

    def _strips(self, stmt: Loop, strips: Strips, pragmas: tuple[str, ...]) -> Block:
        """An innermost loop in strips."""
        var, size = stmt.var, strips.size
        name = self.text.name(var.name)
        start, stop = f"{name}_start", f"{name}_stop"
        even = strips.lead == Const(0)
        begin = start if even else f"{name}_from"
        first = Var(begin, var.extent)
        end = f"{var.extent} - {start} < {size} ? {var.extent} : {start} + {size}"
        before: list[Tree] = [Line(f"long {stop} = {end};")]
        if not even:
            before.insert(0, Line(f"long {begin} = {start} < 0 ? 0 : {start};"))
        inner: list[Tree] = []
        after: list[Tree] = []
        words: dict[Call, Expr] = {}
        for n, call in enumerate(strips.words):
            self.text.names[f"words{n}"] = f"words{n}[{name} - {start}]"
            words[call] = Ref(f"words{n}", call.dtype)
            counter = at_strip(call.args[2], var, first)
            arguments = ", ".join(self.text.write(a) for a in (*call.args[:2], counter))
            before.append(Line(f"unsigned words{n}[{size}] __attribute__((aligned(64)));"))
            before.append(Line(f"philox_strip({arguments}, words{n});"))
        for n, s in enumerate(stmt.body):
            if not isinstance(s, Store) or s not in strips.stores:
                inner.append(self.statement(with_calls_replaced(s, words)))
                continue
            element, buffer = C.types[strips.stores[s].dtype], self.text.name(s.buffer)
            before.append(Line(f"{element} line{n}[{size}] __attribute__((aligned(64)));"))
            inner.append(Line(self.store(f"line{n}[{name} - {start}]", s.buffer, replaced(s.value, words), False)))
            place, count = self.text.write(at_strip(s.index, var, first)), f"({stop} - {begin}) * sizeof *{buffer}"
            line = f"line{n}" if even else f"line{n} + ({begin} - {start})"
            after.append(Line(f"write_past_cache(&{buffer}[{place}], {line}, {count});"))
        strip = loop(C.index, name, stop, tuple(inner), start=begin, pragmas=(self.simd(stmt.body),))
        lead = 0 if even else f"-({self.text.write(strips.lead)})"
        return loop(C.index, start, var.extent, (*before, strip, *after), start=lead, step=size, pragmas=pragmas)

    def simd(self, body: Iterable[Stmt], words: str = "omp simd") -> str:
        """The pragma of a vectorised loop with these statements, reductions named."""
        body = tuple(body)
        own = {s.name for s in body if isinstance(s, Acc)}
        updated = dict.fromkeys(s.name for s in body if isinstance(s, Update) and s.name not in own)
        return "".join([words, *(f" {self._clause(self.accs[name])}" for name in updated)])

    def _clause(self, acc: Acc) -> str:
        sign = _REDUCTIONS.get(acc.combine)
        if acc.dtype is dt.bool_:
            sign = {"add": "|", "maximum": "|", "mul": "&", "minimum": "&"}[acc.combine]
        elif sign is None:
            whole = {"maximum": "max", "minimum": "min"}
            sign = f"{acc.combine}_{acc.dtype.short}" if acc.dtype.kind == "f" else whole[acc.combine]
        return f"reduction({sign} : {self.text.name(acc.name)})"

    def nest(self, stmt: Loop) -> Tree:
        """A nest of parallel loops, shared among threads if that pays."""
        loops, body = chain(stmt)
        vector = is_vectorisable(loops[-1])
        extents = tuple(s.var.extent for s in loops)
        shared = Sharing() if self.serial else share(extents, cost_of(stmt), inner_shared=vector)
        return self._nest(loops, body, shared, vector)

    def _nest(self, loops: list[Loop], body: tuple[Stmt, ...], shared: Sharing, vector: bool) -> Tree:
        strips = plan_strips(self.kernel, loops[-1], past_cache=self.past_cache) if vector else None
        inner: tuple[Tree, ...] = () if strips else (*self.beginning, *self.body(body))
        for level in reversed(range(len(loops))):
            last = vector and level == len(loops) - 1 and not strips
            pragma = self.simd(body) if last else ""
            if shared.collapse and level == shared.skip:
                words = "omp parallel for simd" if last else "omp parallel for"
                pragma = f"{words}{shared.words}"
            pragmas = (pragma,) if pragma else ()
            if strips and level == len(loops) - 1:
                inner = (self._strips(loops[level], strips, pragmas),)
                continue
            var = loops[level].var
            inner = (loop(C.index, self.text.name(var.name), var.extent, inner, pragmas=pragmas),)
        return inner[0]

    def nests(self, body: Iterable[Stmt]) -> tuple[Tree, ...]:
        """A kernel's body: nests of parallel loops, and whatever stands between them."""
        return tuple(
            (self.nest(s) if s.kind == "parallel" else self.loop(s)) if isinstance(s, Loop) else self.statement(s)
            for s in body
        )


def with_calls_replaced(s: Stmt, new: dict[Call, Expr]) -> Stmt:
    """The statement with some calls in its value replaced."""
    match s:
        case Let(name, value):
            return Let(name, replaced(value, new))
        case Update(name, value):
            return Update(name, replaced(value, new))
        case Store(buffer, index, value, add):
            return Store(buffer, index, replaced(value, new), add)
        case _:
            return s


def is_vectorisable(stmt: Loop) -> bool:
    """Whether a loop is innermost, its iterations are independent or feed accumulators, and it is long enough."""
    return (
        stmt.kind != "serial"
        and not any(isinstance(s, (Loop, Scratch)) for s in stmt.body)
        and (plain(stmt.var.extent) >= MIN_SIMD or plain(stmt.var.extent) < 0)
    )
