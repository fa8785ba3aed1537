"""Stands in for CuPy where there is no GPU: NumPy's arrays behind CuPy's rules.

What CuPy refuses is refused here: NumPy's arrays as operands, conversion to NumPy without ``get``, flags that its
arrays lack. Results that NumPy gives as scalars are arrays of no dimensions. So the eager library runs on a
pretended device, ``cuda:0``, and code that would only work on NumPy's arrays shows. Nothing is computed on a GPU.
"""

from __future__ import annotations

import contextlib
import sys
import types
import weakref
from typing import Any, ClassVar

import numpy as np

from tracec.record import backend, deferred, random, seen


class Flags:
    """What CuPy tells of an array's memory."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.c_contiguous = array.flags.c_contiguous
        self.f_contiguous = array.flags.f_contiguous
        self.owndata = array.flags.owndata


class Memory:
    """A block of CuPy's pool; the same one for all arrays over the memory of one NumPy array."""

    _known: weakref.WeakValueDictionary[int, Memory] = weakref.WeakValueDictionary()

    def __init__(self, owner: Any) -> None:
        self.owner, self.ptr = owner, owner.ctypes.data

    @classmethod
    def of(cls, array: np.ndarray[Any, Any]) -> Memory:
        """The block that an array looks at."""
        while True:
            base = array.base if isinstance(array.base, np.ndarray) else getattr(array.base, "base", None)
            if not isinstance(base, np.ndarray):
                break
            array = base
        found = cls._known.get(id(array))
        if found is None:
            found = cls._known[id(array)] = cls(array)
        return found


class Pointer:
    """CuPy's ``MemoryPointer``."""

    def __init__(self, address: int, mem: Any = None) -> None:
        self.ptr, self.mem = address, mem

    def __add__(self, offset: int) -> Pointer:
        return type(self)(self.ptr + offset, self.mem)


class Stream:
    """A queue that is always done.

    Attributes:
        entered: The streams that work goes to, the last one now.
    """

    entered: ClassVar[list[Stream]] = []

    def __init__(self, ptr: int = 0) -> None:
        self.ptr = ptr

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.ptr == other.ptr

    __hash__ = None  # type: ignore[assignment]

    def __enter__(self) -> Stream:
        Stream.entered.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        assert Stream.entered.pop() is self

    @classmethod
    def current(cls) -> Stream:
        """Where work goes."""
        return cls.entered[-1] if cls.entered else _NULL


_NULL = Stream()


class Device:
    """The one device."""

    id = 0
    compute_capability = "90"

    def __init__(self, index: int | None = None) -> None:
        assert index in (None, 0)

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def wrapped(value: Any) -> Any:
    """A result as CuPy gives it."""
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray._of(np.asarray(value))
    if isinstance(value, (tuple, list)):
        return list(map(wrapped, value)) if isinstance(value, list) else tuple(map(wrapped, value))
    return value


def unwrapped(value: Any) -> Any:
    """An operand as NumPy takes it."""
    if isinstance(value, ndarray):
        return value._a
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, (tuple, list)):
        return type(value)(map(unwrapped, value))
    if isinstance(value, dict):
        return {k: unwrapped(v) for k, v in value.items()}
    return value


