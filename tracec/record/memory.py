"""Where the elements of a tensor lie: strides, addresses, storages, pinned and shared memory."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec.errors import ArgumentError, ArgumentTypeError, AxisError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.number import observe
from tracec.record import backend
from tracec.record.backend import Device, address_of, module
from tracec.record.cell import Cell, Changes
from tracec.record.create import of_numbers
from tracec.record.deferred import settled
from tracec.record.form import Layout, contiguous_format, lies_in, strided
from tracec.record.meta import refuse_values
from tracec.record.opaque import for_caller, is_for_library
from tracec.record.out import resize
from tracec.record.refusal import refuse
from tracec.record.seen import seen_by_others
from tracec.record.state import STATE
from tracec.record.streams import record_stream

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


def axis_of(name: str, x: Cell, dim: Any) -> int:
    """An axis of a tensor, counted from either end.

    Raises:
        ArgumentTypeError: it is no integer.
        AxisError: the tensor has no such axis.
    """
    ndim: int = x.ndim  # type: ignore[attr-defined]
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise ArgumentTypeError(f"{name}: dim must be an integer, {type(dim).__name__} given", hint="e.g. 0 or -1")
    axis: int = dim.__index__()
    if not -ndim <= axis < ndim:
        raise AxisError(
            f"{name}: dim={axis} is no axis of a tensor of shape {tuple(x._array.shape)}",
            hint=f"axes are from {-ndim} to {ndim - 1}" if ndim else "it has no axes",
        )
    return axis


def _reveal(x: Cell) -> None:
    """Note, where the user's code asks for it, that a recorded function reads where a tensor lies in its memory."""
    if STATE.recorder is not None and not is_for_library(3) and (reveal := getattr(STATE.recorder, "reveal", None)):
        reveal(x)


