"""Elements put around a tensor."""

from __future__ import annotations

from collections.abc import Sequence

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, UnsupportedError
from tracec.functions.common import Scalar, check_real, check_tensor, expanded, fail, integers
from tracec.functions.shape import between
from tracec.ir.types import Shape
from tracec.record.tensor import Tensor

_MODES = ("constant", "reflect", "replicate", "circular")


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: Scalar | None = None) -> Tensor:
    """Elements put around, or taken away where an amount is negative.

    Args:
        input: Any tensor; for the modes other than ``constant``, ``(N, C, ...)`` or ``(C, ...)`` with as many
            spatial axes, one to three, as ``pad`` has pairs.
        pad: Amounts before and after, for the last axis first.
        mode: ``constant``, or ``reflect`` (mirrored at the edge element), ``replicate`` (the edge element
            again) or ``circular`` (from the other end).
        value: What is put in by ``constant``; 0 by default.

    Raises:
        ArgumentError: the amounts do not fit the shape, or another mode than ``constant`` is given a value.
        UnsupportedError: the mode is not known, or does not pad so many axes of such a tensor.
    """
    return _padded("pad", input, pad, mode, value)


def constant_pad_nd(input: Tensor, pad: Sequence[int], value: Scalar = 0) -> Tensor:
    """`pad` with one value."""
    return _padded("constant_pad_nd", input, pad, "constant", value)


def _padded(name: str, x: Tensor, pad: Sequence[int], mode: str, value: Scalar | None) -> Tensor:
    check_tensor(name, x)
    if mode not in _MODES:
        fail(UnsupportedError, f"{name}: mode={mode!r} is not known", f"use one of {', '.join(map(repr, _MODES))}")
    if value is not None and not isinstance(value, (bool, int, float, complex)):
        fail(ArgumentTypeError, f"{name}: value is a {type(value).__name__}", "give a number")
    if isinstance(pad, Tensor) or not isinstance(pad, Sequence):
        fail(ArgumentTypeError, f"{name}: pad is a {type(pad).__name__}", "give a tuple of integers")
    amounts = integers(name, pad, "pad")
    if len(amounts) % 2 or len(amounts) > 2 * x.ndim:
        fail(
            ArgumentError,
            f"{name}: {len(amounts)} amounts for shape {tuple(x.shape)}",
            "give two for each axis, before and after, from the last axis on",
        )
    pairs = {x.ndim - 1 - i // 2: (amounts[i], amounts[i + 1]) for i in range(0, len(amounts), 2)}
    result = _pad_with(name, x, pairs, value) if mode == "constant" else _pad_from_inside(x, pairs, mode, value)
    # The result has memory of its own, also where nothing is put in.
    return result.clone() if result._storage is x._storage else result


def _pad_with(name: str, x: Tensor, pairs: dict[int, tuple[int, int]], value: Scalar | None) -> Tensor:
    for axis, (low, high) in pairs.items():
        if low < 0 or high < 0:
            size = x.shape[axis]
            start, stop = max(-low, 0), size - max(-high, 0)
            if stop < start:
                # What one side takes beyond the end, the other's padding cannot give back.
                taken = f"{name}: amounts {low} and {high} take more than axis {axis} of shape {tuple(x.shape)} has"
                fail(ArgumentError, taken, "take away at most its size")
            x = between(x, axis, start, stop)
    lows = tuple(max(pairs.get(a, (0, 0))[0], 0) for a in range(x.ndim))
    highs = tuple(max(pairs.get(a, (0, 0))[1], 0) for a in range(x.ndim))
    if not any(lows) and not any(highs):
        return x
    if value is not None and x.dtype.kind != "c":
        check_real(name, value, "value")
    put = {"f": float, "c": complex, "b": bool}.get(x.dtype.kind, int)(0 if value is None else value)
    return ops.pad(x, low=lows, high=highs, value=put)


def _pad_from_inside(x: Tensor, pairs: dict[int, tuple[int, int]], mode: str, value: Scalar | None) -> Tensor:
    n = len(pairs)
    if value:
        fail(ArgumentError, f"pad: value={value} does not go with mode={mode!r}", "leave it out")
    if not 1 <= n <= 3 or x.ndim not in (n + 1, n + 2):
        fail(
            UnsupportedError,
            f"pad: {2 * n} amounts for an input of {x.ndim} dimensions in mode {mode!r}",
            "give two amounts for each spatial axis of (N, C, ...) or (C, ...), of which there are one to three",
        )
    if x.dtype.kind == "b" and mode != "circular":
        fail(DTypeError, f"pad: mode={mode!r} takes numbers, input is bool", "cast it first, e.g. with .float()")
    if mode == "circular":
        # What is taken away goes first: the other end is that of the rest.
        x = _pad_with("pad", x, {axis: (min(low, 0), min(high, 0)) for axis, (low, high) in pairs.items()}, None)
        pairs = {axis: (max(low, 0), max(high, 0)) for axis, (low, high) in pairs.items()}
    for axis, (low, high) in pairs.items():
        x = _pad_axis(x, axis, low, high, mode)
    return x


def _pad_axis(x: Tensor, axis: int, low: int, high: int, mode: str) -> Tensor:
    """Positions -low to size + high of an axis, those outside read from inside."""
    size = x.shape[axis]
    most = {"reflect": size - 1, "circular": size}.get(mode)
    if most is not None and max(low, high) > most:
        fail(
            ArgumentError,
            f"pad: amount {max(low, high)} does not fit axis {axis} of size {size} in mode {mode!r}",
            f"pad by at most {max(most, 0)} there",
        )
    stop = size + high
    if mode != "circular" and (stop + low < 1 or not size):
        fail(ShapeError, f"pad: {low} and {high} leave nothing of axis {axis} of size {size}", "take away less")
    spans = ((-low, min(0, stop)), (max(0, -low), min(size, stop)), (max(size, -low), stop))
    parts = [_span(x, axis, a, b, mode) for a, b in spans if a < b]
    if not parts:
        return between(x, axis, 0, 0)
    return ops.concatenate(*parts, axis=axis) if len(parts) > 1 else parts[0]


def _span(x: Tensor, axis: int, start: int, stop: int, mode: str) -> Tensor:
    """A stretch of positions that lies before, in or behind an axis."""
    size = x.shape[axis]
    if start >= 0 and stop <= size:
        return between(x, axis, start, stop) if stop - start < size else x
    if mode == "circular":
        by = size if start < 0 else -size
        return between(x, axis, start + by, stop + by)
    if mode == "reflect":
        last = 0 if start < 0 else 2 * (size - 1)
        return ops.flip(between(x, axis, last + 1 - stop, last + 1 - start), axes=(axis,))
    edge = 0 if start < 0 else size - 1
    shape: Shape = tuple(stop - start if a == axis else s for a, s in enumerate(x.shape))
    return expanded(between(x, axis, edge, edge + 1), shape)
