"""Reading and writing by index: integers, slices, None, ellipsis, masks and integer tensors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec import ops
from tracec.ir import dtype as dt
from tracec.ir.types import same
from tracec.record.backend import module, to_device
from tracec.record.cell import Cell, new_tensor
from tracec.record.create import of_array, of_numbers
from tracec.record.deferred import settled
from tracec.record.dispatch import run
from tracec.record.mode import set_grad_enabled
from tracec.record.state import STATE
from tracec.record.subscripts import Subscript, array_of, check_broadcast, check_same_type, fitted, is_mask, parse
from tracec.record.write import check_writable, copy_into, remembered, scalar_like, write

if TYPE_CHECKING:
    from tracec.record.call import Call
    from tracec.record.tensor import Tensor


def _basic(x: Any, p: Subscript) -> Any:
    """The view that the slices, integers and None make."""
    shape = x._shape
    if any(p.starts) or any(s != 1 for s in p.steps) or tuple(p.stops) != shape:
        x = ops.slice(x, starts=tuple(p.starts), stops=tuple(p.stops), steps=tuple(p.steps))
    return x if same(x._shape, p.shape) else ops.reshape(x, shape=p.shape)


def _positions(p: Subscript, sizes: tuple[int, ...], device: str) -> dict[int, Any]:
    """For each axis that is indexed an integer tensor, in range and not negative, in rising order."""
    found: dict[int, Any] = {}
    for axis, k in sorted((*p.arrays, *p.picks), key=lambda given: given[0]):
        if is_mask(k):
            for i, position in enumerate(nonzero_positions(k)):
                found[axis + i] = position
            continue
        wraps = k._array.dtype.kind == "i" and not any(k is known for known in p.from_front)
        found[axis] = ops.where(k < 0, k + sizes[axis], k) if wraps else k
    return {axis: k if k._device is device else k.to(device) for axis, k in found.items()}


def nonzero_positions(mask: Any) -> list[Any]:
    """For each axis the positions of the elements that are not zero; how many there are is read off the values.

    They are rows of one tensor. A recorded function is recorded for how many there are: where there are as many, it is
    the same program, and where that keeps changing, how many there are is a symbol of the program.
    """
    if STATE.recorder is None:
        xp = module(mask._device)
        rows = new_tensor(xp.stack(settled(mask._array).nonzero()).astype(np.int64, copy=False))
        return [get_item(rows, k) for k in range(mask._array.ndim)]
    held = mask if mask._array.dtype == np.bool_ else ops.ne(mask, 0)
    total = ops.sum(ops.cast(held, dtype=dt.int64), axes=tuple(range(mask._array.ndim)))
    count = STATE.recorder.count_of(mask, total, to_device(settled(total._array), "cpu"))
    rows = ops.positions(mask, count=count)
    return [get_item(rows, k) for k in range(mask._array.ndim)]


def _place(axes: Sequence[int], picked: Sequence[int]) -> int:
    """Where the indices' axes come to stand: in place of the first, or in front where the axes are apart.

    Args:
        axes: What tensors of one axis or more index.
        picked: What tensors of no axes index, which is gone before.
    """
    left = [a - sum(p < a for p in picked) for a in axes]
    return left[0] if left and all(b == a + 1 for a, b in pairwise(left)) else 0


def get_item(x: Any, key: Any) -> Any:
    """``x[key]``: a view for integers, slices, None and ellipsis, a copy where tensors index.

    A tensor of no axes counts as an integer. Where a recorder is at work its value is not asked for: then the
    result is a copy, which may not be written, nor read once x has been written.

    Raises:
        AxisError: an index is out of range, or there are too many.
    """
    form = _form_of(x, key)
    if form is not None:
        looks = _LOOKS.get(form)
        if looks is None and type(key) is int and (looks := _looks_at_row(form, key)) is not None:
            _keep_looks(form, looks)
        if looks is not None:
            for call in looks:
                x = run(call, (x,), [x._array])
            return x
    p = parse(x, key)
    y = _basic(x, p)
    if not p.arrays and not p.picks:
        # A look of its own, as x[...] is another tensor in PyTorch.
        y = y if y is not x else ops.reshape(x, shape=x._shape)
        if form is not None and y._storage is x._storage:
            _keep_looks(form, y._steps[len(x._steps) :])
            if type(key) is int:
                _ROWS[form[:3]] = _LOOKS[form]
        return y
    positions = _positions(p, y._shape, y._device)
    check_broadcast(list(positions.values()))
    found = ops.index(y, *positions.values(), axes=tuple(positions))
    if not p.arrays:
        grad = STATE.grad

        def view() -> Any:
            with set_grad_enabled(grad):
                return get_item(x, _with_numbers(key))

        found._storage.copied_from = x._storage, x._storage.version, view
        return found
    picked = [a for a, _ in p.picks]
    at = _place([a for a in positions if a not in picked], picked)
    if not at:
        return found
    count = found._array.ndim - (y._array.ndim - len(positions))
    order = (*range(count, count + at), *range(count), *range(count + at, found._array.ndim))
    return ops.transpose(found, perm=order)


def _keep_looks(form: Any, looks: tuple[Call, ...]) -> None:
    if len(_LOOKS) >= _MOST_LOOKS:
        _LOOKS.clear()
        _ROWS.clear()
    _LOOKS[form] = looks


def _looks_at_row(form: Any, i: int) -> tuple[Call, ...] | None:
    """The views that ``x[i]`` is, by those of another row; None where there is none, or i is out of range.

    Working out a call takes ten times as long, and keeping it beside those of all operators would drive them out: a
    loop over the rows of a data set has as many as that.
    """
    known = _ROWS.get(form[:3])
    count = form[1][0] if form[1] else 0
    if known is None or STATE.recorder is not None or not -count <= i < count:
        return None
    first, *others = known
    if first.op.name != "slice":
        return None  # of one row alone
    at, params = i + count if i < 0 else i, dict(first.params)
    params["starts"], params["stops"] = (at, *params["starts"][1:]), (at + 1, *params["stops"][1:])
    return first.with_params(tuple(params.items())), *others


#: By element type, shape and device: the views of some row.
_ROWS: dict[Any, tuple[Call, ...]] = {}
#: What views subscripts of numbers, slices, None and ... alone are, by what `_form_of` gives.
_LOOKS: dict[Any, tuple[Call, ...]] = {}
_MOST_LOOKS = 20_000


def _form_of(x: Any, key: Any) -> Any:
    """All that the views depend on which such a subscript is; None of another one, and where sizes depend on others."""
    recorder = STATE.recorder
    if recorder is not None and recorder.sizes is not None:
        return None
    array = x._array
    form: list[Any] = [array.dtype, array.shape, x._device]
    for k in key if type(key) is tuple else (key,):
        kind = type(k)
        if kind is slice:
            bounds = k.start, k.stop, k.step
            if not _BOUNDS.issuperset(map(type, bounds)):
                return None
            form.append(bounds)
        elif kind is int or k is None or k is Ellipsis:
            form.append(k)
        else:
            return None
    return tuple(form)


_BOUNDS = frozenset({int, type(None)})


def _with_numbers(key: Any) -> Any:
    """A key with numbers in place of tensors of no axes."""
    parts = key if isinstance(key, tuple) else (key,)
    return tuple(int(settled(k._array)) if isinstance(k, Cell) else k for k in parts)


def set_item(x: Any, key: Any, value: Any) -> None:
    """``x[key] = value``, seen by all tensors that share the memory.

    Raises:
        AxisError: an index is out of range, or there are too many.
        DTypeError: tensors index, and the value is a tensor of another element type.
        ShapeError: the value does not broadcast to what is indexed.
    """
    check_writable(x, "setitem")
    p = parse(x, key)
    y = _basic(x, p)
    if isinstance(value, (list, np.ndarray, np.generic)):
        value = of_numbers(array_of(value)) if isinstance(value, list) else of_array(np.asarray(value))
        value = value.to(dt.of_numpy(y._array.dtype))
    if not p.arrays and not p.picks:
        copy_into(y, value, "setitem")
        return
    if isinstance(value, Cell) and p.arrays and (p.mask is None or value._array.ndim):
        check_same_type(value, y)
    value = _value(value, y)
    spread = None if p.mask is None else _beside(p.mask, y, value)
    if spread is not None:
        _set_masked(y, p.mask, spread)  # type: ignore[arg-type]
        return
    _set_positions(y, p, value)


def _value(value: Any, y: Any) -> Any:
    """What is written, as a tensor of y's element type on its device."""
    if not isinstance(value, Cell):
        return scalar_like(y, value, "setitem")
    value = value if value._device == y._device else value.to(y._device)  # type: ignore[attr-defined]
    return value if value._array.dtype == y._array.dtype else ops.cast(value, dtype=dt.of_numpy(y._array.dtype))


