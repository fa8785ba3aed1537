"""What a row of scores takes no notice of: elements behind a diagonal, as the future is to causal attention.

Where a condition on the row's number and the element's lets minus infinity take an element's place, its exponential is
zero, it adds nothing to the row's sum and is no maximum, and the weight that is written for it is zero. A product that
such weights go into may leave them out. This follows what is computed of an element behind the diagonal: minus
infinity, zero, or anything. A row whose own elements are all minus infinity, or among them NaN, has NaN for weights
with or without the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from tracec.ir import index as ix
from tracec.ir.kernel import Acc, Call, Const, Expr, Let, Load, Loop, Ref, Scratch, Stmt, Store, Update, Var

#: What an element behind the diagonal is, where that is known.
LOW, ZERO, YES, NO = "-inf", "0", "true", "false"
#: Comparisons of a with b → those of b with a.
_TURNED = {"ge": "le", "gt": "lt", "le": "ge", "lt": "gt"}
#: What accumulators take no notice of.
_NEUTRAL = {"maximum": LOW, "logaddexp": LOW, "add": ZERO}


def diagonal(body: Iterable[Stmt], row: Var, scores: str) -> int | None:
    """How far behind its own number a row takes notice of elements.

    Args:
        body: What is computed of a row.
        row: Its number.
        scores: The row's elements, read and written at their numbers.

    Returns:
        d where elements from number row + d + 1 on have no effect but zeros in their own places; None where all may
        have one.
    """
    follower = _Follower(row, scores)
    if not follower.holds(body) or follower.known.get(scores) != ZERO or not follower.diagonals:
        return None
    found = max(follower.diagonals)
    return found if found >= 0 else None


class _Follower:
    """Follows one element behind the diagonal through what is computed.

    Args:
        row: The row's number.
        scores: The array that it begins and ends in.

    Attributes:
        known: Scalars and arrays → what they hold of the element, where that is known.
        diagonals: Those of the conditions that were met.
    """

    def __init__(self, row: Var, scores: str) -> None:
        self.row = row
        self.known: dict[str, str] = {}
        self._own = {scores}  # arrays that have an element for each of the row
        self.diagonals: list[int] = []
        self._whole: set[str] = set()  # scalars that are one for the row
        self._values: dict[str, Expr] = {}
        self._combines: dict[str, str] = {}

    def holds(self, body: Iterable[Stmt], element: Var | None = None) -> bool:
        """Whether nothing but its own place depends on the element."""
        for s in body:
            match s:
                case Loop(var, inner, _):
                    if element is not None or not self.holds(inner, var):
                        return False
                case Scratch(name, _, _):
                    self._own.add(name)
                case Acc(name, combine, _):
                    self._combines[name] = combine
                    self._whole.add(name)
                case Let(name, value):
                    self._values[name] = value
                    if element is None:
                        self._whole.add(name)
                    elif (found := self._of(value, element)) is not None:
                        self.known[name] = found
                case Update(name, value) if element is not None:
                    if self._of(value, element) != _NEUTRAL.get(self._combines[name], ""):
                        return False
                case Store(buffer, index, value, add) if element is not None:
                    if add or index != element or buffer not in self._own:
                        return False
                    self.known[buffer] = self._of(value, element) or ""
                case Store(buffer, _, _, _) if buffer not in self._own:
                    continue
                case Update() | Store():
                    return False
        return True

    def _of(self, e: Expr, element: Var) -> str | None:
        match e:
            case Const(value, dtype) if dtype.kind == "f":
                return LOW if value == -math.inf else ZERO if value == 0 else None
            case Ref(name, _):
                return self.known.get(name)
            case Load(buffer, index, _) if index == element:
                return self.known.get(buffer) or None
            case Call("select", (condition, then, other), _):
                chosen = self._of(condition, element)
                first, second = self._of(then, element), self._of(other, element)
                if chosen in (YES, NO):
                    return first if chosen == YES else second
                return first if first == second else None
            case Call("sub", (a, b), _) if self._is_whole(b):
                return LOW if self._of(a, element) == LOW else None
            case Call("mul", (a, b), _):
                return self._product(a, b, element) or self._product(b, a, element)
            case Call("exp" | "exp2", (a,), _):
                return ZERO if self._of(a, element) == LOW else None
            case Call("div", (a, b), _) if self._is_whole(b):
                return ZERO if self._of(a, element) == ZERO else None
            case Call(op, (a, b), _) if op in _TURNED:
                return self._compared(op, a, b, element)
        return None

    def _product(self, a: Expr, b: Expr, element: Var) -> str | None:
        """A product by what is one for the row: infinity where it is positive, nothing where it is finite."""
        found = self._of(a, element)
        if found == LOW and isinstance(b, Const) and 0 < b.value < math.inf:
            return LOW
        return ZERO if found == ZERO and isinstance(b, Const) and abs(b.value) < math.inf else None

    def _is_whole(self, e: Expr) -> bool:
        return (isinstance(e, Ref) and e.name in self._whole) or isinstance(e, Const)

    def _compared(self, op: str, a: Expr, b: Expr, element: Var) -> str | None:
        """A comparison of the row's number, up to a constant, with the element's."""
        found = self._ahead(a), self._ahead(b)
        if found[0] is None and a == element and found[1] is not None:
            op, ahead = _TURNED[op], found[1]
        elif found[0] is not None and b == element:
            ahead = found[0]
        else:
            return None
        # row + ahead against the element: from which one on is it settled?
        self.diagonals.append(ahead - 1 if op in ("gt", "le") else ahead)
        return NO if op in ("ge", "gt") else YES

    def _ahead(self, e: Expr) -> int | None:
        """c of an expression that is the row's number plus c."""
        match e:
            case Ref(name, _) if name in self._values:
                return self._ahead(self._values[name])
            case Call("add", (a, Const(value, _)), _) if (found := self._ahead(a)) is not None:
                return found + int(value)
            case Call("add", (Const(value, _), a), _) if (found := self._ahead(a)) is not None:
                return found + int(value)
            case Call("sub", (a, Const(value, _)), _) if (found := self._ahead(a)) is not None:
                return found - int(value)
        if e == self.row:
            return 0
        terms, offset = ix.terms_of(e)
        return offset if terms == {self.row: 1} else None
