"""Maps that read along one loop and write along another, in square blocks.

A block is read row by row in the order of its memory into a small array, and written row by row in the
order of the result: each cache line is touched once, on either side.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracec.codegen.c_cost import Sharing, cost_of, share
from tracec.codegen.c_dialect import C
from tracec.codegen.c_loops import LoopWriter, chain
from tracec.codegen.c_tiles import rebuilt
from tracec.codegen.tree import Line, Tree, loop
from tracec.ir import index as ix
from tracec.ir.extent import plain
from tracec.ir.kernel import Call, Expr, Kernel, Let, Load, Loop, Ref, Stmt, Store, Var, expressions, parts

#: Elements along each side of a block, and the pitch of its array: odd in cache lines, so that columns spread.
SIDE = 32
PITCH = SIDE + 1


@dataclass(frozen=True, slots=True)
class Blocking:
    """How a transposing nest is blocked.

    Attributes:
        across: The loop along which the loads are contiguous.
        along: The innermost loop, along which the stores are contiguous.
        loads: The loads that go through a block's array.
        sharing: Loops to share among threads, the two loops over blocks last.
    """

    across: Var
    along: Var
    loads: tuple[Load, ...]
    sharing: Sharing


def plan_blocks(kernel: Kernel, stmt: Loop) -> Blocking | None:
    """Decide how to block a nest; None where plain loops are better."""
    loops, body = chain(stmt)
    if len(loops) < 2 or any(isinstance(s, Loop) for s in body):
        return None
    along = loops[-1].var
    read_only = {b.name for b in kernel.buffers if b.role == "in"}
    found: dict[Load, str] = {}
    for s in body:
        for e in expressions(s):
            for load in _unguarded(e):
                unit = _unit(load.index)
                if unit not in ("", along.name) and _step(load.index, along) > 1 and load.buffer in read_only:
                    found[load] = unit
    across = next((s.var for s in loops[:-1] if s.var.name in found.values()), None)
    if across is None or min(plain(across.extent), plain(along.extent)) < 8:
        return None
    chosen = tuple(load for load, unit in found.items() if unit == across.name)
    others = tuple(s.var.extent for s in loops[:-1] if s.var != across)
    blocks = (*others, -(-across.extent // SIDE), -(-along.extent // SIDE))
    return Blocking(across, along, chosen, share(blocks, cost_of(stmt), inner_shared=False))


def _unguarded(e: Expr) -> list[Load]:
    """Loads whose position is known to be inside whatever the data; those under a ``select`` may not be."""
    found, stack = [], [e]
    while stack:
        x = stack.pop()
        if isinstance(x, Call) and x.op == "select":
            stack.append(x.args[0])
            continue
        if isinstance(x, Load):
            found.append(x)
        stack.extend(parts(x))
    return found


def _unit(index: Expr) -> str:
    return next((t.name for t, c in ix.terms_of(index)[0].items() if c == 1 and isinstance(t, Var)), "")


def _step(index: Expr, var: Var) -> int:
    """How far an index moves along a loop; 0 where that is not even."""
    terms, _ = ix.terms_of(index)
    return terms.get(var, 0) if all(isinstance(t, Var) for t in terms) else 0


class TransposeWriter(LoopWriter):
    """Writes a nest in blocks."""

    def nest(self, stmt: Loop) -> Tree:
        blocking = plan_blocks(self.kernel, stmt)
        return super().nest(stmt) if blocking is None else self._blocked(stmt, blocking)

    def _blocked(self, stmt: Loop, blocking: Blocking) -> Tree:
        loops, body = chain(stmt)
        across, along = blocking.across, blocking.along
        a, b = self.text.name(across.name), self.text.name(along.name)
        names = {load: f"block{n}" for n, load in enumerate(blocking.loads)}
        place = f"[{b} - {b}_start][{a} - {a}_start]"
        reads = tuple(Line(f"{name}{place} = {self.text.write(load)};") for load, name in names.items())
        self.text.names.update({name: f"{name}{place}" for name in names.values()})
        body = tuple(_through(s, names) for s in body)
        inside: tuple[Tree, ...] = (
            *(self._stop(v, n) for v, n in ((across, a), (along, b))),
            *(Line(f"{C.types[load.dtype]} {name}[{SIDE}][{PITCH}];") for load, name in names.items()),
            self._within(b, (self._within(a, reads, "omp simd"),)),
            self._within(a, (self._within(b, self.body(body), "omp simd"),)),
        )
        order = [s.var for s in loops if s.var not in (across, along)]
        heads = [(self.text.name(v.name), v.extent, 1) for v in order]
        heads += [(f"{a}_start", across.extent, SIDE), (f"{b}_start", along.extent, SIDE)]
        for level in reversed(range(len(heads))):
            name, extent, step = heads[level]
            inside = (loop(C.index, name, extent, inside, step=step, pragmas=self._pragma(blocking, level)),)
        return inside[0]

    def _stop(self, var: Var, name: str) -> Line:
        whole = var.extent
        return Line(f"long {name}_stop = {whole} - {name}_start < {SIDE} ? {whole} : {name}_start + {SIDE};")

    def _within(self, name: str, body: tuple[Tree, ...], pragma: str = "") -> Tree:
        pragmas = (pragma,) if pragma else ()
        return loop(C.index, name, f"{name}_stop", body, start=f"{name}_start", pragmas=pragmas)

    def _pragma(self, blocking: Blocking, level: int) -> tuple[str, ...]:
        sharing = blocking.sharing
        if self.serial or not sharing.collapse or level != sharing.skip:
            return ()
        return (f"omp parallel for{sharing.words}",)


def _through(s: Stmt, names: dict[Load, str]) -> Stmt:
    """The statement with loads replaced by what the block's array holds."""

    def change(load: Load) -> Expr:
        name = names.get(load)
        return load if name is None else Ref(name, load.dtype)

    match s:
        case Let(name, value):
            return Let(name, rebuilt(value, change))
        case Store(buffer, index, value, add):
            return Store(buffer, index, rebuilt(value, change), add)
        case _:
            return s