def _beside(masked: tuple[int, Any], y: Any, value: Any) -> Any:
    """The value in a shape that broadcasts to y, where all that a mask chooses is given the same; else None.

    That needs no look at the mask's values.
    """
    first, mask = masked
    after = y._array.ndim - first - mask._array.ndim
    given = value._shape
    while len(given) > first + 1 + after and given[0] == 1:
        given = given[1:]
    if len(given) > first + 1 + after or (len(given) > after and given[-after - 1] != 1):
        return None
    if len(given) > after:
        given = given[: len(given) - after - 1] + (1,) * mask._array.ndim + given[len(given) - after :]
    shape = y._shape[y._array.ndim - len(given) :]
    if any(s not in (1, n) for s, n in zip(given, shape, strict=True)):
        return None
    return value if same(value._shape, given) else ops.reshape(value, shape=given)


def _set_masked(y: Any, masked: tuple[int, Any], value: Any) -> None:
    first, mask = masked
    shape = (*mask._shape, *(1,) * (y._array.ndim - first - mask._array.ndim))
    mask = mask if mask._device == y._device else mask.to(y._device)
    write(y, ops.where(ops.reshape(mask, shape=shape), value, y))


def _set_positions(y: Any, p: Subscript, value: Any) -> None:
    positions = _positions(p, y._shape, y._device)
    axes, found = tuple(positions), list(positions.values())
    index_shape = check_broadcast(found)
    rest = tuple(n for a, n in enumerate(y._shape) if a not in axes)
    picked = [a for a, _ in p.picks]
    at = _place([a for a in axes if a not in picked], picked)
    shape = (*rest[:at], *index_shape, *rest[at:])
    given = fitted(value._shape, shape)
    if not prod(shape):
        return
    if not remembered(y, value):
        y._storage.about_to_change()
        key: list[Any] = [slice(None)] * y._array.ndim
        for a, q in positions.items():
            key[a] = q._array
        y._array[tuple(key)] = to_device(settled(value._array), y._device)
        return
    if not same(value._shape, given):
        value = ops.reshape(value, shape=given)
    if given != shape:
        value = ops.expand(value, shape=shape)
    count = len(index_shape)
    order = (*range(at, at + count), *range(at), *range(at + count, len(shape)))
    value = value if not at else ops.transpose(value, perm=order)
    write(y, ops.index_put(y, value, *found, axes=axes))


class Indexing(Cell):
    """Subscripts of tensors."""

    def __getitem__(self, key: Any) -> Tensor:
        return get_item(self, key)  # type: ignore[no-any-return]

    def __setitem__(self, key: Any, value: Any) -> None:
        set_item(self, key, value)
