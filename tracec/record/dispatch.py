"""What an operator does when it is called on tensors: compute at once, and write down what it did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec.errors import ArgumentTypeError, OutOfMemoryError
from tracec.ir.dtype import DType
from tracec.ir.extent import Extent, Ratio
from tracec.ir.node import current_source
from tracec.ir.number import Number
from tracec.ir.operator import OPERATORS, Operator
from tracec.ir.source import caller
from tracec.record.backend import module, number_on, on, share_memory, to_device
from tracec.record.call import Call, find_call
from tracec.record.cell import Cell, alias, new_tensor
from tracec.record.create import of_array
from tracec.record.deferred import ACTIVE, look, put, put_copy, ran, settled
from tracec.record.numbers import constant_of, scalar, watched_here
from tracec.record.opaque import unwrapped
from tracec.record.state import STATE
from tracec.record.tape import Operation, edge_of

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor

_PLAIN = (int, float, bool, complex)


def apply(op: Operator, inputs: tuple[Any, ...], params: Mapping[str, Any]) -> Tensor:
    """Compute an operator of tensors and Python scalars.

    Raises:
        TracecError: the operands do not fit the operator; with the user's line.
    """
    for x in inputs:
        if not isinstance(x, Cell) and type(x) not in _PLAIN:
            inputs = tuple(_operand(op, x) for x in inputs)
            break
    if op.name == "constant" and isinstance(params["value"], Number):
        value = watched_here(params["value"])
        if isinstance(value, Number):
            return constant_of(value, params.get("dtype"), params.get("device", "cpu"))
    call = find_call(op, inputs, params)
    if call.casts is not None:
        inputs = tuple(x if d is None else cast(x, d) for x, d in zip(inputs, call.casts, strict=True))
    device = call.type.device
    if device == "cpu":
        xp: Any = np
        arrays = [
            x._array if isinstance(x, Cell) else scalar(x, t.dtype) for x, t in zip(inputs, call.types, strict=True)
        ]
        if ACTIVE:
            numbers = tuple([i for i, x in enumerate(inputs) if not isinstance(x, Cell)])
            late = put(call, arrays, numbers)
            if late is not None:
                return finish(call, inputs, arrays, late)
        try:
            out = call.op.eager(np, *arrays, **call.keywords)
        except (MemoryError, ValueError):
            _check_memory(call)
            raise
        if type(out) is not np.ndarray:
            out = np.asarray(out)
    else:
        xp = module(device)
        try:
            with on(device):
                arrays = [
                    _array_on(device, x) if isinstance(x, Cell) else scalar(x, t.dtype)
                    for x, t in zip(inputs, call.types, strict=True)
                ]
                numbers = tuple([i for i, x in enumerate(inputs) if not isinstance(x, Cell)])
                late = put(call, arrays, numbers) if ACTIVE else None
                for i in numbers:
                    arrays[i] = number_on(arrays[i], device)
                if late is not None:
                    return finish(call, inputs, arrays, late)
                out = xp.asarray(call.op.eager(xp, *arrays, **call.keywords))
        except MemoryError as error:  # CuPy's is one
            raise _no_memory(call, device) from error
    if call.is_view:
        return _view(call, inputs[0], out)
    out = _own(xp, out, arrays)
    if ACTIVE:
        ran(call, arrays, out)
    result = finish(call, inputs, arrays, out)
    if call.op.name == "constant":
        result._is_constant = True
    return result


def _array_on(device: str, x: Cell) -> Any:
    """A tensor's array on a device: a copy where it is elsewhere."""
    return x._array if x._device == device else to_device(settled(x._array), device)


def _check_memory(call: Call) -> None:
    """Say that there is no memory where the result alone may be more than there is.

    Raises:
        OutOfMemoryError: it is.
    """
    if call.type.nbytes >= 1 << 32:
        raise OutOfMemoryError(
            f"{call.op.name}: no memory for {call.type.nbytes} bytes",
            hint="use smaller sizes, or a narrower dtype",
            where=f"{call.op.name}({', '.join(map(str, call.types))}) -> {call.type}    at {caller()}",
        ) from None


def _no_memory(call: Call, device: str) -> OutOfMemoryError:
    """The device's lack of memory for a result, or for what it takes on the way, in terms of the operator."""
    return OutOfMemoryError(
        f"{call.op.name}: no memory on {device} for {call.type.nbytes} bytes",
        hint="free tensors, use smaller sizes or a narrower dtype; tracec.cuda.memory_stats() tells what is in use",
        where=f"{call.op.name}({', '.join(map(str, call.types))}) -> {call.type}    at {caller()}",
    )


