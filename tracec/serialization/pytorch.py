"""PyTorch's own files, read without running what is in them.

Such a file is a zip archive with a pickle and the memory of each storage; before PyTorch 1.6 it was a row of pickles,
and behind them the memory. A pickle is a program that calls what it
names; this reader knows a list of names, all of which only put values together, and refuses any other.
"""

from __future__ import annotations

import argparse
import io
import pickle
import pickletools
import zipfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tracec.errors import ArgumentError, TracecError
from tracec.functions import as_strided, from_numpy, sparse_coo_tensor, sparse_csc_tensor, sparse_csr_tensor
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.nn.parameter import Parameter
from tracec.record.backend import Device
from tracec.record.form import Layout, sparse_coo, sparse_csc, sparse_csr
from tracec.record.tensor import Size, Tensor
from tracec.serialization.structure import Placement
from tracec.serialization.trust import names_in, trusted

_STORAGES: dict[str, DType] = {
    "FloatStorage": dt.float32, "DoubleStorage": dt.float64, "HalfStorage": dt.float16, "BFloat16Storage": dt.bfloat16,
    "LongStorage": dt.int64, "IntStorage": dt.int32, "ShortStorage": dt.int16, "CharStorage": dt.int8,
    "ByteStorage": dt.uint8, "BoolStorage": dt.bool_, "ComplexFloatStorage": dt.complex64,
    "ComplexDoubleStorage": dt.complex128, "UntypedStorage": dt.uint8,
}  # fmt: skip


def read(data: bytes, where: str, place: Placement) -> Any:
    """The value in a file of ``torch.save``.

    Args:
        data: The file's contents.
        where: The file, for messages.
        place: Where tensors go.

    Raises:
        ArgumentError: the file is damaged, or names something that is not a plain value.
    """
    if is_old(data):
        return _read_old(data, where, place)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            pickled = next((n for n in names if n.endswith("/data.pkl") or n == "data.pkl"), None)
            if pickled is None:
                kind = "a TorchScript or exported program" if any("constants.pkl" in n for n in names) else "unknown"
                raise ArgumentError(f"load: {where} is a zip archive without data.pkl ({kind})")
            root = pickled.removesuffix("data.pkl")
            order = archive.read(f"{root}byteorder").decode() if f"{root}byteorder" in names else "little"
            memory = _Memory(lambda key: archive.read(f"{root}data/{key}"), order, place)
            return _Unpickler(io.BytesIO(archive.read(pickled)), memory, where).load()
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, KeyError) as error:
        raise ArgumentError(f"load: {where} is damaged: {error}") from None


#: What files of PyTorch before 1.6 begin with: a pickle of a number that stands for nothing else.
_OLD = pickle.dumps(0x1950A86A20F9469CFC6C, 2)


def is_old(data: bytes) -> bool:
    """Whether it is a file of ``torch.save`` before PyTorch 1.6, as many files of weights are."""
    return data[: len(_OLD)] == _OLD


def _value_of_old(data: bytes) -> tuple[int, int]:
    """Where the pickle of the value begins and ends: it is the fourth, after a number, a version and the system."""
    file, ends = io.BytesIO(data), [0]
    for _ in range(4):
        for _ in pickletools.genops(file):  # reads up to its end, and runs nothing
            pass
        ends.append(file.tell())
    return ends[3], ends[4]


def _read_old(data: bytes, where: str, place: Placement) -> Any:
    """The value in a file of ``torch.save`` before PyTorch 1.6."""
    try:
        start, end = _value_of_old(data)
        file = io.BytesIO(data)
        # Where memory lies is known when all storages are: the value is read twice.
        kinds = _Kinds(io.BytesIO(data[start:end]), where, len(data))
        kinds.load()
        file.seek(end)
        spans: dict[str, bytes] = {}
        for key in _Unpickler(file, _Memory(lambda key: b"", "little", place), where).load():
            dtype, count = kinds.found[str(key)]
            size, spans[str(key)] = file.read(8), file.read(count * dtype.itemsize)
            if int.from_bytes(size, "little") != count or len(spans[str(key)]) != count * dtype.itemsize:
                raise EOFError(f"the memory of storage {key} is cut off")
        return _Unpickler(io.BytesIO(data[start:end]), _Memory(spans.__getitem__, "little", place), where).load()
    except ArgumentError:
        raise
    except (pickle.UnpicklingError, EOFError, LookupError, AttributeError, ValueError, TypeError, TracecError) as error:
        raise ArgumentError(f"load: {where} is damaged: {error}") from None


def unknown_names(data: bytes) -> list[str]:
    """What a file of ``torch.save`` names that is neither a plain value nor trusted; nothing of it is run."""
    if is_old(data):
        start, end = _value_of_old(data)
        named = names_in(data[start:end])
    else:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            pickled = next(n for n in archive.namelist() if n.endswith("data.pkl"))
            named = names_in(archive.read(pickled))
    return [f"{m}.{n}" for m, n in named if _plain(m, n) is None and trusted(m, n) is None]


def _plain(module: str, name: str) -> Any:
    """What a name of a plain value stands for; None for others."""
    if module in ("torch", "torch.storage") and name in _STORAGES:
        return _STORAGES[name]
    return _DTYPES.get(name) if module == "torch" and name in _DTYPES else _KNOWN.get((module, name))


