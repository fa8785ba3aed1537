"""Stretches of a row of places that something spans, joined where they meet: a union-find structure.

Where no group of nodes spans the border between two places of a graph's order, whatever lies before it depends on
nothing that lies behind it.
"""

from __future__ import annotations


class Stretches:
    """Places in a row, each a stretch of its own at first.

    Args:
        count: Number of places.
    """

    def __init__(self, count: int) -> None:
        self._before = list(range(count))

    def __getitem__(self, place: int) -> int:
        """The first place of the stretch that a place is in."""
        before = self._before
        while before[place] != place:
            before[place] = place = before[before[place]]
        return place

    def join(self, first: int, last: int) -> None:
        """Make one stretch of those from one place to another, both included."""
        start, place = self[first], self[last]
        while place > start:
            self._before[place] = start
            place = self[place - 1]
