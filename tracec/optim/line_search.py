"""A line search that ends where the strong Wolfe conditions hold.

Source: Nocedal, Wright, "Numerical Optimization", 2nd edition, 2006, algorithms 3.5 and 3.6, with the safeguards of
Schmidt's minFunc, 2005: steps grow at most tenfold, and none goes to within a tenth of an end of the bracket twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tracec.record.tensor import Tensor

#: Share of the slope by which the loss must fall, and share to which the slope must.
SUFFICIENT, CURVATURE = 1e-4, 0.9
#: Most tries, and the change of a parameter that counts as none.
MOST, LEAST_CHANGE = 25, 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A place on the line.

    Attributes:
        t: How far along.
        loss: The loss there.
        gradient: Its gradient.
        slope: The gradient along the line.
    """

    t: float
    loss: float
    gradient: Tensor
    slope: float


def strong_wolfe(at: Callable[[float], Point], start: Point, t: float, reach: float) -> tuple[Point, int]:
    """Find a point that is low and flat enough.

    Args:
        at: Evaluates the loss.
        start: The beginning of the line, where it falls.
        t: Where to look first.
        reach: The largest change of a parameter for ``t`` = 1.

    Returns:
        The point, and the number of evaluations.
    """
    before, here, tries = start, at(t), 0
    bracket: list[Point] = []
    while tries < MOST:
        if _too_high(start, here) or (tries > 1 and here.loss >= before.loss):
            bracket = [before, here]
            break
        if _flat(start, here):
            return here, tries + 1
        if here.slope >= 0:
            bracket = [before, here]
            break
        least = here.t + 0.01 * (here.t - before.t)
        ahead = at(_cubic_minimum(before, here, (least, here.t * 10)))
        before, here = here, ahead
        tries += 1
    return _zoom(at, start, bracket or [start, here], tries, reach)


def _zoom(
    at: Callable[[float], Point], start: Point, bracket: list[Point], tries: int, reach: float
) -> tuple[Point, int]:  # fmt: skip
    """Narrow a bracket that holds such a point."""
    near_end = False
    low, high = sorted(bracket, key=lambda p: p.loss)
    evaluations = tries + 1
    while tries < MOST and abs(high.t - low.t) * reach >= LEAST_CHANGE:
        t, near_end = _inside(_cubic_minimum(low, high), low.t, high.t, near_end)
        here = at(t)
        evaluations += 1
        tries += 1
        if _too_high(start, here) or here.loss >= low.loss:
            low, high = sorted((low, here), key=lambda p: p.loss)
            continue
        if _flat(start, here):
            return here, evaluations
        if here.slope * (high.t - low.t) >= 0:
            high = low
        low = here
    return low, evaluations


def _inside(t: float, a: float, b: float, was_near: bool) -> tuple[float, bool]:
    """A step kept away from the ends of the bracket, if the one before it was close to one as well."""
    least, most = min(a, b), max(a, b)
    margin = 0.1 * (most - least)
    if min(most - t, t - least) >= margin:
        return t, False
    if was_near or t >= most or t <= least:
        return (most - margin if abs(t - most) < abs(t - least) else least + margin), False
    return t, True


def _too_high(start: Point, here: Point) -> bool:
    return here.loss > start.loss + SUFFICIENT * here.t * start.slope


def _flat(start: Point, here: Point) -> bool:
    return abs(here.slope) <= -CURVATURE * start.slope


def _cubic_minimum(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two points and their slopes is least, within bounds."""
    least, most = bounds or (min(a.t, b.t), max(a.t, b.t))
    if a.t > b.t:
        a, b = b, a
    if a.t == b.t:
        return (least + most) / 2
    middle = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = middle * middle - a.slope * b.slope
    if square < 0:
        return (least + most) / 2
    root = math.sqrt(square)
    width = b.slope - a.slope + 2 * root
    if not width:
        return (least + most) / 2
    return min(max(b.t - (b.t - a.t) * ((b.slope + root - middle) / width), least), most)
