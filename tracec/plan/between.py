"""Two matrix products with rows between them, as of attention: what the C target computes as one, strip by strip.

Here such works are brought together, and what they write is kept apart from what they read: of the last one's result
some rows are there before the first one has read its operands for the others. `tracec.codegen.c_between` has the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tracec.ir.node import Node
from tracec.plan.horizontal import Work
from tracec.plan.routines import Call

Works = Sequence[Work | Call]


def together(works: Works, overwritten: Collection[Node], wanted: Collection[Node]) -> list[Work | Call]:
    """The works with each first product, and the rows behind it, in front of the second product.

    Args:
        works: In an order in which they can be run.
        overwritten: What some work writes over: what reads it keeps its place.
        wanted: What is read by others than the works.
    """
    found = list(works)
    for first, rows, second in _threes(works, wanted):
        if overwritten and not set(overwritten).isdisjoint((*first.reads(), *rows.reads())):
            continue
        found.remove(first)
        found.remove(rows)
        at = found.index(second)
        found[at:at] = (first, rows)
    return found


def begins(works: Works) -> dict[int, int]:
    """The place of a work → that of the first one of those that it is computed with."""
    place = {id(w): n for n, w in enumerate(works)}
    found: dict[int, int] = {}
    for first, rows, second in _threes(works, ()):
        n = place[id(first)]
        if place[id(rows)] == n + 1 and place[id(second)] == n + 2:
            found |= {n + 1: n, n + 2: n}
    return found


def _threes(works: Works, wanted: Collection[Node]) -> list[tuple[Call, Work, Call]]:
    """Products of what rows are made into that another product gives, each of which nothing else reads."""
    writers = {n: w for w in works for n in w.writes()}
    readers: dict[Node, list[Work | Call]] = {}
    for w in works:
        for n in dict.fromkeys(w.reads()):
            readers.setdefault(n, []).append(w)

    def alone(node: Node, reader: Work | Call) -> bool:
        return node not in wanted and len(readers[node]) == 1 and readers[node][0] is reader

    found = []
    for second in works:
        if not isinstance(second, Call) or second.routine.name != "gemm":
            continue
        rows = writers.get(second.routine.operands[0])
        if not isinstance(rows, Work) or rows.kernel.shape != "row" or len(rows.rows) != 1:
            continue
        if not alone(second.routine.operands[0], second):
            continue
        made = [writers.get(n) for n in rows.reads() if alone(n, rows)]
        firsts = [w for w in made if isinstance(w, Call) and w.routine.name == "gemm"]
        if len(firsts) == 1:
            found.append((firsts[0], rows, second))
    return found
