"""Files of CIFAR. Those of its Python version are pickles, and a pickle is a program: this reader runs none of it."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from tracec.errors import FormatError

Parts = tuple[np.ndarray[Any, Any], list[int]]

#: An image: its three channels one after the other, each row by row.
_SHAPE = (3, 32, 32)
_BYTES = 3 * 32 * 32


class _DType:
    """What stands in for `numpy.dtype`: its name, of bytes alone."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name = name if isinstance(name, str) else str(name, "latin1")

    def __setstate__(self, state: Any) -> None:
        """The order of bytes and the like, which single bytes have none of."""


class _Array:
    """What stands in for `numpy.ndarray`: made of its shape and bytes, by which nothing of NumPy's own is set."""

    values: np.ndarray[Any, Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, columns_first, raw = state
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        if not isinstance(dtype, _DType) or dtype.name != "u1" or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("an array of other elements than bytes")
        self.values = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if columns_first else "C")


def _encoded(text: Any, encoding: Any) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes in another encoding")
    return text.encode("latin1")


#: All names that such files hold, and what stands in for them.
_KNOWN = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(),
    ("_codecs", "encode"): _encoded,
}


class _Reader(pickle.Unpickler):
    """Reads numbers, text, lists, dicts and arrays of bytes, and knows no other name."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which no data set needs")
        return _KNOWN[module_name, global_name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it names something outside of itself")


def read_pickle(path: Path) -> dict[str, Any]:
    """The dict of a file of the Python version; nothing that is in the file runs.

    Raises:
        FormatError: it is no such file, or names something that none of them has.
    """
    try:
        found = _Reader(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except Exception as error:  # bytes that are no pickle raise whatever their opcodes run into
        raise FormatError(
            f"CIFAR: {path} is no file of the data set: {error or type(error).__name__}",
            hint="nothing in it was run; fetch it again",
        ) from None
    if not isinstance(found, dict):
        raise FormatError(f"CIFAR: {path} holds a {type(found).__name__}, not a dict", hint="fetch it again")
    return {str(key, "latin1") if isinstance(key, bytes) else str(key): value for key, value in found.items()}


def read_batch(path: Path, key: str) -> Parts:
    """Images ``(N, 32, 32, 3)`` and labels of a file of the Python version.

    Args:
        path: The file.
        key: What it calls labels.

    Raises:
        FormatError: it has not as many images as labels, or images of another size.
    """
    found = read_pickle(path)
    array, labels = found.get("data"), found.get(key)
    values = array.values if isinstance(array, _Array) else None
    if values is None or values.ndim != 2 or values.shape[1] != _BYTES:
        shape = None if values is None else values.shape
        raise FormatError(f"CIFAR: {path} has images of shape {shape}, not (N, {_BYTES})", hint="fetch it again")
    if not isinstance(labels, list) or len(labels) != len(values) or not all(isinstance(n, int) for n in labels):
        raise FormatError(f"CIFAR: {path} has no label {key!r} for each of {len(values)} images", hint="fetch it again")
    return _images(values), labels


def read_batch_names(path: Path, key: str) -> list[str]:
    """The names of classes in a file of the Python version.

    Raises:
        FormatError: it has none of this key.
    """
    names = read_pickle(path).get(key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FormatError(f"CIFAR: {path} has no list of names {key!r}", hint="fetch it again")
    return names


def read_binary(path: Path, labels_before: int) -> Parts:
    """Images ``(N, 32, 32, 3)`` and labels of a file of the binary version: labels and bytes of each in turn.

    Args:
        path: The file.
        labels_before: How many labels stand before each image; the last one counts.

    Raises:
        FormatError: it is not made of whole images.
    """
    raw = np.frombuffer(path.read_bytes(), np.uint8)
    row = labels_before + _BYTES
    if not raw.size or raw.size % row:
        raise FormatError(f"CIFAR: {path} has {raw.size} bytes, not {row} for each image", hint="fetch it again")
    rows = raw.reshape(-1, row)
    return _images(rows[:, labels_before:]), [int(n) for n in rows[:, labels_before - 1]]


def read_names(path: Path) -> list[str]:
    """The names of classes of the binary version, one a line."""
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


def _images(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(rows.reshape(-1, *_SHAPE).transpose(0, 2, 3, 1))
