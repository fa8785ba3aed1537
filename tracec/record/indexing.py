"""Reading and writing by index: integers, slices, None, ellipsis, masks and integer tensors."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, AxisError, ShapeError
from tracec.ir import dtype as dt
from tracec.record.backend import module, to_device
from tracec.record.cell import Cell, new_tensor
from tracec.record.check import check_values
from tracec.record.create import of_array, of_numbers
from tracec.record.state import STATE
from tracec.record.tape import edge_of, root_of
from tracec.record.write import check_writable, copy_into, scalar_like, write

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


def _fail(error: type[AxisError | ArgumentError | ArgumentTypeError | ShapeError], message: str, hint: str) -> NoReturn:
    raise error(f"index: {message}", hint=hint) from None


@dataclass
class _Parsed:
    """An index taken apart.

    Attributes:
        starts, stops, steps: The slice of each axis.
        shape: Shape after slicing, integers' axes dropped and new ones put in; None where nothing changes.
        arrays: Integer tensors by the axis, of that shape, that they index.
        masked: The one mask, and its first axis, where it is all that is not a slice.
    """

    starts: list[int]
    stops: list[int]
    steps: list[int]
    shape: tuple[int, ...]
    arrays: list[tuple[int, Any]]
    masked: tuple[int, Any] | None = None


def _normalise(key: Any) -> list[Any]:
    """The parts of an index, lists and arrays as tensors."""
    parts = list(key) if isinstance(key, tuple) else [key]
    return [k if isinstance(k, Cell) else _index_tensor(k) if isinstance(k, (np.ndarray, list)) else k for k in parts]


def _index_tensor(k: Any) -> Any:
    if isinstance(k, np.ndarray):
        return of_array(k)
    found = _array([v.__index__() if isinstance(v, Cell) else v for v in k])  # type: ignore[attr-defined]
    return of_numbers(found.astype(np.int64) if not found.size and found.dtype.kind == "f" else found)


def _array(values: list[Any]) -> Any:
    try:
        return np.array(values)
    except ValueError:
        _fail(ArgumentError, "a list of uneven lists is not understood", "give lists that all have one length")


def _consumes(k: Any) -> int:
    if k is None or k is Ellipsis or isinstance(k, (bool, np.bool_)):
        return 0
    return k._array.ndim if isinstance(k, Cell) and k._array.dtype == bool else 1


def _parse(x: Cell, key: Any) -> _Parsed:
    shape = x._array.shape
    parts = _normalise(key)
    used = sum(map(_consumes, parts))
    if used > len(shape):
        if not shape and len(parts) == 1 and isinstance(parts[0], int):
            _fail(AxisError, "invalid index of a 0-dim tensor.", "use tensor.item() to convert it to a number")
        _fail(AxisError, f"too many indices for tensor of dimension {len(shape)}", f"give at most {len(shape)} indices")
    dots = [i for i, k in enumerate(parts) if k is Ellipsis]
    if len(dots) > 1:
        _fail(AxisError, "an index can only have a single ellipsis ('...')", "leave one out")
    at = dots[0] if dots else len(parts)
    parts[at : at + 1] = [slice(None)] * (len(shape) - used)
    return _walk(shape, parts)


def _walk(shape: tuple[int, ...], parts: Sequence[Any]) -> _Parsed:
    p = _Parsed([], [], [], (), [])
    sizes: list[int] = []
    masks = 0
    for k in parts:
        axis = len(p.starts)
        if k is None or k is True:
            sizes.append(1)
        elif isinstance(k, slice):
            sizes.append(_slice(p, k, shape[axis]))
        elif isinstance(k, Cell):
            count = _consumes(k)
            _check_index(k, shape[axis : axis + count], axis)
            if k._array.dtype == bool:
                masks += 1
                p.masked = (len(sizes), k)
            p.arrays.append((len(sizes), k))
            for size in shape[axis : axis + count]:
                sizes.append(_slice(p, slice(None), size))
        else:
            i = _integer(k, shape[axis], axis)
            p.starts.append(i)
            p.stops.append(i + 1)
            p.steps.append(1)
    if masks != 1 or len(p.arrays) != 1:
        p.masked = None
    p.shape = tuple(sizes)
    return p


def _slice(p: _Parsed, k: slice, size: int) -> int:
    try:
        step = 1 if k.step is None else operator.index(k.step)
        if step <= 0:
            _fail(ArgumentError, f"step must be greater than zero, {step} given", "use flip to reverse an axis")
        first, last = (None if b is None else operator.index(b) for b in (k.start, k.stop))
        start, stop, step = slice(first, last, step).indices(size)
    except TypeError:
        _fail(ArgumentTypeError, "slice bounds must be integers", "give integers, or None")
    stop = max(start, stop)
    p.starts.append(start)
    p.stops.append(stop)
    p.steps.append(step)
    return -(-(stop - start) // step)


def _integer(k: Any, size: int, axis: int) -> int:
    try:
        i = int(operator.index(k))
    except TypeError:
        _fail(
            AxisError,
            f"an index of type {type(k).__name__} is not understood",
            "use integers, slices, None, ..., masks or integer tensors",
        )
    if not -size <= i < size:
        _fail(
            AxisError,
            f"index {i} is out of bounds for dimension {axis} with size {size}",
            f"use an index from {-size} to {size - 1}" if size else "the dimension is empty",
        )
    return i % size


def _check_index(k: Cell, sizes: tuple[int, ...], axis: int) -> None:
    array = k._array
    if array.dtype == bool:
        if array.shape != sizes:
            _fail(
                AxisError,
                f"the shape of the mask {list(array.shape)} at index {axis} does not match the shape of the indexed "
                f"tensor {list(sizes)} there",
                "a mask has the sizes of the axes that it chooses from",
            )
        return
    if array.dtype.kind not in "iu":
        _fail(
            AxisError,
            f"tensors used as indices must be integer or bool tensors, {dt.of_numpy(array.dtype).name} given",
            "cast the index with .long()",
        )
    size = sizes[0]

    def test(values: Any) -> None:
        if not values.size:
            return
        low, high = int(values.min()), int(values.max())
        if low < -size or high >= size:
            _fail(
                AxisError,
                f"index {high if high >= size else low} is out of bounds for dimension {axis} with size {size}",
                f"use indices from {-size} to {size - 1}" if size else "the dimension is empty",
            )

    check_values(k, test, (-size, size - 1))


def _basic(x: Any, p: _Parsed) -> Any:
    """The view that the slices, integers and None make."""
    shape = x._array.shape
    if any(p.starts) or any(s != 1 for s in p.steps) or tuple(p.stops) != shape:
        x = ops.slice(x, starts=tuple(p.starts), stops=tuple(p.stops), steps=tuple(p.steps))
    return x if x._array.shape == p.shape else ops.reshape(x, shape=p.shape)


def _positions(p: _Parsed, sizes: tuple[int, ...], device: str) -> tuple[tuple[int, ...], list[Any]]:
    """The axes that are indexed and an integer tensor, in range and not negative, for each."""
    axes: list[int] = []
    found: list[Any] = []
    for first, k in p.arrays:
        if k._array.dtype == bool:
            for i, position in enumerate(nonzero_positions(k)):
                axes.append(first + i)
                found.append(position)
            continue
        axes.append(first)
        wraps = k._array.dtype.kind == "i" and (
            STATE.recorder is not None or (k._array.size > 0 and int(k._array.min()) < 0)
        )
        found.append(ops.where(k < 0, k + sizes[first], k) if wraps else k)
    return tuple(axes), [f if f._device == device else f.to(device) for f in found]


def nonzero_positions(mask: Any) -> list[Any]:
    """For each axis the positions of the elements that are not zero; how many there are is read off the values."""
    if STATE.recorder is not None:
        STATE.recorder.decide(mask, mask._array, "nonzero")
    xp = module(mask._device)
    return [new_tensor(xp.asarray(a, dtype=np.int64)) for a in mask._array.nonzero()]


def _place(axes: tuple[int, ...]) -> int:
    """Where the indices' axes come to stand: in place of the first, or in front where the axes are apart."""
    return axes[0] if all(b == a + 1 for a, b in pairwise(axes)) else 0


