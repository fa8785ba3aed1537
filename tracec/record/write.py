"""Writing into tensors: memory is changed at once, the graph stays functional.

A write through a view gives the base a new value: the view steps are undone one by one, and where a step
leaves elements out, the old ones are kept. The base's history and node move on to the new value, and its
views, which follow the base, see it too.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, GradientError, RecordError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.number import calculate, converted
from tracec.ir.types import same
from tracec.record.backend import to_device
from tracec.record.call import Call
from tracec.record.cell import Cell, alias, is_dual, new_tensor
from tracec.record.deferred import fill, settled
from tracec.record.dispatch import cast
from tracec.record.dual import move_with, tangents_of
from tracec.record.mode import no_grad
from tracec.record.passages import Overwritten
from tracec.record.promote import can_cast
from tracec.record.refusal import refuse
from tracec.record.state import STATE
from tracec.record.tape import edge_of, pass_through, root_of

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


def check_no_leaf(x: Cell, name: str) -> None:
    """Refuse to change a leaf that requires grad.

    Raises:
        GradientError: the tensor is one, or a view of one, and gradients are on.
    """
    if x._is_inference and not STATE.inference:
        raise GradientError(
            f"{name}: Inplace update to inference tensor outside InferenceMode is not allowed.",
            hint="make a clone to get a normal tensor before",
        )
    if STATE.grad:
        root = root_of(x)
        if root._requires_grad and root._history is None:
            what = "a leaf Variable" if root is x else "a view of a leaf Variable"
            raise GradientError(
                f"{name}: {what} that requires grad is being used in an in-place operation.",
                hint="write under tracec.no_grad(), or into a clone",
            )


def check_writable(x: Cell, name: str) -> None:
    """Refuse to write where PyTorch refuses.

    Raises:
        GradientError: the tensor is a leaf that requires grad, or a view of one, and gradients are on.
        ArgumentError: several elements share their memory, or the memory is read-only.
        RecordError: the tensor is a copy of what eagerly would be a view of another one.
    """
    check_no_leaf(x, name)
    recorder = STATE.recorder
    if recorder is not None and x._storage.copied_from is not None and x._storage.recorder is recorder:
        refuse(
            f"{name}: a compiled function cannot write into x[i], where i is a tensor of no dimensions",
            hint="assign to x[i] instead, or index with int(i)",
        )
    array = x._array
    if _repeats(array):
        raise ArgumentError(
            f"{name}: unsupported operation: more than one element of the written-to tensor refers to a single "
            "memory location.",
            hint="clone() the expanded tensor before the operation",
        )
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        raise ArgumentError(f"{name}: the tensor's memory is read-only", hint="write into a clone")
    if recorder is not None and any(step.op.name == "expand" for step in x._steps):
        refuse(
            f"{name}: a compiled function cannot write into a part of an expanded tensor",
            hint="write into the tensor that was expanded, or into a clone",
        )


def _repeats(array: Any) -> bool:
    """Whether several elements are one place, as those of an expanded tensor."""
    strides = array.strides
    return 0 in strides and array.size and any(s == 0 and n > 1 for s, n in zip(strides, array.shape, strict=True))


def check_can_cast(given: dt.DType, own: dt.DType, name: str) -> None:
    """Refuse to write a result into a tensor of a lower category (bool < integer < float < complex).

    Raises:
        DTypeError: it is of one.
    """
    if not can_cast(given, own):
        raise DTypeError(
            f"{name}: result type {given.name} can't be cast to the desired output type {own.name}",
            hint=f"cast the tensor with .to(tracec.{given.name}) first, or use the operation that makes a new one",
        )


def assign(x: Tensor, value: Any, name: str) -> Tensor:
    """Write the result of an operation into a tensor that may be written; see `check_writable`.

    Raises:
        ShapeError: the result has another shape.
        DTypeError: the result is of a higher category (bool < integer < float < complex) than the tensor.
    """
    given, own = value._array, x._array
    if value._shape != x._shape:
        raise ShapeError(
            f"{name}: output with shape {list(own.shape)} doesn't match the broadcast shape {list(given.shape)}",
            hint="use the operation that makes a new tensor",
        )
    if given.dtype != own.dtype:
        is_ = dt.of_numpy(own.dtype)
        check_can_cast(dt.of_numpy(given.dtype), is_, name)
        value = cast(value, is_)
    write(x, value)
    return x


def write(x: Cell, value: Cell) -> None:
    """Give a tensor new elements; ``value`` has its shape, dtype and device."""
    root = root_of(x)
    recorder = STATE.recorder
    tracked = STATE.grad and (edge_of(value) is not None or edge_of(root) is not None)
    moves = is_dual(value) or is_dual(root)
    storage = x._storage
    if tracked or moves or recorder is not None:
        steps = x._steps[len(root._steps) :]
        composed = rewritten(root, steps, value) if steps else value
        history = edge_of(composed) if tracked else None
        if tracked and history is None:
            history = pass_through(root, edge_of(root), Overwritten())
        whole = composed
        if root._steps and (moves or recorder is not None):
            with no_grad():
                whole = rewritten(whole_of(root), root._steps, composed)
        known = recorder.written(storage, whole) if recorder is not None else None
        tangents = tangents_of(whole) if moves else None
        _replace(storage, x._array, value._array)
        if tracked:
            if recorder is not None:
                recorder.change_flag(root)
            root._history = history
        if known is not None:
            storage.recorder, storage.node = known
        if moves:
            move_with(root, tangents)
    else:
        _replace(storage, x._array, value._array)


def _replace(storage: Any, into: Any, array: Any) -> None:
    storage.about_to_change()
    fill(into, array)


def whole_of(x: Cell) -> Tensor:
    """All of the memory that a tensor looks at, as a tensor."""
    whole: Tensor = alias(x)
    whole._array, whole._steps, whole._is_dual = x._storage.array, (), is_dual(x)
    return whole


def rewritten(root: Any, steps: tuple[Call, ...], value: Any) -> Any:
    """The root's new value when the view at the end of the steps is given a value; of tensors, or of nodes."""
    cut = next((k for k, step in enumerate(steps) if step.op.name in _OVERLAPPING), len(steps))
    olds = [root]
    for step in steps[: min(cut, len(steps) - 1)]:
        olds.append(step.op(olds[-1], **dict(step.params)))
    if cut < len(steps):
        value = _written_at_places(olds.pop(), steps[cut:], value)
    for old, step in zip(reversed(olds), reversed(steps[:cut]), strict=True):
        value = _UNDO[step.op.name](step, old, value)
    return value


