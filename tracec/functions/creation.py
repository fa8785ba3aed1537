"""New tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError
from tracec.functions.common import (
    Scalar,
    check_dtype,
    check_number,
    check_tensor,
    fail,
    integers,
    iota,
    sizes_of,
)
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record import promote
from tracec.record.backend import Device, array_over, to_device
from tracec.record.create import of_array, of_numbers
from tracec.record.tensor import Tensor

Place = str | Device | None


def tensor(data: Any, *, dtype: DType | None = None, device: Place = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of the data.

    Args:
        data: A number, nested lists of numbers, a tensor, or an array of NumPy or of a library on the GPU.
        dtype: Element type; by default that of the data, float32 for Python floats and int64 for integers.
        device: Where it lives; by default where the data live.
        requires_grad: Whether gradients are computed for it.

    Raises:
        DTypeError: the data are not numbers.
        ArgumentError: they are lists of different lengths.
    """
    if isinstance(data, Tensor):
        made = data.detach().clone().to(dtype=dtype or data.dtype, device=device or data.device)
    elif isinstance(data, (bool, int, float)):
        made = ops.constant(value=data, dtype=dtype or _dtype_of_number(data), device=str(Device(device or "cpu")))
    elif hasattr(data, "__cuda_array_interface__"):
        made = from_dlpack(data).clone().to(dtype=dtype, device=device)
    else:
        array = _array(data, dtype, copy=True)
        make = of_array if _holds_numpy(data) else of_numbers
        made = make(to_device(array, Device(device)) if device is not None else array)
    return made.requires_grad_() if requires_grad else made


def as_tensor(data: Any, dtype: DType | None = None, device: Place = None) -> Tensor:
    """A tensor of the data, sharing their memory where it can."""
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    if isinstance(data, np.ndarray):
        return from_numpy(data).to(dtype=dtype, device=device)
    if hasattr(data, "__cuda_array_interface__"):
        return from_dlpack(data).to(dtype=dtype, device=device)
    return tensor(data, dtype=dtype, device=device)


def asarray(obj: Any, *, dtype: DType | None = None, device: Place = None, copy: bool | None = None) -> Tensor:
    """A tensor of the data, sharing their memory where it can and unless ``copy`` is set."""
    return tensor(obj, dtype=dtype, device=device) if copy else as_tensor(obj, dtype, device)


