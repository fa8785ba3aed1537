"""Numbers of parts of equal size."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tracec.ir.types import numel


def dividing(parts: int, fold: int, sizes: tuple[int, ...]) -> int | None:
    """About so many parts of equal size that end where axes do, so that values of these axes fuse; None without."""
    found = [p for p in _cuts(sizes, fold) if parts <= 4 * p and p <= 2 * parts]
    whole = numel(sizes)
    return min(found, key=lambda p: (whole // p % 8 != 0, abs(math.log(p / parts)), p), default=None)


def _cuts(sizes: tuple[int, ...], fold: int) -> Iterator[int]:
    lead = 1
    for k, size in enumerate(sizes):
        last = k == len(sizes) - 1
        if not last and sizes[-1] % fold:
            return
        for d in range(1, math.isqrt(size) + 1):
            if size % d == 0:
                yield from (lead * e for e in {d, size // d} if not last or size // e % fold == 0)
        lead *= size
