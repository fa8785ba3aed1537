"""Tensors to numbers, arrays, other element types and devices."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record import legacy
from tracec.record.backend import CPU, Device, named, to_device
from tracec.record.backward import own
from tracec.record.cell import Cell, new_tensor
from tracec.record.deferred import ACTIVE, settled
from tracec.record.dual import move_with, tangents_of
from tracec.record.elements import elements
from tracec.record.form import in_format
from tracec.record.late import to_host
from tracec.record.mode import no_grad
from tracec.record.opaque import is_for_library
from tracec.record.passages import Moved
from tracec.record.seen import seen_by_others
from tracec.record.state import STATE
from tracec.record.tape import edge_of, pass_through

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


def value_of(x: Cell, how: str) -> Any:
    """The elements as a NumPy array, noted where a recorder is at work."""
    array = _copy(x, CPU)
    if STATE.recorder is not None:
        STATE.recorder.decide(x, array, how)
    return array


def at_hand(x: Cell) -> Any:
    """The only element of a tensor, where it is there and nobody need be told that it is asked for; None elsewhere."""
    if ACTIVE or STATE.recorder is not None or x._device is not CPU:
        return None
    return x._array.item()


def _one(x: Cell, how: str) -> Any:
    if x._array.size != 1:
        raise ShapeError(
            f"{how}: a Tensor with {x._array.size} elements cannot be converted to Scalar",
            hint="index one element, or use tolist()",
        )
    return value_of(x, how).item()


def _number(x: Cell, how: str) -> Any:
    return as_number(_one(x, how))


def as_number(found: Any) -> Any:
    """What NumPy has no Python type for, as a float."""
    return found if isinstance(found, (bool, int, float, complex)) else float(found)


def _real_number(x: Cell, how: str) -> Any:
    """The only element, which must be real.

    Raises:
        ArgumentError: it has an imaginary part.
    """
    found = _one(x, how)
    if isinstance(found, complex):
        if found.imag != 0.0:
            raise ArgumentError(
                f"{how}: value cannot be converted to type {how} without overflow: {found} has an imaginary part",
                hint="use item(), or the .real of the tensor",
            )
        return found.real
    return found


def _number_of() -> Any:
    """What makes a number that may be another one at the next call; None where plain ones are given."""
    recorder = STATE.recorder
    return getattr(recorder, "number_of", None) if getattr(recorder, "gives_numbers", False) else None


#: Elements of lists that a recorded function is given as numbers that may be others at the next call.
_NUMBERS = 32


def _numbers(x: Any, number_of: Any) -> Any:
    """The elements as nested lists of such numbers."""
    if not x._array.ndim:
        return number_of(x, as_number(_copy(x, CPU).item()))
    with no_grad():
        return [_numbers(x[k], number_of) for k in range(x._array.shape[0])]


class Conversion(Cell):
    """What turns tensors into other things."""

    def item(self) -> Any:
        """The only element as a Python number.

        Raises:
            ShapeError: there is not exactly one element.
        """
        number_of = _number_of()
        if number_of is not None and self._array.size == 1 and self._array.dtype.kind not in "bc":
            return number_of(self, as_number(_copy(self, CPU).reshape(()).item()))
        return _number(self, "item")

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers; a number where there are no dimensions."""
        number_of = _number_of()
        if number_of is not None and 0 < self._array.size <= _NUMBERS and self._array.dtype.kind not in "bc":
            return _numbers(self, number_of)
        array = value_of(self, "tolist")
        return (array.astype(np.float64) if array.dtype.kind not in "biufc" else array).tolist()

    def numpy(self, *, force: builtins.bool = False) -> Any:
        """The elements as a NumPy array that shares the tensor's memory.

        Args:
            force: Detach, and copy from the device, where that is needed.

        Raises:
            GradientError: the tensor requires grad.
            ArgumentTypeError: it is not on the CPU.
        """
        if not force:
            if STATE.grad and edge_of(self) is not None:
                raise GradientError(
                    "numpy: can't call numpy() on Tensor that requires grad.",
                    hint="use tensor.detach().numpy() instead",
                )
            if self._device != "cpu":
                raise ArgumentTypeError(
                    f"numpy: can't convert {self._device} device type tensor to numpy.",
                    hint="use tensor.cpu() to copy it to host memory first",
                )
        if getattr(STATE.recorder, "gives_numbers", False) and self._device == "cpu" and not is_for_library(2):
            return elements(self)
        return seen_by_others(value_of(self, "numpy"))

    def __array__(self, dtype: Any = None, copy: builtins.bool | None = None) -> Any:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, *, stream: Any = None, **options: Any) -> Any:
        """The memory for another library to look at, as ``from_dlpack`` of NumPy, CuPy, torch or jax takes it.

        Args:
            stream: The CUDA stream that the other library goes on with.
            **options: The protocol's ``max_version``, ``dl_device`` and ``copy``.

        Raises:
            GradientError: the tensor requires grad.
            BufferError: DLPack has no such element type.
        """
        if STATE.grad and edge_of(self) is not None:
            raise GradientError(
                "__dlpack__: a tensor that requires grad cannot be given to another library",
                hint="use tensor.detach()",
            )
        if STATE.recorder is not None:
            value_of(self, "__dlpack__")
        return seen_by_others(settled(self._array)).__dlpack__(stream=stream, **options)

    def __dlpack_device__(self) -> tuple[builtins.int, builtins.int]:
        """DLPack's numbers for the device."""
        kind, index = self._array.__dlpack_device__()
        return builtins.int(kind), builtins.int(index)

    @property
    def __cuda_array_interface__(self) -> Any:
        """CUDA's array interface, for numba, CuPy and others; only tensors on a CUDA device have it."""
        if self._device == "cpu":
            raise AttributeError("__cuda_array_interface__: the tensor is on the CPU")
        if STATE.recorder is not None:
            value_of(self, "__cuda_array_interface__")
        return self._array.__cuda_array_interface__

    def __bool__(self) -> builtins.bool:
        if self._array.size != 1:
            raise ShapeError(
                f"bool: value of Tensor with {'no values' if not self._array.size else 'more than one value'} is "
                f"ambiguous, its shape is {tuple(self._array.shape)}",
                hint="use .any() or .all()",
            )
        return builtins.bool(_one(self, "bool"))

    __nonzero__ = __bool__  # Python 2's name

    def __float__(self) -> builtins.float:
        return builtins.float(_real_number(self, "float"))

    def __int__(self) -> builtins.int:
        return builtins.int(_real_number(self, "int"))

    def __complex__(self) -> complex:
        return complex(_one(self, "complex"))

    def __index__(self) -> builtins.int:
        if self._array.dtype.kind not in "iub" or self._array.size != 1:
            raise ArgumentTypeError(
                "index: only integer tensors of a single element can be converted to an index",
                hint="cast with .long()",
            )
        return builtins.int(_one(self, "index"))

    def __format__(self, spec: str) -> str:
        if not self._array.ndim:
            return format(self.item(), spec)
        if spec:
            raise ArgumentTypeError(
                f"format: unsupported format string {spec!r} for a tensor of {self._array.ndim} dimensions",
                hint="format one element, x[0].item()",
            )
        return str(self)

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """The tensor in another element type or on another device; itself where nothing changes.

        Forms: ``to(dtype)``, ``to(device, dtype)``, ``to(other)``, each with ``non_blocking`` and ``copy`` after
        it, which may be given by name.

        Args:
            *args: A dtype, a device, both, or another tensor to take both from.
            **kwargs: ``dtype``, ``device``; ``copy`` for a copy in any case; ``memory_format``;
                ``non_blocking`` changes nothing, since copies to a device are queued behind what uses them.
        """
        wanted = _target(args, kwargs)
        result: Any = self
        if wanted.device is not None and wanted.device != self._device:
            result = move(self, wanted.device)
        if wanted.dtype is not None and result._array.dtype != wanted.dtype.numpy:
            result = ops.cast(result, dtype=wanted.dtype)
        if wanted.memory_format is not None:
            result = in_format("to", result, wanted.memory_format)
        return own(result) if wanted.copy and result is self else result

    def _cast(self, dtype: DType, memory_format: Any) -> Tensor:
        result: Any = self if self._array.dtype == dtype.numpy else ops.cast(self, dtype=dtype)
        return result if memory_format is None else in_format("to", result, memory_format)

    def type(self, dtype: Any = None, non_blocking: builtins.bool = False) -> Any:
        """The tensor in another element type; without one, PyTorch's name of its own, ``torch.FloatTensor``.

        Args:
            dtype: An element type, or a type of tensors such as ``tracec.cuda.FloatTensor`` or its name.
            non_blocking: As in `to`.

        Raises:
            ArgumentTypeError: it is no type.
        """
        own_type = dt.of_numpy(self._array.dtype)
        if dtype is None:
            return legacy.name_of(own_type, self._device.type)
        if isinstance(dtype, DType) or dt.of_python(dtype) is not dtype:
            return self.to(dt.of_python(dtype))
        wanted, device = legacy.meant("type", dtype)
        return self.to(device=None if device == self._device.type else device, dtype=wanted)

    def new(self, *args: Any, **kwargs: Any) -> Tensor:
        """A tensor of sizes, or of data, in the element type and on the device of this one."""
        dtype = dt.of_numpy(self._array.dtype)
        return legacy.made("new", dtype, self._device, args, kwargs)  # type: ignore[no-any-return]

    def type_as(self, other: Tensor) -> Tensor:
        """The tensor in the element type of another, and on its device."""
        return self.to(other)

    def cpu(self, memory_format: Any = None) -> Tensor:
        """The tensor on the CPU."""
        return self.to("cpu", memory_format=memory_format)

    def cuda(
        self,
        device: builtins.int | str | None = None,
        non_blocking: builtins.bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        """The tensor on a CUDA device."""
        return self.to("cuda" if device is None else device, memory_format=memory_format)

    def float(self, memory_format: Any = None) -> Tensor:
        """The tensor as float32."""
        return self._cast(dt.float32, memory_format)

    def double(self, memory_format: Any = None) -> Tensor:
        """The tensor as float64."""
        return self._cast(dt.float64, memory_format)

    def half(self, memory_format: Any = None) -> Tensor:
        """The tensor as float16."""
        return self._cast(dt.float16, memory_format)

    def bfloat16(self, memory_format: Any = None) -> Tensor:
        """The tensor as bfloat16."""
        return self._cast(dt.bfloat16, memory_format)

    def cfloat(self, memory_format: Any = None) -> Tensor:
        """The tensor as complex64."""
        return self._cast(dt.complex64, memory_format)

    def cdouble(self, memory_format: Any = None) -> Tensor:
        """The tensor as complex128."""
        return self._cast(dt.complex128, memory_format)

    def long(self, memory_format: Any = None) -> Tensor:
        """The tensor as int64."""
        return self._cast(dt.int64, memory_format)

    def int(self, memory_format: Any = None) -> Tensor:
        """The tensor as int32."""
        return self._cast(dt.int32, memory_format)

    def short(self, memory_format: Any = None) -> Tensor:
        """The tensor as int16."""
        return self._cast(dt.int16, memory_format)

    def char(self, memory_format: Any = None) -> Tensor:
        """The tensor as int8."""
        return self._cast(dt.int8, memory_format)

    def byte(self, memory_format: Any = None) -> Tensor:
        """The tensor as uint8."""
        return self._cast(dt.uint8, memory_format)

    def bool(self, memory_format: Any = None) -> Tensor:
        """The tensor as bool: whether elements are not zero."""
        return self._cast(dt.bool_, memory_format)


class _Target(NamedTuple):
    """What `Conversion.to` is asked for."""

    dtype: DType | None
    device: Device | None
    copy: bool
    memory_format: Any


#: What follows the dtype, device or tensor by position.
_AFTER = ("non_blocking", "copy")


def _target(args: Any, kwargs: dict[str, Any]) -> _Target:
    known = ("dtype", "device", *_AFTER, "memory_format")
    unknown = [k for k in kwargs if k not in known]
    if unknown:
        raise ArgumentTypeError(f"to: no argument named {unknown[0]!r}", hint=f"it takes {', '.join(known)}")
    dtype, device = kwargs.get("dtype"), kwargs.get("device")
    flags: list[Any] = []
    for a in args:
        meant = dt.of_python(a)
        if isinstance(a, Cell):
            dtype, device = dt.of_numpy(a._array.dtype), a._device
        elif isinstance(meant, DType):
            dtype = meant
        elif isinstance(a, bool) and len(flags) < len(_AFTER):
            flags.append(a)
        elif isinstance(a, (str, int)) and not isinstance(a, bool):
            device = a
        elif a is not None:
            raise ArgumentTypeError(
                f"to: {type(a).__name__} is neither a dtype nor a device",
                hint="e.g. tracec.float32, 'cpu'",
            )
    dtype = dt.of_python(dtype)
    if dtype is not None and not isinstance(dtype, DType):
        raise ArgumentTypeError(f"to: {type(dtype).__name__} is no element type", hint="e.g. tracec.float32")
    copy = dict(zip(_AFTER, flags, strict=False)).get("copy", kwargs.get("copy", False))
    return _Target(dtype, None if device is None else Device(device), bool(copy), kwargs.get("memory_format"))


def _copy(x: Cell, device: Device) -> Any:
    array = settled(x._array)
    if x._device is device:
        return array
    return to_host(array) if device == CPU and x._device != CPU else to_device(array, device)


def move(x: Any, device: Device) -> Any:
    """A copy on another device; gradients are moved back, tangents along."""
    if STATE.recorder is not None:
        return STATE.recorder.moved(x, device, move)
    made = new_tensor(_copy(x, device), named(device))  # with its number, which "cuda" has not
    tangents = tangents_of(x)
    if tangents is not None:
        move_with(made, {level: move(t, device) for level, t in tangents.items()})
    edge = edge_of(x) if STATE.grad else None
    if edge is not None:
        made._history = pass_through(made, edge, Moved(str(x._device)))
    return made
