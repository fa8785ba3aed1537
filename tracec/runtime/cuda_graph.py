"""Launches of a whole plan as one CUDA graph, replayed as long as memory stays where it was.

A graph holds addresses. A call whose addresses were seen before is replayed. Small inputs and outputs that are
somewhere else at each call get a fixed place, and are copied into it before the graph and out of it behind; large
ones count by address, of which a few sets are remembered: memory pools give the same places again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

#: Bytes up to which a value is copied rather than captured anew: a copy takes about as long as a launch.
SMALL = 1 << 20
#: Sets of addresses that are remembered.
KEPT = 8
#: After so many calls in a row that no graph served, capturing stops.
PATIENCE = 64
_DEVICE_TO_DEVICE = 3

Queue = Callable[[int, dict[int, int], int], None]


class Graphs:
    """The graphs of one plan.

    Args:
        cupy: The module.
        movable: Inputs that are only read, and outputs: their sizes in bytes.
        outputs: Which of those are outputs.

    Attributes:
        captures: How often launches were captured.
        replays: How often a graph was launched.
    """

    def __init__(self, cupy: Any, movable: Mapping[int, int], outputs: Collection[int]) -> None:
        self._cupy = cupy
        self._movable, self._outputs = movable, outputs
        self._last: dict[int, int] = {}
        self._fixed: dict[int, Any] = {}
        self._known: dict[tuple[int, ...], Any] = {}
        self._misses = 0
        self.captures = 0
        self.replays = 0

    def replay(self, stream: int, pointers: dict[int, int], arena: Any, base: int, queue: Queue) -> bool:
        """Do what ``queue`` would do with these addresses, by a graph; False where it has to queue itself."""
        if self._misses > PATIENCE or self._is_capturing(stream):
            return False
        self._fix_moving(pointers)
        fixed = {**pointers, **{v: memory.ptr for v, memory in self._fixed.items()}}
        key = (stream, base, *fixed.values())
        graph = self._known.get(key, ())
        if graph == ():  # never seen: it may not come again
            self._remember(key, None)
            self._misses += 1
            return False
        if graph is None:
            graph = self._capture(fixed, arena, base, queue)
            self._remember(key, graph)
        self._misses = 0
        self._copy(stream, pointers, into=True)
        graph[0].launch(self._cupy.cuda.ExternalStream(stream) if stream else self._cupy.cuda.Stream.null)
        self._copy(stream, pointers, into=False)
        self.replays += 1
        return True

    def _fix_moving(self, pointers: dict[int, int]) -> None:
        last, self._last = self._last, pointers
        for v, address in pointers.items():
            if last.get(v, address) != address and v not in self._fixed and 0 < self._movable.get(v, 0) <= SMALL:
                self._fixed[v] = self._cupy.cuda.alloc(self._movable[v])

    def _copy(self, stream: int, pointers: dict[int, int], into: bool) -> None:
        copy = self._cupy.cuda.runtime.memcpyAsync
        for v, memory in self._fixed.items():
            if (v in self._outputs) is into:
                continue
            there, here = (memory.ptr, pointers[v]) if into else (pointers[v], memory.ptr)
            copy(there, here, self._movable[v], _DEVICE_TO_DEVICE, stream)

    def _capture(self, pointers: dict[int, int], arena: Any, base: int, queue: Queue) -> Any:
        """The launches as a graph. They are captured in a stream of their own: the default one cannot be."""
        own = self._cupy.cuda.Stream(non_blocking=True)
        with own:
            own.begin_capture()
            try:
                queue(own.ptr, pointers, base)
            finally:
                graph = own.end_capture()
        self.captures += 1
        return graph, arena.memory

    def _remember(self, key: tuple[int, ...], graph: Any) -> None:
        self._known.pop(key, None)
        while len(self._known) >= 2 * KEPT:
            del self._known[next(iter(self._known))]
        self._known[key] = graph

    def _is_capturing(self, stream: int) -> bool:
        """Whether the caller is capturing a graph of its own, which these launches become part of."""
        return bool(stream) and bool(self._cupy.cuda.runtime.streamIsCapturing(stream))
