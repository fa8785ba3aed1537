"""What transforms draw, all from the default generator: of the thread, where a worker of a `DataLoader` runs them."""

from __future__ import annotations

from collections.abc import Sequence

import tracec


def uniform(*ranges: tuple[float, float]) -> list[float]:
    """A number of each range, all of one draw."""
    drawn = tracec.rand(len(ranges), dtype=tracec.float64, device="cpu").tolist()
    return [low + (high - low) * u for (low, high), u in zip(ranges, drawn, strict=True)]


def integers(*ends: int) -> list[int]:
    """An integer from 0 on and below each end, all of one draw."""
    drawn = tracec.rand(len(ends), dtype=tracec.float64, device="cpu").tolist()
    return [min(int(u * end), end - 1) for end, u in zip(ends, drawn, strict=True)]


def happens(p: float) -> bool:
    """True in ``p`` of all cases."""
    return uniform((0.0, 1.0))[0] < p


def order(count: int) -> list[int]:
    """The numbers below ``count`` in any order."""
    return [int(k) for k in tracec.randperm(count, device="cpu").tolist()]


def choice(weights: Sequence[float]) -> int:
    """The place of one weight, as often as it weighs."""
    place = uniform((0.0, sum(weights)))[0]
    for k, weight in enumerate(weights):
        place -= weight
        if place < 0:
            return k
    return max(k for k, weight in enumerate(weights) if weight > 0)
