"""Bounds of reads under conditions: does an expression read inside of its buffers by itself, or only where selected?

A part of a padded or concatenated value is read at positions that are outside of it elsewhere; a ``select`` then takes
another value. Under several of them, one within another, each keeps one axis inside: such a read may be computed
where all of its conditions hold, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping

from tracec.ir import index as ix
from tracec.ir.extent import whole
from tracec.ir.kernel import Call, Const, Expr, Load, parts

#: What is known of an index where an expression is computed: its least and largest value.
Known = dict[Expr, tuple[int, int]]


def stays_inside(expr: Expr, sizes: Mapping[str, int], known: Known | None = None) -> bool:
    """Whether every load of an expression is inside of its buffer wherever the expression is computed.

    Args:
        expr: The expression.
        sizes: Elements of each buffer.
        known: What is known of indices there.
    """
    known = known or {}
    match expr:
        case Load(buffer, at, _):
            reach = _range(at, known)
            if reach is not None and (reach[0] < 0 or reach[1] >= max(sizes.get(buffer, 1 << 62), 1)):
                return False
            return stays_inside(at, sizes, known)
        case Call("select", (condition, then, other), _):
            return (
                stays_inside(condition, sizes, known)
                and stays_inside(then, sizes, _where(condition, known))
                and stays_inside(other, sizes, _unless(condition, known))
            )
        case _:
            return all(stays_inside(p, sizes, known) for p in parts(expr))


def _where(condition: Expr, known: Known) -> Known:
    """What is known where a condition holds."""
    match condition:
        case Call("bitwise_and", (a, b), _):
            return _where(b, _where(a, known))
        case Call("ge", (index, Const(low, _)), _):
            return _narrowed(known, index, whole(low), None)
        case Call("lt", (index, Const(high, _)), _):
            return _narrowed(known, index, None, whole(high) - 1)
        case _:
            return known


def _unless(condition: Expr, known: Known) -> Known:
    """What is known where a condition does not hold."""
    match condition:
        case Call("ge", (index, Const(low, _)), _):
            return _narrowed(known, index, None, whole(low) - 1)
        case Call("lt", (index, Const(high, _)), _):
            return _narrowed(known, index, whole(high), None)
        case _:
            return known


def _narrowed(known: Known, index: Expr, low: int | None, high: int | None) -> Known:
    before = known.get(index) or ix.bounds(index)
    if before is None:
        return known
    new = before[0] if low is None else max(before[0], low), before[1] if high is None else min(before[1], high)
    return {**known, index: new}


def _range(index: Expr, known: Known) -> tuple[int, int] | None:
    """Least and largest value of an index; None where memory decides."""
    terms, low = ix.terms_of(index)
    high = low
    # Sums of terms of which more is known than of each, the longest first.
    for other, (least, most) in sorted(known.items(), key=lambda pair: -len(ix.terms_of(pair[0])[0])):
        mine, offset = ix.terms_of(other)
        factors = {terms.get(t, 0) / c for t, c in mine.items()}
        if len(factors) != 1 or not mine:
            continue
        factor = factors.pop()
        if not factor or factor != int(factor):
            continue
        ends = sorted((int(factor) * (least - offset), int(factor) * (most - offset)))
        low, high = low + ends[0], high + ends[1]
        for t in mine:
            del terms[t]
    for term, c in terms.items():
        inner = ix.bounds(term)
        if inner is None:
            return None
        low, high = low + min(c * inner[0], c * inner[1]), high + max(c * inner[0], c * inner[1])
    return low, high
