"""Short inner loops written out, so that the loop around them can be vectorised.

Rows of ten elements leave most of a vector empty; ten statements over a vector of rows do not. What several
loops over the row compute alike is then computed once.
"""

from __future__ import annotations

from dataclasses import replace

from tracec.codegen.c_loops import chain
from tracec.codegen.put_in import Values, put_in
from tracec.ir import index as ix
from tracec.ir.extent import is_varying, plain
from tracec.ir.kernel import (
    Acc,
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
    subexpressions,
    walk,
)  # fmt: skip

#: Statements that the loops may grow to: some more than windows of 3 x 3 of a largest element and where it is.
MAX_STATEMENTS = 192
#: Iterations that one loop may have.
MAX_EXTENT = 32
#: Rows that there must be, for vectors of rows; where a loop is no longer than a few iterations, it fills less of them.
MIN_ROWS, FEW, MIN_ROWS_OF_FEW = 32, 4, 2


def unroll_short_loops(kernel: Kernel) -> Kernel:
    """The kernel with short reduce and each loops written out; the same kernel where that does not pay."""
    if len(kernel.body) != 1 or not isinstance(kernel.body[0], Loop) or kernel.body[0].kind != "parallel":
        return kernel
    loops, body = chain(kernel.body[0])
    inner = [s for s in walk(body) if isinstance(s, Loop)]
    fits = inner and all(s.kind in ("reduce", "each") and _is_short(s.var) for s in inner)
    least = MIN_ROWS_OF_FEW if fits and all(s.var.extent <= FEW for s in inner) else MIN_ROWS
    if not fits or plain(loops[-1].var.extent) < least or any(isinstance(s, Scratch) for s in walk(body)):
        return kernel
    if _statements(body) > MAX_STATEMENTS or not _stores_evenly(body, loops[-1].var):
        return kernel
    result = compute_once(_unrolled(body, {}, ""))
    for outer in reversed(loops):
        result = (replace(outer, body=result),)
    return replace(kernel, body=result)


def _is_short(var: Var) -> bool:
    return not is_varying(var.extent) and var.extent <= MAX_EXTENT


def _stores_evenly(body: tuple[Stmt, ...], lane: Var) -> bool:
    """Whether neighbouring rows are stored side by side, or their few elements are, with no gaps: they interleave.

    Vectors of rows are scattered with great pains otherwise.
    """
    for s in walk(body):
        if isinstance(s, Store):
            terms, _ = ix.terms_of(s.index)
            step = terms.get(lane, 0)
            side_by_side = any(c == 1 and isinstance(t, Var) and t.extent == step <= FEW for t, c in terms.items())
            if step != 1 and not side_by_side:
                return False
    return True


def _statements(body: tuple[Stmt, ...]) -> int:
    return sum(s.var.extent * _statements(s.body) if isinstance(s, Loop) else 1 for s in body)


def _unrolled(body: tuple[Stmt, ...], values: Values, suffix: str) -> tuple[Stmt, ...]:
    """The body with loops written out, for these values of loop variables and new names of scalars."""
    result: list[Stmt] = []
    values = dict(values)
    for s in body:
        match s:
            case Loop(var, inner, _):
                for i in range(var.extent):
                    result += _unrolled(inner, {**values, var.name: Const(i)}, f"{suffix}_{i}")
            case Let(name, value):
                result.append(Let(name + suffix, put_in(value, values)))
                if suffix:
                    values[name] = Ref(name + suffix, value.dtype)
            case Update(name, value):
                result.append(Update(name, put_in(value, values)))
            case Store(buffer, index, value, add):
                result.append(Store(buffer, put_in(index, values), put_in(value, values), add))
            case _:
                result.append(s)
    return tuple(result)


def compute_once(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """Statements in a row, with scalars that are the same computed once, where what they read is never written."""
    changing = {s.buffer if isinstance(s, Store) else s.name for s in body if isinstance(s, (Store, Update, Acc))}
    known: dict[Expr, Expr] = {}
    values: Values = {}
    result: list[Stmt] = []
    for s in body:
        match s:
            case Let(name, value):
                value = put_in(value, values)
                if value in known:
                    values[name] = known[value]
                    continue
                if not any(x.name in changing for x in subexpressions(value) if isinstance(x, Ref)) and not any(
                    x.buffer in changing for x in subexpressions(value) if isinstance(x, Load)
                ):
                    known[value] = Ref(name, value.dtype)
                result.append(Let(name, value))
            case Update(name, value):
                result.append(Update(name, put_in(value, values)))
            case Store(buffer, index, value, add):
                result.append(Store(buffer, put_in(index, values), put_in(value, values), add))
            case _:
                result.append(s)
    return tuple(result)
