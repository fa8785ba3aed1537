"""Taking an index apart: which slice of each axis, what shape that leaves, and which tensors index it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, AxisError, DTypeError, ShapeError, TracecError
from tracec.ir import dtype as dt
from tracec.ir.extent import Extent
from tracec.ir.source import warn
from tracec.ir.types import broadcast_shapes
from tracec.record.cell import Cell
from tracec.record.check import check_range, least_and_largest
from tracec.record.create import of_array, of_numbers
from tracec.record.deferred import settled
from tracec.record.opaque import unwrapped
from tracec.record.state import STATE

_SEQUENCES = (list, tuple, range)

#: Longer lists are indices of one axis, whatever is in them; PyTorch has taken this over from NumPy.
_LONGEST_OF_PARTS = 32


def fail(error: type[TracecError], message: str, hint: str) -> NoReturn:
    """Raise an error about an index."""
    raise error(f"index: {message}", hint=hint) from None


@dataclass
class Subscript:
    """An index taken apart.

    Attributes:
        starts, stops, steps: The slice of each axis.
        shape: Shape after slicing, integers' axes dropped and new ones put in.
        arrays: Masks, and integer tensors of one axis or more, by the axis of that shape that they index.
        picks: Integer tensors of no axes likewise, where their values are not looked at; their axes are dropped.
        from_front: Those among the tensors that are known to count from the front alone.
    """

    starts: list[int] = field(default_factory=list)
    stops: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    arrays: list[tuple[int, Any]] = field(default_factory=list)
    picks: list[tuple[int, Any]] = field(default_factory=list)
    from_front: list[Any] = field(default_factory=list)

    @property
    def mask(self) -> tuple[int, Any] | None:
        """The one mask and its first axis, where it is all that is not a slice."""
        if len(self.arrays) != 1 or self.picks or not is_mask(self.arrays[0][1]):
            return None
        return self.arrays[0]

    def cut(self, start: int, stop: int, step: int = 1) -> int:
        """Enter the slice of the next axis; its size comes back."""
        stop = max(start, stop)
        self.starts.append(start)
        self.stops.append(stop)
        self.steps.append(step)
        return -(-(stop - start) // step)


def is_mask(k: Cell) -> bool:
    """Whether an index chooses by true and false."""
    return bool(k._array.dtype == bool)


def parse(x: Cell, key: Any) -> Subscript:
    """Take an index of a tensor apart.

    Raises:
        AxisError: an index is out of range, of a type that is none, or there are too many.
        ArgumentError: a step is not positive.
        ArgumentTypeError: bounds of a slice are no integers.
    """
    shape = x._shape
    parts = [_part(k) for k in _parts(key)]
    used = sum(map(_consumes, parts))
    if used > len(shape):
        if not shape and len(parts) == 1 and isinstance(parts[0], (int, np.integer)):
            fail(AxisError, "invalid index of a 0-dim tensor.", "use tensor.item() to convert it to a number")
        fail(AxisError, f"too many indices for tensor of dimension {len(shape)}", f"give at most {len(shape)} indices")
    at = next((i for i, k in enumerate(parts) if k is Ellipsis), len(parts))
    rest = _after_ellipsis(parts[at + 1 :], len(shape) - used)
    return _walk(shape, [*parts[:at], *[slice(None)] * (len(shape) - used), *rest])


def _after_ellipsis(parts: list[Any], skipped: int) -> list[Any]:
    """Indices without further ellipses, which skip as many axes again: nothing may follow them where that is any.

    Raises:
        AxisError: something does.
    """
    dots = [i for i, k in enumerate(parts) if k is Ellipsis]
    if dots and skipped and any(k is not Ellipsis for k in parts[dots[0] :]):
        fail(AxisError, "an index can only have a single ellipsis ('...')", "leave one out")
    return [k for k in parts if k is not Ellipsis]


def _parts(key: Any) -> list[Any]:
    if isinstance(key, tuple):
        return list(key)
    if isinstance(key, list) and len(key) < _LONGEST_OF_PARTS and any(map(_is_part, key)):
        warn(
            "index: a list of indices is read as a tuple of them, as PyTorch still does; write x[tuple(seq)], or "
            "x[tensor(seq)] to index one axis",
            UserWarning,
        )
        return list(key)
    return [key]


def _is_part(k: Any) -> bool:
    return k is None or k is Ellipsis or isinstance(k, (Cell, slice, np.ndarray, *_SEQUENCES))


def _part(k: Any) -> Any:
    """A part of an index; lists and arrays as tensors, and bytes as the mask that they stand for."""
    if isinstance(k, np.ndarray):
        k = of_array(k)
    elif isinstance(k, _SEQUENCES):
        found = array_of([v.item() if isinstance(v, Cell) else v for v in k])  # type: ignore[attr-defined]
        k = of_numbers(found.astype(np.int64) if not found.size and found.dtype.kind == "f" else found)
    if isinstance(k, Cell) and k._array.dtype == np.uint8:
        warn("index: indexing with uint8 is deprecated, it is read as a mask; use a tensor of bools", UserWarning)
        return ops.ne(k, 0)
    return k


def array_of(values: list[Any]) -> Any:
    """An array of nested lists of numbers.

    Raises:
        ArgumentError: they are uneven.
    """
    try:
        return np.array(values)
    except ValueError:
        fail(ArgumentError, "a list of uneven lists is not understood", "give lists that all have one length")


def _consumes(k: Any) -> int:
    """How many axes a part of an index stands for."""
    if k is None or k is Ellipsis or isinstance(k, bool):
        return 0
    return k._array.ndim if isinstance(k, Cell) and is_mask(k) else 1


def _walk(shape: tuple[int, ...], parts: Sequence[Any]) -> Subscript:
    p = Subscript()
    sizes: list[int] = []
    for k in parts:
        axis = len(p.starts)
        if k is None:
            sizes.append(1)
        elif isinstance(k, bool):
            # Whether a new axis has its one element.
            p.arrays.append((len(sizes), of_numbers(np.zeros(int(k), np.int64))))
            sizes.append(1)
        elif isinstance(k, slice):
            sizes.append(_slice(p, k, shape[axis]))
        elif isinstance(k, Cell):
            _tensor(p, k, shape, sizes)
        else:
            i = _integer(k, shape[axis], axis)
            p.cut(i, i + 1)
    p.shape = tuple(sizes)
    return p


def _tensor(p: Subscript, k: Cell, shape: tuple[int, ...], sizes: list[int]) -> None:
    """Enter a tensor that indexes."""
    axis = len(p.starts)
    if is_mask(k):
        _check_mask(k, shape, axis)
        if not k._array.ndim:  # as a single bool
            p.arrays.append((len(sizes), ops.reshape(k, shape=(1,))))
            sizes.append(1)
            return
        p.arrays.append((len(sizes), k))
        sizes += [p.cut(0, size) for size in shape[axis : axis + k._array.ndim]]
        return
    _check_integers(k)
    if not k._array.ndim and STATE.recorder is None:
        i = _integer(int(settled(k._array)), shape[axis], axis)
        p.cut(i, i + 1)
        return
    if _check_range(k, shape[axis], axis):
        p.from_front.append(k)
    (p.arrays if k._array.ndim else p.picks).append((len(sizes), k))
    sizes.append(p.cut(0, shape[axis]))


def _slice(p: Subscript, k: slice, size: int) -> int:
    try:
        step = 1 if k.step is None else _index(k.step)
        if step <= 0:
            fail(ArgumentError, f"step must be greater than zero, {step} given", "use flip to reverse an axis")
        first, last = (None if b is None else _index(b) for b in (k.start, k.stop))
    except TracecError:
        raise
    except TypeError:
        fail(ArgumentTypeError, "slice bounds must be integers", "give integers, or None")
    return p.cut(*_clipped(first, last, size), step)


def _index(k: Any) -> int:
    """An integer; one with a formula keeps it."""
    k = unwrapped(k)
    return k if isinstance(k, Extent) else int(operator.index(k))


def _clipped(first: int | None, last: int | None, size: int) -> tuple[int, int]:
    """The bounds of a slice with a positive step, as Python reads them."""
    start, stop = (
        default if b is None else max(b + size, 0) if b < 0 else min(b, size)
        for b, default in ((first, 0), (last, size))
    )
    return start, stop


def _integer(k: Any, size: int, axis: int) -> int:
    try:
        if isinstance(k, np.bool_):
            raise TypeError
        i = _index(k)
    except TypeError:
        fail(
            ArgumentTypeError if isinstance(k, (str, bytes)) else AxisError,
            f"an index of type {type(k).__name__} is not understood",
            "use integers, slices, None, ..., masks or integer tensors",
        )
    if not -size <= i < size:
        _out_of_bounds(i, size, axis)
    return i if i >= 0 else i + size


def _out_of_bounds(i: int, size: int, axis: int) -> NoReturn:
    fail(
        AxisError,
        f"index {i} is out of bounds for dimension {axis} with size {size}",
        f"use an index from {-size} to {size - 1}" if size else "the dimension is empty",
    )


def _check_mask(k: Cell, shape: tuple[int, ...], axis: int) -> None:
    given = k._shape
    for i, size in enumerate(given):
        if size != shape[axis + i]:
            fail(
                AxisError,
                f"the shape of the mask {list(given)} at index {i} does not match the shape of the indexed tensor "
                f"{list(shape)} at index {axis + i}",
                "a mask has the sizes of the axes that it chooses from",
            )


def _check_integers(k: Cell) -> None:
    dtype = k._array.dtype
    if dtype.kind not in "iu" or (k._array.ndim and dtype not in (np.int64, np.int32)):
        fail(
            AxisError,
            f"tensors used as indices must be long, int, byte or bool tensors, {dt.of_numpy(dtype).name} given",
            "cast the index with .long()",
        )


def _check_range(k: Cell, size: int, axis: int) -> bool:
    """Whether it is known that no integer of a tensor that indexes an axis counts from the end.

    Raises:
        AxisError: one is out of range.
    """

    def refuse(values: Any) -> NoReturn:  # the size is its own: at another call it may be another one
        low, high = (-1, 0) if values is None else (int(values.min()), int(values.max()))
        _out_of_bounds(high if high >= size else low, size, axis)

    at_hand = STATE.recorder is None and k._array.size and k._device != "meta"
    if at_hand:  # looked at once: the condition, and what is not to be wrapped
        low, high = least_and_largest(settled(k._array))
        if -size <= low and high < size:
            return low >= 0
    check_range(k, -size, size - 1, refuse)
    return False


def check_broadcast(positions: Sequence[Cell]) -> tuple[int, ...]:
    """The shape that index tensors broadcast to.

    Raises:
        AxisError: they do not broadcast.
    """
    shapes = [q._shape for q in positions]
    try:
        return broadcast_shapes(*shapes)
    except ShapeError:
        given = ", ".join(str(list(s)) for s in shapes)
        fail(
            AxisError,
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {given}",
            "give index tensors whose shapes broadcast",
        )


def fitted(given: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a value without leading axes of size 1 that what is indexed does not have.

    Raises:
        ShapeError: it does not broadcast to what is indexed.
    """
    kept = given
    while len(kept) > len(shape) and kept[0] == 1:
        kept = kept[1:]
    lead = len(shape) - len(kept)
    if lead < 0 or any(s not in (1, n) for s, n in zip(kept, shape[lead:], strict=True)):
        fail(
            ShapeError,
            f"shape mismatch: value of shape {list(given)} cannot be broadcast to indexing result of "
            f"shape {list(shape)}",
            "reshape or slice the value",
        )
    return kept


def check_same_type(value: Cell, y: Cell) -> None:
    """Refuse to write a tensor of another element type at computed positions.

    Raises:
        DTypeError: the types differ.
    """
    given, own = value._array.dtype, y._array.dtype
    if given != own:
        fail(
            DTypeError,
            f"writing at tensors of positions requires the source and destination dtypes match, got "
            f"{dt.of_numpy(own).name} for the destination and {dt.of_numpy(given).name} for the source",
            f"cast the value with .to(tracec.{dt.of_numpy(own).name})",
        )