class _Memory:
    """The storages of a file; tensors of one storage share its memory."""

    def __init__(self, read: Callable[[str], bytes], order: str, place: Placement) -> None:
        self._read, self._order, self._place = read, order, place
        self._known: dict[str, Tensor] = {}

    def storage(self, kind: DType, key: str, location: str) -> Tensor:
        if key not in self._known:
            elements = np.frombuffer(bytearray(self._read(key)), kind.numpy)
            if self._order != "little":
                elements = elements.byteswap()
            self._known[key] = self._place(from_numpy(elements), location)
        return self._known[key]


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, memory: _Memory, where: str) -> None:
        super().__init__(file, encoding="utf-8")
        self._memory, self._where = memory, where

    def find_class(self, module: str, name: str) -> Any:
        found = _plain(module, name) or trusted(module, name)
        if found is not None:
            return found
        raise ArgumentError(
            f"load: {self._where} names {module}.{name}, which is not a plain value and would have to be run",
            hint="save the state_dict() instead of the object; or, where the class is to be trusted, load it under "
            "tracec.serialization.safe_globals([...])",
        )

    def persistent_load(self, pid: Any) -> Tensor:
        kind, key, location = pid[1], pid[2], pid[3]
        if pid[0] != "storage" or not isinstance(kind, DType):
            raise ArgumentError(f"load: {self._where} refers to {pid[0]!r}, which is unknown")
        return self._memory.storage(kind, str(key), str(location))


class _Kinds(_Unpickler):
    """Reads a value for the types and sizes of its storages alone, whose elements are zeros."""

    def __init__(self, file: io.BytesIO, where: str, most: int) -> None:
        self.found: dict[str, tuple[np.dtype[Any], int]] = {}
        self._most = most
        super().__init__(file, _Memory(lambda key: b"", "little", lambda x, _: x), where)

    def persistent_load(self, pid: Any) -> Tensor:
        kind, key, count = pid[1], str(pid[2]), pid[4]
        if pid[0] != "storage" or not isinstance(kind, DType):
            raise ArgumentError(f"load: {self._where} refers to {pid[0]!r}, which is unknown")
        if len(pid) > 5 and pid[5] is not None:
            raise ArgumentError(f"load: {self._where} has a storage within another", hint="save it again with PyTorch")
        self.found[key] = dtype, _ = np.dtype(kind.numpy), count
        if not 0 <= count * dtype.itemsize <= self._most:
            raise EOFError(f"the memory of storage {key} is cut off")
        return from_numpy(np.zeros(count, dtype))


def _tensor(
    storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], requires_grad: bool = False, *_: Any
) -> Tensor:  # fmt: skip
    made: Tensor = as_strided(storage, tuple(size), tuple(stride), offset).detach()
    return made.requires_grad_() if requires_grad else made


def _parameter(data: Tensor, requires_grad: bool = True, *_: Any) -> Parameter:
    return Parameter(data, requires_grad=requires_grad)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How pickles of the second protocol write bytes."""
    if encoding not in ("latin1", "latin-1", "utf-8"):
        raise ArgumentError(f"load: bytes in encoding {encoding!r}")
    return text.encode(encoding)


def _sparse(layout: Layout, parts: Sequence[Any]) -> Tensor:
    """A sparse tensor of its parts and size."""
    if layout is sparse_coo:
        return sparse_coo_tensor(*parts[:3], is_coalesced=parts[3] if len(parts) > 3 else None)  # type: ignore[no-any-return]
    make = sparse_csr_tensor if layout is sparse_csr else sparse_csc_tensor
    return make(*parts[:4])  # type: ignore[no-any-return]


def _layout(name: str) -> Layout:
    """A layout by its name, ``torch.sparse_coo``."""
    found = _LAYOUTS.get(name.removeprefix("torch."))
    if found is None:
        raise ArgumentError(f"load: a tensor of the layout {name}, which is unknown")
    return found


_LAYOUTS = {layout.name: layout for layout in (sparse_coo, sparse_csr, sparse_csc)}
_DTYPES: dict[str, DType] = {d.name: d for d in dt.ALL}
_KNOWN: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_sparse_tensor"): _sparse,
    ("torch.serialization", "_get_layout"): _layout,
    ("torch._tensor", "_rebuild_from_type_v2"): lambda make, kind, args, state: make(*args),
    ("torch.nn.parameter", "Parameter"): Parameter,
    ("torch", "Tensor"): Tensor,
    ("torch", "Size"): Size,
    ("torch", "device"): Device,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "Counter"): Counter,
    ("collections", "defaultdict"): defaultdict,
    ("argparse", "Namespace"): argparse.Namespace,
    ("_codecs", "encode"): _encode,
    **{
        (module, c.__name__): c
        for module in ("builtins", "__builtin__")  # as it was called in the pickles of Python 2
        for c in (set, frozenset, slice, range, complex, bytearray, int, dict, list)
    },
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    **{
        (f"numpy.{core}.multiarray", name): getattr(np._core.multiarray, name)  # type: ignore[attr-defined]
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    },
}
