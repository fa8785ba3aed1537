"""Tensor: PyTorch's names over arrays that compute at once and remember what they did."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, GradientError, RecordError, ShapeError, name_missing
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.extent import fixed
from tracec.ir.operator import set_default_builder
from tracec.ops.complex import imag as imag_part
from tracec.ops.complex import real as real_part
from tracec.record import backward as reverse_mode
from tracec.record import legacy, promote
from tracec.record.arithmetic import Arithmetic
from tracec.record.backend import Device, to_device
from tracec.record.call import forget_calls
from tracec.record.cell import Changes, look, new_tensor, set_tensor_class
from tracec.record.conversion import Conversion
from tracec.record.deferred import copied, settled
from tracec.record.differentiation import Differentiation
from tracec.record.dispatch import apply
from tracec.record.form import contiguous_format, in_format, preserve_format
from tracec.record.indexing import Indexing
from tracec.record.kind import Kind
from tracec.record.memory import Memory, axis_of
from tracec.record.numpy_protocol import NumPy
from tracec.record.opaque import SIZED, for_caller
from tracec.record.overriding import default
from tracec.record.printing import format_tensor
from tracec.record.size import Size
from tracec.record.state import STATE
from tracec.record.tensor_meta import Methods, TensorMeta
from tracec.record.write import copy_into, fill_with


class Tensor(Arithmetic, Indexing, Conversion, Differentiation, Memory, Kind, NumPy, metaclass=TensorMeta):
    """An n-dimensional array of one element type.

    ``Tensor(data)`` makes float32 tensors of nested lists, ``Tensor(2, 3)`` one of these sizes; `tracec.tensor`
    keeps the element type of the data.
    Functions of `tracec` that take a tensor first are methods too.
    """

    def __new__(cls, *args: Any, device: Any = None, requires_grad: bool = False, **kwargs: Any) -> Any:
        """A tensor of sizes or data; of a class made of Tensor, too, whose ``__init__`` may take anything."""
        place = None if device is None else Device(device)
        made: Any = look(legacy.made("Tensor", promote.DEFAULT_FLOAT, place, args, kwargs), cls)
        made._requires_grad = requires_grad
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # All was done when it was made.
        pass

    _apply_operator = staticmethod(apply)

    @staticmethod
    def _make_subclass(cls: type[Any], data: Any, requires_grad: bool = False) -> Any:
        """A tensor of a subclass over the memory of another, a leaf of its own."""
        made: Any = look(data, cls)
        made._requires_grad = requires_grad
        return made

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What a function gives for objects of a class made of this one: the same, as objects of the class.

        Args:
            func: The function or method.
            types: The classes among the arguments that have a say.
            args: Its arguments.
            kwargs: Those by name.
        """
        return default(cls, func, types, args, kwargs)

    # What it is ---------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """Size of each axis."""
        recorder = STATE.recorder  # as `_shape`: it is asked for more often than anything else
        shape = self._array.shape if recorder is None or recorder.sizes is None else recorder.shape_of(self)
        return tuple.__new__(Size, for_caller(shape) if SIZED else shape)

    @property
    def dtype(self) -> DType:
        """Element type."""
        return dt.of_numpy(self._array.dtype)

    @property
    def device(self) -> Device:
        """Where the elements are."""
        return self._device

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._array.ndim  # type: ignore[no-any-return]

    def dim(self) -> int:
        """Number of axes."""
        return self._array.ndim  # type: ignore[no-any-return]

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one axis."""
        return self.shape if dim is None else self.shape[axis_of("size", self, dim)]

    def numel(self) -> int:
        """Number of elements."""
        recorder = STATE.recorder
        return (
            int(self._array.size) if recorder is None or recorder.sizes is None else for_caller(math.prod(self._shape))
        )

    nelement = numel

    def __len__(self) -> int:
        if not self._array.ndim:
            raise ArgumentTypeError("len: len() of a 0-d tensor", hint="a tensor of no dimensions has no length")
        return fixed(self._shape[0])  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[Tensor]:
        if not self._array.ndim:
            raise ArgumentTypeError("iter: iteration over a 0-d tensor", hint="use item()")
        return iter([self[i] for i in range(len(self))])

    def __reversed__(self) -> Tensor:
        """The elements in reverse order along the first axis."""
        return self.flip(0) if self._array.ndim else self

    def __contains__(self, value: Any) -> bool:
        if not isinstance(value, (Tensor, bool, int, float, complex, np.generic)):
            raise ArgumentError(
                f"in: a Tensor holds numbers, {type(value).__name__} asked for", hint="ask for a number or a tensor"
            )
        return bool((self == value).any())

    def __repr__(self) -> str:
        cls = type(self)
        return format_tensor(self, "tensor" if cls.__module__.startswith("tracec.") else cls.__name__)

    # Views --------------------------------------------------------------------------------------------

    @property
    def T(self) -> Tensor:
        """The axes in reverse order."""
        return ops.transpose(self, perm=tuple(reversed(range(self.ndim))))  # type: ignore[no-any-return]

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        if self.ndim < 2:
            raise ArgumentError(f"mT: a matrix has 2 axes or more, shape is {tuple(self.shape)}")
        return ops.transpose(self, perm=(*range(self.ndim - 2), self.ndim - 1, self.ndim - 2))  # type: ignore[no-any-return]

    @property
    def H(self) -> Tensor:
        """The matrix, transposed and conjugated."""
        if self.ndim not in (0, 2):
            raise ArgumentError(
                f"H: is only supported on matrices (2-D tensors), this one is {self.ndim}-D",
                hint="use .mH for batches of matrices",
            )
        return self.mH

    @property
    def mH(self) -> Tensor:
        """The last two axes exchanged, and the numbers conjugated."""
        if self.ndim == 1:
            raise ArgumentError(
                "mH: is only supported on matrices or batches of matrices, this tensor is 1-D",
                hint="use conj() for a vector",
            )
        turned = self.mT if self.ndim else self
        return ops.conj(turned) if self.dtype.is_complex else turned

    @property
    def real(self) -> Tensor:
        """The real parts, as a view; a real tensor itself."""
        return real_part(self) if self.dtype.is_complex else self

    @real.setter
    def real(self, value: Any) -> None:
        copy_into(self.real, value, "real")

    @property
    def imag(self) -> Tensor:
        """The imaginary parts, as a view.

        Raises:
            ArgumentError: the elements are not complex.
        """
        if not self.dtype.is_complex:
            raise ArgumentError(
                f"imag: is not implemented for tensors with non-complex dtypes, this one is {self.dtype.name}",
                hint="a real tensor has none; zeros_like() makes them",
            )
        return imag_part(self)  # type: ignore[no-any-return]

    @imag.setter
    def imag(self, value: Any) -> None:
        copy_into(self.imag, value, "imag")

    def detach(self) -> Tensor:
        """The same memory, with no gradients flowing through."""
        return look(self)

    def detach_(self) -> Tensor:
        """Forget how this tensor was computed."""
        if STATE.recorder is not None:
            STATE.recorder.change_flag(self)
        self._parent = self._history = self._seen = None
        self._requires_grad = self._is_dual = False
        return self

    @property
    def data(self) -> Tensor:
        """The same memory, with no gradients flowing through; assign to look at another tensor's memory."""
        found = self.detach()
        if STATE.recorder is not None:
            found._data_of = self
        return found

    @data.setter
    def data(self, value: Tensor) -> None:
        recorder = STATE.recorder
        mine = value._storage is self._storage and value._array is self._array
        if mine and (recorder is None or value._data_of is self):
            return  # what ``x.data -= y`` assigns when it has written
        if recorder is not None and recorder.keeps_memory(self, value):
            if value._array.shape != self._array.shape or value._array.dtype != self._array.dtype:
                raise RecordError("data: vmap cannot change the shape or dtype of a tensor")
            copy_into(self.detach(), value.detach(), "data")
            recorder.gave_elements(self, value)
            return
        Changes.count += 1
        self._storage, self._array, self._steps = value._storage, value._array, value._steps
        self._device, self._view_mark = value._device, value._view_mark
        self._parent = self._node = self._node_of = None

    def clone(self, *, memory_format: Any = None) -> Tensor:
        """A copy in memory of its own; gradients flow through."""
        made = reverse_mode.own(self)
        return made if memory_format is None else in_format("clone", made, memory_format)

    def contiguous(self, memory_format: Any = contiguous_format) -> Tensor:
        """Itself where the elements lie in row-major order, or that of a memory format, else a copy that does."""
        if memory_format is preserve_format:
            raise ArgumentError(
                "contiguous: preserve memory format is unsupported by the contiguous operator",
                hint="use tracec.contiguous_format or tracec.channels_last",
            )
        return in_format("contiguous", self, memory_format)

    # Writing ------------------------------------------------------------------------------------------

    def copy_(self, source: Any, non_blocking: bool = False) -> Tensor:
        """Write another tensor's elements, broadcast, cast and moved as needed."""
        return copy_into(self, source)

    def module_load(self, other: Tensor, assign: bool = False) -> Tensor:
        """What a parameter or buffer becomes when a state is loaded into it.

        Args:
            other: The tensor of the state.
            assign: Whether it takes this one's place; otherwise its elements are written into this one.
        """
        return other.detach() if assign else self.copy_(other).detach()

    def fill_(self, value: Any) -> Tensor:
        """Write one value everywhere."""
        if isinstance(value, Tensor) and value.ndim:
            raise ShapeError(
                f"fill_: takes a number or a tensor of no dimensions, one of shape {tuple(value.shape)} given",
                hint="use copy_ to write many values",
            )
        return fill_with(self, value, "fill_")

    def zero_(self) -> Tensor:
        """Write zeros."""
        return fill_with(self, 0, "zero_")

    # Python's protocols -------------------------------------------------------------------------------

    def __copy__(self) -> Tensor:
        """Another view of the same memory, which gradients end at."""
        return self._same_class(look(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) in memo:
            return memo[id(self)]  # type: ignore[no-any-return]
        if not self.is_leaf:
            raise GradientError(
                "deepcopy: only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol",
                hint="copy a detach()ed tensor",
            )
        if STATE.recorder is None:
            made = self._remade(copied(self._array))
        else:
            made = self._same_class(self.detach().clone())
        memo[id(self)] = made
        if (grad := self.grad) is not None:
            made._grad = grad.__deepcopy__(memo)
        return made

    def _remade(self, array: Any) -> Tensor:
        return self._same_class(new_tensor(array))

    def _same_class(self, made: Tensor) -> Tensor:
        if type(self) is not Tensor:
            made.__class__ = type(self)
            made.__dict__.update(own_attributes(self))
        made._requires_grad = self._requires_grad
        return made

    def __reduce_ex__(self, protocol: Any) -> Any:
        array = to_device(settled(self._array), "cpu")
        flat = np.ascontiguousarray(array)
        if STATE.recorder is not None:
            STATE.recorder.decide(self, flat, "pickle")
        return _rebuild, (type(self), flat.tobytes(), self.dtype, array.shape, str(self._device), self.requires_grad)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    else:

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            if Methods.find(name):
                return getattr(self, name)
            if (note := getattr(STATE.recorder, "lack", None)) is not None:
                note(self, name)
            raise name_missing(Tensor, name)


def own_attributes(x: Tensor) -> dict[str, Any]:
    """What a program has set on a tensor."""
    if len(x.__dict__) <= 2:  # its memory and its array
        return {}
    return {k: v for k, v in x.__dict__.items() if k not in _PARTS and not hasattr(Tensor, k)}


_PARTS = ("_storage", "_array")


def _rebuild(cls: type[Tensor], data: bytes, dtype: DType, shape: Any, device: str, requires_grad: bool) -> Tensor:
    array = np.frombuffer(data, dtype.numpy).reshape(shape).copy()
    made = new_tensor(array)
    if device != "cpu":
        made = made.to(device)
    if cls is not Tensor:
        made.__class__ = cls
    made._requires_grad = requires_grad
    return made


set_tensor_class(Tensor)
set_default_builder(apply)


def get_default_dtype() -> DType:
    """The floating element type of new tensors."""
    return promote.DEFAULT_FLOAT


def set_default_dtype(dtype: DType) -> None:
    """Make another floating element type that of new tensors.

    Raises:
        ArgumentTypeError: the type is not floating.
    """
    if not isinstance(dtype, DType) or not dtype.is_floating_point:
        raise ArgumentTypeError(
            f"set_default_dtype: only floating-point types are supported as the default type, {dtype} given",
            hint="use e.g. tracec.float64",
        )
    promote.set_default_float(dtype)
    forget_calls()


__all__ = ["Size", "Tensor", "get_default_dtype", "set_default_dtype"]