def get_item(x: Any, key: Any) -> Any:
    """``x[key]``: a view for integers, slices, None and ellipsis, a copy where tensors index.

    Raises:
        AxisError: an index is out of range, or there are too many.
    """
    if type(key) is int and x._array.ndim:
        i = _integer(key, x._array.shape[0], 0)
        rest = x._array.shape[1:]
        row = ops.slice(x, starts=(i, *(0,) * len(rest)), stops=(i + 1, *rest), steps=(1,) * (len(rest) + 1))
        return ops.reshape(row, shape=rest)
    p = _parse(x, key)
    y = _basic(x, p)
    if not p.arrays:
        # A look of its own, as x[...] is another tensor in PyTorch.
        return y if y is not x else ops.reshape(x, shape=x._array.shape)
    axes, positions = _positions(p, y._array.shape, y._device)
    _check_broadcast(positions)
    found = ops.index(y, *positions, axes=axes)
    count = found._array.ndim - (y._array.ndim - len(axes))
    at = _place(axes)
    if not at:
        return found
    order = (*range(count, count + at), *range(count), *range(count + at, found._array.ndim))
    return ops.transpose(found, perm=order)


def set_item(x: Any, key: Any, value: Any) -> None:
    """``x[key] = value``, seen by all tensors that share the memory.

    Raises:
        AxisError: an index is out of range, or there are too many.
        ShapeError: the value does not broadcast to what is indexed.
    """
    check_writable(x, "setitem")
    p = _parse(x, key)
    y = _basic(x, p)
    if isinstance(value, (list, np.ndarray, np.generic)):
        value = of_numbers(_array(value)) if isinstance(value, list) else of_array(np.asarray(value))
    if not p.arrays:
        copy_into(y, value, "setitem")
        return
    if p.masked is not None and (not isinstance(value, Cell) or value._array.ndim == 0):
        _set_masked(y, p.masked, value)
        return
    _set_positions(y, p, value)


