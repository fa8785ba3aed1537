"""Arrays of numbers in files of MATLAB's, of version 5 to 7: what is in them is read, and nothing of it runs."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tracec.errors import FormatError

Array = np.ndarray[Any, Any]

#: Number of a kind of data → its elements.
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
#: Number of a class of arrays → the elements that its arrays have in memory.
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_MATRIX, _COMPRESSED = 14, 15


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of numbers in a file, by name; what else is in it is left out.

    Raises:
        FormatError: it is no such file, or not a whole one.

    Source: MathWorks, "MAT-File Format", version 5.
    """
    raw = path.read_bytes()
    if len(raw) < 128 or raw[126:128] not in (b"IM", b"MI"):
        _refuse(path, f"is no MATLAB file of version 5; it begins with {raw[:8]!r}")
    order = "<" if raw[126:128] == b"IM" else ">"
    found: dict[str, Array] = {}
    try:
        at = 128
        while at < len(raw):
            kind, part, at = _element(raw, at, order)
            if kind == _COMPRESSED:
                kind, part, _ = _element(zlib.decompress(part), 0, order)
            if kind == _MATRIX and (named := _matrix(part, order)) is not None:
                found[named[0]] = named[1]
    except (struct.error, zlib.error, ValueError) as error:
        _refuse(path, f"is not a whole MATLAB file: {error}")
    return found


def _refuse(path: Path, what: str) -> NoReturn:
    raise FormatError(f"read_arrays: {path} {what}", hint="fetch it again") from None


def _element(raw: bytes, at: int, order: str) -> tuple[int, bytes, int]:
    """The kind and the bytes of the element at a place, and where the next one begins."""
    (first,) = struct.unpack_from(order + "I", raw, at)
    if first >> 16:  # up to four bytes stand beside their kind
        return first & 0xFFFF, _bytes(raw, at + 4, first >> 16), at + 8
    (size,) = struct.unpack_from(order + "I", raw, at + 4)
    pad = 0 if first == _COMPRESSED else -size % 8
    return first, _bytes(raw, at + 8, size), at + 8 + size + pad


def _bytes(raw: bytes, at: int, size: int) -> bytes:
    part = raw[at : at + size]
    if len(part) != size:
        raise ValueError(f"{size} bytes at {at} are not there")
    return part


def _matrix(part: bytes, order: str) -> tuple[str, Array] | None:
    """Name and values of an array; None where it is none of real numbers."""
    _, flags, at = _element(part, 0, order)
    (bits,) = struct.unpack_from(order + "I", flags)
    dtype, is_complex = _CLASSES.get(bits & 0xFF), bool(bits & 0x800)
    if dtype is None or is_complex:
        return None
    _, sizes, at = _element(part, at, order)
    shape = tuple(int(n) for n in np.frombuffer(sizes, order + "i4"))
    _, name, at = _element(part, at, order)
    kind, data, _ = _element(part, at, order)
    values = np.frombuffer(data, order + _DTYPES.get(kind, "u1"))
    if kind not in _DTYPES or min(shape, default=0) < 0 or len(values) != math.prod(shape):
        raise ValueError(f"{len(values)} elements are not those of the shape {shape}")
    return name.decode("latin-1"), values.reshape(shape, order="F").astype(dtype, copy=False)
