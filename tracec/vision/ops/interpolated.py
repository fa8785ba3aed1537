"""Values between pixels, gathered: what boxes and moved kernels read of images."""

from __future__ import annotations

import tracec
from tracec import Tensor


def rows_of(image: Tensor) -> Tensor:
    """The channels of each pixel as a row: ``(N, C, H, W)`` as ``(N H W, C)``."""
    return image.permute(0, 2, 3, 1).flatten(0, 2)


def between(
    rows: Tensor, start: Tensor, y: Tensor, x: Tensor, height: Tensor | int, width: Tensor | int, clamped: bool
) -> Tensor:
    """Channels at places between pixels, each the mean of the four around it, weighted by how near they are.

    Args:
        rows: Channels of the pixels of one image after the other, ``(P, C)``.
        start: Where each place's image begins, of a shape that broadcasts with those of the places.
        y: Places, from the middle of the first row.
        x: Alike, from the middle of the first column.
        height: Of each place's image, as integers that broadcast with places.
        width: Alike.
        clamped: Whether places of up to one pixel outside are those of the border; else there are zeros outside.

    Returns:
        The places' shape, and C.
    """
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    if clamped:
        y, x = y.clamp(min=0), x.clamp(min=0)
    top, left = y.detach().floor(), x.detach().floor()
    down, right = y - top, x - left
    found = []
    for row, vertical in ((top, 1 - down), (top + 1, down)):
        for column, horizontal in ((left, 1 - right), (left + 1, right)):
            weight = vertical * horizontal
            there = inside if clamped else (row >= 0) & (row < height) & (column >= 0) & (column < width)
            # Far outside a place is no integer of 64 bits; the pixel that is read there weighs nothing.
            index = start + _whole(row, height) * width + _whole(column, width)
            found.append(rows[index] * tracec.where(there, weight, 0.0)[..., None])
    return found[0] + found[1] + found[2] + found[3]


def _whole(places: Tensor, size: Tensor | int) -> Tensor:
    """Places as integers within an axis; none where they are no numbers."""
    last = (size - 1).to(places.dtype) if isinstance(size, Tensor) else places.new_full((), size - 1.0)
    return places.nan_to_num().clamp(min=0).minimum(last).long()


__all__ = ["between", "rows_of"]
