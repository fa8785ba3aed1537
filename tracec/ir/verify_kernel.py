"""Checks of the invariants of kernels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NoReturn

from tracec.errors import VerifyError
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.dtype import DType
from tracec.ir.exact import VARIATES
from tracec.ir.kernel import (
    COMBINES,
    SCALAR_OPS,
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
    parts,
)
from tracec.ir.kernel_parser import LOOP_KINDS, ROLES
from tracec.ir.kernel_text import PREDICATES, format_expr, format_statement

#: Operations whose operands need not share a dtype.
_MIXED = frozenset({"cast", "bitcast", "select", "shift_left", "shift_right", *VARIATES})


def verify_kernel(kernel: Kernel) -> None:
    """Check a kernel: names are in scope, dtypes agree, indices stay inside of their buffers.

    Indices are checked where their range follows from the loops alone, and not within ``select``, whose
    condition may be what keeps them inside.

    Raises:
        VerifyError: names the statement and the rule, and shows the loops around it.
    """
    scope = _Scope(kernel)
    for buffer in kernel.buffers:
        if buffer.role not in ROLES:
            scope.fail(f"buffer {buffer.name} has role {buffer.role!r}, known are {', '.join(ROLES)}")
        if buffer.name in scope.arrays:
            scope.fail(f"two buffers are named {buffer.name}")
        scope.arrays[buffer.name] = (buffer.dtype, -1 if -1 in buffer.shape else buffer.size, buffer.role)
    _verify_body(kernel.body, scope)
    if (kernel.contraction is not None) != (kernel.shape == "contraction"):
        scope.fail(f"shape {kernel.shape} goes with {'a' if kernel.contraction else 'no'} contraction")
    if kernel.contraction is not None:
        _verify_contraction(kernel, scope)


@dataclass(slots=True)
class _Scope:
    """What a statement can name, and the way to it."""

    kernel: Kernel
    names: dict[str, Var | Ref] = field(default_factory=dict)
    accs: frozenset[str] = frozenset()
    arrays: dict[str, tuple[DType, int, str]] = field(default_factory=dict)
    path: tuple[Stmt, ...] = ()

    def inner(self, stmt: Stmt) -> _Scope:
        return replace(self, names=dict(self.names), arrays=dict(self.arrays), path=(*self.path, stmt))

    def fail(self, rule: str, stmt: Stmt | None = None) -> NoReturn:
        path = (*self.path, stmt) if stmt else self.path
        lines = [f"{'  ' * i}{format_statement(s)}" for i, s in enumerate(path)]
        raise VerifyError(f"kernel {self.kernel.name}: {rule}", where="\n  ".join(lines) or None)


def _verify_body(body: Iterable[Stmt], scope: _Scope) -> None:
    for stmt in body:
        _verify_statement(stmt, scope)


def _verify_statement(stmt: Stmt, scope: _Scope) -> None:
    match stmt:
        case Loop(var, body, kind):
            _verify_loop(var, kind, stmt, scope)
            inner = scope.inner(stmt)
            inner.names[var.name] = var
            _verify_body(body, inner)
        case Let(name, value):
            _verify_expr(value, stmt, scope)
            _define(name, value.dtype, stmt, scope)
        case Acc(name, combine, dtype):
            if combine not in COMBINES:
                scope.fail(f"no accumulator combines with {combine!r}, known are {', '.join(COMBINES)}", stmt)
            _define(name, dtype, stmt, scope)
            scope.accs |= {name}
        case Update(name, value):
            if name not in scope.accs or name not in scope.names:
                scope.fail(f"{name} is no accumulator in scope", stmt)
            _verify_expr(value, stmt, scope)
            if value.dtype is not scope.names[name].dtype:
                scope.fail(f"{name} is {scope.names[name].dtype.short} and its update is {value.dtype.short}", stmt)
        case Scratch(name, dtype, size):
            if name in scope.arrays:
                scope.fail(f"scratch {name} hides another array of that name", stmt)
            scope.arrays[name] = (dtype, size, "scratch")
        case Store(buffer, index, value, _):
            _verify_expr(value, stmt, scope)
            _verify_element(buffer, index, stmt, scope, guarded=False)
            if scope.arrays[buffer][2] == "in":
                scope.fail(f"{buffer} is read only", stmt)


def _define(name: str, dtype: DType, stmt: Stmt, scope: _Scope) -> None:
    if name in scope.names:
        scope.fail(f"{name} is assigned twice", stmt)
    scope.names[name] = Ref(name, dtype)


def _verify_loop(var: Var, kind: str, stmt: Stmt, scope: _Scope) -> None:
    if kind not in LOOP_KINDS:
        scope.fail(f"no loop is of kind {kind!r}, known are {', '.join(LOOP_KINDS)}", stmt)
    around = [s.kind for s in scope.path if isinstance(s, Loop)]
    if kind == "share" and (around.count("parallel") != 1 or {*around} - {"parallel", "share"}):
        scope.fail("a share loop parts its iterations among those of one parallel loop around it", stmt)
    if var.extent < 0 and (var.extent != -1 or scope.path):
        scope.fail("only the extent of an outermost loop can be left to the launch", stmt)
    if var.name in scope.names:
        scope.fail(f"{var.name} is already a name in scope", stmt)


def _verify_expr(root: Expr, stmt: Stmt, scope: _Scope) -> None:
    stack = [(root, False)]
    while stack:
        expr, guarded = stack.pop()
        match expr:
            case Var(name, _) | Ref(name, _):
                known = scope.names.get(name)
                if known is None:
                    scope.fail(f"{name} is not in scope", stmt)
                if known != expr:
                    scope.fail(f"{name} stands for {known!r}, not {expr!r}", stmt)
            case Load(buffer, index, dtype):
                _verify_element(buffer, index, stmt, scope, guarded=guarded, walk=False)
                if scope.arrays[buffer][0] is not dtype:
                    scope.fail(f"{buffer} holds {scope.arrays[buffer][0].short}, loaded as {dtype.short}", stmt)
            case Linear(terms, _):
                for term, _ in terms:
                    if term.dtype.kind not in "iu":
                        scope.fail(f"index {format_expr(expr)} has a term of {term.dtype.short}", stmt)
            case Div(_, by) | Mod(_, by):
                if by <= 0:
                    scope.fail(f"index {format_expr(expr)} divides by {by}", stmt)
            case Call(op, args, _) if op == "select" and len(args) == 3:
                _verify_call(expr, stmt, scope)
                stack += [(args[0], guarded), (args[1], True), (args[2], True)]
                continue
            case Call():
                _verify_call(expr, stmt, scope)
            case Const():
                pass
        stack += [(part, guarded) for part in parts(expr)]


def _verify_element(buffer: str, index: Expr, stmt: Stmt, scope: _Scope, *, guarded: bool, walk: bool = True) -> None:
    """A buffer's element: the buffer is known and the index stays inside of it."""
    if buffer not in scope.arrays:
        scope.fail(f"there is no buffer {buffer}", stmt)
    if walk:
        _verify_expr(index, stmt, scope)
    if index.dtype.kind not in "iu":
        scope.fail(f"{buffer} is indexed with {index.dtype.short}", stmt)
    size, reach = scope.arrays[buffer][1], ix.bounds(index)
    if guarded or size < 0 or reach is None or any(s.var.extent < 1 for s in scope.path if isinstance(s, Loop)):
        return
    if reach[0] < 0 or reach[1] >= size:
        scope.fail(f"index {format_expr(index)} runs from {reach[0]} to {reach[1]}, {buffer} has {size} elements", stmt)