#: Views in which an element of the operand may be several: only those that are looked at in the end are written.
_OVERLAPPING = frozenset({"windows", "as_strided"})


def _written_at_places(old: Any, steps: tuple[Call, ...], value: Any) -> Any:
    """By the number of the element that each element of the view is."""
    shape, count = tuple(old.shape), math.prod(old.shape)
    places = ops.reshape(ops.iota(shape=(count,), axis=0, dtype=dt.int64, device=str(old.device)), shape=shape)
    for step in steps:
        if step.op.name in _OF_BITS:
            raise RecordError(
                f"write: bits of overlapping views cannot be written ({step.op.name} of {steps[0].op.name})",
                hint="write before you look at the bits",
            )
        places = step.op(places, **dict(step.params))
    return ops.reshape(ops.index_put(ops.reshape(old, shape=(count,)), value, places, axes=(0,)), shape=shape)


_OF_BITS = frozenset({"view_bits", "view_as_real", "view_as_complex"})


def _undo_reshape(step: Call, old: Any, value: Any) -> Any:
    return ops.reshape(value, shape=step.types[0].shape)


def _undo_transpose(step: Call, old: Any, value: Any) -> Any:
    perm = dict(step.params)["perm"]
    return ops.transpose(value, perm=tuple(perm.index(i) for i in range(len(perm))))


def _undo_slice(step: Call, old: Any, value: Any) -> Any:
    shape = step.types[0].shape
    params = dict(step.params)
    starts, steps = params["starts"], params["steps"]
    if same(step.type.shape, shape):
        return value
    if not step.type.size:
        return old
    chosen = [a for a, (size, kept) in enumerate(zip(shape, step.type.shape, strict=True)) if size != kept or starts[a]]
    if all(steps[a] == 1 or step.type.shape[a] == 1 for a in chosen):
        sizes = step.type.shape
        low = tuple(starts)
        high = tuple(n - s - k for n, s, k in zip(shape, starts, sizes, strict=True))
        inside = ops.pad(ops.full(True, sizes, dt.bool_, step.type.device), low=low, high=high, value=False)
        zero = 0.0 if step.type.dtype.is_differentiable else False if step.type.dtype.kind == "b" else 0
        return ops.where(inside, ops.pad(value, low=low, high=high, value=zero), old)
    positions = []
    for k, a in enumerate(chosen):
        count = step.type.shape[a]
        along = ops.iota(shape=(count,), axis=0, dtype=dt.int64, device=step.type.device) * steps[a] + starts[a]
        positions.append(ops.reshape(along, shape=(count, *(1,) * (len(chosen) - 1 - k))))
    front = (*chosen, *(a for a in range(len(shape)) if a not in chosen))
    return ops.index_put(old, ops.transpose(value, perm=front), *positions, axes=tuple(chosen))


def _undo_view_bits(step: Call, old: Any, value: Any) -> Any:
    return ops.view_bits(value, dtype=step.types[0].dtype)


def _undo_view_as_real(step: Call, old: Any, value: Any) -> Any:
    return ops.view_as_complex(value)


def _undo_view_as_complex(step: Call, old: Any, value: Any) -> Any:
    return ops.view_as_real(value)


