"""A lock among the threads of a process and the processes of a machine, on a file; for the disk cache."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tracec.ir.forks import free_in_children
from tracec.ir.source import warn

try:
    import fcntl
except ImportError:  # not a POSIX system: threads wait for each other, processes do not
    fcntl = None  # type: ignore[assignment]

#: Seconds to wait for another process; then both do the same, which costs time and nothing else.
PATIENCE = 120.0
#: Seconds between two looks at a file that another process has.
_FIRST, _LONGEST = 0.002, 0.1

# Those of a thread that comes again, from a signal's handler or a finaliser, do not keep it out: it would wait for
# itself.
_guard = threading.RLock()
_threads: dict[str, tuple[Any, int]] = {}


@contextmanager
def exclusive(file: Path) -> Iterator[None]:
    """Within, no other thread or process is within for the same file, as far as can be told.

    Processes wait for each other where the file can be written; the system lets go of it when a process ends. One that
    is stopped is not waited for, nor one that takes longer than `PATIENCE`. Waiting can be interrupted.

    Args:
        file: Made where it is missing, and removed afterwards.
    """
    name = str(file)
    with _guard:
        lock, users = _threads.get(name, (threading.RLock(), 0))
        _threads[name] = lock, users + 1
    try:
        with lock:
            handle = _locked(file)
            try:
                yield
            finally:
                if handle is not None:
                    _unlocked(file, handle)
    finally:
        with _guard:
            lock, users = _threads.pop(name, (lock, 1))  # none in a child that was forked meanwhile
            if users > 1:
                _threads[name] = lock, users - 1


def _locked(file: Path) -> int | None:
    if fcntl is None:
        return None
    until = time.monotonic() + PATIENCE
    while True:
        try:
            handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:
            return None
        try:
            # Who held it before may have removed the file: then others wait at a new one.
            if not _taken(handle, until, file):
                os.close(handle)
                return None
            if os.path.samestat(os.stat(file), os.fstat(handle)):
                with suppress(OSError):  # a full disk
                    os.pwrite(handle, b"%d" % os.getpid(), 0)
                return handle
        except FileNotFoundError:
            pass
        except OSError:  # a file system without locks
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _taken(handle: int, until: float, file: Path) -> bool:
    """Whether a file's lock is this process's now; it is not where another one keeps it for too long."""
    pause = _FIRST
    while True:
        try:
            # A process has it, where flock would give it to every process forked meanwhile too.
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            holder = os.pread(handle, 20, 0).decode(errors="replace")
        if _is_stopped(holder):
            return False
        if time.monotonic() >= until:
            who = f"process {holder}" if holder else "another process"
            warn(f"compile: {who} has held {file} for {PATIENCE:.0f} s; what it makes is made here as well", now=True)
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST)


def _is_stopped(process: str) -> bool:
    """Whether a process was stopped, by Ctrl-Z or a debugger; False where that cannot be told."""
    try:
        state = Path(f"/proc/{int(process)}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return False
    return state[:1] in (["T"], ["t"])


def _unlocked(file: Path, handle: int) -> None:
    try:
        file.unlink()
    except OSError:
        pass
    os.close(handle)


# A forked child has none of the threads that held locks.
free_in_children(_guard)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.clear)
