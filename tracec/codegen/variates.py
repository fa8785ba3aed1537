"""The formulas of `tracec.ir.exact` as functions of a target's language."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tracec.codegen.expressions import Dialect, ExpressionWriter
from tracec.ir import dtype as dt
from tracec.ir.exact import VARIATES
from tracec.ir.scalar import Call, Expr, Ref
from tracec.ir.straight import Straight, traced

#: Name of a function → the scalar operation and the type of the random word.
FUNCTIONS = {f"{name}_{d.short}": (name, d) for name in VARIATES for d in (dt.uint32, dt.uint64)}


@dataclass(frozen=True, slots=True)
class Variate:
    """A function of a random word.

    Attributes:
        name: ``normal_variate_u32``.
        type: ``float``.
        parameter: ``unsigned word``.
        lines: The statements.
    """

    name: str
    type: str
    parameter: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)


def variate(name: str, dialect: Dialect) -> Variate:
    """The function of that name in a language."""
    operation, dtype = FUNCTIONS[name]
    code = traced(VARIATES[operation], dtype)
    types, parameter = dialect.types, code.parameter
    return Variate(
        name,
        types[code.result.dtype],
        f"{types[dtype]} {parameter.name}",
        tuple(_lines(code, ExpressionWriter(dialect))),
    )


def _lines(code: Straight, writer: ExpressionWriter) -> Iterator[str]:
    """A line for each step, but for products that are read once, which stand where they are read."""
    steps = dict(code.steps)
    reads = [a.name for _, e in code.steps for a in _operands(e) if isinstance(a, Ref)]
    inside = {
        n for n, e in code.steps if isinstance(e, Call) and e.op in ("mul", "rounded_mul") and reads.count(n) == 1
    }

    def whole(e: Expr) -> Expr:
        if not isinstance(e, Call):
            return e
        args = (whole(steps[a.name]) if isinstance(a, Ref) and a.name in inside else a for a in e.args)
        return Call(e.op, tuple(args), e.dtype)

    for name, expr in code.steps:
        if name in inside:
            continue
        text = writer.write(whole(expr))
        if name == code.result.name:
            yield f"return {text};"
        else:
            yield f"const {writer.dialect.types[expr.dtype]} {name} = {text};"


def _operands(e: Expr) -> tuple[Expr, ...]:
    return e.args if isinstance(e, Call) else ()
