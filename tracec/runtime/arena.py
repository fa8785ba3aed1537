"""Memory for intermediate values on a GPU: one block for all programs of a stream, since they run one by one."""

from __future__ import annotations

import threading
from typing import Any

#: Addresses that kernels' packs need are multiples of this; CuPy's pool gives multiples of 512.
ALIGNMENT = 256
#: The handle of the default stream that each thread has for itself: another stream in each thread.
PER_THREAD = 2


class Arena:
    """A block of device memory that grows to the largest need.

    In front of it lies a counter for the tickets of blocks (`tracec.ir.launch.Tickets`), which is 0 between launches. A
    launch that the driver refuses takes no tickets, and behind one that a fault cuts off the device runs no other.

    Attributes:
        lock: Held while a program's launches are queued: those of two programs must not mix.
        memory: CuPy's pointer; graphs that were captured with it keep it alive.
        nbytes: Its size, the counter left out.
        captured: Memory in graphs that callers have captured themselves, which may run as long as the process does.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.memory: Any = None
        self.nbytes = 0
        self.captured: list[Any] = []
        self._capturing: Any = None
        self._is_counted = False

    def capturing(self, cupy: Any) -> Any:
        """The stream that launches for this arena's stream are captured in."""
        if self._capturing is None:
            self._capturing = cupy.cuda.Stream(non_blocking=True)
        return self._capturing

    def base(self, cupy: Any, nbytes: int, stream: int) -> int:
        """The address of a block with room for so many bytes, for what is queued in a stream next."""
        if nbytes > self.nbytes:
            self.memory, self.nbytes = None, 0  # given back first: the new block may be made of it
            self.memory = cupy.cuda.alloc(ALIGNMENT + nbytes)
            self.nbytes, self._is_counted = nbytes, False
        if not nbytes:
            return 0
        captures = bool(stream) and cupy.cuda.runtime.streamIsCapturing(stream)
        if captures and not any(memory is self.memory for memory in self.captured):
            self.captured.append(self.memory)
        if not self._is_counted:
            self.memory.memset_async(0, ALIGNMENT)
            # A caller who captures the stream has that as part of a graph, which may run later than the next call.
            self._is_counted = not captures
        return int(self.memory.ptr) + ALIGNMENT


def tickets(base: int) -> int:
    """The address of the counter in front of a block."""
    return base - ALIGNMENT


def told_apart(stream: int) -> int:
    """A number for the stream that a handle is in this thread: the handle, or that of the thread whose stream it is."""
    return stream if stream != PER_THREAD else threading.get_ident()


_arenas: dict[tuple[int, int], Arena] = {}


def arena_of(device: int, stream: int) -> Arena:
    """The arena of a stream, by its number (`told_apart`)."""
    found = _arenas.get((device, stream))
    return found if found is not None else _arenas.setdefault((device, stream), Arena())


def release_arenas() -> None:
    """Give the memory of all arenas back to CuPy's pool; the next calls take new memory."""
    for arena in list(_arenas.values()):
        with arena.lock:
            arena.memory, arena.nbytes = None, 0
