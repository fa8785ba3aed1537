"""The most memory that was in use on a device: CuPy's pool keeps no such number, so a hook on it counts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class _Count:
    """Bytes now, and the most so far."""

    now: int = 0
    most: int = 0

    def add(self, nbytes: int) -> None:
        self.now += nbytes
        self.most = max(self.most, self.now)


class Peaks:
    """Bytes in use, bytes that the pool has from the driver, and the most of each, from the start of counting on.

    A hook of CuPy's sees what its own thread takes and gives back, and nothing of what the pool gives back to the
    driver; what is so is found again whenever a count is asked for.

    Args:
        cupy: The module.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._used: defaultdict[int, _Count] = defaultdict(_Count)
        self._reserved: defaultdict[int, _Count] = defaultdict(_Count)
        self._hook = _hook_type(cupy)(self._used, self._reserved)
        self._hook.__enter__()  # for good: counting goes on until the process ends

    def used(self, device: int) -> int:
        """The most bytes in use on a device so far."""
        self.look(device)
        return self._used[device].most

    def reserved(self, device: int) -> int:
        """The most bytes that the pool had of a device so far."""
        self.look(device)
        return self._reserved[device].most

    def look(self, device: int) -> None:
        """Take over what the pool says now."""
        with self._cupy.cuda.Device(device):
            pool = self._cupy.get_default_memory_pool()
            now = int(pool.used_bytes()), int(pool.total_bytes())
        for count, bytes_now in zip((self._used[device], self._reserved[device]), now, strict=True):
            count.add(bytes_now - count.now)

    def reset(self, device: int) -> None:
        """Start again from what is so now."""
        self.look(device)
        for count in (self._used[device], self._reserved[device]):
            count.most = count.now


def _hook_type(cupy: Any) -> Any:
    """The class of the hook, which derives from CuPy's and so is made once CuPy is there."""

    class Count(cupy.cuda.MemoryHook):  # type: ignore[misc]
        name = "tracec peaks"

        def __init__(self, used: defaultdict[int, _Count], reserved: defaultdict[int, _Count]) -> None:
            self._used, self._reserved = used, reserved

        def malloc_postprocess(self, device_id: int, mem_size: int, mem_ptr: int, **_: Any) -> None:
            if mem_ptr:  # otherwise there was no room
                self._used[device_id].add(mem_size)

        def free_postprocess(self, device_id: int, mem_size: int, **_: Any) -> None:
            self._used[device_id].add(-mem_size)

        def alloc_postprocess(self, device_id: int, mem_size: int, mem_ptr: int, **_: Any) -> None:
            if mem_ptr:
                self._reserved[device_id].add(mem_size)

    return Count
