"""Memory for intermediate values on a GPU: one block for all programs of a stream, since they run one by one."""

from __future__ import annotations

import threading
from typing import Any

#: Addresses that kernels' packs need are multiples of this; CuPy's pool gives multiples of 512.
ALIGNMENT = 256


class Arena:
    """A block of device memory that grows to the largest need.

    Attributes:
        lock: Held while a program's launches are queued: those of two programs must not mix.
        memory: CuPy's pointer; graphs that were captured with it keep it alive.
        nbytes: Its size.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.memory: Any = None
        self.nbytes = 0
        self._capturing: Any = None

    def capturing(self, cupy: Any) -> Any:
        """The stream that launches for this arena's stream are captured in."""
        if self._capturing is None:
            self._capturing = cupy.cuda.Stream(non_blocking=True)
        return self._capturing

    def base(self, cupy: Any, nbytes: int) -> int:
        """The address of a block with room for so many bytes."""
        if nbytes > self.nbytes:
            self.memory, self.nbytes = None, 0  # given back first: the new block may be made of it
            self.memory = cupy.cuda.alloc(nbytes)
            self.nbytes = nbytes
        return int(self.memory.ptr) if nbytes else 0


_arenas: dict[tuple[int, int], Arena] = {}


def arena_of(device: int, stream: int) -> Arena:
    """The arena of a stream."""
    found = _arenas.get((device, stream))
    return found if found is not None else _arenas.setdefault((device, stream), Arena())


def release_arenas() -> None:
    """Give the memory of all arenas back to CuPy's pool; the next calls take new memory."""
    for arena in list(_arenas.values()):
        with arena.lock:
            arena.memory, arena.nbytes = None, 0
