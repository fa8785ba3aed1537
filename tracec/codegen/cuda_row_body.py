"""The statements of a row: the loops over it, their packs, and in which order they stand."""

from __future__ import annotations

from collections.abc import Sequence

from tracec.codegen.cuda_access import Packs, find_packs, peel
from tracec.codegen.cuda_writer import Writer
from tracec.errors import CompileError
from tracec.ir import index as ix
from tracec.ir.kernel import (
    Kernel,
    Let,
    Load,
    Loop,
    Ref,
    Scratch,
    Stmt,
    Store,
    Var,
    expressions,
    subexpressions,
    walk,
)  # fmt: skip


def row_space(body: Sequence[Stmt], kernel: Kernel) -> tuple[Var, ...]:
    """The loops that a row's reductions and writes run over, the same for all of them.

    Raises:
        CompileError: they differ, or scratch is not indexed by the position in the row.
    """
    spaces = {tuple(v.extent for v in loop_nest(s)[0]): loop_nest(s)[0] for s in body if isinstance(s, Loop)}
    if len(spaces) > 1:
        raise CompileError(f"kernel {kernel.name}: loops over a row have extents {' and '.join(map(str, spaces))}")
    scratch = {s.name for s in body if isinstance(s, Scratch)}
    for stmt in body:
        if not isinstance(stmt, Loop):
            continue
        variables, inner = loop_nest(stmt)
        position = ix.flatten(variables, tuple(v.extent for v in variables))
        for s in walk(inner):
            found = [
                (e.buffer, e.index) for root in expressions(s) for e in subexpressions(root) if isinstance(e, Load)
            ]
            found += [(s.buffer, s.index)] if isinstance(s, Store) else []
            if any(buffer in scratch and index != position for buffer, index in found):
                raise CompileError(
                    f"kernel {kernel.name}: scratch is indexed by something else than the row's position"
                )
    return next(iter(spaces.values()), ())


def loop_nest(loop: Loop) -> tuple[tuple[Var, ...], tuple[Stmt, ...]]:
    """The loops perfectly nested in one of its own kind, and what is inside."""
    return peel((loop,), loop.kind)


def scratch_words(body: Sequence[Stmt]) -> int:
    """32-bit registers for one position of all scratch arrays."""
    return sum(max(s.dtype.itemsize // 4, 1) for s in body if isinstance(s, Scratch))


def row_packs(writer: Writer, body: Sequence[Stmt]) -> dict[int, Packs]:
    """Packs of each loop, all of one width, since scratch ties their iterations together."""
    memory = {b.name: b.dtype for b in writer.kernel.buffers}
    loops = {place: loop_nest(s) for place, s in enumerate(body) if isinstance(s, Loop)}
    found = {place: find_packs(inner, v[-1], memory) for place, (v, inner) in loops.items()}
    width = min((p.width for p in found.values() if p.width > 1), default=1)
    return {place: find_packs(inner, v[-1], memory, width) for place, (v, inner) in loops.items()}


def waits_later(body: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """Statements of a row in an order in which nothing waits for one number before the row itself is asked for.

    What depends on a number from memory, such as another number from a place that it tells, moves behind the first loop
    where that has no need of it.
    """
    first = next((n for n, s in enumerate(body) if isinstance(s, Loop)), 0)
    loop = body[first] if body else None
    if not isinstance(loop, Loop):
        return tuple(body)
    needed = _names(loop)
    for stmt in reversed(body[:first]):
        if not isinstance(stmt, Let) or stmt.name in needed:
            needed |= _names(stmt)
    loaded: set[str] = set()
    late: list[Let] = []
    for stmt in body[:first]:
        if isinstance(stmt, Let):
            loads = sum(isinstance(e, Load) for e in subexpressions(stmt.value))
            waits = bool(_names(stmt) & loaded) or loads > isinstance(stmt.value, Load)
            if waits or loads:
                loaded.add(stmt.name)
            if waits and stmt.name not in needed:
                late.append(stmt)
    written = {s.buffer for s in walk((loop,)) if isinstance(s, Store)}
    if any(isinstance(e, Load) and e.buffer in written for s in late for e in subexpressions(s.value)):
        return tuple(body)
    return (*(s for s in body[:first] if s not in late), loop, *late, *body[first + 1 :])


def _names(stmt: Stmt) -> set[str]:
    """The names that a statement takes."""
    found = (e for s in walk((stmt,)) for root in expressions(s) for e in subexpressions(root))
    return {e.name for e in found if isinstance(e, Ref)}
