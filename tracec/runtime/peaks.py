"""The most memory that was in use on a device: CuPy's pool keeps no such number, so a hook on it counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Peaks:
    """Bytes in use and their highest count, for each device, from the start of counting on.

    A hook of CuPy's sees what its own thread takes and gives back; what other threads did is found again
    whenever a count is asked for.

    Args:
        cupy: The module.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._used: dict[int, int] = {}
        self._peak: dict[int, int] = {}
        self._hook = _hook_type(cupy)(self._count)
        self._hook.__enter__()  # for good: counting goes on until the process ends

    def _count(self, device: int, nbytes: int) -> None:
        used = self._used.get(device, 0) + nbytes
        self._used[device] = used
        if used > self._peak.get(device, 0):
            self._peak[device] = used

    def peak(self, device: int) -> int:
        """The highest count on a device so far."""
        with self._cupy.cuda.Device(device):
            now = int(self._cupy.get_default_memory_pool().used_bytes())
        self._used[device] = now
        self._peak[device] = max(now, self._peak.get(device, 0))
        return self._peak[device]

    def reset(self, device: int) -> None:
        """Start again from what is in use now."""
        self._peak[device] = 0
        self.peak(device)


def _hook_type(cupy: Any) -> Any:
    """The class of the hook, which derives from CuPy's and so is made once CuPy is there."""

    class Count(cupy.cuda.MemoryHook):  # type: ignore[misc]
        name = "tracec peaks"

        def __init__(self, count: Callable[[int, int], None]) -> None:
            self._count = count

        def malloc_postprocess(self, device_id: int, mem_size: int, **_: Any) -> None:
            self._count(device_id, mem_size)

        def free_postprocess(self, device_id: int, mem_size: int, **_: Any) -> None:
            self._count(device_id, -mem_size)

    return Count