def from_numpy(ndarray: Any) -> Tensor:
    """A tensor over the memory of a NumPy array: writes to one are seen in the other.

    Raises:
        ArgumentTypeError: it is not an array.
        DTypeError: tracec has no such element type.
    """
    if not isinstance(ndarray, np.ndarray):
        fail(ArgumentTypeError, f"from_numpy: takes an array, {type(ndarray).__name__} given", "use tracec.tensor")
    try:
        dt.of_numpy(ndarray.dtype)
    except DTypeError as error:
        fail(DTypeError, f"from_numpy: {error.message}", error.hint or "")
    if not ndarray.dtype.isnative or not ndarray.flags.writeable:
        ndarray = ndarray.astype(ndarray.dtype.newbyteorder("="))
    return of_array(ndarray)


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor over the memory of another library's array: writes to one are seen in the other.

    Memory that its library may not have written to, such as jax's on the CPU, is copied.

    Args:
        ext_tensor: An array that offers DLPack (NumPy, CuPy, torch, jax) or CUDA's array interface (numba).

    Raises:
        ArgumentTypeError: it offers neither.
        DTypeError: tracec has no such element type.
        DeviceError: its device is not there, or none that tracec knows.
    """
    if isinstance(ext_tensor, Tensor):
        return ext_tensor.detach()
    if not hasattr(ext_tensor, "__dlpack__") and not hasattr(ext_tensor, "__cuda_array_interface__"):
        fail(ArgumentTypeError, f"from_dlpack: {type(ext_tensor).__name__} offers no DLPack", "use tracec.tensor")
    array = array_over(ext_tensor)
    try:
        dt.of_numpy(array.dtype)
    except DTypeError as error:
        fail(DTypeError, f"from_dlpack: {error.message}", error.hint or "")
    return of_array(array.copy() if isinstance(array, np.ndarray) and not array.flags.writeable else array)


def _dtype_of_number(value: Scalar) -> DType:
    return promote.DEFAULT_FLOAT if isinstance(value, float) else dt.of_scalar(value)


def _array(data: Any, dtype: DType | None, copy: bool) -> Any:
    try:
        array = np.array(_plain(data), copy=copy or None)
    except (ValueError, TypeError):
        fail(
            ArgumentError,
            f"tensor: cannot make a tensor of a {type(data).__name__} of uneven lists",
            "give numbers, or lists of numbers that all have one length",
        )
    if array.dtype.kind not in "biufV" or array.dtype == object:
        fail(
            DTypeError,
            f"tensor: cannot make a tensor of {type(data).__name__}{_contents(array)}",
            "give numbers, or lists of numbers that all have one length",
        )
    if dtype is None and not isinstance(data, (np.ndarray, np.generic)):
        # Python's floats are doubles; tensors of them are float32. Lists of NumPy's numbers keep their type.
        if (array.dtype == np.float64 and not _holds_numpy(data)) or not array.size:
            dtype = promote.DEFAULT_FLOAT
    check_dtype("tensor", dtype)
    found = dt.of_numpy(array.dtype) if dtype is None else dtype
    return array.astype(found.numpy, copy=False)


def _contents(array: Any) -> str:
    """What an array holds, for an error; empty for a single thing."""
    return f" with {type(array.flat[0]).__name__.strip('_')} in it" if array.ndim and array.size else ""


def _plain(data: Any) -> Any:
    """Nested lists with the tensors in them as arrays."""
    if isinstance(data, (list, tuple)):
        return [_plain(d) for d in data]
    return data.detach().cpu().numpy() if isinstance(data, Tensor) else data


def _holds_numpy(data: Any) -> bool:
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, (np.ndarray, np.generic))


def full(
    size: Sequence[int],
    fill_value: Scalar,
    *,
    dtype: DType | None = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """One value everywhere."""
    shape = sizes_of("full", (size,))
    check_number("full", fill_value, "fill_value")
    return _made(fill_value, shape, dtype or _dtype_of_number(fill_value), device, requires_grad)


def _made(value: Scalar, shape: tuple[int, ...], dtype: DType | None, device: Place, requires_grad: bool) -> Tensor:
    made: Tensor = ops.full(value, shape, dtype or promote.DEFAULT_FLOAT, str(Device(device or "cpu")))
    return made.requires_grad_() if requires_grad else made


def zeros(*size: Any, dtype: DType | None = None, device: Place = None, requires_grad: bool = False) -> Tensor:
    """Zeros."""
    return _made(0, sizes_of("zeros", size), dtype, device, requires_grad)


def ones(*size: Any, dtype: DType | None = None, device: Place = None, requires_grad: bool = False) -> Tensor:
    """Ones."""
    return _made(1, sizes_of("ones", size), dtype, device, requires_grad)


def empty(*size: Any, dtype: DType | None = None, device: Place = None, requires_grad: bool = False) -> Tensor:
    """Elements that are to be written before they are read; they are zeros."""
    return _made(0, sizes_of("empty", size), dtype, device, requires_grad)


def full_like(
    input: Tensor,
    fill_value: Scalar,
    *,
    dtype: DType | None = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """One value in the shape, dtype and device of a tensor."""
    check_tensor("full_like", input)
    check_number("full_like", fill_value, "fill_value")
    return _made(fill_value, tuple(input.shape), dtype or input.dtype, device or input.device, requires_grad)


def zeros_like(
    input: Tensor, *, dtype: DType | None = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """Zeros in the shape, dtype and device of a tensor."""
    check_tensor("zeros_like", input)
    return _made(0, tuple(input.shape), dtype or input.dtype, device or input.device, requires_grad)


def ones_like(
    input: Tensor, *, dtype: DType | None = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """Ones in the shape, dtype and device of a tensor."""
    check_tensor("ones_like", input)
    return _made(1, tuple(input.shape), dtype or input.dtype, device or input.device, requires_grad)


empty_like = zeros_like


def arange(
    start: Scalar,
    end: Scalar | None = None,
    step: Scalar = 1,
    *,
    dtype: DType | None = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """``start, start + step, …`` up to ``end``, which is left out; with one argument, from 0 up to it.

    Raises:
        ArgumentError: the step is 0, or leads away from the end.
    """
    check_dtype("arange", dtype)
    first, last = (0, start) if end is None else (start, end)
    for what, value in (("start", first), ("end", last), ("step", step)):
        check_number("arange", value, what)
    if step == 0 or (last - first) * step < 0:
        fail(ArgumentError, f"arange: step {step} does not lead from {first} to {last}", "change its sign")
    count = max(math.ceil((last - first) / step), 0)
    whole = not any(isinstance(v, float) for v in (first, last, step))
    chosen = dtype or (dt.int64 if whole else promote.DEFAULT_FLOAT)
    place = str(Device(device or "cpu"))
    if chosen.is_floating_point and not (whole and chosen.itemsize >= 4 and abs(first) + abs(last) < 2**24):
        made = ops.iota(shape=(count,), axis=0, dtype=dt.float64, device=place)
        made = ops.cast(ops.add(ops.mul(made, float(step)), float(first)), dtype=chosen)
    else:
        made = ops.iota(shape=(count,), axis=0, dtype=chosen, device=place)
        made = made if step == 1 else ops.mul(made, int(step))
        made = made if first == 0 else ops.add(made, int(first))
    return made.requires_grad_() if requires_grad else made


def linspace(
    start: float,
    end: float,
    steps: int,
    *,
    dtype: DType | None = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """So many numbers at equal distances from ``start`` to ``end``, both included."""
    check_number("linspace", start, "start")
    check_number("linspace", end, "end")
    (steps,) = integers("linspace", (steps,), "steps")
    if steps < 0:
        fail(ArgumentError, f"linspace: steps={steps} is negative", "give 0 or more")
    place, chosen = str(Device(device or "cpu")), dtype or promote.DEFAULT_FLOAT
    i = ops.iota(shape=(steps,), axis=0, dtype=dt.float64, device=place)
    step = (end - start) / max(steps - 1, 1)
    # The second half is counted back from the end, so that both ends are exact.
    up, down = ops.add(ops.mul(i, step), start), ops.add(ops.mul(ops.sub(i, steps - 1), step), end)
    made = ops.cast(ops.where(ops.lt(i, steps // 2 or 1), up, down), dtype=chosen)
    return made.requires_grad_() if requires_grad else made


def logspace(
    start: float, end: float, steps: int, base: float = 10.0, *, dtype: DType | None = None, device: Place = None
) -> Tensor:
    """``base`` to the powers that `linspace` gives."""
    powers = ops.pow(base, linspace(start, end, steps, dtype=dt.float64, device=device))
    return ops.cast(powers, dtype=dtype or promote.DEFAULT_FLOAT)


def eye(
    n: int, m: int | None = None, *, dtype: DType | None = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """A matrix with ones on its diagonal."""
    shape = sizes_of("eye", (n, n if m is None else m))
    like = ops.full(0, (), dtype or promote.DEFAULT_FLOAT, str(Device(device or "cpu")))
    on = ops.eq(iota((shape[0], 1), 0, dt.int64, like), iota((1, shape[1]), 1, dt.int64, like))
    made = ops.cast(on, dtype=like.dtype)
    return made.requires_grad_() if requires_grad else made


def tril_indices(row: int, col: int, offset: int = 0, *, device: Place = None) -> Tensor:
    """Positions on and below a diagonal: a row of row numbers and one of columns."""
    return tensor(np.stack(np.tril_indices(row, offset, col)), device=device)


def triu_indices(row: int, col: int, offset: int = 0, *, device: Place = None) -> Tensor:
    """Positions on and above a diagonal: a row of row numbers and one of columns."""
    return tensor(np.stack(np.triu_indices(row, offset, col)), device=device)


def is_tensor(obj: Any) -> bool:
    """Whether something is a tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether the elements are floats."""
    return input.dtype.is_floating_point


def numel(input: Tensor) -> int:
    """Number of elements."""
    return input.numel()
