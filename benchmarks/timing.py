"""Timing of several engines in one process: short blocks, one engine at a time, in rounds.

What an engine leaves behind must not be charged to the next one. Its idle worker threads may spin for a while (up
to some 30 ms for OpenBLAS, a few for OpenMP), so each block starts with a pause that outlasts them, then calls that
are not counted wake the engine's own threads and bring its data back to the caches. Rounds go over the engines in
turning order, so that drift of the machine's speed falls on all of them.
"""

import gc
import statistics
import time
from dataclasses import dataclass, field

from benchmarks.engines import Engine
from benchmarks.workload import Function

PAUSE_S = 0.06
BLOCK_S = 0.15
MOST_CALLS = 5000


@dataclass
class Candidate:
    """One engine with one workload loaded."""

    engine: Engine
    call: Function
    queued: bool = False  # a GPU is fed without waiting for each result, as a program's loop does
    calls: int = 1
    seconds: list[float] = field(default_factory=list)  # of one call, one entry for each round

    def block(self, calls: int) -> float:
        """Return the seconds that one of ``calls`` calls takes; an output is released before the next call."""
        call, wait = self.call, self.engine.wait
        start = time.perf_counter()
        if self.queued:
            for _ in range(calls - 1):
                call()
            wait(call())
            return (time.perf_counter() - start) / calls
        for _ in range(calls):
            wait(call())
        return (time.perf_counter() - start) / calls

    def calibrate(self) -> None:
        """Choose how many calls a block has."""
        self.block(2)
        self.calls = max(1, min(MOST_CALLS, int(BLOCK_S / self.block(2))))

    def measure(self) -> None:
        """Add one block to the measurements."""
        time.sleep(PAUSE_S)
        self.block(max(1, self.calls // 10))
        self.seconds.append(self.block(self.calls))


def run_rounds(candidates: list[Candidate], rounds: int) -> None:
    """Measure every candidate once in each round, each round starting with another one."""
    for candidate in candidates:
        candidate.calibrate()
    gc.collect()
    # What lives now stays: a collection during one engine's block need not look at the others' objects.
    gc.freeze()
    try:
        for number in range(rounds):
            start = number % max(1, len(candidates))
            for candidate in candidates[start:] + candidates[:start]:
                candidate.measure()
    finally:
        gc.unfreeze()


def ratio(slower: list[float], faster: list[float]) -> float:
    """Return the median over rounds of the quotient within a round."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))
