"""One at a time: among the threads of a process, and among the processes of a machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tracec.ir.forks import free_in_children

try:
    import fcntl
except ImportError:  # not a POSIX system: threads wait for each other, processes do not
    fcntl = None  # type: ignore[assignment]

_guard = threading.Lock()
_threads: dict[str, tuple[threading.Lock, int]] = {}


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Within, no other thread or process is within for the same file.

    Processes wait for each other where the file can be written; the system lets go of it when a process ends. Waiting
    can be interrupted.

    Args:
        file: Made where it is missing, and removed afterwards.
    """
    name = str(file)
    with _guard:
        lock, users = _threads.get(name, (threading.Lock(), 0))
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
            lock, users = _threads[name]
            if users == 1:
                del _threads[name]
            else:
                _threads[name] = lock, users - 1


def _locked(file: Path) -> int | None:
    if fcntl is None:
        return None
    while True:
        try:
            handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError:
            return None
        try:
            # A process has it, where flock would give it to every process forked meanwhile too.
            fcntl.lockf(handle, fcntl.LOCK_EX)
            # Who held it before may have removed the file: then others wait at a new one.
            if os.path.exists(file) and os.path.samestat(os.stat(file), os.fstat(handle)):
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
