"""How much shared memory a block of threads may have, and how many blocks a cluster: how much of a row is kept on chip.

Next to it: how many threads are at work on a multiprocessor at a time.

Source: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: What is asked for at most, where there is more: two thirds of an H100's, so that sums round the same from there on.
MOST = 160 << 10
#: Compute capability → bytes that a block may have, less some that kernels declare by themselves.
_LESS = {70: 92 << 10, 72: 92 << 10, 75: 60 << 10} | dict.fromkeys((86, 89, 120, 121), 95 << 10)
_AMPLE = frozenset((80, 87, 90, 100, 101, 103, 110))
#: Blocks of a cluster that every GPU of the kind takes, where its groups of multiprocessors are large: those of data
#: centres. With fewer multiprocessors to a group, as many blocks with all that a multiprocessor has may have no place.
CLUSTER = 8
_CLUSTERS = frozenset((90, 100, 103))
#: Threads that are at work on a multiprocessor at a time, on GPUs of data centres; on others from sm_80 on.
THREADS, _FEWER_THREADS = 2048, 1536
_THREADS = {75: 1024} | dict.fromkeys((70, 72, 80, 90, 100, 103), THREADS)


def shared_bytes(arch: str) -> int:
    """Bytes of dynamic shared memory that a block may have.

    Args:
        arch: GPU architecture, ``sm_90``. One that is not known has what the least of them have from sm_80 on.
    """
    number = capability(arch)
    return MOST if number in _AMPLE else _LESS.get(number, _LESS[86])


def row_room(shared_bytes: int) -> int:
    """What of a block's shared memory a row may take: next to it lie sums, and what is held of what is read."""
    return shared_bytes * 4 // 5


def cluster_blocks(arch: str) -> int:
    """Blocks that a cluster may have, which read and write each other's shared memory; 1 where there are none.

    Args:
        arch: GPU architecture, ``sm_90``.
    """
    return CLUSTER if capability(arch) in _CLUSTERS else 1


def threads_at_once(arch: str) -> int:
    """Threads that are at work on a multiprocessor at a time.

    Args:
        arch: GPU architecture, ``sm_90``. One that is not known has what the least of them have from sm_80 on.
    """
    return _THREADS.get(capability(arch), _FEWER_THREADS)


def capability(arch: str) -> int:
    """The compute capability of an architecture: 90 of ``sm_90`` and of ``sm_90a``."""
    return int(arch.removeprefix("sm_").rstrip("af"))


class _Room(threading.local):
    """What there is in this thread while kernels are written."""

    shared_bytes = MOST
    blocks = CLUSTER
    threads = THREADS


_ROOM = _Room()


def room() -> int:
    """Bytes of dynamic shared memory that a block of the kernel that is being written may have."""
    return _ROOM.shared_bytes


def most_blocks() -> int:
    """Blocks that a cluster of the kernel that is being written may have; 1 where there are no clusters."""
    return _ROOM.blocks


def most_threads() -> int:
    """Threads at work at a time on a multiprocessor of the GPU that a kernel is being written for."""
    return _ROOM.threads


@contextmanager
def room_of(arch: str, clusters: bool = True) -> Iterator[None]:
    """Within, kernels are written in this thread for an architecture.

    Args:
        arch: GPU architecture, ``sm_90``.
        clusters: Whether blocks may form clusters, where there are any.
    """
    before = _ROOM.shared_bytes, _ROOM.blocks, _ROOM.threads
    _ROOM.shared_bytes, _ROOM.blocks = shared_bytes(arch), cluster_blocks(arch) if clusters else 1
    _ROOM.threads = threads_at_once(arch)
    try:
        yield
    finally:
        _ROOM.shared_bytes, _ROOM.blocks, _ROOM.threads = before
