"""Tensors to numbers, arrays, other element types and devices."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec import ops
from tracec.errors import ArgumentTypeError, GradientError, RecordError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.source import caller
from tracec.record.backend import CPU, Device, to_device
from tracec.record.cell import Cell, new_tensor
from tracec.record.check import settle
from tracec.record.state import STATE
from tracec.record.tape import Moved, edge_of, pass_through

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


def _at() -> str | None:
    line = caller()
    return f"at {line}" if line else None


def value_of(x: Cell, how: str) -> Any:
    """The elements as a NumPy array, noted where a recorder is at work."""
    array = _copy(x, CPU)
    if STATE.recorder is not None:
        STATE.recorder.decide(x, array, how)
    return array


def _one(x: Cell, how: str) -> Any:
    if x._array.size != 1:
        raise ShapeError(
            f"{how}: a Tensor with {x._array.size} elements cannot be converted to Scalar",
            hint="index one element, or use tolist()",
            where=_at(),
        )
    return value_of(x, how).reshape(()).item()


def _number(x: Cell, how: str) -> Any:
    found = _one(x, how)
    return found if isinstance(found, (bool, int, float)) else float(found)


class Conversion(Cell):
    """What turns tensors into other things."""

    def item(self) -> Any:
        """The only element as a Python number.

        Raises:
            ShapeError: there is not exactly one element.
        """
        return _number(self, "item")

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers; a number where there are no dimensions."""
        array = value_of(self, "tolist")
        return (array.astype(np.float64) if array.dtype.kind not in "biuf" else array).tolist()

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
                    where=_at(),
                )
            if self._device != "cpu":
                raise ArgumentTypeError(
                    f"numpy: can't convert {self._device} device type tensor to numpy.",
                    hint="use tensor.cpu() to copy it to host memory first",
                    where=_at(),
                )
        return value_of(self, "numpy")

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
                where=_at(),
            )
        if STATE.recorder is not None:
            value_of(self, "__dlpack__")
        return self._array.__dlpack__(stream=stream, **options)

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
                where=_at(),
            )
        return builtins.bool(_one(self, "bool"))

    def __float__(self) -> builtins.float:
        return builtins.float(_one(self, "float"))

    def __int__(self) -> builtins.int:
        return builtins.int(_one(self, "int"))

    def __complex__(self) -> complex:
        return complex(_one(self, "complex"))

    def __index__(self) -> builtins.int:
        if self._array.dtype.kind not in "iub":
            raise ArgumentTypeError(
                "index: only integer tensors of a single element can be converted to an index",
                hint="cast with .long()",
                where=_at(),
            )
        return builtins.int(_one(self, "index"))

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and not self._array.ndim else str(self)

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """The tensor in another element type or on another device; itself where nothing changes.

        Args:
            *args: A dtype, a device, both, or another tensor to take both from.
            **kwargs: ``dtype``, ``device``, ``copy``; ``non_blocking`` has no effect.
        """
        dtype, device, copy = _target(args, kwargs)
        result: Any = self
        if device is not None and device != self._device:
            result = move(self, device)
        if dtype is not None and result._array.dtype != dtype.numpy:
            result = ops.cast(result, dtype=dtype)
        unchanged = result is self
        return result.clone() if copy and unchanged else result  # type: ignore[no-any-return]

    def type(self, dtype: DType | None = None) -> Any:
        """The tensor in another element type; without one, the name of its own."""
        return self.to(dtype) if dtype is not None else f"tracec.{dt.of_numpy(self._array.dtype).name}"

    def type_as(self, other: Tensor) -> Tensor:
        """The tensor in the element type of another."""
        return self.to(other.dtype)

    def cpu(self) -> Tensor:
        """The tensor on the CPU."""
        return self.to("cpu")

    def cuda(self, device: builtins.int | str | None = None, non_blocking: builtins.bool = False) -> Tensor:
        """The tensor on a CUDA device."""
        return self.to(f"cuda:{device}" if isinstance(device, builtins.int) else device or "cuda")

    def float(self) -> Tensor:
        """The tensor as float32."""
        return self.to(dt.float32)

    def double(self) -> Tensor:
        """The tensor as float64."""
        return self.to(dt.float64)

    def half(self) -> Tensor:
        """The tensor as float16."""
        return self.to(dt.float16)

    def bfloat16(self) -> Tensor:
        """The tensor as bfloat16."""
        return self.to(dt.bfloat16)

    def long(self) -> Tensor:
        """The tensor as int64."""
        return self.to(dt.int64)

    def int(self) -> Tensor:
        """The tensor as int32."""
        return self.to(dt.int32)

    def short(self) -> Tensor:
        """The tensor as int16."""
        return self.to(dt.int16)

    def char(self) -> Tensor:
        """The tensor as int8."""
        return self.to(dt.int8)

    def byte(self) -> Tensor:
        """The tensor as uint8."""
        return self.to(dt.uint8)

    def bool(self) -> Tensor:
        """The tensor as bool: whether elements are not zero."""
        return self.to(dt.bool_)


def _target(args: Any, kwargs: dict[str, Any]) -> tuple[DType | None, Device | None, bool]:
    dtype, device, copy = kwargs.pop("dtype", None), kwargs.pop("device", None), kwargs.pop("copy", False)
    kwargs.pop("non_blocking", None)
    kwargs.pop("memory_format", None)
    other = kwargs.pop("other", None)
    if kwargs:
        raise ArgumentTypeError(f"to: no argument named {', '.join(kwargs)}", hint="dtype, device, copy", where=_at())
    for a in (*args, other):
        if isinstance(a, Cell):
            dtype, device = dt.of_numpy(a._array.dtype), a._device
        elif isinstance(a, DType):
            dtype = a
        elif isinstance(a, str):
            device = a
        elif a is not None and not isinstance(a, bool):
            raise ArgumentTypeError(
                f"to: {type(a).__name__} is neither a dtype nor a device",
                hint="e.g. tracec.float32, 'cpu'",
                where=_at(),
            )
    return dtype, None if device is None else Device(device), copy


def _copy(x: Cell, device: Device) -> Any:
    array = to_device(x._array, device)
    if device == CPU and x._device != CPU:
        settle(wait=True)  # the copy has waited for all that was queued
    return array


def move(x: Any, device: Device) -> Any:
    """A copy on another device; gradients are moved back."""
    made = new_tensor(_copy(x, device))
    made._device = device
    if STATE.recorder is not None:
        raise RecordError(
            f"to: a copy from {x._device} to {device} cannot be part of a compiled function",
            hint="move tensors before the call",
            where=_at(),
        )
    edge = edge_of(x) if STATE.grad else None
    if edge is not None:
        made._history = pass_through(made, edge, Moved(str(x._device)))
    return made
