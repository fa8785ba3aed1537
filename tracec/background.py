"""Threads that compile while their programs' functions still run eagerly."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable

from tracec.runtime.processes import end_all

#: Compilations at the same time; more would take the processor from the calls that run meanwhile.
_MOST = max(1, min(4, (os.cpu_count() or 2) - 1))


class Job:
    """Something to be done.

    Args:
        run: What to do; it takes care of its errors itself.
    """

    def __init__(self, run: Callable[[], None]) -> None:
        self.run = run
        self.done = threading.Event()


class Turn:
    """Lets one job at a time do something; a forked child, which has none of the threads, finds nobody at it."""

    _all: weakref.WeakSet[Turn] = weakref.WeakSet()

    def __init__(self) -> None:
        self._lock = threading.Lock()
        Turn._all.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @classmethod
    def give_up_all(cls) -> None:
        """Let nobody be at anything."""
        for turn in cls._all:
            turn._lock = threading.Lock()


class _Workers:
    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.queue: deque[Job] = deque()
        self.unfinished: dict[Job, None] = {}
        self.threads: list[threading.Thread] = []
        self.idle = 0
        self.closing = False

    def submit(self, job: Job) -> None:
        with self.changed:
            if self.closing:
                return
            self.queue.append(job)
            self.unfinished[job] = None
            if self.idle < len(self.queue) and len(self.threads) < _MOST:
                self.start()
            self.changed.notify()

    def start(self) -> None:
        # As a daemon: a program that ends does not wait for what it will not use.
        thread = threading.Thread(target=self.work, name="tracec-compile", daemon=True)
        self.threads.append(thread)
        thread.start()

    def work(self) -> None:
        while True:
            with self.changed:
                self.idle += 1
                while not self.queue and not self.closing:
                    self.changed.wait()
                self.idle -= 1
                if self.closing:
                    return
                job = self.queue.popleft()
            try:
                job.run()
            except Exception:  # such as a warning that the user's filters make an error
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
            finally:
                job.done.set()  # before nobody knows of it: a child may be forked in between
                with self.changed:
                    self.unfinished.pop(job, None)

    def close(self) -> None:
        with self.changed:
            self.closing = True
            self.queue.clear()
            self.changed.notify_all()
        end_all()
        for thread in self.threads:  # so that they remove their temporary files
            thread.join(2.0)


_workers = _Workers()


def submit(run: Callable[[], None]) -> Job:
    """Have something done in the background; when the program ends, it is given up."""
    job = Job(run)
    _workers.submit(job)
    return job


def resume() -> None:
    """Let a forked child do what its parent's threads had not done; it begins when it asks for something of that."""
    with _workers.changed:
        if _workers.queue and not _workers.threads:
            for _ in range(min(_MOST, len(_workers.queue))):
                _workers.start()


def _as_a_child() -> None:
    """A forked child has none of the threads: it does itself what they have not done, unless it does not need that."""
    global _workers
    Turn.give_up_all()
    unfinished = [job for job in _workers.unfinished if not job.done.is_set()]
    _workers = _Workers()
    for job in unfinished:
        job.done = threading.Event()
        _workers.queue.append(job)
        _workers.unfinished[job] = None


def _close() -> None:
    _workers.close()


atexit.register(_close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_as_a_child)
