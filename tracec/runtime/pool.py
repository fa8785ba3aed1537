"""Memory for outputs, kept when an array dies: fresh pages cost more than what is written to them."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tracec.errors import OutOfMemoryError

#: Smaller arrays come from NumPy, whose allocator is quick for them.
MIN_POOLED = 1 << 15
#: Blocks from this size on ask for huge pages.
_HUGE = 1 << 22
_PAGE = mmap.PAGESIZE
_PRIVATE: dict[str, int] = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}

Array = np.ndarray[Any, np.dtype[Any]]


def _size_class(nbytes: int) -> int:
    """Rounded up so that at most an eighth is wasted, and to whole pages."""
    step = max(1 << max(nbytes.bit_length() - 4, 0), _PAGE)
    return -(-nbytes // step) * step


class Pool:
    """Page-aligned blocks by size, reused when the array on them and all of its views are gone.

    Args:
        capacity: Bytes of unused blocks to keep; more are given back to the system.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.unused_bytes = 0
        self._free: dict[int, list[int]] = {}
        self._memory: dict[int, mmap.mmap] = {}
        self._leases: dict[int, Callable[[int], Any]] = {}

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], nbytes: int) -> Array:
        """A C-contiguous array of undefined contents.

        Args:
            shape: Its shape.
            dtype: Its dtype.
            nbytes: Its size in bytes, which the caller knows beforehand.

        Raises:
            OutOfMemoryError: there is no memory for it, even without the unused blocks.
        """
        if nbytes < MIN_POOLED:
            return np.empty(shape, dtype)
        size = _size_class(nbytes)
        free = self._free.get(size)
        if free is None:
            free = self._free.setdefault(size, [])
            self._leases[size] = self._lease_type(size)
        try:
            address = free.pop()
            self.unused_bytes -= size
        except IndexError:
            address = self._map(size)
        return np.ndarray(shape, dtype, self._leases[size](address))

    def _map(self, size: int) -> int:
        try:
            block = self._block(size)
        except OSError:
            self.clear()
            try:
                block = self._block(size)
            except OSError:
                raise OutOfMemoryError(
                    f"compile: no memory for {size} bytes of results or intermediate values",
                    hint="use smaller batches or a narrower dtype, or free tensors that are not needed",
                ) from None
        if size >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
            try:
                block.madvise(mmap.MADV_HUGEPAGE)
            except OSError:
                pass
        address = ctypes.addressof(ctypes.c_char.from_buffer(block))
        self._memory[address] = block
        return address

    @staticmethod
    def _block(size: int) -> mmap.mmap:
        # Python's default is memory that a forked child shares: what either wrote would be in the other's arrays.
        return mmap.mmap(-1, size, **_PRIVATE)

    def _lease_type(self, size: int) -> Callable[[int], Any]:
        """A type of the arrays' bases; when one dies, its block is free again."""
        free = self._free[size]

        def give_back(lease: Any, addressof: Callable[[Any], int] = ctypes.addressof) -> None:
            address = addressof(lease)
            if self.unused_bytes + size <= self.capacity:
                self.unused_bytes += size
                free.append(address)
            else:
                self._memory.pop(address, None)

        lease = type("Lease", (ctypes.c_char * size,), {"__del__": give_back})
        return lease.from_address  # type: ignore[attr-defined, no-any-return]

    def clear(self) -> None:
        """Give every unused block back to the system."""
        for size, free in self._free.items():
            while free:
                self._memory.pop(free.pop(), None)
                self.unused_bytes -= size


def _default_capacity() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    except (ValueError, OSError):
        return 1 << 30


POOL = Pool(_default_capacity())
