"""Compilers as processes: several at once, and none left behind when their caller is interrupted."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import IO, NamedTuple

from tracec.ir.forks import is_unforked, unforked
from tracec.ir.source import warn

#: Those at work, of all threads.
_running: set[subprocess.Popen[bytes]] = set()
#: Those that `end_all` has ended.
_ended: set[subprocess.Popen[bytes]] = set()
#: Seconds to wait, after an interrupt, for processes that are just being started.
_PATIENCE = 5.0
#: Seconds after which it is said that a process takes long; then after twice as many, and so on.
LONG = 60.0
#: Set when the program ends: from then on none is left at work.
_ending = threading.Event()


class Done(NamedTuple):
    """A process that ended.

    Attributes:
        status: Its exit status; negative where a signal ended it.
        log: What it printed.
    """

    status: int
    log: str


def run_all(commands: Sequence[Sequence[str]]) -> list[Done]:
    """Run programs at the same time, until all have ended.

    Where the caller is interrupted, they and what they have started are ended first.
    """
    started = _Started()
    try:
        if threading.current_thread() is threading.main_thread():
            # An interrupt, which comes to this thread, might fall between the start of a process and the note of it.
            _in_thread(started, commands)
        else:
            started.start(commands)
        started.done.wait()
        if started.error is not None:
            raise started.error
        if _ending.is_set():  # some were started while the others were ended
            raise SystemExit("given up")
        _wait(started.processes, commands)
        if _ended.intersection(started.processes):
            raise SystemExit("given up")  # the program ends, and so does this thread
        return [Done(p.returncode, _text(log)) for p, log in zip(started.processes, started.logs, strict=True)]
    except BaseException:
        started.done.wait(_PATIENCE)
        for process in started.processes:
            _end(process)
        raise
    finally:
        _running.difference_update(started.processes)
        _ended.difference_update(started.processes)
        for log in started.logs:
            log.close()


def _in_thread(started: _Started, commands: Sequence[Sequence[str]]) -> None:
    # Who is here from a signal's handler may hold off forks already, and waits for the thread.
    started.keeps_forks_off = not is_unforked()
    thread = threading.Thread(target=started.start, args=(commands,))
    try:
        thread.start()
    except RuntimeError:  # there may be no more threads, or the program ends
        started.start(commands)


def _wait(processes: Sequence[subprocess.Popen[bytes]], commands: Sequence[Sequence[str]]) -> None:
    """Wait for processes, and say so where they take long."""
    start, due = time.monotonic(), LONG
    for process, command in zip(processes, commands, strict=True):
        while not _has_ended(process, max(0.0, start + due - time.monotonic())):
            since, due = due, 2 * due
            warn(
                f"compile: process {process.pid} has not ended after {since:.0f} s, and is waited for: "
                f"{' '.join(command)}",
                now=True,
            )


def _has_ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for a process, at most so many seconds, and tell whether it has ended."""
    try:
        handle = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not Linux, or it is gone
        handle = -1
    try:
        if handle >= 0:
            # `Popen.wait` with a limit looks again and again, and sees an end late.
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            if not poll.poll(seconds * 1000):
                return False
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    finally:
        if handle >= 0:
            os.close(handle)
    return True


class _Started:
    """Processes that were started together, and files that they print to."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.logs: list[IO[bytes]] = []
        self.error: Exception | None = None
        self.keeps_forks_off = True
        self.done = threading.Event()

    def start(self, commands: Sequence[Sequence[str]]) -> None:
        try:
            for command in commands:
                with unforked() if self.keeps_forks_off else nullcontext():
                    self._start(command)
        except Exception as error:
            self.error = error
        finally:
            self.done.set()

    def _start(self, command: Sequence[str]) -> None:
        # A pipe would be one to forked children too.
        log = tempfile.TemporaryFile(prefix="tracec-")  # noqa: SIM115 (it lasts as long as the process)
        self.logs.append(log)
        # In a session of their own, so that all that a compiler starts can be ended together.
        process = subprocess.Popen(
            list(command), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
        )
        self.processes.append(process)
        _running.add(process)


def _text(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")


def end_all() -> None:
    """End the processes of all threads, and the threads with them: the program ends."""
    _ending.set()
    for process in list(_running):
        _ended.add(process)
        _kill(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    _kill(process)
    with suppress(subprocess.TimeoutExpired):  # it waits for a disk that does not answer
        process.wait(_PATIENCE)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is not None:  # its number may be another process's by now
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (OSError, AttributeError):
        process.kill()


def _as_a_child() -> None:
    """A forked child has none of its parent's processes, and may not end them."""
    _running.clear()
    _ended.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_as_a_child)
