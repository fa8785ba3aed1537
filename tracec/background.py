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
    """Lets one job at a time do something; a forked child, which has none of the threads, finds nobody at it.

    Attributes:
        lock: To be held meanwhile, by a ``with`` of its own: an interrupt would come between a call here that takes it
            and what lets go of it.
    """

    _all: weakref.WeakSet[Turn] = weakref.WeakSet()

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a signal's handler may come again
        Turn._all.add(self)

    @classmethod
    def give_up_all(cls) -> None:
        """Let nobody be at anything."""
        for turn in cls._all:
            turn.lock = threading.RLock()


class _Workers:
    def __init__(self) -> None:
        # Held by a ``with`` of its own, as the lock of a turn.
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.queue: deque[Job] = deque()
        self.unfinished: dict[Job, None] = {}
        self.threads: list[threading.Thread] = []
        self.idle = 0
        self.closing = False

    def submit(self, job: Job) -> None:
        with self.lock:
            if self.closing:
                job.done.set()  # given up
                return
            self.queue.append(job)
            self.unfinished[job] = None
            if self.idle >= len(self.queue) or len(self.threads) >= _MOST or self.start() or self.threads:
                self.changed.notify()
                return
        self.do_next()

    def start(self) -> bool:
        """Start a thread, and tell whether there can be one more."""
        # As a daemon: a program that ends does not wait for what it will not use.
        thread = threading.Thread(target=self.work, name="tracec-compile", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self.threads.append(thread)
        return True

    def work(self) -> None:
        while True:
            with self.lock:
                self.idle += 1
                while not self.queue and not self.closing:
                    self.changed.wait()
                self.idle -= 1
                if self.closing:
                    return
            self.do_next()

    def do_next(self) -> None:
        """Do what has waited longest, if anything does."""
        with self.lock:
            if not self.queue:
                return
            job = self.queue.popleft()
        try:
            job.run()
        except Exception:  # such as a warning that the user's filters make an error
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
        finally:
            job.done.set()  # before nobody knows of it: a child may be forked in between
            with self.lock:
                self.unfinished.pop(job, None)

    def close(self) -> None:
        with self.lock:
            self.closing = True
            for job in self.queue:
                job.done.set()  # given up: others may be waiting for it
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
    with _workers.lock:
        if _workers.queue and not _workers.threads:
            for _ in range(min(_MOST, len(_workers.queue))):
                _workers.start()
    while _workers.queue and not _workers.threads:  # no thread can be started
        _workers.do_next()


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
