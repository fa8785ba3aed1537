"""Timing the steps of a call on a GPU, by events between them."""

from __future__ import annotations

from typing import Any

#: Bytes that are set at once to keep a device busy; some 100 µs of an H200's time.
_BUSY_BYTES = 256 << 20
#: Steps, with their events, that the host queues meanwhile.
_STEPS_MEANWHILE = 4


class Clock:
    """Puts an event behind each step.

    A device that waits for the host would make short steps look long. So it is given something to do first, until all
    steps are queued.

    Args:
        cupy: The module.
        seconds: Where the steps' times are put.
    """

    def __init__(self, cupy: Any, seconds: list[float]) -> None:
        self._cupy, self._seconds = cupy, seconds
        self._events: list[Any] = []
        self._busy: Any = None

    def begin(self, steps: int) -> None:
        """Keep the device busy for as long as it takes to queue so many steps, and start."""
        cupy = self._cupy
        if self._busy is None:
            free = cupy.cuda.runtime.memGetInfo()[0]
            self._size = min(_BUSY_BYTES, free // 4)
            self._busy = cupy.cuda.alloc(self._size)
        stream = cupy.cuda.get_current_stream()
        for _ in range(1 + steps // _STEPS_MEANWHILE):
            self._busy.memset_async(0, self._size, stream)
        self._events = []
        self.end_step()

    def end_step(self) -> None:
        """A step has been queued."""
        event = self._cupy.cuda.Event()
        event.record(self._cupy.cuda.get_current_stream())
        self._events.append(event)

    def end(self) -> None:
        """Wait for the device, and tell the times."""
        self._events[-1].synchronize()
        elapsed = self._cupy.cuda.get_elapsed_time
        pairs = zip(self._events, self._events[1:], strict=False)
        self._seconds[:] = [1e-3 * elapsed(a, b) for a, b in pairs]
