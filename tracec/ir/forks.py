"""Forks: what must be whole in a forked child, which has none of the threads of its parent but all that they held."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

#: Held while something is done that a fork may not fall into. By fork as well, which waits for its end.
_whole = threading.RLock()
#: How many modules, one within the other, each thread is importing that asked for a name; changed under the lock.
_importing: dict[int, int] = {}
_gate = threading.RLock()
_changed = threading.Condition(_gate)
#: Threads that run products of BLAS, and whether a fork waits for them; changed under the lock.
_multiplying: set[int] = set()
_forking = False
#: Seconds that a fork waits for what other threads are importing, or multiplying.
_PATIENCE = 5.0
#: Threads, and what undoes what they have put in place of other things.
_put: list[tuple[int, Callable[[], None]]] = []


@contextmanager
def unforked() -> Iterator[None]:
    """Within, no other thread forks this process; for what takes milliseconds.

    A child would inherit the ends of pipes by which a process is being started, and its parent would wait for them
    to be closed; or locks of the C library that nobody is left to let go of.
    """
    with _whole:
        yield


def is_unforked() -> bool:
    """Whether the caller's thread is within `unforked`."""
    return _whole._is_owned()  # type: ignore[attr-defined, no-any-return]


def imported(name: str) -> ModuleType:
    """A module that is imported when one of its names is asked for; no other thread forks this process meanwhile.

    A child would wait for ever for the thread that imports it, which it does not have. Nothing is held meanwhile: other
    threads may have to import something first.

    Args:
        name: Its full name.
    """
    module = sys.modules.get(name)
    if module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False):
        return module
    me = threading.get_ident()
    with _gate:
        _importing[me] = _importing.get(me, 0) + 1
    try:
        return importlib.import_module(name)
    finally:
        with _gate:
            _importing[me] -= 1
            if not _importing[me]:
                del _importing[me]
                _changed.notify_all()


class Multiplying:
    """Within, a product of BLAS may run on its threads; no fork comes meanwhile, and none begins where one comes.

    OpenBLAS ends its threads at a fork. One that is at work misses that, and is waited for until it ends: for ever.
    """

    def __enter__(self) -> None:
        with _gate:
            while _forking:
                _changed.wait()
            _multiplying.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with _gate:
            _multiplying.discard(threading.get_ident())
            if _forking:
                _changed.notify_all()


MULTIPLYING = Multiplying()


@contextmanager
def undone(undo: Callable[[], None]) -> Iterator[None]:
    """Undo afterwards what is put in place of other things within; so does a child that another thread forks.

    Args:
        undo: Undoes it; may find that not all of it is there, or no more.
    """
    entry = threading.get_ident(), undo
    _put.append(entry)
    try:
        yield
    finally:
        undo()
        _put.remove(entry)


def undo_rest() -> None:
    """Undo what this thread has put in place of other things, and could not undo: an interrupt came meanwhile."""
    for entry in [e for e in reversed(_put) if e[0] == threading.get_ident()]:
        entry[1]()
        _put.remove(entry)


def free_in_children(lock: Any) -> None:
    """Let a lock, or what is made of locks, be free in forked children, unless the thread that forks holds it.

    Args:
        lock: One of `threading`; it lasts as long as the process.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _free(lock))


def _free(lock: Any) -> None:
    owned = getattr(lock, "_is_owned", None)
    if owned is None or not owned():
        lock._at_fork_reinit()


def _before() -> None:
    global _forking
    me = {threading.get_ident()}
    _whole.acquire()
    _gate.acquire()
    _changed.wait_for(lambda: not _importing.keys() - me, _PATIENCE)
    _forking = True
    _changed.wait_for(lambda: not _multiplying - me, _PATIENCE)


def _as_the_parent() -> None:
    global _forking
    _forking = False
    _changed.notify_all()
    _gate.release()
    _whole.release()


def _as_a_child() -> None:
    me = threading.get_ident()
    for thread in _importing.keys() - {me}:
        del _importing[thread]
    _multiplying.intersection_update({me})
    _as_the_parent()
    for thread, undo in reversed(_put):
        if thread != threading.get_ident():
            undo()
    _put[:] = [entry for entry in _put if entry[0] == threading.get_ident()]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_as_the_parent, after_in_child=_as_a_child)