def _verify_call(call: Call, stmt: Stmt, scope: _Scope) -> None:
    op, args, dtype = call.op, call.args, call.dtype
    arity = SCALAR_OPS.get(op)
    if arity is None:
        scope.fail(f"there is no scalar operation {op}", stmt)
    if len(args) != arity:
        scope.fail(f"{op} takes {arity} operands, {len(args)} given", stmt)
    if op in PREDICATES and dtype is not dt.bool_:
        scope.fail(f"{op} gives bool, not {dtype.short}", stmt)
    if op == "select":
        if args[0].dtype is not dt.bool_:
            scope.fail(f"select chooses by bool, not {args[0].dtype.short}", stmt)
        _same_dtype(op, args[1:], dtype, stmt, scope)
    elif op not in _MIXED:
        _same_dtype(op, args, args[0].dtype if op in PREDICATES else dtype, stmt, scope)


def _same_dtype(op: str, args: tuple[Expr, ...], dtype: DType, stmt: Stmt, scope: _Scope) -> None:
    """Floating operands share their dtype with the result; integers may mix, as index arithmetic does."""
    for arg in args:
        both_integers = arg.dtype.kind in "iu" and dtype.kind in "iu"
        if arg.dtype is not dtype and not both_integers:
            scope.fail(f"{op} of {dtype.short} has an operand of {arg.dtype.short}: {format_expr(arg)}", stmt)


def _verify_contraction(kernel: Kernel, scope: _Scope) -> None:
    c = kernel.contraction
    assert c is not None
    loops: dict[str, Loop] = {}
    accs: set[str] = set()
    stack: list[Stmt] = list(kernel.body)
    while stack:
        stmt = stack.pop()
        if isinstance(stmt, Loop):
            loops[stmt.var.name] = stmt
            stack.extend(stmt.body)
        elif isinstance(stmt, Acc):
            accs.add(stmt.name)
    if c.acc not in accs:
        scope.fail(f"contraction names accumulator {c.acc}, which is not declared")
    for group in ("batch", "m", "n", "k"):
        kind = "reduce" if group == "k" else "parallel"
        for name in getattr(c, group):
            if name not in loops or loops[name].kind != kind:
                scope.fail(f"contraction names loop {name} in {group}, which is no {kind} loop")
