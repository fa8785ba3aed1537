"""New tensors of data that are there: numbers, lists, arrays, other libraries' memory."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError
from tracec.functions.common import Number, check_dtype, check_number, check_tensor, fail
from tracec.functions.options import Options, Place, create, dtype_of, pin, placed
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record import promote
from tracec.record.backend import array_over, to_device
from tracec.record.create import of_array, of_numbers
from tracec.record.elements import lent_by
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


def tensor(
    data: Any,
    *,
    dtype: DType | None = None,
    device: Place = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor with a copy of the data.

    Args:
        data: A number, nested lists of numbers, a tensor, or an array of NumPy or of a library on the GPU.
        dtype: Element type; by default that of the data, float32 for Python floats and int64 for integers.
        device: Where it lives; by default where the data live.
        requires_grad: Whether gradients are computed for it.
        pin_memory: Whether the elements lie in pinned memory of the host.

    Raises:
        DTypeError: the data are not numbers.
        ArgumentError: they are lists of different lengths.
    """
    dtype = dtype_of("tensor", dtype)
    data = data if (lent := lent_by(data)) is None else lent
    if isinstance(data, Tensor):
        made = data.detach().clone().to(dtype=dtype or data.dtype, device=device)
    elif isinstance(data, (bool, int, float, complex)):
        # NumPy's doubles are Python floats, too, and keep their type, as in PyTorch.
        chosen = dtype or (dt.of_numpy(data.dtype) if isinstance(data, np.generic) else dtype_of_number(data))
        made = ops.constant(value=wrapped(data, chosen), dtype=chosen, device=str(placed(device)))
        made.__dict__.pop("_is_constant", None)  # it may be looked at
    elif hasattr(data, "__cuda_array_interface__"):
        made = from_dlpack(data).clone().to(dtype=dtype, device=device)
    else:
        array, place = _array(data, dtype), placed(device)
        array = to_device(array, place) if place != "cpu" else array
        made = of_array(array, copied=True) if _holds_numpy(data) else of_numbers(array)
    if pin_memory:
        made = pin(made)
    return made.requires_grad_() if requires_grad else made


def as_tensor(data: Any, dtype: DType | None = None, device: Place = None) -> Tensor:
    """A tensor of the data, sharing their memory where it can."""
    dtype = dtype_of("as_tensor", dtype)
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    if isinstance(data, np.ndarray):
        return from_numpy(data).to(dtype=dtype, device=placed(device))
    if hasattr(data, "__cuda_array_interface__"):
        return from_dlpack(data).to(dtype=dtype, device=device)
    return tensor(data, dtype=dtype, device=device)


