"""One launch of a kernel on the host; what goes wrong in it is an `EmulatorError`."""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from tracec.errors import ArgumentError, EmulatorError, OutOfMemoryError
from tracec.ir.forks import free_in_children
from tracec.ir.room import CLUSTER
from tracec.runtime.emulator_findings import Buffer, Context, Finding, error_of
from tracec.runtime.emulator_library import MOST_SHARED, Library

#: The order in which the threads of a block run between barriers.
ORDERS = ("ascending", "descending", "random")

#: Of the 50 MB of an H100's L2 cache, what each of 2048 threads on each of its multiprocessors has.
CACHE_BYTES = 192

#: One launch at a time: the runtime's state, and arrays in shared memory, are there once.
_RUNNING = threading.Lock()
free_in_children(_RUNNING)


_U32, _U64, _POINTER = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p


class _Region(ctypes.Structure):
    _fields_ = [
        ("start", _POINTER), ("size", _U64), ("granule", _U32), ("writable", _U32),
        ("owners", _POINTER), ("owner", _U64), ("first_cell", _U64), ("first_sector", _U64),
    ]  # fmt: skip


class _Traffic(ctypes.Structure):
    _fields_ = [("cache", _U64), ("read", _U64), ("written", _U64)]


class _Array(ctypes.Structure):
    _fields_ = [("start", _POINTER), ("size", _U64)]


