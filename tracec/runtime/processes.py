"""Compilers as processes: several at once, and none left behind when their caller is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import NamedTuple

#: Those at work, of all threads.
_running: set[subprocess.Popen[bytes]] = set()
#: Those that `end_all` has ended.
_ended: set[subprocess.Popen[bytes]] = set()
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
    running: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            # In a session of their own, so that all that a compiler starts can be ended together.
            process = subprocess.Popen(
                list(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            running.append(process)
            _running.add(process)
            if _ending.is_set():  # it was started while the others were ended
                raise SystemExit("given up")
        logs = [process.communicate()[0].decode(errors="replace") for process in running]
        if _ended.intersection(running):
            raise SystemExit("given up")  # the program ends, and so does this thread
        return [Done(process.returncode, log) for process, log in zip(running, logs, strict=True)]
    except BaseException:
        for process in running:
            _end(process)
        raise
    finally:
        _running.difference_update(running)
        _ended.difference_update(running)


def end_all() -> None:
    """End the processes of all threads, and the threads with them: the program ends."""
    _ending.set()
    for process in list(_running):
        _ended.add(process)
        _kill(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    _kill(process)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is not None:  # its number may be another process's by now
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (OSError, AttributeError):
        process.kill()
