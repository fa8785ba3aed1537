"""Element types: one object each, with PyTorch's name, the name in IR text, and the NumPy dtype."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

from tracec.errors import ArgumentError, DTypeError


@dataclass(frozen=True, slots=True, eq=False)
class DType:
    """An element type: one object each, compared by identity.

    Attributes:
        name: PyTorch's name, ``float32``.
        short: Name in IR text, ``f32``.
        kind: ``b`` (bool), ``u``, ``i``, ``f`` or ``c`` (complex).
        itemsize: Bytes per element.
        numpy: The NumPy dtype that holds it.
    """

    name: str
    short: str
    kind: str
    itemsize: int
    numpy: np.dtype[Any] = field(repr=False)

    @property
    def is_floating_point(self) -> bool:
        return self.kind == "f"

    @property
    def is_complex(self) -> bool:
        return self.kind == "c"

    @property
    def is_differentiable(self) -> bool:
        """Whether values of this type can have gradients."""
        return self.kind in "fc"

    @property
    def is_signed(self) -> bool:
        return self.kind in "ifc"

    @property
    def compute(self) -> DType:
        """The type that kernels compute in: float32 for the 16-bit floats, else itself."""
        return float32 if self.kind == "f" and self.itemsize == 2 else self

    def to_complex(self) -> DType:
        """The complex type whose parts are of this type; complex64 also for the 16-bit floats.

        Raises:
            ArgumentError: this type is neither floating nor complex.
        """
        if not self.is_differentiable:
            raise ArgumentError(
                f"to_complex: there are no complex numbers of {self.name}", hint="cast to a float first"
            )
        return complex128 if self in (float64, complex128) else complex64

    def to_real(self) -> DType:
        """The type of the parts of a complex type; any other type itself."""
        return {complex64: float32, complex128: float64}.get(self, self)

    def __repr__(self) -> str:
        return f"tracec.{self.name}"

    def __reduce__(self) -> str | tuple[Any, ...]:
        return by_name, (self.name,)

    def __deepcopy__(self, memo: Any) -> DType:
        return self

    def __copy__(self) -> DType:
        return self


bool_ = DType("bool", "bool", "b", 1, np.dtype(np.bool_))
uint8 = DType("uint8", "u8", "u", 1, np.dtype(np.uint8))
int8 = DType("int8", "i8", "i", 1, np.dtype(np.int8))
int16 = DType("int16", "i16", "i", 2, np.dtype(np.int16))
int32 = DType("int32", "i32", "i", 4, np.dtype(np.int32))
int64 = DType("int64", "i64", "i", 8, np.dtype(np.int64))
uint16 = DType("uint16", "u16", "u", 2, np.dtype(np.uint16))
uint32 = DType("uint32", "u32", "u", 4, np.dtype(np.uint32))
uint64 = DType("uint64", "u64", "u", 8, np.dtype(np.uint64))
float16 = DType("float16", "f16", "f", 2, np.dtype(np.float16))
bfloat16 = DType("bfloat16", "bf16", "f", 2, np.dtype(ml_dtypes.bfloat16))
float32 = DType("float32", "f32", "f", 4, np.dtype(np.float32))
float64 = DType("float64", "f64", "f", 8, np.dtype(np.float64))
complex64 = DType("complex64", "c64", "c", 8, np.dtype(np.complex64))
complex128 = DType("complex128", "c128", "c", 16, np.dtype(np.complex128))

ALL: tuple[DType, ...] = (
    bool_, uint8, int8, int16, int32, int64, uint16, uint32, uint64, float16, bfloat16, float32, float64, complex64,
    complex128,
)  # fmt: skip
#: What generated kernels compute with.
IN_KERNELS = tuple(d for d in ALL if not d.is_complex)
FLOATS = (float16, bfloat16, float32, float64)

_BY_NUMPY = {d.numpy: d for d in ALL}
_BY_NAME = {d.name: d for d in ALL}
_BY_PYTHON: dict[type, DType] = {bool: bool_, int: int64, float: float64, complex: complex128}


def by_name(name: str) -> DType:
    """The dtype of that PyTorch name."""
    return _BY_NAME[name]


def of_numpy(dtype: Any) -> DType:
    """The dtype that holds arrays of this NumPy dtype.

    Raises:
        DTypeError: tracec has no such element type.
    """
    known = _BY_NUMPY.get(dtype)
    if known is not None:
        return known
    known = _BY_NUMPY.get(np.dtype(dtype).newbyteorder("="))
    if known is None:
        raise DTypeError(
            f"arrays of dtype {np.dtype(dtype)} cannot become tensors",
            hint=f"convert to one of {', '.join(d.name for d in ALL)}",
        )
    return known


def of_scalar(value: bool | int | float | complex) -> DType:
    """The widest type of a Python scalar's kind, before weak promotion narrows it."""
    if isinstance(value, (bool, np.bool_)):
        return bool_
    if isinstance(value, (complex, np.complexfloating)):
        return complex128
    return int64 if isinstance(value, (int, np.integer)) else float64


def of_python(dtype: Any) -> Any:
    """The dtype that one of Python's types of numbers stands for; anything else as it is."""
    return _BY_PYTHON.get(dtype, dtype) if isinstance(dtype, type) else dtype


def promote(a: DType, b: DType) -> DType:
    """The smallest dtype that PyTorch's promotion lattice gives for two tensors' dtypes."""
    if a is b:
        return a
    if a.kind == "c" or b.kind == "c":
        wide = any(d in (complex128, float64) for d in (a, b))
        return complex128 if wide else complex64
    order = "bui"
    if a.kind == "f" or b.kind == "f":
        if a.kind != "f" or b.kind != "f":
            return a if a.kind == "f" else b
        if a.itemsize == b.itemsize == 2:
            return float32
        return a if a.itemsize > b.itemsize else b
    if a.kind == "b" or b.kind == "b":
        return b if a.kind == "b" else a
    if a.kind == b.kind:
        return a if a.itemsize > b.itemsize else b
    signed, unsigned = (a, b) if order.index(a.kind) > order.index(b.kind) else (b, a)
    if signed.itemsize > unsigned.itemsize:
        return signed
    wider = {1: int16, 2: int32, 4: int64}.get(unsigned.itemsize)
    if wider is None:
        raise DTypeError(f"dtypes {a.name} and {b.name} have no common type", hint="cast one of them explicitly")
    return wider