_UNDO: dict[str, Callable[[Call, Any, Any], Any]] = {
    "reshape": _undo_reshape,
    "transpose": _undo_transpose,
    "expand": _undo_reshape,  # only expansions that repeat nothing can be written through
    "slice": _undo_slice,
    "view_bits": _undo_view_bits,
    "view_as_real": _undo_view_as_real,
    "view_as_complex": _undo_view_as_complex,
}


def copy_into(x: Tensor, source: Any, name: str = "copy_") -> Tensor:
    """Write another tensor's elements, broadcast, cast and moved as needed.

    Raises:
        ShapeError: the source does not broadcast to the tensor's shape.
    """
    check_writable(x, name)
    if not isinstance(source, Cell):
        source = scalar_like(x, source, name)
    shape = x._shape
    if source._array.shape != x._array.shape and not same(source._shape, shape):
        given = source._shape
        while len(given) > len(shape) and given[0] == 1:
            given = given[1:]
        lead = len(shape) - len(given)
        if lead < 0 or any(s not in (1, n) for s, n in zip(given, shape[lead:], strict=True)):
            raise ShapeError(
                f"{name}: a value of shape {tuple(source._shape)} does not broadcast to shape {tuple(shape)}",
                hint="reshape or slice the value",
            )
    if not remembered(x, source):
        array = settled(source._array)
        if source._device is not x._device:
            array = to_device(array, x._device)
        if array.dtype != x._array.dtype:
            array = cast(new_tensor(array), dt.of_numpy(x._array.dtype))._array
        _replace(x._storage, x._array, array)
        return x
    value = source
    if value._device != x._device:
        value = value.to(x._device)
    if value._array.dtype != x._array.dtype:
        value = cast(value, dt.of_numpy(x._array.dtype))
    if not same(value._shape, shape):
        if value._array.ndim > len(shape):
            value = ops.reshape(value, shape=given)
        value = ops.expand(value, shape=shape)
    write(x, value)
    return x


def fill_with(x: Tensor, value: Any, name: str) -> Tensor:
    """Write one value everywhere: a number also where several elements are one place, if nobody remembers the write."""
    if isinstance(value, Cell) or not _repeats(x._array):
        return copy_into(x, value, name)
    check_no_leaf(x, name)
    if (STATE.grad and edge_of(root_of(x)) is not None) or is_dual(x):
        check_writable(x, name)
    if STATE.recorder is not None:
        refuse(
            f"{name}: a compiled function cannot write into an expanded tensor",
            hint="write into the tensor that was expanded, or into a clone",
        )
    array = x._array[tuple(slice(0, 1) if step == 0 else slice(None) for step in x._array.strides)]
    if isinstance(array, np.ndarray):
        if not x._storage.array.flags.writeable:
            raise ArgumentError(f"{name}: the tensor's memory is read-only", hint="write into a clone")
        array.flags.writeable = True  # NumPy's expanded arrays are for reading; here each place is written once
    _replace(x._storage, array, scalar_like(x, value, name)._array)
    return x


def remembered(x: Cell, value: Cell) -> bool:
    """Whether a write of a value is more than a change of memory: remembered, recorded, put off or differentiated."""
    if STATE.recorder is not None or STATE.deferred is not None:
        return True
    if STATE.grad and (edge_of(value) is not None or edge_of(root_of(x)) is not None):
        return True
    moves = value._storage.tangents is not None or x._storage.tangents is not None
    return moves and (is_dual(value) or is_dual(x))


def scalar_like(x: Cell, value: Any, name: str) -> Tensor:
    """A number as a tensor of no dimensions, in the element type and on the device of another.

    Raises:
        ArgumentTypeError: it is no number.
    """
    if not isinstance(value, (bool, int, float, complex, np.generic)):
        raise ArgumentTypeError(
            f"{name}: takes a tensor or a number, {type(value).__name__} given",
            hint="make a tensor with tracec.tensor(...)",
        )
    dtype = dt.of_numpy(x._array.dtype)
    if isinstance(value, (complex, np.complexfloating)) and not dtype.is_complex:
        raise DTypeError(
            f"{name}: value cannot be converted to type {dtype.name}: {value} is complex",
            hint="write its real part or its size",
        )
    # Infinity and NaN are left to the operator, which knows what fits.
    whole = dtype.kind in "iu" and (not isinstance(value, (float, np.floating)) or calculate("math.isfinite", value))
    kind: Any = complex if dtype.is_complex else bool if dtype.kind == "b" else int if whole else float
    number = converted(kind, value)
    if dtype.kind == "u" and -(1 << 8 * dtype.itemsize) < number < 0:
        number += 1 << 8 * dtype.itemsize  # wraps around, as PyTorch has it
    return ops.constant(value=number, dtype=dtype, device=str(x._device))  # type: ignore[no-any-return]


def writes_into(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The method ``name_``: computes with the function and writes the result into the tensor."""

    @functools.wraps(function)
    def run(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_writable(self, name + "_")
        return assign(self, function(self, *args, **kwargs), name + "_")

    run.__name__ = run.__qualname__ = name + "_"
    run.__doc__ = f"`{name}` whose result is written into the tensor itself."
    return run