def finish(call: Call, inputs: tuple[Any, ...], arrays: list[Any], out: Any) -> Tensor:
    """A tensor for a computed result, written down for gradients and for the recorder."""
    result = new_tensor(out)
    operation = None
    if STATE.grad:
        if call.floating:
            result._history = operation = _remember(call, inputs)
    elif STATE.inference:
        result._is_inference = True
    tell(call, inputs, result, operation)
    if operation is not None:
        operation.save(inputs, arrays, result)
    return result


def tell(call: Call, inputs: tuple[Any, ...], result: Tensor, operation: Operation | None) -> None:
    """Tell whoever is at work of an operation that ran: a recorder, and the levels of forward mode."""
    recorder = STATE.recorder
    if recorder is not None:
        recorder.record(call, inputs, result, operation)
    if STATE.duals:
        STATE.duals[-1].push(call, inputs, result)


def cast(x: Any, dtype: DType) -> Tensor:
    """The tensor in another element type."""
    return apply(OPERATORS["cast"], (x,), {"dtype": dtype})


def _remember(call: Call, inputs: tuple[Any, ...]) -> Operation | None:
    """The operation, where an operand's gradient is wanted."""
    wanted = False
    edges: list[Any] = []
    for x in inputs:
        edge = None
        if isinstance(x, Cell) and (x._history is not None or x._requires_grad or x._parent is not None):
            edge = edge_of(x)
            wanted = wanted or edge is not None
        edges.append(edge)
    if not wanted:
        return None
    pullback = call.pullback(tuple([e is not None for e in edges]))
    return Operation(call, tuple(edges), pullback, current_source())


def _view(call: Call, x: Tensor, out: Any) -> Tensor:
    """A result that looks at its operand's memory, unless NumPy had to copy."""
    if x._is_constant or (out.size and not share_memory(out, x._array)):
        if ACTIVE and (late := put_copy(call, x._array)) is not None:
            out = late
        # CuPy does not tell arrays whose elements lie on one another by a flag.
        if not _is_writable(out) or (type(out) is not np.ndarray and 0 in out.strides):
            try:
                out = out.copy()
            except (MemoryError, ValueError) as error:
                if isinstance(error, MemoryError) and call.type.device != "cpu":
                    raise _no_memory(call, call.type.device) from error
                _check_memory(call)
                raise
        return finish(call, (x,), [x._array], out)
    recorder = STATE.recorder
    if recorder is not None:
        recorder.node_of(x)
    apart = out.size == x._array.size or call.op.name == "windows"
    if not _is_writable(out) and x._array.flags.writeable and apart:
        # NumPy's broadcast arrays are read-only even where nothing is repeated, and so are windows.
        out = np.lib.stride_tricks.as_strided(x._array, out.shape, out.strides)
    if ACTIVE:
        look(call, x._array, out)
    view: Tensor = alias(x)
    view._array, view._steps, view._is_dual = out, (*x._steps, call), x._is_dual
    if x._is_inference:
        view._is_inference = True
    elif STATE.grad:
        view._parent = x
    if recorder is not None:
        recorder.follow(view)
        recorder.node_of(view)
    return view


def _is_writable(array: Any) -> bool:
    """Whether NumPy lets the elements be written; CuPy always does."""
    return not isinstance(array, np.ndarray) or bool(array.flags.writeable)


def _own(xp: Any, out: Any, arrays: list[Any]) -> Any:
    """The result in memory of its own: eager rules may give an operand back, or a look at one."""
    if out.base is None:
        for a in arrays:
            if a is out:
                return out.copy()
        return out
    if not _is_writable(out) or any(share_memory(out, a) for a in arrays):
        return out.copy()
    return out


def _operand(op: Operator, x: Any) -> Any:
    """What is not a tensor or a Python scalar, made one."""
    if isinstance(x, Cell) or type(x) in _PLAIN:
        return x
    x = unwrapped(x)
    if isinstance(x, (Extent, Ratio)):
        return x
    if isinstance(x, Number):
        return watched_here(x)
    if isinstance(x, np.generic):
        return x.item()
    if isinstance(x, np.ndarray) or hasattr(x, "__cuda_array_interface__"):
        return of_array(x)
    for kind in _PLAIN:
        if isinstance(x, kind):
            return kind(x)  # type: ignore[arg-type]
    raise ArgumentTypeError(
        f"{op.name}: takes tensors and numbers, {type(x).__name__} given",
        hint="make a tensor with tracec.tensor(...)",
        where=f"at {current_source()}",
    )
