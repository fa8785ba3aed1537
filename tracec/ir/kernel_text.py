"""Kernels as text, in the grammar that `tracec.ir.kernel` opens with; `tracec.ir.parser` reads it back.

What that grammar leaves open: a buffer is ``NAME: ROLE DTYPE[size,...]``, the kernel's shape follows its
buffers, ``?`` is an extent given at launch, ``op(args, f32)`` names a result dtype that the operands do
not tell, and literals carry their dtype (``f32(2.0)``) except int64 and bool.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

# By module: kernel.py imports this file for its __str__, and either may be imported first.
from tracec.ir import dtype as dt
from tracec.ir import kernel as k
from tracec.ir.dtype import DType
from tracec.ir.text import format_value

#: Scalar operations whose result is bool whatever their operands.
PREDICATES = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "isnan", "logical_not"})


def format_kernel(kernel: k.Kernel) -> str:
    """The kernel as text."""
    buffers = ", ".join(format_buffer(b) for b in kernel.buffers)
    lines = [f"kernel {kernel.name}({buffers}) {kernel.shape} {{"]
    if kernel.ops:
        lines.append(f"  # ops: {', '.join(kernel.ops)}")
    if kernel.sources:
        lines.append(f"  # from: {', '.join(map(str, kernel.sources))}")
    lines += body_lines(kernel.body, 1)
    if kernel.contraction is not None:
        lines += _contraction_lines(kernel.contraction)
    return "\n".join([*lines, "}"])


def format_buffer(buffer: k.Buffer) -> str:
    """``x: in f32[4,8]``."""
    return f"{buffer.name}: {buffer.role} {buffer.dtype.short}[{','.join(map(format_size, buffer.shape))}]"


def format_size(size: int) -> str:
    """A size; ``?`` where it is given at launch."""
    return "?" if size == -1 else str(size)


def body_lines(body: Iterable[k.Stmt], depth: int) -> Iterator[str]:
    """The lines of statements, two columns deeper for each level."""
    pad = "  " * depth
    for stmt in body:
        if isinstance(stmt, k.Loop):
            yield f"{pad}{format_statement(stmt)} {{"
            yield from body_lines(stmt.body, depth + 1)
            yield f"{pad}}}"
        else:
            yield pad + format_statement(stmt)


def format_statement(stmt: k.Stmt) -> str:
    """A statement on one line; of a loop, its head."""
    match stmt:
        case k.Let(name, value):
            return f"let {name}: {value.dtype.short} = {format_expr(value)}"
        case k.Acc(name, combine, dtype):
            return f"acc {name}: {dtype.short} = {combine}"
        case k.Update(name, value):
            return f"update {name} <- {format_expr(value)}"
        case k.Scratch(name, dtype, size):
            return f"scratch {name}: {dtype.short}[{size}]"
        case k.Store(buffer, index, value, add):
            return f"store {buffer}[{format_expr(index)}] {'+=' if add else '='} {format_expr(value)}"
        case k.Loop(var, _, kind):
            return f"for {var.name} in {format_size(var.extent)} {kind}"


def _contraction_lines(c: k.Contraction) -> list[str]:
    groups = ", ".join(
        f"{name}=({', '.join(loops)})" for name, loops in (("batch", c.batch), ("m", c.m), ("n", c.n), ("k", c.k))
    )
    return [
        f"  contraction {c.op}(acc={c.acc}, {groups}) {{",
        f"    a = {format_expr(c.a)}",
        f"    b = {format_expr(c.b)}",
        "  }",
    ]


def format_expr(expr: k.Expr) -> str:
    """An expression as text."""
    match expr:
        case k.Const(value, dtype):
            literal = format_value(value)
            bare = (dtype is dt.int64 and type(value) is int) or (dtype is dt.bool_ and isinstance(value, bool))
            return literal if bare else f"{dtype.short}({literal})"
        case k.Var(name, _) | k.Ref(name, _):
            return name
        case k.Linear(terms, offset):
            return _format_sum(terms, offset)
        case k.Div(value, by):
            return f"{_atom(value)}//{by}"
        case k.Mod(value, by):
            return f"{_atom(value)}%{by}"
        case k.Load(buffer, index, _):
            return f"{buffer}[{format_expr(index)}]"
        case k.Call(op, args, dtype):
            inner = ", ".join(map(format_expr, args))
            return f"{op}({inner}{'' if dtype is result_dtype(op, args) else f', {dtype.short}'})"


def result_dtype(op: str, args: tuple[k.Expr, ...]) -> DType | None:
    """The dtype that a call has where its text names none; None for casts, which always name it."""
    if op == "cast" or not args:
        return None
    if op in PREDICATES:
        return dt.bool_
    return args[1 if op == "select" and len(args) > 1 else 0].dtype


def _format_sum(terms: tuple[tuple[k.Expr, int], ...], offset: int) -> str:
    parts: list[str] = []
    for term, coefficient in terms:
        size = abs(coefficient)
        text = format_expr(term) if size == 1 else f"{size}*{_atom(term)}"
        parts.append(_signed(text, coefficient < 0, first=not parts))
    if offset or not parts:
        parts.append(_signed(str(abs(offset)), offset < 0, first=not parts))
    return " ".join(parts)


def _signed(text: str, negative: bool, *, first: bool) -> str:
    if first:
        return f"-{text}" if negative else text
    return f"{'-' if negative else '+'} {text}"


def _atom(expr: k.Expr) -> str:
    """In parentheses where ``//``, ``%`` or ``*`` next to it would be read otherwise."""
    text = format_expr(expr)
    return f"({text})" if isinstance(expr, (k.Linear, k.Div, k.Mod)) else text
