"""How many threads a program runs on: one, or all, whichever its own calls show to be faster.

A step of many small kernels waits for its threads at the end of each. On a machine with nothing else to do
that costs microseconds; where other programs keep a core busy it costs scheduler quanta, and one thread is
many times faster. No estimate made beforehand tells the two apart, so calls are timed, and now and then the
other choice is tried again. Results do not depend on it: how sums are split is fixed in the program.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from statistics import median
from threading import get_ident

#: Calls that either choice is timed for before the first decision, and that are remembered.
_TRIALS = 3
_KEPT = 5
#: Calls between trials of the other choice; each such trial costs one call at its speed.
_AGAIN = 50


class Asked:
    """What `tracec.set_num_threads` was given.

    Attributes:
        count: Threads to run on; None leaves it to each program.
    """

    count: int | None = None


def most() -> int:
    """The most threads that a program runs on."""
    return Asked.count or len(
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )


class Left:
    """What a fork left behind.

    Attributes:
        thread: The one that goes on in a forked child. Its loops would wait for ever for the threads that its parent's
            loops ran on, which the child does not have; threads that the child starts have others.
    """

    thread: int | None = None


class ThreadChoice:
    """Chooses between one thread and all of them by timing.

    Args:
        most: Number of threads when all are used.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._times: dict[int, deque[float]] = {n: deque(maxlen=_KEPT) for n in (most, 1)}
        self._best = most
        self._calls = -1

    def next(self) -> int:
        """The number of threads for the next call."""
        if Asked.count is not None:
            return Asked.count
        self._calls += 1
        if self._calls < 2 * _TRIALS + 1:
            return self.most if self._calls % 2 == 0 else 1
        if self._calls % _AGAIN == 0:
            other = 1 if self._best == self.most else self.most
            # What was many times slower is tried seldom.
            ratio = self._median(other) / max(self._median(self._best), 1e-9)
            if ratio < 4 or self._calls % (20 * _AGAIN) == 0:
                return other
        return self._best

    def note(self, threads: int, seconds: float) -> None:
        """Take the time of a call into account; that of the very first, which loads pages, is left out."""
        if self._calls <= 0 or threads not in self._times:
            return
        self._times[threads].append(seconds)
        if self._calls >= 2 * _TRIALS:
            self._best = min(self._times, key=self._median)

    def _median(self, threads: int) -> float:
        """The usual time; endless where no call has ended yet, as where other threads are still in theirs."""
        times = list(self._times[threads])
        return median(times) if times else float("inf")


class Threads:
    """OpenMP's runtime, as a loaded program sees it.

    Args:
        library: A program that may use OpenMP.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._set = library.omp_set_num_threads
        self._set.argtypes, self._set.restype = [ctypes.c_int], None
        self._most = library.omp_get_max_threads
        self._most.argtypes, self._most.restype = [], ctypes.c_int

    def set(self, count: int) -> None:
        """Let loops that this thread begins run on so many threads; on one where it has none beside it."""
        self._set(1 if Left.thread == get_ident() else count)

    def choice(self) -> ThreadChoice | None:
        """A choice to make; None where there is but one thread."""
        most = int(self._most())
        return ThreadChoice(most) if most > 1 else None


def threads_of(library: ctypes.CDLL) -> Threads | None:
    """OpenMP's runtime, where the program was linked with it."""
    return Threads(library) if hasattr(library, "omp_set_num_threads") else None
