"""How many threads a program runs on: one, or all, whichever its own calls show to be faster.

A step of many small kernels waits for its threads at the end of each. On a machine with nothing else to do
that costs microseconds; where other programs keep a core busy it costs scheduler quanta, and one thread is
many times faster. No estimate made beforehand tells the two apart, so calls are timed. One thread takes about
as long whatever else runs, so what it took once tells when all threads are slower, within a call or a few;
whether they are faster again is found by trying, soon at first and then more and more seldom.
Results do not depend on it: how sums are split is fixed in the program.
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
#: Calls on all threads between those that one thread is timed by again.
_AGAIN = 100
#: Calls in a row on all threads, none of which let them be left, that a disturbance counts as over after.
_SETTLED = 8
#: All threads are faster when a trial takes less than so much of the time of one.
_FASTER = 0.9
#: Times that one thread takes for a call, which calls on all threads may together take more before they are left.
_MOST = 3
#: On one thread, the time until all are tried again is so many times what the trial costs more than a call on one: at
#: first, and at most, where trial after trial was slower. There are no more than `_FEW` calls where that is little.
_FIRST, _LONGEST = 8, 100
_FEW = 16


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

    Several threads may call a program at once; what is mixed up then is no more than times.

    Args:
        most: Number of threads when all are used.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._times: dict[int, deque[float]] = {n: deque(maxlen=_KEPT) for n in (most, 1)}
        self._best = most
        self._calls = -1
        self._lost = 0.0  # seconds that calls on all threads have lately taken more than those on one
        self._since = 0  # calls since all threads were taken
        self._pause = 1.0  # calls on one thread between two trials of all
        self._left = 0.0  # such calls until the next

    def next(self) -> int:
        """The number of threads for the next call."""
        if Asked.count is not None:
            return Asked.count
        self._calls += 1
        if self._calls < 2 * _TRIALS + 1:
            return self.most if self._calls % 2 == 0 else 1
        if self._best == 1:
            self._left -= 1
            return 1 if self._left >= 0 else self.most
        return 1 if self._calls % _AGAIN == 0 else self.most

    def note(self, threads: int, seconds: float) -> None:
        """Take the time of a call into account; that of the very first, which loads pages, is left out."""
        if self._calls <= 0 or threads not in self._times:
            return
        times, one = self._times[threads], self._median(1)
        if self._best == 1 and threads != 1 and seconds < _FASTER * one:
            times.clear()  # they are of when something else was running
            self._best, self._since, self._lost = self.most, 0, 0.0
        times.append(seconds)
        if self._calls < 2 * _TRIALS or threads == 1:
            return
        self._lost = max(0.0, self._lost + seconds - one)
        self._since += 1
        slower = self._calls == 2 * _TRIALS and self._median(threads) > one
        if self._best == 1 or slower or self._lost > _MOST * one:
            self._leave(seconds, one)

    def _leave(self, seconds: float, one: float) -> None:
        """Go on on one thread, after a call on all of them took so long: for some calls, then for twice as many."""
        if self._best != 1 and self._since >= _SETTLED:
            self._pause = 1.0
        more = seconds / max(one, 1e-9) - 1
        self._pause = min(max(2 * self._pause, _FIRST * more), max(_LONGEST * more, _FEW))
        self._best, self._left, self._lost = 1, self._pause, 0.0

    def _median(self, threads: int) -> float:
        """The usual time; endless where no call has ended yet, as where other threads are still in theirs."""
        times = list(self._times[threads])
        return median(times) if times else float("inf")


#: The choices of loaded programs, by their files, and how much the first of each file has to do.
_CHOICES: dict[str, tuple[ThreadChoice, int]] = {}
_MOST_KEPT = 256


class Threads:
    """OpenMP's runtime, as a loaded program sees it.

    Args:
        library: A program that may use OpenMP.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._name = library._name
        self._set = library.omp_set_num_threads
        self._set.argtypes, self._set.restype = [ctypes.c_int], None
        self._most = library.omp_get_max_threads
        self._most.argtypes, self._most.restype = [], ctypes.c_int

    def set(self, count: int) -> None:
        """Let loops that this thread begins run on so many threads; on one where it has none beside it."""
        self._set(1 if Left.thread == get_ident() else count)

    def choice(self, work: int) -> tuple[ThreadChoice, float] | None:
        """A choice to make, and of what its times are taken for one; None where there is but one thread.

        The same code for other sizes makes one choice together: sizes may be others at each call, and then there would
        be no second call to learn from. Times are as if all were of the first one's size.

        Args:
            work: How much a call has to do, beside others of the same code.
        """
        most = int(self._most())
        if most == 1:
            return None
        found = _CHOICES.pop(self._name, None)
        if found is None or found[0].most != most:
            found = ThreadChoice(most), work
        _CHOICES[self._name] = found
        if len(_CHOICES) > _MOST_KEPT:
            _CHOICES.pop(next(iter(_CHOICES)), None)
        return found[0], found[1] / max(work, 1)


def threads_of(library: ctypes.CDLL) -> Threads | None:
    """OpenMP's runtime, where the program was linked with it."""
    return Threads(library) if hasattr(library, "omp_set_num_threads") else None
