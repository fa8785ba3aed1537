"""Index arithmetic: linear expressions in normal form, ``//`` and ``%`` simplified by the ranges of loop variables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tracec.ir import dtype as dt
from tracec.ir.extent import divides, is_varying, like, plain, whole
from tracec.ir.scalar import Call, Const, Div, Expr, Linear, Mod, Var
from tracec.ir.types import Shape, contiguous_strides, same

TRUE = Const(True, dt.bool_)
_UNIT = Const(1)


def terms_of(e: Expr) -> tuple[dict[Expr, int], int]:
    """An index as coefficients of its terms, and what is added."""
    match e:
        case Const(value, _):
            return {}, whole(value)
        case Linear(terms, offset):
            return dict(terms), offset
        case _:
            return {e: 1}, 0


def _recombine(terms: dict[Expr, int]) -> dict[Expr, int]:
    """``c * by * (e // by) + c * (e % by)`` is ``c * e``; so it is where the quotient is of ``e % (n * by)``."""
    for t, c in list(terms.items()):
        if not isinstance(t, Mod) or not c:
            continue
        for quotient in (Div(t.value, t.by), *(q for q in terms if isinstance(q, Div) and _refines(q, t))):
            if terms.get(quotient) == c * t.by:
                del terms[t], terms[quotient]
                inner, offset = terms_of(quotient.value)
                for u, d in inner.items():
                    terms[u] = terms.get(u, 0) + c * d
                if offset:
                    terms[_UNIT] = terms.get(_UNIT, 0) + c * offset
                return _recombine(terms)
    return terms


def _refines(quotient: Div, rest: Mod) -> bool:
    """Whether a quotient is of the same value as a remainder, but for multiples of the remainder's divisor."""
    inner = quotient.value
    same = isinstance(inner, Mod) and inner.value == rest.value and inner.by % rest.by == 0
    return same and quotient.by == rest.by


def _make(terms: dict[Expr, int], offset: int) -> Expr:
    if any(isinstance(t, Mod) for t in terms):
        terms = _recombine(terms)
        offset += terms.pop(_UNIT, 0)
    kept = tuple((t, c) for t, c in terms.items() if c)
    if not kept:
        return Const(offset)
    if len(kept) == 1 and kept[0][1] == 1 and offset == 0:
        return kept[0][0]
    return Linear(tuple(sorted(kept, key=lambda tc: -abs(tc[1]))), offset)


def add(a: Expr, b: Expr | int) -> Expr:
    """``a + b``."""
    terms, offset = terms_of(a)
    more, plus = terms_of(b) if not isinstance(b, int) else ({}, b)
    terms = dict(terms)
    for t, c in more.items():
        terms[t] = terms.get(t, 0) + c
    return _make(terms, offset + plus)


def mul(a: Expr, by: int) -> Expr:
    """``a * by``."""
    terms, offset = terms_of(a)
    return _make({t: c * by for t, c in terms.items()}, offset * by)


def sub(a: Expr, b: Expr | int) -> Expr:
    """``a - b``."""
    return add(a, -b if isinstance(b, int) else mul(b, -1))


def bounds(e: Expr) -> tuple[int, int] | None:
    """Smallest and largest value, where the loops tell; None for values read from memory."""
    match e:
        case Const(value, _):
            return whole(value), whole(value)
        case Var(_, extent):
            return 0, max(extent - 1, 0)
        case Mod(value, by):
            inner = bounds(value)
            return inner if inner and inner[0] >= 0 and inner[1] < by else (0, by - 1)
        case Div(value, by):
            inner = bounds(value)
            return (inner[0] // by, inner[1] // by) if inner else None
        case Linear(terms, offset):
            low = high = offset
            for t, c in terms:
                inner = bounds(t)
                if inner is None:
                    return None
                low += c * (inner[0] if c > 0 else inner[1])
                high += c * (inner[1] if c > 0 else inner[0])
            return low, high
        case _:
            return None


def _whole(e: Expr, by: int) -> tuple[Expr, Expr]:
    """``e = by * q + r`` where q takes the terms that ``by`` divides."""
    terms, offset = terms_of(e)
    q = _make({t: c // by for t, c in terms.items() if divides(by, c)}, offset // by)
    return q, _make({t: c for t, c in terms.items() if not divides(by, c)}, offset % by)


def _split(e: Expr, by: int) -> tuple[Expr, Expr] | None:
    """``e = by * q + r`` with 0 <= r < by, where that can be read off the terms."""
    q, r = _whole(e, by)
    inner = bounds(r)
    return (q, r) if inner and inner[0] >= 0 and inner[1] < by else None


def _common(a: int, b: int) -> int:
    """A divisor of two numbers: the greatest one where they are the same for all sizes."""
    if is_varying(a) or is_varying(b):
        return b if divides(b, a) else a if divides(a, b) else 1
    return math.gcd(a, b)


def _coarse(e: Expr, by: int) -> tuple[int, Expr, Expr] | None:
    """``e = step * q + r`` with 0 <= r < step and step a divisor of ``by``: division need only look at q."""
    terms, _ = terms_of(e)
    for step in sorted({_common(c, by) for c in terms.values()} - {1}, reverse=True, key=plain):
        split = _split(e, step)
        if split:
            return step, *split
    return None


def div(e: Expr, by: int) -> Expr:
    """``e // by``, rounded down, for a positive ``by``."""
    if by == 1:
        return e
    split = _split(e, by)
    if split:
        return split[0]
    if isinstance(e, Div):
        return div(e.value, e.by * by)
    coarse = _coarse(e, by)
    if coarse:
        step, q, _ = coarse
        return div(q, by // step)
    whole, rest = _whole(e, by)
    return add(whole, Div(rest, by)) if whole != Const(0) else Div(rest, by)


def mod(e: Expr, by: int) -> Expr:
    """``e % by``, never negative, for a positive ``by``."""
    if by == 1:
        return Const(0)
    split = _split(e, by)
    if split:
        return split[1]
    coarse = _coarse(e, by)
    if coarse:
        step, q, r = coarse
        return add(mul(mod(q, by // step), step), r)
    return Mod(_whole(e, by)[1], by)


def flatten(index: Sequence[Expr], shape: Shape) -> Expr:
    """The row-major position of a multi-index."""
    flat: Expr = Const(0)
    for i, stride in zip(index, contiguous_strides(shape), strict=True):
        flat = add(flat, mul(i, stride))
    return flat


def unflatten(flat: Expr, shape: Shape, *, wrap: bool = True) -> tuple[Expr, ...]:
    """The multi-index of a row-major position; without ``wrap``, one outside is outside along the first axis."""
    if 0 in shape:
        return (Const(0),) * len(shape)
    index: list[Expr] = []
    if 0 in shape:  # no element has a position
        return tuple(Const(0) for _ in shape)
    for size, stride in zip(shape, contiguous_strides(shape), strict=True):
        if size == 1:
            index.append(Const(0))
            continue
        outer = stride * size
        inner = bounds(flat)
        inside = bool(inner and inner[0] >= 0 and inner[1] < outer)
        within = flat if inside or not wrap else mod(flat, outer)
        wrap = True
        index.append(div(within, stride))
    return tuple(index)


def reshape(index: Sequence[Expr], shape: Shape, target: Shape) -> tuple[Expr, ...]:
    """A multi-index of ``shape`` as one of ``target``, which holds the same elements in the same order."""
    if same(shape, target):
        return tuple(index)
    # An index may lie outside, where a test around it is still to come: no rest is taken to bring it back.
    long = [(i, size) for i, size in zip(index, shape, strict=True) if not like(size, 1)]
    if same(tuple(size for _, size in long), tuple(size for size in target if not like(size, 1))):
        left = iter(i for i, _ in long)
        return tuple(Const(0) if like(size, 1) else next(left) for size in target)
    return unflatten(flatten(index, shape), target, wrap=False)


def in_range(e: Expr, low: int, high: int) -> Expr:
    """The condition ``low <= e < high``, with the parts left out that always hold.

    What is added to the index moves to the other side: beside being shorter, ``i - 6 >= 0`` under ``-fwrapv`` leads GCC
    12 to wrong vector code where two elements have that condition and their sum is chosen by another.
    """
    if isinstance(e, Linear) and e.offset:
        low, high, e = low - e.offset, high - e.offset, sub(e, Const(e.offset))
    inner = bounds(e)
    tests = []
    if inner is None or inner[0] < low:
        tests.append(Call("ge", (e, Const(low)), dt.bool_))
    if inner is None or inner[1] >= high:
        tests.append(Call("lt", (e, Const(high)), dt.bool_))
    return all_of(tests)


def held(e: Expr, size: int) -> Expr:
    """An index that was read from memory, held to an axis: what is read there may be a position in its turn.

    Others are left as they are, since their loads are guarded where loops tell that they leave the axis.
    """
    if bounds(e) is not None:
        return e
    return Call("minimum", (Call("maximum", (e, Const(0)), dt.int64), Const(max(size - 1, 0))), dt.int64)


def all_of(conditions: Sequence[Expr]) -> Expr:
    """The conjunction; ``TRUE`` where nothing is left to test."""
    left = [c for c in conditions if c != TRUE]
    if not left:
        return TRUE
    result = left[0]
    for c in left[1:]:
        result = Call("bitwise_and", (result, c), dt.bool_)
    return result


def select(condition: Expr, then: Expr, other: Expr) -> Expr:
    """``condition ? then : other``."""
    return then if condition == TRUE else Call("select", (condition, then, other), then.dtype)
