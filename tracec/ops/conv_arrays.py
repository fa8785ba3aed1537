"""Convolution of arrays by matrix products: windows become columns, a block of images at a time.

Columns of shape (C, *K, images, *O) meet weights (groups, O / groups, C / groups · K), so that a product covers many
images and loops run only over blocks of images and over kernel offsets. On the CPU each image has a product of its own,
(C, *K, *O), where it has places enough to keep one busy: results are then written where they belong.
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
#: The same where each image has a product of its own.
_APART_BYTES = 1 << 18
#: With fewer places of a result's channel, products of single images take longer than copying makes up for; gradients
#: are added up in between, too.
_PLACES, _PLACES_BACK = 64, 256


def conv_arrays(
    xp: Any, x: Any, w: Any, *, stride: Shape, padding: Padding, dilation: Shape, groups: int, counts: Shape
) -> Any:
    """``out[n, o, p] = sum over c, k of x[n, c, stride·p + dilation·k - padding] · w[o, c, k]``.

    Args:
        xp: NumPy or CuPy.
        x: Shape ``(N, C, *sizes)``.
        w: Shape ``(O, C / groups, *kernel)``.
        stride: Steps between windows, along each axis.
        padding: Zeros before and behind, along each axis.
        dilation: Steps between the elements of a window, along each axis.
        groups: Blocks of channels that do not mix.
        counts: Windows along each axis, ``*counts``.

    Returns:
        Shape ``(N, O, *counts)``.
    """
    kernel, matrices = w.shape[2:], _per_group(w, groups)
    columns = _columns(xp, x, kernel, counts, stride, padding, dilation)
    out = xp.empty((x.shape[0], w.shape[0], *counts), x.dtype)
    apart = _are_apart(xp, counts, _PLACES)
    held: list[Any] = []
    for images in _blocks(xp, x.shape[0], prod(columns.shape) * x.itemsize, apart):
        flat = _flat(xp, columns, images, kernel, groups, apart, held)
        if apart:
            _matmul(xp, matrices, flat, _rows(out[images], groups))
        else:
            sums = _matmul(xp, matrices, flat).reshape(w.shape[0], images.stop - images.start, *counts)
            out[images] = sums.swapaxes(0, 1)
    return out


def conv_input_grad_arrays(
    xp: Any, g: Any, w: Any, *, shape: Shape, stride: Shape, padding: Padding, dilation: Shape, groups: int
) -> Any:
    """The transpose of `conv_arrays` in x: columns from a product, folded back over kernel offsets.

    Args:
        xp: NumPy or CuPy.
        g: Gradients of the result, shape ``(N, O, *counts)``.
        w: As of `conv_arrays`; likewise stride, padding, dilation and groups.
        shape: That of x, which the result has.
    """
    kernel, counts = w.shape[2:], g.shape[2:]
    if _is_turned(xp, shape, w, stride, dilation, counts):
        return _by_turned_windows(xp, g, w, shape, stride, padding, dilation, groups)
    by_channel = g.swapaxes(0, 1)
    matrices = _per_group(w, groups).swapaxes(1, 2)
    padded = tuple(s + low + high for s, (low, high) in zip(shape[2:], padding, strict=True))
    inside = tuple(slice(low, low + s) for s, (low, _) in zip(shape[2:], padding, strict=True))
    out = xp.empty(shape, g.dtype)
    apart = _are_apart(xp, counts, _PLACES_BACK)
    if apart and padded == counts == tuple(shape[2:]) and prod(kernel) == 1:  # each column is an element
        _matmul(xp, matrices, _rows(g, groups), _rows(out, groups))
        return out
    held: Any = None
    for images in _blocks(xp, shape[0], shape[0] * shape[1] * prod(kernel) * prod(counts) * out.itemsize, apart):
        n = images.stop - images.start
        if apart:
            if held is None or held.shape[0] != n:  # new memory takes longer than what is done in it
                held = xp.empty((n, groups, matrices.shape[1], prod(counts)), out.dtype)
                sums = xp.empty((n, shape[1], *padded), out.dtype)
            columns = _matmul(xp, matrices, _rows(g[images], groups), held).reshape(n, shape[1], *kernel, *counts)
            sums.fill(0)
            for offset in product(*map(range, kernel)):
                sums[(..., *window_offsets(offset, counts, stride, dilation))] += columns[(slice(None),) * 2 + offset]
            out[images] = sums[(..., *inside)]
            continue
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
    """The transpose of `conv_arrays` in w: a product of gradients and columns, summed over images.

    Args:
        xp: NumPy or CuPy.
        x: As of `conv_arrays`; likewise stride, padding, dilation and groups.
        g: Gradients of the result, shape ``(N, O, *counts)``.
        shape: That of w, which the result has.
    """
    kernel, counts = shape[2:], g.shape[2:]
    by_channel = g.swapaxes(0, 1)
    columns = _columns(xp, x, kernel, counts, stride, padding, dilation)
    sums = xp.zeros((groups, shape[0] // groups, shape[1] * prod(kernel)), x.dtype)
    apart = _are_apart(xp, counts, _PLACES_BACK)
    held: list[Any] = []
    for images in _blocks(xp, x.shape[0], prod(columns.shape) * x.itemsize, apart):
        flat = _flat(xp, columns, images, kernel, groups, apart, held)
        if apart:
            sums += _matmul(xp, _rows(g[images], groups), flat.swapaxes(2, 3)).sum(0)
        else:
            gradients = by_channel[:, images].reshape(groups, sums.shape[1], flat.shape[2])
            sums += _matmul(xp, gradients, flat.swapaxes(1, 2))
    return sums.reshape(shape)


def _is_turned(xp: Any, shape: Shape, w: Any, stride: Shape, dilation: Shape, counts: Shape) -> bool:
    """Whether the transpose in x is computed by convolutions: columns of gradients are only read, where folding reads
    and writes all that a product has written. But they are as many for each channel of the result as otherwise for each
    of x."""
    if not _are_apart(xp, counts, _PLACES) or prod(w.shape[2:]) == 1 or w.shape[0] > shape[1]:
        return False
    return all(s == 1 or d == 1 for s, d in zip(stride, dilation, strict=True))


def _by_turned_windows(
    xp: Any, g: Any, w: Any, shape: Shape, stride: Shape, padding: Padding, dilation: Shape, groups: int
) -> Any:
    """The transpose in x: of the places that are alike but for whole steps a convolution of the gradients each."""
    out = xp.empty(shape, g.dtype)
    n = len(stride)
    for first in product(*map(range, stride)):
        taps, cut, around, counts = [], [], [], []
        for i, (start, step, (low, _), d) in enumerate(zip(first, stride, padding, dilation, strict=True)):
            tap = (start + low) % step
            reach = d * (len(range(tap, w.shape[2 + i], step)) - 1)
            count = len(range(start, shape[2 + i], step))
            in_front = reach - (start + low - tap) // step
            behind = count + reach - g.shape[2 + i] - in_front
            taps.append(slice(tap, None, step))
            cut.append(slice(max(-in_front, 0), g.shape[2 + i] - max(-behind, 0)))
            around.append((max(in_front, 0), max(behind, 0)))
            counts.append(count)
        part, weights = out[(..., *(slice(f, None, s) for f, s in zip(first, stride, strict=True)))], w[(..., *taps)]
        if not weights.size:
            part[...] = 0
        elif part.size:
            p: dict[str, Any] = {"stride": (1,) * n, "padding": tuple(around), "dilation": dilation, "groups": groups}
            given = g[(..., *cut)]
            found = conv_arrays(xp, given, _turned(xp, weights, groups), counts=tuple(counts), **p)
            if part.shape == shape:
                return found
            part[...] = found
    return out


def _turned(xp: Any, w: Any, groups: int) -> Any:
    """Weights with each window back to front, and the channels of x and of the result exchanged within groups."""
    axes = tuple(range(2, w.ndim))
    parts = xp.flip(w, axes).reshape(groups, w.shape[0] // groups, *w.shape[1:]).swapaxes(1, 2)
    return xp.ascontiguousarray(parts).reshape(groups * w.shape[1], w.shape[0] // groups, *w.shape[2:])


def _are_apart(xp: Any, counts: Shape, places: int) -> bool:
    """Whether each image has a product of its own."""
    return xp.__name__ == "numpy" and prod(counts) >= places


def _rows(x: Any, groups: int) -> Any:
    """(N, C, *sizes) as (N, groups, C / groups, places)."""
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, prod(x.shape[2:]))


def _flat(xp: Any, columns: Any, images: slice, kernel: Shape, groups: int, apart: bool, held: list[Any]) -> Any:
    """The columns of some images as matrices, (groups, C / groups · K, places), of each image where they are apart.

    What they are copied to is kept in ``held`` for the next images: new memory takes longer than copying.
    """
    block = columns[(slice(None),) * (1 + len(kernel)) + (images,)]
    count, rows = images.stop - images.start, prod(block.shape[: 1 + len(kernel)]) // groups
    places = prod(block.shape[2 + len(kernel) :])
    if apart:
        image = 1 + len(kernel)
        block = block.transpose(image, *range(image), *range(image + 1, block.ndim))
    if prod(kernel) > 1:
        if not held or held[0].shape != block.shape:
            held[:] = [xp.empty(block.shape, block.dtype)]
        held[0][...] = block
        block = held[0]
    return block.reshape((count, groups, rows, places) if apart else (groups, rows, count * places))


def _matmul(xp: Any, a: Any, b: Any, out: Any = None) -> Any:
    with MULTIPLYING:
        return xp.matmul(a, b) if out is None else xp.matmul(a, b, out=out)


def _per_group(w: Any, groups: int) -> Any:
    return w.reshape(groups, w.shape[0] // groups, prod(w.shape[1:]))


def _blocks(xp: Any, images: int, nbytes: int, apart: bool) -> Iterator[slice]:
    """Ranges of images whose columns fit the block size; ``nbytes`` is that of all of them."""
    step = max(1, images * (_APART_BYTES if apart else _BLOCK_BYTES[xp.__name__]) // max(nbytes, 1))
    for start in range(0, images, step):
        yield slice(start, min(start + step, images))


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
