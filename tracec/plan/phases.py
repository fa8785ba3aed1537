"""Gradients of what strided convolutions read, as convolutions that have no stride.

Of the windows that an element was in, each is as many elements from the next as the stride, so the elements of the
kernel that it met are those of one remainder. Elements that have the same remainder form a phase: each phase is the
gradient of a convolution without a stride, by its part of the kernel. Asked element by element, all but one of
``stride ** axes`` products are of an element between two windows, which is zero.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from tracec.ir.extent import is_varying
from tracec.ir.node import Node, constant, is_constant, made_from
from tracec.ir.operator import OPERATORS
from tracec.ir.types import Shape
from tracec.ops.conv import mixes_channels

#: Phases at most: each is a kernel of its own.
MOST_PHASES = 16


@dataclass(frozen=True, slots=True)
class _Phase:
    """The elements of one remainder, along one axis.

    Attributes:
        tap: The first element of the kernel that they meet; the others are a stride apart,
        taps: and that many in all.
        size: Elements of the phase,
        read: and those, from the first on, that some window holds.
        low: Zeros that the convolution of the phase puts before them,
        high: and behind them.
    """

    tap: int
    taps: int
    size: int
    read: int
    low: int
    high: int


def without_strides(node: Node) -> Node:
    """A gradient of what a strided convolution reads, put together of its phases; any other node as it is."""
    if node.op.name != "conv_input_grad" or any(map(is_constant, node.inputs)):
        return node
    g, w = node.inputs
    strides, spatial = node.param("stride"), node.shape[2:]
    if (
        prod(strides) == 1
        or prod(strides) > MOST_PHASES
        or any(s > 1 and d > 1 for s, d in zip(strides, node.param("dilation"), strict=True))
        or is_varying((spatial, g.shape[2:], w.shape))
        or not mixes_channels(w.shape, node.param("groups"))
        or not (g.type.size and w.type.size and node.type.size)
    ):
        return node
    lows = [low for low, _ in node.param("padding")]
    axes = [
        [_phase(first, *sizes) for first in range(sizes[0])]
        for sizes in zip(strides, spatial, g.shape[2:], w.shape[2:], lows, node.param("dilation"), strict=True)
    ]
    with made_from(node.source, "phases of a stride"):
        parts = [_part(node, phases) for phases in itertools.product(*axes)]
        return _interleaved(parts, node.shape, strides)


def _phase(first: int, stride: int, size: int, windows: int, kernel: int, low: int, dilation: int) -> _Phase:
    """The phase that begins at element ``first``; where there is a dilation, there is no stride."""
    tap = (first + low) % stride
    taps = len(range(tap, kernel, stride))
    count = len(range(first, size, stride))
    before = (first + low - tap) // stride
    end = windows + dilation * (taps - 1) - before if taps else 0
    read = max(0, min(count, end))
    return _Phase(tap, taps, count, read, before, max(0, end - count))


def _part(node: Node, phases: Sequence[_Phase]) -> Node:
    """The elements of a phase along each axis, with zeros behind them where other phases have more."""
    g, w = node.inputs
    lead = node.shape[:2]
    shape = (*lead, *(p.read for p in phases))
    room = (*lead, *(-(-size // s) for size, s in zip(node.shape[2:], node.param("stride"), strict=True)))
    if not all(p.taps and p.read for p in phases):
        return _make("expand", constant(0.0, node.type.with_shape(())), shape=room)
    starts = (0, 0, *(p.tap for p in phases))
    some = _make("slice", w, starts=starts, stops=w.shape, steps=(1, 1, *node.param("stride")))
    params = {**dict(node.params), "stride": (1,) * len(phases), "padding": tuple((p.low, p.high) for p in phases)}
    part = _make("conv_input_grad", g, some, **{**params, "shape": shape})
    high = tuple(r - n for r, n in zip(room, shape, strict=True))
    return _make("pad", part, low=(0,) * len(shape), high=high, value=0.0) if any(high) else part


def _interleaved(parts: Sequence[Node], shape: Shape, strides: Shape) -> Node:
    """Elements of the phases in turn along each axis."""
    room = parts[0].shape
    columns = [_make("reshape", p, shape=(*room, 1)) for p in parts]
    side_by_side = _make("concatenate", *columns, axis=len(room))
    split = _make("reshape", side_by_side, shape=(*room, *strides))
    axes = len(strides)
    order = (0, 1, *itertools.chain.from_iterable((2 + a, 2 + axes + a) for a in range(axes)))
    wide = (*room[:2], *(n * s for n, s in zip(room[2:], strides, strict=True)))
    whole = _make("reshape", _make("transpose", split, perm=order), shape=wide)
    if wide == shape:
        return whole
    return _make("slice", whole, starts=(0,) * len(shape), stops=shape, steps=(1,) * len(shape))


def _make(name: str, *inputs: Node, **params: Any) -> Node:
    result: Node = OPERATORS[name](*inputs, **params)
    return result
