"""Eager dispatch: an operator called on tensors computes at once, and is written down for gradients and recorders.

Everything that depends on operand types alone (promotion, result type, eager rule, pullback) is a `Call`, kept by those
types, so that a call costs one dictionary look-up and the NumPy function. These functions are the hot path of eager
code: see ``python -m benchmarks.overhead``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec.errors import ArgumentTypeError, DeviceError, OutOfMemoryError
from tracec.ir.dtype import DType
from tracec.ir.extent import Extent, Ratio
from tracec.ir.node import current_place, current_source
from tracec.ir.number import Number
from tracec.ir.operator import OPERATORS, Operator
from tracec.ir.source import caller
from tracec.ops.arrays import SILENT
from tracec.ops.core import constant
from tracec.record.backend import META, current_stream, elsewhere, module, share_memory, to_device
from tracec.record.call import CALLS, PLAIN, Call, find_call, key_of
from tracec.record.cell import Cell, alias, new_tensor
from tracec.record.create import of_array
from tracec.record.deferred import ACTIVE, look, put, put_copy, ran, settled
from tracec.record.layouts import through
from tracec.record.meta import MetaArray
from tracec.record.numbers import constant_of, watched_here
from tracec.record.opaque import unwrapped
from tracec.record.state import STATE
from tracec.record.tape import Operation, edge_of

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


def apply(op: Operator, inputs: tuple[Any, ...], params: Mapping[str, Any], known: bool = False) -> Tensor:
    """Compute an operator of tensors and Python scalars.

    Args:
        op: The operator.
        inputs: Its operands.
        params: Its parameters.
        known: Whether operands that are no tensors are what `_operand` gives.

    Raises:
        TracecError: the operands do not fit the operator; with the user's line.
    """
    key: list[Any] = [op]
    arrays: list[Any] = []
    for x in inputs:
        if isinstance(x, Cell):
            array = x._array
            arrays.append(array)
            key += array.dtype, array.shape, x._device
        elif known or type(x) in PLAIN:
            arrays.append(x)
            key.append(type(x))
        else:
            return apply(op, tuple([_operand(op, x) for x in inputs]), params, known=True)
    if op is constant and isinstance(params["value"], Number):
        value = watched_here(params["value"])
        if isinstance(value, Number):
            return constant_of(value, params.get("dtype"), params.get("device", "cpu"))
    recorder = STATE.recorder
    call = None
    if recorder is None or recorder.sizes is None:
        if params:
            key += key_of(params)
        try:
            call = CALLS.get(tuple(key))
        except TypeError:  # parameters that have to be made ready to be looked up
            pass
    if call is None:
        call = find_call(op, inputs, params)
    if call.casts is not None:
        inputs = tuple([x if d is None else cast(x, d) for x, d in zip(inputs, call.casts, strict=True)])
        arrays = [x._array if isinstance(x, Cell) else x for x in inputs]
    for i in call.numbers:
        arrays[i] = call.scalar(i, arrays[i])
    return run(call, inputs, arrays)


def run(call: Call, inputs: tuple[Any, ...], arrays: list[Any]) -> Tensor:
    """Compute a call.

    Args:
        call: What to compute.
        inputs: The operands, of the types that it is for.
        arrays: Their arrays; of Python's numbers NumPy's arrays.
    """
    if call.device is not None:
        return _on_gpu(call, inputs, arrays) if call.device is not META else _on_meta(call, inputs, arrays)
    if ACTIVE and (late := put(call, arrays, call.numbers)) is not None:
        return finish(call, inputs, arrays, late)
    rule = call.rule or call.ready()
    try:
        out = rule(*arrays) if call.is_view else SILENT.copy().run(rule, *arrays)
    except (MemoryError, ValueError):
        _check_memory(call)
        raise
    if type(out) is not np.ndarray:
        out = np.asarray(out)
    return _result(call, inputs, arrays, out)


def _on_gpu(call: Call, inputs: tuple[Any, ...], arrays: list[Any]) -> Tensor:
    """The same on a GPU; Python's numbers are NumPy's arrays still."""
    device = call.type.device
    there = elsewhere(device)
    if there is not None:
        with there:
            return _on_gpu(call, inputs, arrays)
    try:
        for i in call.moved:
            arrays[i] = to_device(settled(arrays[i]), device)
        late = put(call, arrays, call.numbers) if ACTIVE else None
        if call.numbers:
            stream = current_stream(device)
            for i in call.numbers:
                arrays[i] = call.placed(i, arrays[i], stream)
        if late is not None:
            return finish(call, inputs, arrays, late)
        out = SILENT.copy().run(call.rule or call.ready(), *arrays)
        xp = module(device)
        if type(out) is not xp.ndarray:
            out = xp.asarray(out)
        return _result(call, inputs, arrays, out)
    except MemoryError as error:  # CuPy's is one
        if isinstance(error, OutOfMemoryError):
            raise
        raise _no_memory(call, device) from error
    except ImportError as error:  # of a library that CuPy loads when it is needed: cuBLAS, cuFFT, cuSOLVER
        raise _no_library(call, device, error) from error


def _on_meta(call: Call, inputs: tuple[Any, ...], arrays: list[Any]) -> Tensor:
    """The same where there are no elements: the result is what the type rule says."""
    if call.is_view:
        return _view(call, inputs[0], through(call, arrays[0]))
    result = finish(call, inputs, arrays, MetaArray.of(call.type))
    if call.op is constant:
        result._is_constant = True
    return result


def _result(call: Call, inputs: tuple[Any, ...], arrays: list[Any], out: Any) -> Tensor:
    """A tensor for what an eager rule gave."""
    if call.is_view:
        return _view(call, inputs[0], out)
    # The rule may give an operand back, or a view of one.
    if out.base is not None:
        if not _is_writable(out) or any(share_memory(out, a) for a in arrays):
            out = out.copy()
    else:
        for a in arrays:
            if a is out:
                out = out.copy()
                break
    if ACTIVE:
        ran(call, arrays, out)
    result = finish(call, inputs, arrays, out)
    if call.op is constant:
        result._is_constant = True
    return result


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


def _no_library(call: Call, device: str, error: Exception) -> DeviceError:
    """A library that CuPy finds nowhere, in terms of the operator."""
    reason = str(error).split("\n")[0]
    return DeviceError(
        f"{call.op.name}: CuPy cannot load what computes it on {device} ({reason})",
        hint="pip install 'tracec[cuda]', or 'tracec[cuda12]' where CuPy is cupy-cuda12x, brings NVIDIA's libraries",
        where=f"{call.op.name}({', '.join(map(str, call.types))}) -> {call.type}    at {caller()}",
    )


def finish(call: Call, inputs: tuple[Any, ...], arrays: list[Any], out: Any) -> Tensor:
    """A tensor for a computed result, written down for gradients and for the recorder."""
    result = new_tensor(out, call.device)
    operation = None
    if STATE.grad:
        if call.floating:
            result._history = operation = _remember(call, inputs)
    elif STATE.inference:
        result._is_inference = True
    if STATE.recorder is not None or STATE.duals:
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
    for x in inputs:
        if isinstance(x, Cell) and (x._history is not None or x._requires_grad or x._parent is not None):
            break
    else:
        return None
    edges: list[Any] = []
    mask: list[bool] = []
    for x in inputs:
        edge: Any = None
        if isinstance(x, Cell):
            # As `edge_of`.
            if x._parent is not None:
                edge = edge_of(x)
            elif (edge := x._history) is None and x._requires_grad:
                edge = x
        edges.append(edge)
        mask.append(edge is not None)
    if True not in mask:
        return None
    return Operation(call, tuple(edges), call.pullback(tuple(mask)), current_place())


def _view(call: Call, x: Tensor, out: Any) -> Tensor:
    """A result that looks at its operand's memory, unless NumPy had to copy."""
    array = x._array
    base = out.base
    looks = base is not None and (base is array or base is array.base) and out.size
    if x._is_constant or not (looks or not out.size or share_memory(out, array)):
        if ACTIVE and (late := put_copy(call, array)) is not None:
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
        return finish(call, (x,), [array], out)
    recorder = STATE.recorder
    if recorder is not None:
        recorder.node_of(x)
    out = looked_at(call, array, out)
    if ACTIVE:
        look(call, array, out)
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


def looked_at(call: Call, array: Any, out: Any) -> Any:
    """A view of an array, writable where that is and no element is there twice.

    Args:
        call: The view.
        array: What is looked at.
        out: What the view's rule gives.
    """
    if not _is_writable(out) and array.flags.writeable and (out.size == array.size or call.op.name == "windows"):
        # NumPy's broadcast arrays are read-only even where nothing is repeated, and so are windows.
        return np.lib.stride_tricks.as_strided(array, out.shape, out.strides)
    return out


def _is_writable(array: Any) -> bool:
    """Whether NumPy lets the elements be written; CuPy always does."""
    return not isinstance(array, np.ndarray) or bool(array.flags.writeable)


def _operand(op: Operator, x: Any) -> Any:
    """What is not a tensor or a Python scalar, made one."""
    if isinstance(x, Cell) or type(x) in PLAIN:
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
    for kind in PLAIN:
        if isinstance(x, kind):
            return kind(x)  # type: ignore[arg-type]
    raise ArgumentTypeError(
        f"{op.name}: takes tensors and numbers, {type(x).__name__} given",
        hint="make a tensor with tracec.tensor(...)",
        where=f"at {current_source()}",
    )
