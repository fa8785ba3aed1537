"""The thread-local arrays of a shared object, read from its symbol table."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_SYMBOLS, _PROGRAM_TLS, _SYMBOL_TLS = 2, 7, 6


@dataclass(frozen=True, slots=True)
class Symbol:
    """A thread-local variable.

    Attributes:
        name: As the linker knows it.
        offset: Bytes from the start of the object's thread-local memory.
        size: Bytes.
    """

    name: str
    offset: int
    size: int


def thread_locals(image: bytes) -> tuple[int, tuple[Symbol, ...]]:
    """Size of a 64-bit object's thread-local memory, and its variables by offset."""
    if image[:6] != b"\x7fELF\x02\x01":
        return 0, ()
    program, sections = struct.unpack_from("<QQ", image, 32)
    program_size, programs, section_size, count = struct.unpack_from("<HHHH", image, 54)
    total = 0
    for at in range(program, program + programs * program_size, program_size):
        if struct.unpack_from("<I", image, at)[0] == _PROGRAM_TLS:
            total = struct.unpack_from("<Q", image, at + 40)[0]
    found = []
    for at in range(sections, sections + count * section_size, section_size):
        kind, _, _, start, size, link = struct.unpack_from("<IQQQQI", image, at + 4)
        if kind != _SYMBOLS:
            continue
        strings = struct.unpack_from("<Q", image, sections + link * section_size + 24)[0]
        for symbol in range(start, start + size, 24):
            name, info, _, _, value, length = struct.unpack_from("<IBBHQQ", image, symbol)
            if info & 15 == _SYMBOL_TLS and length:
                text = image[strings + name : image.index(b"\0", strings + name)].decode()
                found.append(Symbol(text, value, length))
    return total, tuple(sorted(set(found), key=lambda s: s.offset))
