"""One launch of a kernel on the host; what goes wrong in it is an `EmulatorError`."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from tracec.errors import ArgumentError
from tracec.runtime.emulator_findings import Buffer, Context, Finding, error_of
from tracec.runtime.emulator_library import Library

#: The order in which the threads of a block run between barriers.
ORDERS = ("ascending", "descending", "random")

#: One launch at a time: the runtime's state, and arrays in shared memory, are there once.
_RUNNING = threading.Lock()


_U32, _U64, _POINTER = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p


class _Region(ctypes.Structure):
    _fields_ = [
        ("start", _POINTER), ("size", _U64), ("granule", _U32), ("writable", _U32),
        ("owners", _POINTER), ("owner", _U32), ("first_cell", _U32),
    ]  # fmt: skip


class _Array(ctypes.Structure):
    _fields_ = [("start", _POINTER), ("size", _U64)]


class _Launch(ctypes.Structure):
    _fields_ = [
        ("kernel", _POINTER), ("args", _POINTER), ("grid", _U32 * 3), ("block", _U32 * 3), ("order", ctypes.c_int32),
        ("seed", _U32), ("checked", _U32), ("region_count", _U32), ("array_count", _U32), ("guard_count", _U32),
        ("regions", _POINTER), ("arrays", _POINTER), ("guards", _POINTER), ("shared", _POINTER), ("shared_size", _U64),
        ("image", _POINTER), ("image_end", _POINTER),
    ]  # fmt: skip


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
        lost: For an owner, what was given its memory while it was still to be read.

    Raises:
        EmulatorError: the kernel does what no kernel may.
        ArgumentError: the order is unknown.
    """
    if order not in ORDERS:
        raise ArgumentError(f"emulator: order {order!r} is unknown", hint=f"use one of {', '.join(ORDERS)}")
    buffers = _merged(buffers)
    arrays = library.arrays(entry, shared_bytes)
    regions = (_Region * len(buffers))(
        *(_Region(b.address, b.nbytes, min(b.itemsize, 4), b.writable, b.owners or None, b.owner, 0) for b in buffers)
    )
    places = (_Array * len(arrays))(*(_Array(start, size) for _, start, size in arrays))
    guards = (_Array * len(library.guards))(*(_Array(start, size) for start, size in library.guards))
    pointers = (ctypes.c_void_p * max(1, len(params)))(*(ctypes.addressof(p) for p in params))
    given = _Launch(
        library.function(entry), ctypes.addressof(pointers), tuple(grid), tuple(block), ORDERS.index(order), seed,
        library.checks, len(regions), len(places), len(guards), ctypes.addressof(regions), ctypes.addressof(places),
        ctypes.addressof(guards),
        library.shared, library.shared_size, *library.image,
    )  # fmt: skip
    finding = Finding()
    with _RUNNING:
        found = library.start(ctypes.byref(given), ctypes.byref(finding))
    if found:
        raise error_of(finding, Context(library, entry, buffers, arrays, owners or {}, lost or {}))


def _merged(buffers: Sequence[Buffer]) -> list[Buffer]:
    """By address, and a buffer that is given twice once."""
    found: dict[int, Buffer] = {}
    for b in buffers:
        other = found.get(b.address)
        if b.nbytes and (other is None or b.nbytes > other.nbytes or b.writable > other.writable):
            found[b.address] = b
    return [found[a] for a in sorted(found)]
