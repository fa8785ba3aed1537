"""What is joined of several parts: where they begin along a loop, and what is computed in one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tracec.codegen.put_in import Values, put_in
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.extent import is_varying
from tracec.ir.kernel import Call, Const, Let, Ref, Stmt, Store, Var, expressions, subexpressions

#: Parts from which on each is computed by itself, and the most.
LEAST, MOST = 5, 2048


def starts_of(var: Var, body: Iterable[Stmt]) -> list[int]:
    """Where the parts of a loop begin, within each of which all tests of its position alone come out alike."""
    if is_varying(var.extent):
        return [0]
    starts = {0}
    every = (e for s in body for root in expressions(s) for e in subexpressions(root))
    for e in every:
        match e:
            case Call("lt" | "ge", (position, Const(int(bound)))) if position.dtype is dt.int64:
                terms, offset = ix.terms_of(position)
                if terms == {var: 1} and not is_varying(bound - offset) and 0 < bound - offset < var.extent:
                    starts.add(bound - offset)
    return sorted(starts)


class Joined:
    """What is stored in the innermost of some loops, part by part.

    Args:
        body: What is stored, and scalars.
    """

    def __init__(self, body: Sequence[Let | Store]) -> None:
        self._stores = [(n, s) for n, s in enumerate(body) if isinstance(s, Store)]
        self._lets = {s.name: (n, s) for n, s in enumerate(body) if isinstance(s, Let)}

    def of_part(self, values: Values, suffix: str = "") -> tuple[Let | Store, ...]:
        """What is stored where a loop variable is in one part, and the scalars that it takes.

        Args:
            values: The variable's values in the part.
            suffix: What the scalars' names end in.
        """
        found: dict[int, Let | Store] = {}
        own: Values = {}
        asked = list[tuple[int, Let | Store]](self._stores)
        while asked:
            place, s = asked.pop()
            if place not in found:
                found[place] = s = _put_in(s, values)
                names = [e for root in expressions(s) for e in subexpressions(root) if isinstance(e, Ref)]
                own |= {e.name: replace(e, name=e.name + suffix) for e in names}
                asked += [self._lets[e.name] for e in names]
        return tuple(_named(found[n], own, suffix) if suffix else found[n] for n in sorted(found))


def _put_in(s: Let | Store, values: Values) -> Let | Store:
    if isinstance(s, Let):
        return replace(s, value=put_in(s.value, values))
    return replace(s, index=put_in(s.index, values), value=put_in(s.value, values))


def _named(s: Let | Store, names: Values, suffix: str) -> Let | Store:
    s = _put_in(s, names)
    return replace(s, name=s.name + suffix) if isinstance(s, Let) else s