class _Launch(ctypes.Structure):
    _fields_ = [
        ("kernel", _POINTER), ("args", _POINTER), ("grid", _U32 * 3), ("block", _U32 * 3), ("order", ctypes.c_int32),
        ("seed", _U32), ("checked", _U32), ("region_count", _U32), ("array_count", _U32), ("guard_count", _U32),
        ("cluster", _U32), ("regions", _POINTER), ("arrays", _POINTER), ("guards", _POINTER), ("shared", _POINTER),
        ("shared_size", _U64), ("image", _POINTER), ("image_end", _POINTER), ("traffic", _POINTER),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a launch moved between memory and a cache.

    Attributes:
        entry: The function.
        read: Bytes that were read from memory.
        written: Bytes that were written there.
    """

    entry: str
    read: int
    written: int


class Counted:
    """Launches whose traffic is counted.

    Attributes:
        cache_bytes: The cache's size, for each thread of a block.
        launches: What each moved, in order.
    """

    def __init__(self, cache_bytes: int) -> None:
        self.cache_bytes = cache_bytes
        self.launches: list[Traffic] = []

    @property
    def moved(self) -> int:
        """Bytes read and written by all."""
        return sum(t.read + t.written for t in self.launches)


_COUNTED: ContextVar[Counted | None] = ContextVar("counted", default=None)


@contextmanager
def counting(cache_bytes: int = CACHE_BYTES) -> Iterator[Counted]:
    """Within, what launches with checks move between memory and a cache is counted, in sectors of 32 bytes.

    What the threads of a block do between two barriers counts as done at once. What a block comes back to is in the
    cache while it has touched no more than its share of it since, which goes by its threads.
    """
    counted = Counted(cache_bytes)
    before = _COUNTED.set(counted)
    try:
        yield counted
    finally:
        _COUNTED.reset(before)


def launch(
    library: Library,
    entry: str,
    grid: Sequence[int],
    block: Sequence[int],
    params: Sequence[Any],
    buffers: Sequence[Buffer],
    shared_bytes: int = 0,
    order: str = "ascending",
    seed: int = 0,
    owners: Mapping[int, str] | None = None,
    lost: Mapping[int, str] | None = None,
) -> None:
    """Run a kernel to its end.

    Args:
        library: Where it is.
        entry: Its name.
        grid: Blocks along x, y, z.
        block: Threads along x, y, z.
        params: Its arguments, as ctypes values.
        buffers: The memory that it may use.
        shared_bytes: Dynamic shared memory.
        order: One of `ORDERS`.
        seed: Of the random order.
        owners: What the numbers of buffers' owners stand for.
        lost: For an owner, since when its memory is no longer its own.

    Raises:
        EmulatorError: the kernel does what no kernel may.
        ArgumentError: the order is unknown.
    """
    check_order(order)
    buffers = _merged(entry, buffers)
    shared = library.shared()
    arrays = library.arrays(entry, shared_bytes, shared)
    static = sum(size for name, _, size in arrays if name not in library.dynamic(entry))
    _check_limits(library, entry, grid, block, static, shared_bytes)
    regions = (_Region * len(buffers))(*map(_region, buffers))
    places = _arrays([a[1:] for a in arrays])
    guards = _arrays(library.guards(shared))
    pointers = (ctypes.c_void_p * max(1, len(params)))(*map(ctypes.addressof, params))
    given = _Launch(
        library.function(entry), ctypes.addressof(pointers), tuple(grid), tuple(block), ORDERS.index(order), seed,
        library.checks, len(regions), len(places), len(guards), library.cluster(entry), ctypes.addressof(regions),
        ctypes.addressof(places), ctypes.addressof(guards),
        shared, library.shared_size, *library.image,
    )  # fmt: skip
    finding = Finding()
    counted = _COUNTED.get() if library.checks else None
    if counted is not None:
        traffic = _Traffic(counted.cache_bytes)
        given.traffic = ctypes.addressof(traffic)
    with _RUNNING:
        found = library.start(ctypes.byref(given), ctypes.byref(finding))
    if counted is not None:
        counted.launches.append(Traffic(entry, traffic.read, traffic.written))
    if found < 0:
        raise OutOfMemoryError(f"emulator: {entry}: there is no memory for its checks")
    if found:
        sizes = shared, library.shared_size
        raise error_of(finding, Context(library, entry, buffers, arrays, sizes, owners or {}, lost or {}))


def _check_limits(
    library: Library, entry: str, grid: Sequence[int], block: Sequence[int], static: int, dynamic: int
) -> None:
    """Refuse what a GPU would refuse.

    Raises:
        EmulatorError: says which limit it is.
    """
    threads, bound = math.prod(block), library.bound(entry)
    limits = (
        (threads, "threads a block", bound),
        (grid[0], "blocks along x", (1 << 31) - 1),
        (max(grid[1:]), "blocks along y or z", 65535),
        (static, "bytes of shared arrays", 48 * 1024),
        (static + dynamic, "bytes of shared memory", MOST_SHARED),
    )
    for given, what, most in limits:
        if given > most:
            raise EmulatorError(f"emulator: {entry}: a launch with {given} {what}, at most {most} can be")
    cluster = library.cluster(entry)
    if cluster > CLUSTER:
        raise EmulatorError(f"emulator: {entry}: clusters of {cluster} blocks, at most {CLUSTER} can be everywhere")
    if grid[0] % cluster:
        raise EmulatorError(f"emulator: {entry}: a launch with {grid[0]} blocks along x, in clusters of {cluster}")


def check_order(order: str) -> None:
    """Refuse orders that there are not.

    Raises:
        ArgumentError: lists those that there are.
    """
    if order not in ORDERS:
        raise ArgumentError(f"emulator: order {order!r} is unknown", hint=f"use one of {', '.join(ORDERS)}")


def _region(b: Buffer) -> _Region:
    return _Region(b.address, b.nbytes, min(b.itemsize, 4), b.writable, b.owners or None, b.owner)


def _arrays(places: Sequence[tuple[int, int]]) -> ctypes.Array[_Array]:
    return (_Array * len(places))(*(_Array(start, size) for start, size in places))


def _merged(entry: str, buffers: Sequence[Buffer]) -> list[Buffer]:
    """By address, and memory that is given twice once.

    Raises:
        EmulatorError: two of them share memory that one of them writes, or that is not the caller's.
    """
    found: list[Buffer] = []
    for b in sorted((b for b in buffers if b.nbytes), key=lambda b: (b.address, -b.nbytes)):
        before = found[-1] if found else None
        if before is None or before.address + before.nbytes <= b.address:
            found.append(b)
        elif (b.address, b.nbytes) == (before.address, before.nbytes) and b.owner == before.owner:
            found[-1] = replace(before, writable=before.writable or b.writable)
        elif b.writable or before.writable or b.owners or before.owners:
            raise EmulatorError(f"emulator: {entry}: {before} and {b} share memory")
        else:
            end = max(before.address + before.nbytes, b.address + b.nbytes)
            found[-1] = replace(before, nbytes=end - before.address)
    return found
