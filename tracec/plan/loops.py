"""Loop transformations on kernels: adjacent loops that walk memory as one are coalesced; indices are rewritten."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from tracec.ir import index as ix
from tracec.ir.kernel import (
    Call,
    Const,
    Contraction,
    Div,
    Expr,
    Kernel,
    Let,
    Linear,
    Load,
    Loop,
    Mod,
    Stmt,
    Store,
    Update,
    Var,
    expressions,
    walk,
)  # fmt: skip

Form = dict[str, int]


def coalesce(kernel: Kernel) -> Kernel:
    """Merge directly nested loops of one kind wherever every index treats the two as one."""
    forms = [f for stmt in walk(kernel.body) for e in expressions(stmt) for f in _forms(e)]
    groups = _groups(kernel)
    merged = True
    while merged:
        merged = False
        for outer, inner in _adjacent(kernel.body):
            if groups.get(outer.name) != groups.get(inner.name):
                continue
            if all(f.get(outer.name, 0) == inner.extent * f.get(inner.name, 0) for f in forms):
                whole = Var(outer.name, outer.extent * inner.extent)
                body = _merge(kernel.body, outer, inner, whole)
                kernel = replace(kernel, body=body, contraction=_marks(kernel, outer, inner, whole))
                for f in forms:
                    if inner.name in f:
                        f[outer.name] = f.pop(inner.name)
                merged = True
                break
    return kernel


def _groups(kernel: Kernel) -> dict[str, str]:
    """Loop name → its role in a contraction, so that loops of two roles stay apart."""
    c = kernel.contraction
    if c is None:
        return {}
    roles = {"batch": c.batch, "m": c.m, "n": c.n, "k": c.k}
    return {name: role for role, names in roles.items() for name in names}


def _marks(kernel: Kernel, outer: Var, inner: Var, whole: Var) -> Contraction | None:
    """The marks of a contraction once two of its loops are one."""
    c = kernel.contraction
    if c is None:
        return None
    swap = _swap(outer, inner, whole)

    def left(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(x for x in names if x != inner.name)

    return replace(
        c, batch=left(c.batch), m=left(c.m), n=left(c.n), k=left(c.k), a=rewrite(c.a, swap), b=rewrite(c.b, swap)
    )


def _adjacent(body: Iterable[Stmt]) -> Iterable[tuple[Var, Var]]:
    """Pairs of loops where the inner one is all of the outer one's body, wherever either occurs."""
    inside: dict[str, set[str]] = {}
    around: dict[str, set[str]] = {}
    found: dict[tuple[str, str], tuple[Var, Var]] = {}

    def visit(stmts: Iterable[Stmt], parent: Loop | None) -> None:
        for stmt in stmts:
            if isinstance(stmt, Loop):
                alone = parent is not None and len(parent.body) == 1 and parent.kind == stmt.kind
                name = parent.var.name if parent is not None and alone else ""
                around.setdefault(stmt.var.name, set()).add(name)
                if parent is not None and alone:
                    inside.setdefault(parent.var.name, set()).add(stmt.var.name)
                    found[parent.var.name, stmt.var.name] = (parent.var, stmt.var)
                elif parent is not None:
                    inside.setdefault(parent.var.name, set()).add("")
                visit(stmt.body, stmt)

    visit(body, None)
    return [p for (o, i), p in found.items() if inside.get(o) == {i} and around.get(i) == {o}]


def _forms(expr: Expr) -> Iterable[Form]:
    """The linear forms in an expression: factors of the loop variables in each index or sub-index."""
    stack = [expr]
    while stack:
        e = stack.pop()
        match e:
            case Var(name, _):
                yield {name: 1}
            case Linear(terms, _):
                form = {t.name: c for t, c in terms if isinstance(t, Var)}
                if form:
                    yield form
                stack.extend(t for t, _ in terms if not isinstance(t, Var))
            case Div(value, _) | Mod(value, _):
                stack.append(value)
            case Load(_, index, _):
                stack.append(index)
            case Call(_, args, _):
                stack.extend(args)
            case _:
                pass


def _swap(outer: Var, inner: Var, whole: Var) -> Callable[[Expr], Expr | None]:
    def swap(e: Expr) -> Expr | None:
        if not isinstance(e, Linear):
            return None
        terms = dict(e.terms)
        if inner not in terms:
            return None
        factor = terms.pop(inner)
        terms.pop(outer)
        result: Expr = ix.mul(whole, factor)
        for t, c in terms.items():
            result = ix.add(result, ix.mul(rewrite(t, swap), c))
        return ix.add(result, e.offset)

    return swap


def _merge(body: tuple[Stmt, ...], outer: Var, inner: Var, whole: Var) -> tuple[Stmt, ...]:
    swap = _swap(outer, inner, whole)

    def visit(stmts: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        result: list[Stmt] = []
        for stmt in stmts:
            if isinstance(stmt, Loop) and stmt.var == outer:
                (only,) = stmt.body
                assert isinstance(only, Loop)
                result.append(Loop(whole, visit(only.body), stmt.kind))
            else:
                result.append(rewrite_stmt(stmt, swap, visit))
        return tuple(result)

    return visit(body)


def rewrite(expr: Expr, rule: Callable[[Expr], Expr | None]) -> Expr:
    """The expression with every part that ``rule`` gives something for replaced, outer parts first."""
    new = rule(expr)
    if new is not None:
        return new
    match expr:
        case Linear(terms, offset):
            parts = [(rewrite(t, rule), c) for t, c in terms]
            if all(p is t for (p, _), (t, _) in zip(parts, terms, strict=True)):
                return expr
            result: Expr = Const(offset)
            for p, c in parts:
                result = ix.add(result, ix.mul(p, c))
            return result
        case Div(value, by):
            return ix.div(rewrite(value, rule), by)
        case Mod(value, by):
            return ix.mod(rewrite(value, rule), by)
        case Load(buffer, index, dtype):
            return Load(buffer, rewrite(index, rule), dtype)
        case Call(op, args, dtype):
            return Call(op, tuple(rewrite(a, rule) for a in args), dtype)
        case _:
            return expr


def rewrite_stmt(
    stmt: Stmt, rule: Callable[[Expr], Expr | None], visit: Callable[[tuple[Stmt, ...]], tuple[Stmt, ...]]
) -> Stmt:
    """The statement with its expressions rewritten and the bodies of loops visited."""
    match stmt:
        case Loop(var, body, kind):
            return Loop(var, visit(body), kind)
        case Let(name, value):
            return Let(name, rewrite(value, rule))
        case Update(name, value):
            return Update(name, rewrite(value, rule))
        case Store(buffer, index, value, add):
            return Store(buffer, rewrite(index, rule), rewrite(value, rule), add)
        case _:
            return stmt


def rewrite_kernel(kernel: Kernel, rule: Callable[[Expr], Expr | None]) -> Kernel:
    """The kernel with every expression rewritten."""

    def visit(stmts: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(rewrite_stmt(s, rule, visit) for s in stmts)

    c = kernel.contraction
    if c is not None:
        c = replace(c, a=rewrite(c.a, rule), b=rewrite(c.b, rule))
    return replace(kernel, body=visit(kernel.body), contraction=c)
