"""Timing on a device: buffers that rotate so that a cache does not flatter, warm-up, medians of many blocks.

On the GPU a block of calls is captured as one CUDA graph where that can be done, so that what is timed is the device
and not the host that feeds it; otherwise calls are queued one by one between two events, behind a kernel that lasts
until all of them are. Where the device had begun before the host was through, a timing is marked as bound by the host.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Call = Callable[[], Any]

#: Bytes that the buffers of one measurement have together, at least.
ROTATED = {"cuda": 512 << 20, "cpu": 64 << 20, "emulator": 0}
MOST_SETS = 64
_WAIT = """
extern "C" __global__ void wait(long long nanoseconds) {
  long long start, now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(start));
  do asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now)); while (now - start < nanoseconds);
}
"""
BLOCKS = 9
BLOCK_S = 0.01


@dataclass(frozen=True)
class Timing:
    """Seconds of one call.

    Attributes:
        seconds: Median over blocks.
        spread: (slowest - fastest) / median of the blocks' middle half.
        how: ``graph``, ``events`` or ``clock``.
        host_bound: Whether the device may have waited for launches.
    """

    seconds: float
    spread: float
    how: str
    host_bound: bool = False


def sets_for(nbytes: int, kind: str) -> int:
    """How many sets of buffers a call of that traffic rotates over, on a kind of device."""
    return max(2, min(MOST_SETS, -(-ROTATED[kind] // max(nbytes, 1))))


def summary(blocks: Sequence[float], how: str, host_bound: bool = False) -> Timing:
    """The timing that blocks, in seconds of one call, amount to."""
    ordered = sorted(blocks)
    quarter = len(ordered) // 4
    middle = ordered[quarter : len(ordered) - quarter]
    median = statistics.median(blocks)
    return Timing(median, (middle[-1] - middle[0]) / median if median else 0.0, how, host_bound)


class Cpu:
    """The host, to rehearse with: NumPy's arrays, the clock, generated C.

    Attributes:
        options: What `tracec.compile` is given.
        rounds: How often calls are timed.
        calls: Calls of a block whose launches are timed.
    """

    kind = "cpu"
    name = "cpu"
    cache_bytes = 0
    options: dict[str, Any] = {}
    rounds = BLOCKS
    calls = 300

    def __init__(self) -> None:
        self.xp: Any = np

    def about(self) -> dict[str, Any]:
        from benchmarks.machine import cpu_name

        return {"name": cpu_name()}

    def synchronize(self) -> None:
        """Nothing runs behind one's back."""

    def free(self) -> None:
        """Nothing is held."""

    def traffic(self, call: Call) -> int | None:
        """Bytes that a call moves between memory and caches, where that can be counted."""
        return None

    def time(self, calls: Sequence[Call]) -> Timing:
        """Seconds of one call, going round the calls."""
        for call in calls[:3]:
            call()
        blocks = []
        for _ in range(self.rounds):
            start = time.perf_counter()
            for call in calls:
                call()
            blocks.append((time.perf_counter() - start) / len(calls))
        return summary(blocks, "clock")

    def copy(self, nbytes: int) -> Timing:
        """Seconds of a copy that reads and writes so many bytes together."""
        half = max(nbytes // 2, 1)
        pairs = [(np.ones(half, np.uint8), np.ones(half, np.uint8)) for _ in range(sets_for(nbytes, self.kind))]
        return self.time([lambda a=a, b=b: np.copyto(b, a) for a, b in pairs])


class Emulated(Cpu):
    """The host, with CUDA kernels in the emulator: a rehearsal of what runs, without a word about its time."""

    kind = "emulator"
    name = "emulator"
    options = {"target": "cuda", "launcher": "emulator"}
    rounds = 1
    calls = 1

    def traffic(self, call: Call) -> int | None:
        """Counted by the emulator, in a cache like a GPU's."""
        from tracec.runtime.emulator_launch import counting

        with counting() as counted:
            call()
        return counted.moved


class Gpu:
    """The first CUDA device."""

    kind = "cuda"
    name = "cuda"
    options: dict[str, Any] = {}
    calls = 300

    def __init__(self) -> None:
        import cupy

        self.xp: Any = cupy
        self.properties = cupy.cuda.runtime.getDeviceProperties(0)
        self.cache_bytes = int(self.properties["l2CacheSize"])
        self._waiting: Any = None
        self._late = False  # whether the device had begun before the host was through, in the last measurement

    def about(self) -> dict[str, Any]:
        """Name, driver and sizes."""
        runtime = self.xp.cuda.runtime
        return {
            "name": self.properties["name"].decode(),
            "driver_cuda": runtime.driverGetVersion(),
            "runtime_cuda": runtime.runtimeGetVersion(),
            "multiprocessors": int(self.properties["multiProcessorCount"]),
            "cache_bytes": self.cache_bytes,
            "memory_bytes": int(self.properties["totalGlobalMem"]),
        }

    def synchronize(self) -> None:
        """Wait for all work."""
        self.xp.cuda.runtime.deviceSynchronize()

    def free(self) -> None:
        """Give unused memory back, so that each case starts alike."""
        self.xp.get_default_memory_pool().free_all_blocks()

    def traffic(self, call: Call) -> int | None:
        """Bytes that a call moves between memory and caches: no counter of a GPU's is read."""
        return None

    def time(self, calls: Sequence[Call]) -> Timing:
        """Seconds of one call, going round the calls.

        Args:
            calls: They differ in the buffers that they work on.
        """
        stream = self.xp.cuda.Stream(non_blocking=True)
        self.synchronize()
        with stream:
            for _ in range(2):  # the second round finds the pool of this stream filled
                for call in calls:
                    call()
            stream.synchronize()
            graph = self._captured(stream, calls)
        if graph is None:
            return self._launched(calls)
        with stream:
            return summary([s / len(calls) for s in self._blocks(graph.launch, stream)], "graph")

    def _captured(self, stream: Any, calls: Sequence[Call]) -> Any:
        try:
            stream.begin_capture()
            try:
                for call in calls:
                    call()
            finally:
                graph = stream.end_capture()
            graph.launch()
            stream.synchronize()
            return graph
        except Exception:
            return None  # a call waits for the device, or launches a graph of its own

    def _launched(self, calls: Sequence[Call]) -> Timing:
        stream = self.xp.cuda.Stream(non_blocking=True)

        def once() -> None:
            for call in calls:
                call()

        with stream:
            once()
            stream.synchronize()
            start = time.perf_counter()
            once()
            launching = time.perf_counter() - start
            stream.synchronize()
            self._late = False
            found = summary([s / len(calls) for s in self._blocks(once, stream, launching)], "events")
        return Timing(found.seconds, found.spread, "events", self._late)

    def _blocks(self, once: Call, stream: Any, launching: float = 0.0) -> list[float]:
        """Seconds that ``once`` takes, one number for each block.

        Args:
            once: What is timed.
            stream: Where.
            launching: Seconds that it takes the host, where the device is kept waiting for so long.
        """
        cuda = self.xp.cuda

        def block(repeat: int) -> float:
            first, last = cuda.Event(), cuda.Event()
            if launching:
                self._wait((1,), (1,), (int((launching * repeat * 1.5 + 1e-3) * 1e9),))
            first.record(stream)
            for _ in range(repeat):
                once()
            last.record(stream)
            if launching and first.done:
                self._late = True
            last.synchronize()
            return float(cuda.get_elapsed_time(first, last)) / 1e3 / repeat

        each = max(block(1), 1e-7)
        self._late = False
        repeat = max(1, min(1000, int((BLOCK_S / 3 if launching else BLOCK_S) / each)))
        block(repeat)
        return [block(repeat) for _ in range(BLOCKS)]

    @property
    def _wait(self) -> Any:
        """The kernel that lasts for so many nanoseconds."""
        if self._waiting is None:
            self._waiting = self.xp.RawKernel(_WAIT, "wait")
        return self._waiting

    def copy(self, nbytes: int) -> Timing:
        """Seconds of a device-to-device copy that reads and writes so many bytes together."""
        # Whole lines: a copy of an odd number of bytes moves them one by one.
        xp, half = self.xp, max(nbytes // 2 // 512 * 512, 512)
        pairs = [(xp.ones(half, xp.uint8), xp.empty(half, xp.uint8)) for _ in range(sets_for(nbytes, self.kind))]
        return self.time([lambda a=a, b=b: b.data.copy_from_device_async(a.data, half) for a, b in pairs])


def find(name: str) -> Cpu | Gpu | None:
    """The device of that name, or None where there is none."""
    if name in ("cpu", "emulator"):
        return Cpu() if name == "cpu" else Emulated()
    from tracec.record.backend import is_available

    return Gpu() if is_available() else None
