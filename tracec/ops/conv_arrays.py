"""Convolution of arrays by matrix products: windows become columns, a block of images at a time.

The layout is that of one product for each group: columns of shape (C, *K, images, *O) times weights
(groups, O / groups, C / groups · K), so that a product covers many images and loops run only over
blocks of images and over kernel offsets.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

from tracec.ir.forks import MULTIPLYING
from tracec.ir.types import Shape
from tracec.ops.window import strided_view, window_offsets

Padding = tuple[tuple[int, int], ...]

# Columns that stay in a CPU's cache between being written and being multiplied; a GPU wants large products.
_BLOCK_BYTES = {"numpy": 4 << 20, "cupy": 256 << 20}


def conv_arrays(
    xp: Any, x: Any, w: Any, *, stride: Shape, padding: Padding, dilation: Shape, groups: int, counts: Shape
) -> Any:
    """``out[n, o, p] = sum over c, k of x[n, c, stride·p + dilation·k - padding] · w[o, c, k]``."""
    kernel, matrices = w.shape[2:], _per_group(w, groups)
    columns = _columns(xp, x, kernel, counts, stride, padding, dilation)
    out = xp.empty((x.shape[0], w.shape[0], *counts), x.dtype)
    for images in _blocks(xp, x.shape[0], prod(columns.shape) * x.itemsize):
        block = columns[_at_images(images, kernel)]
        flat = block.reshape(groups, matrices.shape[2], block[(0,) * (1 + len(kernel))].size)
        sums = _matmul(xp, matrices, flat).reshape(w.shape[0], images.stop - images.start, *counts)
        out[images] = sums.swapaxes(0, 1)
    return out


def conv_input_grad_arrays(
    xp: Any, g: Any, w: Any, *, shape: Shape, stride: Shape, padding: Padding, dilation: Shape, groups: int
) -> Any:
    """The transpose of `conv_arrays` in x: columns from a product, folded back over kernel offsets."""
    kernel, counts = w.shape[2:], g.shape[2:]
    by_channel = g.swapaxes(0, 1)
    matrices = _per_group(w, groups).swapaxes(1, 2)
    padded = tuple(s + low + high for s, (low, high) in zip(shape[2:], padding, strict=True))
    inside = tuple(slice(low, low + s) for s, (low, _) in zip(shape[2:], padding, strict=True))
    out = xp.empty(shape, g.dtype)
    for images in _blocks(xp, shape[0], shape[0] * shape[1] * prod(kernel) * prod(counts) * out.itemsize):
        n = images.stop - images.start
        # The longer axis goes last, as the folding walks along it.
        place = -1 if n > counts[-1] else 1
        gradients = xp.moveaxis(by_channel[:, images], 1, place)
        flat = gradients.reshape(groups, matrices.shape[2], n * prod(counts))
        columns = _matmul(xp, matrices, flat).reshape(shape[1], *kernel, *gradients.shape[1:])
        sums = xp.moveaxis(xp.zeros((shape[1], *(padded + (n,) if place < 0 else (n, *padded))), out.dtype), place, 1)
        for offset in product(*map(range, kernel)):
            part = xp.moveaxis(columns[(slice(None), *offset)], place, 1)
            sums[(..., *window_offsets(offset, counts, stride, dilation))] += part
        out[images] = sums[(..., *inside)].swapaxes(0, 1)
    return out


def conv_weight_grad_arrays(
    xp: Any, x: Any, g: Any, *, shape: Shape, stride: Shape, padding: Padding, dilation: Shape, groups: int
) -> Any:
    """The transpose of `conv_arrays` in w: a product of gradients and columns, summed over images."""
    kernel, counts = shape[2:], g.shape[2:]
    by_channel = g.swapaxes(0, 1)
    columns = _columns(xp, x, kernel, counts, stride, padding, dilation)
    sums = xp.zeros((groups, shape[0] // groups, shape[1] * prod(kernel)), x.dtype)
    for images in _blocks(xp, x.shape[0], prod(columns.shape) * x.itemsize):
        places = (images.stop - images.start) * prod(counts)
        flat = columns[_at_images(images, kernel)].reshape(groups, sums.shape[2], places)
        gradients = by_channel[:, images].reshape(groups, sums.shape[1], places)
        sums += _matmul(xp, gradients, flat.swapaxes(1, 2))
    return sums.reshape(shape)


def _matmul(xp: Any, a: Any, b: Any) -> Any:
    with MULTIPLYING:
        return xp.matmul(a, b)


def _per_group(w: Any, groups: int) -> Any:
    return w.reshape(groups, w.shape[0] // groups, prod(w.shape[1:]))


def _blocks(xp: Any, images: int, nbytes: int) -> Iterator[slice]:
    """Ranges of images whose columns fit the block size; ``nbytes`` is that of all of them."""
    step = max(1, images * _BLOCK_BYTES[xp.__name__] // max(nbytes, 1))
    for start in range(0, images, step):
        yield slice(start, min(start + step, images))


def _at_images(images: slice, kernel: Shape) -> tuple[slice, ...]:
    return (slice(None),) * (1 + len(kernel)) + (images,)


def _columns(xp: Any, x: Any, kernel: Shape, counts: Shape, stride: Shape, padding: Padding, dilation: Shape) -> Any:
    """A view of the padded input: (C, *K, N, *O)."""
    if any(p != (0, 0) for p in padding):
        inside = tuple(slice(low, low + s) for s, (low, _) in zip(x.shape[2:], padding, strict=True))
        sizes = (s + low + high for s, (low, high) in zip(x.shape[2:], padding, strict=True))
        padded = xp.zeros((*x.shape[:2], *sizes), x.dtype)
        padded[(slice(None), slice(None), *inside)] = x
        x = padded
    image, channel, *steps = x.strides
    within = (d * step for d, step in zip(dilation, steps, strict=True))
    over = (s * step for s, step in zip(stride, steps, strict=True))
    return strided_view(xp, x, (x.shape[1], *kernel, x.shape[0], *counts), (channel, *within, image, *over))
