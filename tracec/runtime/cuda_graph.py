"""Launches of a whole plan as one CUDA graph, replayed as long as memory stays where it was.

A graph holds addresses. A call whose addresses were seen before is replayed: outputs are made where earlier ones
were (`tracec.runtime.spare`), so that in a loop the same few sets of addresses come again and again. What is
elsewhere at each call, as a batch that was just loaded, gets a fixed place if it is small, and is copied into it
before the graph, or out of it behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: Bytes up to which a value is copied rather than captured anew: a copy takes about as long as a launch.
SMALL = 1 << 20
#: Sets of addresses that are remembered.
KEPT = 16
#: From so many different addresses on, a value counts as one that moves.
PLACES = 3
#: After so many calls in a row that no graph served, capturing stops.
PATIENCE = 64
_DEVICE_TO_DEVICE = 3

#: Queues all launches: stream, addresses of inputs and outputs, address of the arena.
Queue = Callable[[int, Sequence[int], int], None]


class Graphs:
    """The graphs of one plan.

    Args:
        cupy: The module.
        movable: Inputs that are only read, and outputs, by their place among the addresses: their sizes in bytes.
        outputs: Addresses from this place on are those of outputs.
        prepare: Called with the stream that launches are about to be captured in.

    Attributes:
        captures: How often launches were captured.
        replays: How often a graph was launched.
        refused: Why launches could not be captured; then they are queued one by one.
    """

    def __init__(self, cupy: Any, movable: Mapping[int, int], outputs: int, prepare: Callable[[int], None]) -> None:
        self._cupy, self._prepare = cupy, prepare
        self._movable, self._outputs = movable, outputs
        self._places: dict[int, set[int]] = {k: set() for k, size in movable.items() if 0 < size <= SMALL}
        self._fixed: dict[int, Any] = {}
        self._known: dict[tuple[int, ...], Any] = {}
        self._misses = 0
        self._stream = 0
        self.captures = 0
        self.replays = 0
        self.refused: str | None = None

    def replay(self, stream: int, number: int, addresses: Sequence[int], arena: Any, base: int, queue: Queue) -> bool:
        """Do what ``queue`` would do with these addresses, by a graph; False where it has to queue itself.

        Args:
            stream: The stream's handle.
            number: What tells it from others.
            addresses: Of inputs and outputs.
            arena: The stream's.
            base: Its address.
            queue: Queues all launches.
        """
        if self._misses > PATIENCE or (stream and self._cupy.cuda.runtime.streamIsCapturing(stream)):
            return False
        if number != self._stream:  # where values were copied to may still be in use in the other stream
            self._stream = number
            self._fixed.clear()
            self._known.clear()
            for places in self._places.values():
                places.clear()
        fixed = self._with_fixed(addresses)
        key = (base, *fixed)
        graph = self._known.get(key)
        if graph is None:
            if key not in self._known:
                self._miss(key, addresses)
                return False
            try:
                graph = self._known[key] = self._capture(fixed, arena, base, queue)
            except Exception as error:  # a library or a driver that does not let itself be captured
                self.refused, self._misses = str(error), PATIENCE + 1
                return False
        self._misses = 0
        if not self._fixed:
            graph[1](graph[2], stream)
        else:
            self._copy(stream, addresses, into=True)
            graph[1](graph[2], stream)
            self._copy(stream, addresses, into=False)
        self.replays += 1
        return True

    def _with_fixed(self, addresses: Sequence[int]) -> Sequence[int]:
        if not self._fixed:
            return addresses
        found = list(addresses)
        for k, memory in self._fixed.items():
            found[k] = memory.ptr
        return found

    def _miss(self, key: tuple[int, ...], addresses: Sequence[int]) -> None:
        """Remember addresses that were never seen: they may not come again."""
        self._misses += 1
        while len(self._known) >= KEPT:
            del self._known[next(iter(self._known))]
        self._known[key] = None
        for k, places in self._places.items():
            places.add(addresses[k])
            if len(places) > PLACES and k not in self._fixed:
                try:
                    self._fixed[k] = self._cupy.cuda.alloc(self._movable[k])
                except self._cupy.cuda.memory.OutOfMemoryError:  # the call itself takes no more memory
                    continue
                self._known.clear()

    def _copy(self, stream: int, addresses: Sequence[int], into: bool) -> None:
        copy = self._cupy.cuda.runtime.memcpyAsync
        for k, memory in self._fixed.items():
            if (k >= self._outputs) is into:
                continue
            there, here = (memory.ptr, addresses[k]) if into else (addresses[k], memory.ptr)
            copy(there, here, self._movable[k], _DEVICE_TO_DEVICE, stream)

    def _capture(self, addresses: Sequence[int], arena: Any, base: int, queue: Queue) -> Any:
        """The launches as a graph. They are captured in a stream beside the caller's: the default one cannot be."""
        own = arena.capturing(self._cupy)
        self._prepare(own.ptr)
        with own:
            own.begin_capture()
            try:
                queue(own.ptr, addresses, base)
            finally:
                graph = own.end_capture()
        self.captures += 1
        # The arena's memory belongs to the graph as long as that may be launched.
        return graph, self._cupy.cuda.runtime.graphLaunch, graph.graphExec, arena.memory