class ndarray:  # CuPy's name
    """An array of the pretended device."""

    __array_priority__ = 1000
    _a: np.ndarray[Any, Any]
    _memory: Memory

    def __new__(cls, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None) -> ndarray:
        if memptr is None:
            return cls._of(np.empty(shape, dtype))
        owner = memptr.mem.owner
        return cls._of(np.ndarray(shape, dtype, owner, memptr.ptr - owner.ctypes.data, strides))

    @classmethod
    def _of(cls, array: np.ndarray[Any, Any]) -> ndarray:
        made = object.__new__(cls)
        made._a, made._memory = array, Memory.of(array)
        return made

    @property
    def flags(self) -> Flags:
        return Flags(self._a)

    @property
    def base(self) -> Any:
        return None if self._a.base is None else ndarray._of(np.asarray(self._a.base))

    @property
    def device(self) -> Device:
        return Device()

    @property
    def data(self) -> Pointer:
        return Pointer(self._a.ctypes.data, self._memory)

    def get(self) -> np.ndarray[Any, Any]:
        return self._a.copy()

    def set(self, values: np.ndarray[Any, Any]) -> None:
        self._a[...] = values

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **options: Any) -> Any:
        options = {k: v._a if isinstance(v, ndarray) else v for k, v in options.items()}
        return wrapped(getattr(ufunc, method)(*map(unwrapped, operands), **options))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__len__":
            raise AttributeError(name)
        found = getattr(self._a, name)
        if callable(found):
            return lambda *args, **kwargs: wrapped(found(*unwrapped(args), **unwrapped(kwargs)))
        return wrapped(found) if isinstance(found, np.ndarray) else found

    def __getitem__(self, key: Any) -> Any:
        return wrapped(self._a[unwrapped(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.ndim:
            raise TypeError("CuPy does not take NumPy's arrays as values")
        self._a[unwrapped(key)] = value._a if isinstance(value, ndarray) else value

    def __len__(self) -> int:
        return len(self._a)

    def __iter__(self) -> Any:
        return map(wrapped, self._a)

    def __bool__(self) -> bool:
        return bool(self._a)

    def __int__(self) -> int:
        return int(self._a)

    def __float__(self) -> float:
        return float(self._a)

    def __index__(self) -> int:
        return self._a.__index__()


def _operator(name: str) -> Any:
    def run(self: ndarray, *others: Any) -> Any:
        for other in others:
            if isinstance(other, np.ndarray) and other.ndim:
                raise TypeError(f"Unsupported type {type(other)}")
        result = getattr(self._a, name)(*map(unwrapped, others))
        return self if name.startswith("__i") and name != "__invert__" else wrapped(result)

    return run


for _name in [
    "add",
    "radd",
    "iadd",
    "sub",
    "rsub",
    "isub",
    "mul",
    "rmul",
    "imul",
    "truediv",
    "rtruediv",
    "floordiv",
    "rfloordiv",
    "mod",
    "rmod",
    "pow",
    "rpow",
    "matmul",
    "rmatmul",
    "and",
    "rand",
    "or",
    "ror",
    "xor",
    "rxor",
    "lshift",
    "rshift",
    "lt",
    "le",
    "gt",
    "ge",
    "eq",
    "ne",
    "neg",
    "pos",
    "abs",
    "invert",
    "iand",
    "ior",
]:
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))


def _function(found: Any) -> Any:
    def run(*args: Any, **kwargs: Any) -> Any:
        return wrapped(found(*unwrapped(args), **unwrapped(kwargs)))

    return run


def _from_host(value: Any, *args: Any, **kwargs: Any) -> Any:
    given = value._a if isinstance(value, ndarray) else value
    return wrapped(np.array(given, *args, **kwargs))


def _asarray(value: Any, dtype: Any = None) -> Any:
    if isinstance(value, ndarray) and dtype in (None, value.dtype):
        return value
    return _from_host(value, dtype)


class _Namespace(types.ModuleType):
    """Functions of a NumPy module behind CuPy's rules."""

    def __init__(self, name: str, source: Any, **own: Any) -> None:
        super().__init__(name)
        self.__dict__.update(own)
        self.__dict__["_source"] = source

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self._source, name)
        if isinstance(found, types.ModuleType):
            return _Namespace(f"cupy.{name}", found)
        if isinstance(found, np.ufunc):
            made = _function(found)
            for method in ("at", "reduceat", "accumulate"):
                setattr(made, method, _unsupported(f"{name}.{method}"))
            return made
        return _function(found) if callable(found) and not isinstance(found, type) else found


def _unsupported(name: str) -> Any:
    def fail(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"{name} is not what the project may use on CuPy")

    return fail


def _stride_tricks(x: ndarray, shape: Any = None, strides: Any = None) -> ndarray:
    return ndarray._of(np.lib.stride_tricks.as_strided(x._a, shape, strides))


def module() -> types.ModuleType:
    """The double of ``cupy``."""
    runtime = types.SimpleNamespace(
        getDeviceCount=lambda: 1, getDevice=lambda: 0, memGetInfo=lambda: (1 << 36, 1 << 36)
    )
    cuda = types.SimpleNamespace(Device=Device, runtime=runtime, get_current_stream=Stream.current)
    lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace(as_strided=_stride_tricks))
    return _Namespace(
        "cupy", np, ndarray=ndarray, array=_from_host, asarray=_asarray, cuda=cuda, lib=lib,
        asnumpy=lambda x: x.get() if isinstance(x, ndarray) else np.asarray(x),
    )  # fmt: skip


@contextlib.contextmanager
def installed() -> Any:
    """Within, ``import cupy`` gives the double."""
    before = {k: m for k, m in sys.modules.items() if k == "cupy" or k.startswith("cupy.")}
    for name in before:
        del sys.modules[name]
    sys.modules["cupy"] = module()
    backend._REACHED.clear()
    generators = dict(random._DEFAULT)
    try:
        yield sys.modules["cupy"]
    finally:
        # What the library keeps of a device.
        deferred._memory.cache_clear()
        seen._SEEN_ON_GPUS.clear()
        backend._REACHED.clear()
        backend.forget_numbers()
        random._DEFAULT.clear()
        random._DEFAULT.update(generators)
        del sys.modules["cupy"]
        sys.modules.update(before)