class UntypedStorage:
    """Memory that tensors look at, as bytes.

    Args:
        x: A tensor that looks at it.
    """

    def __init__(self, x: Cell) -> None:
        self._memory = x._storage
        self.device: Device = x._device

    @property
    def _count(self) -> int:
        """Elements from the first to the last, gaps among them."""
        _fix_sizes()
        array = self._memory.array
        if not array.size:
            return 0
        steps = (s // array.itemsize for s in array.strides)
        return 1 + int(sum((n - 1) * step for n, step in zip(array.shape, steps, strict=True)))

    def _flat(self) -> Any:
        array = self._memory.array
        if self.device == "meta":
            refuse_values()
        as_strided = module(str(self.device)).lib.stride_tricks.as_strided
        return as_strided(settled(array), (self._count,), (array.itemsize,))

    def data_ptr(self) -> int:
        """Address of the first byte."""
        observe("the address of memory, data_ptr")
        return address_of(seen_by_others(settled(self._memory.array)))

    def element_size(self) -> int:
        """Bytes per element: 1."""
        return 1

    def nbytes(self) -> int:
        """Number of bytes."""
        return self._count * int(self._memory.array.itemsize)

    def size(self) -> int:
        """Number of elements."""
        return self.nbytes()

    def __len__(self) -> int:
        return self.size()

    def tolist(self) -> list[Any]:
        """The elements as Python numbers."""
        found: list[Any] = backend.to_device(self._flat(), "cpu").view(np.uint8).tolist()
        return found

    def __getitem__(self, index: Any) -> Any:
        return self.tolist()[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    @property
    def is_cuda(self) -> bool:
        """Whether it is on a CUDA device."""
        return self.device.type == "cuda"

    def is_shared(self) -> bool:
        """Whether it lies in memory that forked processes share."""
        return _is_shared(self._memory.array)

    def is_pinned(self) -> bool:
        """Whether it lies in pinned memory."""
        return backend.is_pinned(self._memory.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and self._memory is other._memory and type(self) is type(other)

    def __hash__(self) -> int:
        return hash(self._memory)

    def __repr__(self) -> str:
        lines = "".join(f" {v}\n" for v in self.tolist())
        return f"{lines}[tracec.{type(self).__name__}(device={self.device}) of size {self.size()}]"


class TypedStorage(UntypedStorage):
    """Memory that tensors look at, as elements of one type."""

    @property
    def dtype(self) -> DType:
        """Type of the elements."""
        return dt.of_numpy(self._memory.array.dtype)

    def element_size(self) -> int:
        """Bytes per element."""
        return self.dtype.itemsize

    def size(self) -> int:
        """Number of elements."""
        return self._count

    def tolist(self) -> list[Any]:
        """The elements as Python numbers."""
        array = backend.to_device(self._flat(), "cpu")
        found: list[Any] = (array if array.dtype.kind in "biufc" else array.astype(np.float64)).tolist()
        return found


def _fix_sizes() -> None:
    """Note that a function goes by the extent of memory, or by where in it a tensor begins."""
    recorder = STATE.recorder
    if recorder is not None and recorder.sizes is not None:
        recorder.fix_sizes()


def _is_shared(array: Any) -> bool:
    return isinstance(backend.memory_owner(array), mmap.mmap)


class Memory(Cell):
    """What tensors know of their memory."""

    def element_size(self) -> int:
        """Bytes per element."""
        return int(self._array.itemsize)

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return int(self._array.itemsize)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return for_caller(math.prod(self._shape) * self.itemsize)  # type: ignore[no-any-return]

    def stride(self, dim: int | None = None) -> Any:
        """Steps between neighbours along each axis, in elements."""
        recorder = STATE.recorder
        if recorder is None or recorder.sizes is None:
            steps = tuple(s // self._array.itemsize for s in self._array.strides)
        else:
            steps = for_caller(recorder.strides(self))
        return steps if dim is None else steps[axis_of("stride", self, dim)]

    def is_contiguous(self, memory_format: Any = contiguous_format) -> bool:
        """Whether the elements lie in row-major order, or that of a memory format, without gaps."""
        return lies_in(self, memory_format)

    def data_ptr(self) -> int:
        """Address of the first element."""
        observe("the address of memory, data_ptr")
        return address_of(seen_by_others(settled(self._array)))

    def untyped_storage(self) -> UntypedStorage:
        """The memory that this tensor looks at, as bytes."""
        _reveal(self)
        return UntypedStorage(self)

    def storage(self) -> TypedStorage:
        """The memory that this tensor looks at, as elements."""
        _reveal(self)
        return TypedStorage(self)

    def storage_offset(self) -> int:
        """Elements of the storage before the first of this tensor."""
        _reveal(self)
        _fix_sizes()
        return (address_of(self._array) - address_of(self._storage.array)) // int(self._array.itemsize)

    def is_set_to(self, tensor: Cell) -> bool:
        """Whether another tensor looks at the same memory in the same way."""
        _reveal(self)
        _reveal(tensor)
        own, other = self._array, tensor._array
        same = own.shape == other.shape and own.strides == other.strides and own.dtype == other.dtype
        return self._storage is tensor._storage and same and address_of(own) == address_of(other)

    @property
    def layout(self) -> Layout:
        """How it is stored: ``tracec.strided``."""
        return strided

    def resize_(self, *sizes: Any, memory_format: Any = contiguous_format) -> Tensor:
        """Give this tensor another shape: its elements in row-major order, as many as fit; what is new is zero.

        Views of it go on looking at the memory that it had.

        Raises:
            GradientError: gradients flow through it.
            ArgumentError: a size is negative, or a memory format other than the row-major one is asked for.
        """
        given = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
        shape = tuple(int(s) for s in given)
        if any(s < 0 for s in shape) or memory_format is not contiguous_format:
            raise ArgumentError(
                f"resize_: size {shape}, {memory_format} is not possible", hint="give sizes of 0 or more, row-major"
            )
        return resize(self, shape)  # type: ignore[no-any-return]

    def resize_as_(self, the_template: Cell) -> Tensor:
        """Give this tensor the shape of another, as `resize_` does."""
        return resize(self, the_template._array.shape)  # type: ignore[no-any-return]

    def set_(self, source: Cell | None = None) -> Tensor:
        """Look at the memory of another tensor, or at no element."""
        made: Any = of_numbers(np.zeros(0, self._array.dtype)) if source is None else source
        self.data = made
        return self  # type: ignore[return-value]

    def is_pinned(self) -> bool:
        """Whether the elements lie in pinned memory of the host."""
        return backend.is_pinned(self._array)

    def pin_memory(self) -> Tensor:
        """A copy in pinned memory of the host, from which copies to a GPU are fast; itself where it is there already.

        Raises:
            DeviceError: there is no CUDA device.
            ArgumentError: the tensor is on one.
        """
        if self._device != "cpu":
            raise ArgumentError(f"pin_memory: the tensor is on {self._device}", hint="only tensors on the CPU can be")
        return self if self.is_pinned() else of_numbers(backend.pinned(self._array))  # type: ignore[return-value]

    def record_stream(self, stream: Any) -> None:
        """Note that a stream of CUDA works on the elements: their memory is not given away until it is done with them.

        Raises:
            UnsupportedError: the tensor is on the CPU.
        """
        record_stream(self, stream)

    def is_shared(self) -> bool:
        """Whether the elements lie in memory that forked processes share; those on a CUDA device do."""
        if STATE.recorder is not None and not is_for_library(2):
            observe("where a tensor lies in memory, is_shared")
        return self._device != "cpu" or _is_shared(self._array)

    def share_memory_(self) -> Tensor:
        """Move the elements into memory that processes forked from here on share, so that they see each other's writes.

        Views that were made before go on looking at the memory that it had.
        """
        if self.is_shared():
            return self  # type: ignore[return-value]
        if STATE.recorder is not None:
            refuse("share_memory_: memory cannot be exchanged in a compiled function", hint="do it before")
        array = self._array
        copy = np.frombuffer(mmap.mmap(-1, max(array.nbytes, 1)), array.dtype, array.size).reshape(array.shape)
        copy[...] = settled(array)
        Changes.count += 1
        made = of_numbers(copy)
        self._storage, self._array, self._steps = made._storage, copy, ()
        self._parent = self._node = self._node_of = None
        return self  # type: ignore[return-value]


def is_storage(obj: Any) -> bool:
    """Whether something is a storage."""
    return isinstance(obj, UntypedStorage)