def _set_masked(y: Any, masked: tuple[int, Any], value: Any) -> None:
    """One value at the places of a mask: needs no look at the mask's values."""
    first, mask = masked
    own = dt.of_numpy(y._array.dtype)
    shape = (*mask._array.shape, *(1,) * (y._array.ndim - first - mask._array.ndim))
    filled = ops.where(ops.reshape(mask, shape=shape), _value(value, y), y)
    write(y, filled if filled.dtype is own else ops.cast(filled, dtype=own))


def _value(value: Any, y: Any) -> Any:
    dtype = dt.of_numpy(y._array.dtype)
    if not isinstance(value, Cell):
        return scalar_like(y, value, "setitem")
    value = value if value._device == y._device else value.to(y._device)  # type: ignore[attr-defined]
    return value if value._array.dtype == dtype.numpy else ops.cast(value, dtype=dtype)


def _set_positions(y: Any, p: _Parsed, value: Any) -> None:
    axes, positions = _positions(p, y._array.shape, y._device)
    _check_broadcast(positions)
    value = _value(value, y)
    index_shape = np.broadcast_shapes(*(q._array.shape for q in positions))
    rest = tuple(n for a, n in enumerate(y._array.shape) if a not in axes)
    at = _place(axes)
    shape = (*rest[:at], *index_shape, *rest[at:])
    given = value._array.shape
    while len(given) > len(shape) and given[0] == 1:
        given = given[1:]
    lead = len(shape) - len(given)
    if lead < 0 or any(s not in (1, n) for s, n in zip(given, shape[lead:], strict=True)):
        _fail(
            ShapeError,
            f"shape mismatch: value of shape {list(value._array.shape)} cannot be broadcast to indexing result of "
            f"shape {list(shape)}",
            "reshape or slice the value",
        )
    if STATE.recorder is None and not (STATE.grad and (edge_of(value) or edge_of(root_of(y)))):
        y._storage.about_to_change()
        key: list[Any] = [slice(None)] * y._array.ndim
        for a, q in zip(axes, positions, strict=True):
            key[a] = q._array
        y._array[tuple(key)] = to_device(value._array, y._device)
        return
    if value._array.shape != given:
        value = ops.reshape(value, shape=given)
    if given != shape:
        value = ops.expand(value, shape=shape)
    count = len(index_shape)
    order = (*range(at, at + count), *range(at), *range(at + count, len(shape)))
    value = value if not at else ops.transpose(value, perm=order)
    write(y, ops.index_put(y, value, *positions, axes=axes))


def _check_broadcast(positions: Sequence[Any]) -> None:
    shapes = [q._array.shape for q in positions]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        given = ", ".join(str(list(s)) for s in shapes)
        _fail(
            AxisError,
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {given}",
            "give index tensors whose shapes broadcast",
        )


class Indexing(Cell):
    """Subscripts of tensors."""

    def __getitem__(self, key: Any) -> Tensor:
        return get_item(self, key)  # type: ignore[no-any-return]

    def __setitem__(self, key: Any, value: Any) -> None:
        set_item(self, key, value)
