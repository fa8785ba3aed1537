"""The types of tensors that PyTorch had before element types: ``FloatTensor``, ``cuda.LongTensor`` and the rest."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record import promote
from tracec.record.backend import Device, get_default_device, to_device
from tracec.record.cell import Cell, look, tensor_class
from tracec.record.create import of_array, of_numbers
from tracec.record.deferred import settled

#: Name of the type → its element type.
NAMES = {
    "FloatTensor": dt.float32,
    "DoubleTensor": dt.float64,
    "HalfTensor": dt.float16,
    "BFloat16Tensor": dt.bfloat16,
    "LongTensor": dt.int64,
    "IntTensor": dt.int32,
    "ShortTensor": dt.int16,
    "CharTensor": dt.int8,
    "ByteTensor": dt.uint8,
    "BoolTensor": dt.bool_,
}
_BY_DTYPE = {dtype: name for name, dtype in NAMES.items()}
# PyTorch names these, and has no such types.
_BY_DTYPE |= {dt.complex64: "ComplexFloatTensor", dt.complex128: "ComplexDoubleTensor"}


class TensorType(type):
    """The type of ``FloatTensor`` and its kin: calling one makes a tensor, ``isinstance`` asks what a tensor is.

    Attributes:
        dtype: Element type of its tensors.
        kind: ``cpu`` or ``cuda``: where they are.
    """

    dtype: DType
    kind: str

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, Cell) and dt.of_numpy(x._array.dtype) is cls.dtype and x._device.type == cls.kind

    def __call__(cls, *args: Any, device: Any = None, **kwargs: Any) -> Any:
        return made(cls.__name__, cls.dtype, Device(cls.kind if device is None else device), args, kwargs)


def tensor_type(name: str, kind: str) -> TensorType:
    """The type of that name, of tensors on the CPU or on a CUDA device."""
    dtype = NAMES[name]
    doc = f"Tensors of {dtype.name}: ``{name}(sizes)`` makes one of zeros, ``{name}(data)`` one of numbers."
    module = "tracec" if kind == "cpu" else f"tracec.{kind}"
    return TensorType(name, (), {"dtype": dtype, "kind": kind, "__doc__": doc, "__module__": module})


def tensor_types(kind: str) -> tuple[TensorType, ...]:
    """All of them, in the order of `NAMES`."""
    return tuple(tensor_type(name, kind) for name in NAMES)


def name_of(dtype: DType, kind: str) -> str:
    """PyTorch's name of the type of tensors, which programs compare with: ``torch.cuda.FloatTensor``."""
    return f"torch.{'' if kind == 'cpu' else kind + '.'}{_BY_DTYPE.get(dtype, dtype.name)}"


def typename(obj: Any) -> str:
    """The name of a tensor's type as `Tensor.type` gives it, or of the type of anything else."""
    if isinstance(obj, Cell):
        return name_of(dt.of_numpy(obj._array.dtype), obj._device.type)
    owner = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(owner, "__module__", "") or ""
    return owner.__qualname__ if module in ("", "builtins", "__builtin__") else f"{module}.{owner.__qualname__}"


def meant(name: str, given: Any) -> tuple[DType, str]:
    """Element type and kind of device that a type of tensors, or the name of one, stands for.

    ``Tensor`` itself stands for the type that floats have by default.

    Raises:
        ArgumentError: there is no such name.
        ArgumentTypeError: it is no type of tensors.
    """
    if isinstance(given, TensorType):
        return given.dtype, given.kind
    if given is tensor_class() or given == "torch.Tensor":
        return promote.DEFAULT_FLOAT, "cpu"
    if isinstance(given, str):
        _, *rest = given.split(".")
        if rest and rest[-1] in NAMES and rest[:-1] in ([], ["cuda"]):
            return NAMES[rest[-1]], "cuda" if rest[:-1] else "cpu"
    error = ArgumentError if isinstance(given, str) else ArgumentTypeError
    raise error(f"{name}: {given!r} is no type of tensors", hint="give an element type such as tracec.float32")


def made(name: str, dtype: DType, device: Device | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A tensor of sizes, or of data: what ``Tensor(...)`` and ``FloatTensor(...)`` make.

    Args:
        name: The type, for errors.
        dtype: Element type.
        device: Where it lives; by default where new tensors go.
        args: Sizes, one by one or as a ``Size``; or one tensor, array or sequence of numbers; or nothing.
        kwargs: ``size`` or ``data``, the same by name.

    Raises:
        ArgumentTypeError: the data are not numbers.
    """
    unknown = [k for k in kwargs if k not in ("size", "data")]
    if unknown or (args and kwargs):
        raise ArgumentTypeError(
            f"{name}: unexpected argument {(unknown or list(kwargs))[0]!r}", hint="give sizes or data"
        )
    if "size" in kwargs:
        args = tuple(kwargs["size"])
    elif kwargs:
        args = (kwargs["data"],)
    place = get_default_device() if device is None else device
    if all(hasattr(a, "__index__") and not isinstance(a, (bool, Cell, np.ndarray)) for a in args):
        sizes = tuple(a.__index__() for a in args) or (0,)
        if any(s < 0 for s in sizes):
            raise ArgumentTypeError(f"{name}: size {sizes} has a negative size", hint="sizes are 0 or more")
        return of_numbers(to_device(np.zeros(sizes, dtype.numpy), place))
    return _of_data(name, dtype, place, args)


def _of_data(name: str, dtype: DType, place: Device, args: tuple[Any, ...]) -> Any:
    (data, *more) = args
    if type(data).__name__ == "Size" and isinstance(data, tuple):
        return made(name, dtype, place, tuple(data), {})
    if isinstance(data, Cell):
        return look(data)
    array = None
    if not more and not isinstance(data, (bool, int, float, str, bytes)):
        try:
            array = np.array(_plain(data))
            array = None if array.dtype.kind == "c" else array.astype(dtype.numpy)
        except (TypeError, ValueError):
            array = None
    if array is None:
        raise ArgumentTypeError(
            f"{name}: cannot make a tensor of this {type(data).__name__}",
            hint="give sizes as integers, or numbers in lists that all have one length",
        )
    return (of_array if isinstance(data, np.ndarray) else of_numbers)(to_device(array, place))


def _plain(data: Any) -> Any:
    """Nested sequences with the tensors in them as arrays."""
    if isinstance(data, (list, tuple)):
        return [_plain(d) for d in data]
    return to_device(settled(data._array), "cpu") if isinstance(data, Cell) else data
