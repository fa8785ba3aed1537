"""Expressions with others in the places of variables and scalars, and what is decided then."""

from __future__ import annotations

from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.kernel import Call, Const, Div, Expr, Linear, Load, Mod

Values = dict[str, Expr]


def put_in(e: Expr, values: Values) -> Expr:
    """The expression with variables and scalars replaced."""
    match e:
        case Linear(terms, offset):
            total: Expr = Const(offset)
            for t, c in terms:
                total = ix.add(total, ix.mul(put_in(t, values), c))
            return total
        case Div(value, by):
            return ix.div(put_in(value, values), by)
        case Mod(value, by):
            return ix.mod(put_in(value, values), by)
        case Load(buffer, index, dtype):
            return Load(buffer, put_in(index, values), dtype)
        case Call("select", (condition, then, other), dtype):
            chosen = put_in(condition, values)
            if isinstance(chosen, Const):
                return put_in(then if chosen.value else other, values)
            return Call("select", (chosen, put_in(then, values), put_in(other, values)), dtype)
        case Call(op, args, dtype):
            return _decided(Call(op, tuple(put_in(a, values) for a in args), dtype))
        case Const():
            return e
        case _:
            return values.get(e.name, e)


def _decided(e: Call) -> Expr:
    """Comparisons of indices that their ranges decide, and conjunctions with such."""
    if e.op == "bitwise_and" and e.dtype is dt.bool_:
        constant = [a for a in e.args if isinstance(a, Const)]
        if constant:
            other = next((a for a in e.args if a is not constant[0]), constant[0])
            return other if constant[0].value else constant[0]
    if e.op in ("ge", "lt") and all(a.dtype is dt.int64 for a in e.args):
        low, high = ix.bounds(e.args[0]), ix.bounds(e.args[1])
        if low is not None and high is not None:
            if low[0] >= high[1]:
                return Const(e.op == "ge", dt.bool_)
            if low[1] < high[0]:
                return Const(e.op == "lt", dt.bool_)
    return e
