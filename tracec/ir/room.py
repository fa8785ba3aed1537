"""How much shared memory a block of threads may have: how much of a row is kept on chip, and how kernels are written.

Source: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: What is asked for at most, where there is more: two thirds of an H100's, so that sums round the same from there on.
MOST = 160 << 10
#: Compute capability → bytes that a block may have, less some that kernels declare by themselves.
_LESS = {"70": 92 << 10, "72": 92 << 10, "75": 60 << 10} | dict.fromkeys(("86", "89", "120", "121"), 95 << 10)
_AMPLE = frozenset(("80", "87", "90", "100", "101", "103", "110"))


def shared_bytes(arch: str) -> int:
    """Bytes of dynamic shared memory that a block may have.

    Args:
        arch: GPU architecture, ``sm_90``. One that is not known has what the least of them have from sm_80 on.
    """
    number = arch.removeprefix("sm_").rstrip("af")
    return MOST if number in _AMPLE else _LESS.get(number, _LESS["86"])


class _Room(threading.local):
    """What there is in this thread while kernels are written."""

    shared_bytes = MOST


_ROOM = _Room()


def room() -> int:
    """Bytes of dynamic shared memory that a block of the kernel that is being written may have."""
    return _ROOM.shared_bytes


@contextmanager
def room_of(arch: str) -> Iterator[None]:
    """Within, kernels are written in this thread for an architecture."""
    before, _ROOM.shared_bytes = _ROOM.shared_bytes, shared_bytes(arch)
    try:
        yield
    finally:
        _ROOM.shared_bytes = before
