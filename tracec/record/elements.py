"""Arrays that a recorded function has and does not look into: those of tensors, or in places that it overwrites.

What the function does with `Elements`, but for handing them on, goes to the array itself, and whoever made them is
told. Those of a tensor that it keeps or returns without a look are arrays of the call's tensors in each call. As
Numbers are no floats, they are no arrays, since C code would read those without asking; ``isinstance`` is answered by
``__class__``.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from tracec.ir.dtype import of_numpy
from tracec.ir.extent import is_varying
from tracec.record.opaque import opaque
from tracec.record.seen import seen_by_others
from tracec.record.state import STATE
from tracec.record.tape import edge_of

#: What may be asked of an array without a look at its elements.
_FIXED = frozenset({"dtype", "shape", "ndim", "size", "nbytes", "itemsize", "strides", "flags"})
#: What of that depends on sizes.
_SIZED = frozenset({"shape", "size", "nbytes", "strides"})

#: Types from which to which tensors are cast as arrays are.
_TYPES = tuple(map(np.dtype, ("float32", "float64", "int32", "int64")))


class Elements:
    """An array, or a scalar of NumPy's, that was not looked into.

    Attributes:
        array: The array.
        tensor: The tensor whose memory it is over; None where there is none.
        tell: Called before each look at its elements.
    """

    __slots__ = ("array", "tell", "tensor")

    def __init__(self, array: Any, tensor: Any, tell: Callable[[], None]) -> None:
        self.array, self.tensor, self.tell = array, tensor, tell

    @property
    def __class__(self) -> Any:
        return type(self.array)

    @__class__.setter
    def __class__(self, _: Any) -> None:
        raise TypeError("the type of an array cannot be changed")

    def __getattr__(self, name: str) -> Any:
        if name in _SIZED and self.tensor is not None and getattr(STATE.recorder, "sizes", None) is not None:
            return self._of_sizes(name)
        return getattr(self.array if name in _FIXED else looked_into(self), name)

    def _of_sizes(self, name: str) -> Any:
        """What depends on sizes that may be others at the next call."""
        shape = self.tensor._shape
        if name == "shape":
            return opaque(tuple(shape))
        if name == "strides":
            if is_varying(shape):
                STATE.recorder.fix_sizes()  # type: ignore[union-attr]
            return self.array.strides
        count = math.prod(shape)
        return opaque(count if name == "size" else count * self.array.itemsize)

    def __len__(self) -> int:
        return len(self.array) if not self.array.shape else int(self.shape[0])

    def __setattr__(self, name: str, value: Any) -> None:
        if name in Elements.__slots__:
            object.__setattr__(self, name, value)
        else:
            setattr(looked_into(self), name, value)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        found = np.asarray(looked_into(self))
        if dtype is not None and found.dtype != dtype:
            return found.astype(dtype)
        return found.copy() if copy else found

    def __hash__(self) -> int:
        return hash(looked_into(self))

    def item(self, *args: Any) -> Any:
        """An element as a Python number; the only one is the tensor's, which may be another one at the next call."""
        return looked_into(self).item(*args) if args or self.tensor is None else self.tensor.item()

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        """The elements in another type, in memory of their own."""
        wanted, given = np.dtype(dtype), self.array.dtype
        if args or kwargs or self.tensor is None or wanted not in _TYPES or given not in _TYPES:
            return looked_into(self).astype(dtype, *args, **kwargs)
        return elements(self.tensor.detach().clone().to(of_numpy(wanted)))

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return looked_into(self).tolist() if self.tensor is None else self.tensor.tolist()

    def copy(self, order: str = "C") -> Any:
        """The same elements in memory of their own."""
        if order != "C" or self.tensor is None:
            return looked_into(self).copy()
        return elements(self.tensor.detach().clone())


def _delegated(name: str) -> Callable[..., Any]:
    function = vars(operator).get(name)

    def method(self: Any, *args: Any) -> Any:
        found, more = looked_into(self), [looked_into(a) for a in args]
        return function(found, *more) if function is not None else getattr(found, name)(*more)

    return method


_OBJECT = ("__str__", "__repr__", "__format__", "__reduce__", "__reduce_ex__", "__eq__", "__ne__", "__lt__", "__le__",
           "__gt__", "__ge__", "__sizeof__", "__dir__")  # fmt: skip
_PROTOCOLS = ("__array_function__", "__array_ufunc__", "__array_wrap__", "__array_prepare__", "__array_finalize__")
for _name in (*vars(np.ndarray), *vars(np.generic), *vars(np.float64), *vars(float)):
    if _name.startswith("__") and callable(getattr(np.ndarray, _name, None) or getattr(np.float64, _name)):
        if _name not in (*vars(Elements), *_PROTOCOLS) and (_name in _OBJECT or not hasattr(object, _name)):
            setattr(Elements, _name, _delegated(_name))


def looked_into(x: Any) -> Any:
    """The array that `Elements` stand for; anything else as it is."""
    if type(x) is not Elements:
        return x
    x.tell()
    return x.array


def elements_of(tensor: Any) -> Elements | None:
    """What the array of a tensor is to the user's code; None where it is the array itself, or there is none."""
    gives = getattr(STATE.recorder, "gives_numbers", False)
    if not gives or tensor._device != "cpu" or (STATE.grad and edge_of(tensor) is not None):
        return None
    return elements(tensor)


def elements(tensor: Any) -> Elements:
    """What ``x.numpy()`` gives the user's code while a function is recorded.

    Args:
        tensor: The tensor, on the CPU.
    """
    recorder: Any = STATE.recorder
    found: Elements | None = recorder.lent.get(id(tensor._array))
    if found is not None:
        return found
    last: list[Any] = []

    def tell() -> None:
        if id(STATE.recorder) != id(recorder):
            return
        node = recorder.node_of(tensor)
        if all(node is not n for n in last):  # be it written to meanwhile
            last.append(node)
            recorder.decide(tensor, tensor._array, "numpy")

    found = recorder.lent[id(tensor._array)] = Elements(seen_by_others(tensor._array), tensor, tell)
    return found


def lent_by(x: Any) -> Any:
    """A view of the tensor whose array was given, not looked into, and is given back; None of anything else."""
    known = type(x) is Elements and getattr(STATE.recorder, "lent", {}).get(id(x.array)) is x
    return x.tensor.detach() if known else None