def asarray(
    obj: Any,
    *,
    dtype: DType | None = None,
    device: Place = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of the data: numbers, a tensor, another library's array, or a buffer.

    Args:
        obj: The data. Of a buffer, such as ``bytes``, the elements are of ``dtype``.
        dtype: Element type; by default that of the data.
        device: Where it lives; by default where the data live.
        copy: True copies always; None shares memory where it can; False raises where it cannot.
        requires_grad: Whether gradients are computed for the result, a leaf; otherwise it follows ``obj``.

    Raises:
        ArgumentError: a copy is forbidden and needed.
    """
    if isinstance(obj, (bytes, bytearray, memoryview)):
        obj = frombuffer(obj, dtype=dtype or promote.DEFAULT_FLOAT)
    made = as_tensor(obj, dtype, device)
    shares = made is obj or (isinstance(obj, np.ndarray) and np.may_share_memory(made.numpy(), obj))
    if copy and shares:
        made = made.clone()
    if copy is False and not shares:
        fail(ArgumentError, f"asarray: a {type(obj).__name__} cannot be shared as it is", "leave copy=False away")
    return made.detach().requires_grad_() if requires_grad else made


def frombuffer(buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A tensor over the memory of a Python buffer, one-dimensional; memory that is read-only is copied.

    Args:
        buffer: ``bytes``, ``bytearray``, ``array.array`` or the like.
        dtype: Element type.
        count: Number of elements; -1 for all of them.
        offset: Bytes to leave out before the first.
        requires_grad: Whether gradients are computed for it.

    Raises:
        ArgumentError: it is no buffer, it is empty, or does not hold what is asked for.
    """
    chosen = dtype_of("frombuffer", dtype)
    if chosen is None:
        fail(ArgumentTypeError, "frombuffer: dtype must be given", "e.g. dtype=tracec.uint8")
    try:
        size = memoryview(buffer).nbytes
    except TypeError:
        fail(ArgumentError, f"frombuffer: {type(buffer).__name__} is no buffer", "give bytes or a bytearray")
    left = size - offset
    if not size or not count or not 0 <= offset < size:
        fail(ArgumentError, f"frombuffer: {size} bytes, offset={offset}, count={count} hold no element", "give some")
    if (count < 0 and left % chosen.itemsize) or count * chosen.itemsize > left:
        many = "all" if count < 0 else count
        fail(
            ArgumentError,
            f"frombuffer: {left} bytes after offset={offset} are not {many} elements of {chosen.itemsize} bytes",
            "change count or offset",
        )
    array = np.frombuffer(buffer, chosen.numpy, count, offset)
    made = of_array(array if array.flags.writeable else array.copy())
    return made.requires_grad_() if requires_grad else made


def scalar_tensor(s: Number, **options: Unpack[Options]) -> Tensor:
    """A number as a tensor without axes, of the floating type of new tensors unless told otherwise."""
    check_number("scalar_tensor", s, "s")
    return create("scalar_tensor", options, lambda dtype, device: ops.full(s, (), dtype, str(device)), takes=Options)


@tensor_method
def new_tensor(
    input: Tensor, data: Any, *, dtype: DType | None = None, device: Place = None, requires_grad: bool = False
) -> Tensor:
    """`tensor` in the dtype and on the device of another where not told otherwise."""
    check_tensor("new_tensor", input)
    made = tensor(data, dtype=dtype or input.dtype, device=device or input.device)
    return made.requires_grad_() if requires_grad else made


def from_numpy(ndarray: Any) -> Tensor:
    """A tensor over the memory of a NumPy array: writes to one are seen in the other.

    Args:
        ndarray: The array.

    Returns:
        A tensor on the CPU, of the array's shape and dtype.

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


def dtype_of_number(value: Number) -> DType:
    """The element type of new tensors of a Python number."""
    if isinstance(value, complex):
        return promote.DEFAULT_FLOAT.to_complex()
    return promote.DEFAULT_FLOAT if isinstance(value, float) else dt.of_scalar(value)


def _array(data: Any, dtype: DType | None) -> Any:
    try:
        array = np.array(_plain(data), order="C")  # row by row, as clone gives them
    except (ValueError, TypeError):
        fail(
            ArgumentError,
            f"tensor: cannot make a tensor of a {type(data).__name__} of uneven lists",
            "give numbers, or lists of numbers that all have one length",
        )
    if array.dtype.kind not in "biufcV" or array.dtype == object:
        fail(
            DTypeError,
            f"tensor: cannot make a tensor of {type(data).__name__}{_contents(array)}",
            "give numbers, or lists of numbers that all have one length",
        )
    if dtype is None and not isinstance(data, (np.ndarray, np.generic)):
        # Python's floats are doubles; tensors of them are float32. Lists of NumPy's numbers keep their type.
        if (array.dtype == np.float64 and not _holds_numpy(data)) or not array.size:
            dtype = promote.DEFAULT_FLOAT
        elif array.dtype == np.complex128 and not _holds_numpy(data):
            dtype = promote.DEFAULT_FLOAT.to_complex()
    check_dtype("tensor", dtype)
    found = dt.of_numpy(array.dtype) if dtype is None else dtype
    if array.dtype.kind == "c" and not found.is_complex:
        fail(
            ArgumentTypeError,
            f"tensor: complex numbers do not fit in {found.name}",
            "name a complex dtype, or give their real parts",
        )
    if found.kind in "iu" and not _holds_numpy(data) and array.size:
        _check_range(array, found)
    return array.astype(found.numpy, copy=False)


def _check_range(array: Any, dtype: DType) -> None:
    """Refuse numbers that an integer type does not hold; negative ones wrap around in unsigned types, as in PyTorch."""
    most = int(np.iinfo(dtype.numpy).max)
    least = -most if dtype.kind == "u" else -most - 1
    if not (array.max() <= most and array.min() >= least):
        fail(
            ArgumentError,
            f"tensor: a value cannot be converted to type {dtype.name} without overflow",
            f"it holds integers up to {most}",
        )


def wrapped(value: Number, dtype: DType) -> Number:
    """A number as an element type takes it: a negative integer wraps around in an unsigned type, as in PyTorch."""
    if dtype.kind == "u" and isinstance(value, int) and -(2 ** (8 * dtype.itemsize)) < value < 0:
        return value + 2 ** (8 * dtype.itemsize)
    return value


def _contents(array: Any) -> str:
    """What an array holds, for an error; empty for a single thing."""
    if not (array.ndim and array.size):
        return ""
    other = next((x for x in array.flat if not isinstance(x, (bool, int, float, complex, np.generic))), array.flat[0])
    return f" with {type(other).__name__.strip('_')} in it"


def _plain(data: Any) -> Any:
    """Nested lists with the tensors in them as arrays."""
    if isinstance(data, (list, tuple)):
        return [_plain(d) for d in data]
    return data.detach().cpu().numpy() if isinstance(data, Tensor) else data


def _holds_numpy(data: Any) -> bool:
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return isinstance(data, (np.ndarray, np.generic))


def is_tensor(obj: Any) -> bool:
    """Whether something is a tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether the elements are floats."""
    check_tensor("is_floating_point", input)
    return input.dtype.is_floating_point


def numel(input: Tensor) -> int:
    """Number of elements."""
    check_tensor("numel", input)
    return input.numel()
