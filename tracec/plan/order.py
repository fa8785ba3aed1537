"""Launch order: list scheduling that greedily keeps the fewest bytes alive, where that lowers the peak."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Protocol

from tracec.errors import VerifyError
from tracec.ir.node import Node


class Work(Protocol):
    def reads(self) -> list[Node]: ...

    def writes(self) -> list[Node]: ...


def peak_bytes(works: Sequence[Work], counted: set[Node], size: dict[Node, int]) -> int:
    """The most bytes of ``counted`` values alive at once under an order."""
    last: dict[Node, int] = {}
    for k, work in enumerate(works):
        for n in (*work.reads(), *work.writes()):
            last[n] = k
    alive = peak = 0
    ends: dict[int, list[Node]] = {}
    for n, k in last.items():
        ends.setdefault(k, []).append(n)
    for k, work in enumerate(works):
        alive += sum(size[n] for n in work.writes() if n in counted)
        peak = max(peak, alive)
        alive -= sum(size[n] for n in ends.get(k, ()) if n in counted)
    return peak


def order_for_memory(
    works: Sequence[Work], after: dict[int, set[int]], counted: set[Node], size: dict[Node, int]
) -> list[int]:
    """Positions of the works in an order that lowers the peak; the given one where none lower is found.

    Args:
        works: Launches in an order that already works.
        after: Work → works that must come before it, besides those that produce what it reads.
        counted: Values whose memory counts.
        size: Bytes of each value.
    """
    needs, feeds = dependences(works, after)
    given = topological(needs, feeds)
    greedy = _greedy(works, needs, feeds, counted, size)
    before, now = (peak_bytes([works[k] for k in o], counted, size) for o in (given, greedy))
    return greedy if now < before else given


def dependences(works: Sequence[Work], after: dict[int, set[int]]) -> tuple[list[set[int]], list[set[int]]]:
    """For each work, the works it needs and the works that need it."""
    producer = {n: k for k, w in enumerate(works) for n in w.writes()}
    needs = [{producer[n] for n in w.reads() if n in producer and producer[n] != k} for k, w in enumerate(works)]
    for k, before in after.items():
        needs[k] |= before
    feeds: list[set[int]] = [set() for _ in works]
    for k, before in enumerate(needs):
        for j in before:
            feeds[j].add(k)
    return needs, feeds


def topological(needs: list[set[int]], feeds: list[set[int]]) -> list[int]:
    """Works in dependence order, the earliest given one first among those that are ready.

    Raises:
        VerifyError: some wait for each other.
    """
    left = [len(n) for n in needs]
    ready = [k for k, n in enumerate(left) if n == 0]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        k = heapq.heappop(ready)
        order.append(k)
        for j in feeds[k]:
            left[j] -= 1
            if left[j] == 0:
                heapq.heappush(ready, j)
    if len(order) < len(needs):
        raise VerifyError(
            f"plan: {len(needs) - len(order)} of {len(needs)} kernels wait for each other",
            hint="this is a mistake of the planner's: please report it",
        )
    return order


def _greedy(
    works: Sequence[Work], needs: list[set[int]], feeds: list[set[int]], counted: set[Node], size: dict[Node, int]
) -> list[int]:
    """Among the ready works, the one that leaves the fewest bytes alive; ties go to the given order."""
    readers: dict[Node, int] = {}
    for w in works:
        for n in set(w.reads()):
            readers[n] = readers.get(n, 0) + 1

    def growth(k: int) -> int:
        made = sum(size[n] for n in works[k].writes() if n in counted)
        freed = sum(size[n] for n in set(works[k].reads()) if n in counted and readers[n] == 1)
        return made - freed

    left = [len(n) for n in needs]
    ready = {k for k, n in enumerate(left) if n == 0}
    order: list[int] = []
    while ready:
        k = min(ready, key=lambda j: (growth(j), j))
        ready.remove(k)
        order.append(k)
        for n in set(works[k].reads()):
            readers[n] -= 1
        for j in feeds[k]:
            left[j] -= 1
            if left[j] == 0:
                ready.add(j)
    return order
