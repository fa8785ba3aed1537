"""Arrays of the device ``meta``: an element type, a shape and strides, and no elements.

What is computed of them is the result's type, as each operator's type rule tells it; views have the strides and the
offset that a view of memory would have. Writing into them does nothing, and reading values is an error.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np

from tracec.errors import UnsupportedError
from tracec.ir.types import TensorType, contiguous_strides

_Steps = tuple[int, ...]


def refuse_values(what: str = "values") -> NoReturn:
    """Say that a tensor on ``meta`` has no elements.

    Raises:
        UnsupportedError: always.
    """
    raise UnsupportedError(
        f"meta: Cannot copy out of meta tensor; no data! ({what} of a tensor on device 'meta' were asked for)",
        hint="give the module memory first: to_empty(device='cpu') and then its weights, or "
        "load_state_dict(state, assign=True)",
    )


class Flags:
    """What is told of an array's memory, as CuPy tells it."""

    __slots__ = ("c_contiguous", "writeable")

    def __init__(self, c_contiguous: bool) -> None:
        self.c_contiguous, self.writeable = c_contiguous, True


class MetaArray:
    """An array without elements.

    Args:
        shape: Its shape.
        dtype: NumPy's element type.
        strides: Bytes between neighbours along each axis; row by row by default.
        base: The array whose memory it would look at; None for memory of its own.
        offset: Bytes from the beginning of that memory.
    """

    __slots__ = ("__weakref__", "base", "dtype", "itemsize", "ndim", "offset", "shape", "size", "strides")

    def __init__(
        self, shape: _Steps, dtype: Any, strides: _Steps | None = None, base: MetaArray | None = None, offset: int = 0
    ) -> None:
        self.shape, self.dtype, self.base, self.offset = tuple(shape), np.dtype(dtype), base, offset
        self.ndim, self.size = len(self.shape), math.prod(self.shape)
        self.itemsize: int = self.dtype.itemsize
        self.strides = tuple(n * self.itemsize for n in contiguous_strides(self.shape)) if strides is None else strides

    @classmethod
    def of(cls, type_: TensorType) -> MetaArray:
        """One of that type."""
        return cls(type_.shape, type_.dtype.numpy)

    @property
    def nbytes(self) -> int:
        """Bytes that the elements would take."""
        return self.size * self.itemsize

    @property
    def flags(self) -> Flags:
        """Whether the elements would lie row by row."""
        own = tuple(n * self.itemsize for n in contiguous_strides(self.shape))
        same = all(n == 1 or s == t for n, s, t in zip(self.shape, self.strides, own, strict=True))
        return Flags(same or not self.size)

    @property
    def whole(self) -> MetaArray:
        """The array whose memory this is."""
        return self if self.base is None else self.base

    def seen_as(self, look: Any, start: int) -> MetaArray:
        """What a view of it is, given one of memory that it could have.

        Args:
            look: An array of NumPy's, of which only the form is asked for.
            start: The address of the first element of what it looks at.
        """
        offset = look.__array_interface__["data"][0] - start if look.size else 0
        return MetaArray(look.shape, look.dtype, look.strides, self.whole, self.offset + offset)

    def stand_in(self) -> Any:
        """An array of NumPy's with its form, over memory that is not there: nothing may read or write it."""
        one = np.empty((), self.dtype)
        return np.lib.stride_tricks.as_strided(one, self.shape, self.strides)

    def transpose(self, *order: Any) -> MetaArray:
        """The axes in another order."""
        axes = order[0] if len(order) == 1 and isinstance(order[0], (tuple, list)) else order
        shape, strides = (tuple(given[a] for a in axes) for given in (self.shape, self.strides))
        return MetaArray(shape, self.dtype, strides, self.whole, self.offset)

    def copy(self, order: str = "C") -> MetaArray:
        """One with memory of its own, row by row."""
        return MetaArray(self.shape, self.dtype)

    def astype(self, dtype: Any, copy: bool = True) -> MetaArray:
        """One of another element type."""
        return MetaArray(self.shape, dtype)

    def __setitem__(self, key: Any, value: Any) -> None:
        # There is nothing to write into.
        pass

    def __getitem__(self, key: Any) -> Any:
        refuse_values()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        refuse_values()

    def __bool__(self) -> bool:
        refuse_values("the truth")

    def __int__(self) -> int:
        refuse_values("the number")

    def __float__(self) -> float:
        refuse_values("the number")

    def item(self) -> Any:
        """Refused: there is no element."""
        refuse_values("the number")

    def nonzero(self) -> Any:
        """Refused: it is not known which elements are zero."""
        refuse_values("the elements that are not zero")


class MetaArrays:
    """The array module of the device ``meta``: the little of NumPy's that is asked of one for any device."""

    ndarray = MetaArray

    @staticmethod
    def empty(shape: Any, dtype: Any = np.float64) -> MetaArray:
        """One of a shape and an element type."""
        return MetaArray(tuple(shape) if isinstance(shape, (tuple, list)) else (shape,), dtype)

    zeros = ones = empty

    @staticmethod
    def zeros_like(array: MetaArray) -> MetaArray:
        """One of the same shape and element type."""
        return array.copy()

    ones_like = empty_like = zeros_like

    @staticmethod
    def asarray(array: Any, dtype: Any = None) -> MetaArray:
        """One of the form that an array or a number has."""
        if isinstance(array, MetaArray):
            return array if dtype is None else array.astype(dtype)
        made = np.asarray(array, dtype)
        return MetaArray(made.shape, made.dtype)

    @staticmethod
    def stack(arrays: Any, axis: int = 0) -> MetaArray:
        """Some along a new axis; nobody knows of which sizes."""
        refuse_values()

    @staticmethod
    def may_share_memory(a: MetaArray, b: MetaArray) -> bool:
        """Whether two would share memory."""
        return a.whole is b.whole
