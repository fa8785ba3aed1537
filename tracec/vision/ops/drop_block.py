"""Blocks of images that are left out while training. Source: Ghiasi, Lin, Le, "DropBlock", 2018."""

from __future__ import annotations

import tracec
import tracec.nn.functional as F
from tracec import Tensor, nn
from tracec.errors import ArgumentError, ShapeError


def _drop(name: str, axes: int, input: Tensor, p: float, block: int, inplace: bool, eps: float, train: bool) -> Tensor:
    if not 0 <= p <= 1 or block < 1:
        raise ArgumentError(f"{name}: p={p!r}, block_size={block!r}", hint="0 to 1, and at least 1")
    if input.ndim != axes + 2:
        raise ShapeError(f"{name}: a tensor of shape {tuple(input.shape)}", hint=f"{axes + 2} axes")
    if not train or p == 0:
        return input
    block = min(block, *(int(n) for n in input.shape[2:]))
    starts = [int(n) - block + 1 for n in input.shape[2:]]
    begin = p / block**axes  # how often a block begins at each place that it may begin at
    for whole, there in zip(input.shape[2:], starts, strict=True):
        begin *= int(whole) / there
    noise = tracec.rand(*input.shape[:2], *starts, dtype=input.dtype, device=input.device) < begin
    around = F.pad(noise.to(input.dtype), (block - 1,) * (2 * axes))
    pool = F.max_pool2d if axes == 2 else F.max_pool3d
    kept = 1 - pool(around, block, 1)
    kept = kept * (kept.numel() / (eps + kept.sum()))
    return input.mul_(kept) if inplace else input * kept


def drop_block2d(
    input: Tensor, p: float, block_size: int, inplace: bool = False, eps: float = 1e-06, training: bool = True
) -> Tensor:
    """Images with squares left out, and scaled so that they are as large on average.

    Args:
        input: ``(N, C, H, W)``.
        p: How often a pixel is left out, nearly.
        block_size: Height and width of squares.
        inplace: Write into the input.
        eps: Added to how many pixels are kept.
        training: Nothing is left out otherwise.

    Raises:
        ArgumentError: ``p`` is no probability, or blocks are empty.
        ShapeError: there are more or fewer axes.
    """
    return _drop("drop_block2d", 2, input, p, block_size, inplace, eps, training)


def drop_block3d(
    input: Tensor, p: float, block_size: int, inplace: bool = False, eps: float = 1e-06, training: bool = True
) -> Tensor:
    """`drop_block2d` of volumes, ``(N, C, D, H, W)``, with cubes left out."""
    return _drop("drop_block3d", 3, input, p, block_size, inplace, eps, training)


class DropBlock2d(nn.Module):
    """`drop_block2d` as a layer; takes the rest of what that takes but whether it is training."""

    _axes = 2

    def __init__(self, p: float, block_size: int, inplace: bool = False, eps: float = 1e-06) -> None:
        super().__init__()
        self.p, self.block_size, self.inplace, self.eps = p, block_size, inplace, eps

    def forward(self, input: Tensor) -> Tensor:
        """The input, with blocks left out."""
        how = (self.p, self.block_size, self.inplace, self.eps, self.training)
        return _drop(type(self).__name__, self._axes, input, *how)

    def extra_repr(self) -> str:
        return f"p={self.p}, block_size={self.block_size}, inplace={self.inplace}"


class DropBlock3d(DropBlock2d):
    """`drop_block3d` as a layer."""

    _axes = 3


__all__ = ["DropBlock2d", "DropBlock3d", "drop_block2d", "drop_block3d"]
