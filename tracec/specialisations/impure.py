"""Reads that no guard can tell of: the clock, files, the process, the user at the keyboard.

A function that makes one runs eagerly at every call. Files are seen wherever they are opened; the clock and the rest
where the user's own functions name them.
"""

from __future__ import annotations

import functools
import os
import sys
import time
import types
from collections.abc import Callable
from typing import Any

from tracec.ir.number import WATCH
from tracec.specialisations.places import MISSING

_CLOCKS = (
    "clock_gettime", "clock_gettime_ns", "ctime", "gmtime", "localtime", "monotonic", "monotonic_ns", "perf_counter",
    "perf_counter_ns", "process_time", "process_time_ns", "strftime", "thread_time", "thread_time_ns", "time",
    "time_ns",
)  # fmt: skip
_OS = ("cpu_count", "getcwd", "getpid", "listdir", "scandir", "stat", "urandom")

#: What the interpreter itself reads.
_SOURCES = (".py", ".pyc", ".pyi", ".so", ".pyd", ".j2", ".c", ".h", ".cu")


def observe(what: str) -> None:
    """Note, where a function is being recorded in this thread, that it read something."""
    watcher = WATCH.watcher
    if watcher is not None and watcher.observed is None:
        watcher.observed = what


def _told(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        observe(what)
        return function(*args, **kwargs)

    return run


def _module(module: types.ModuleType, names: tuple[str, ...], what: str) -> types.ModuleType:
    made = types.ModuleType(module.__name__, module.__doc__)
    told = {n: _told(getattr(module, n), f"{what}, {module.__name__}.{n}") for n in names if hasattr(module, n)}
    made.__dict__.update({**module.__dict__, **told})
    return made


_TIME = _module(time, _CLOCKS, "the clock")
_PROCESS = _module(os, _OS, "the process")
_INPUT = _told(input, "the keyboard, input")


def told(name: str, value: Any) -> Any:
    """What stands in for a global while a function is recorded, to note reads; None where nothing has to.

    Args:
        name: Its name.
        value: Its value; `MISSING` where it is a builtin.
    """
    if value is time:
        return _TIME
    if value is os:
        return _PROCESS
    if isinstance(value, types.BuiltinFunctionType) and value.__module__ == "time" and value.__name__ in _CLOCKS:
        return _TIME.__dict__[value.__name__]
    if isinstance(value, types.FunctionType) and value.__module__ == "os" and value.__name__ in _OS:
        return _PROCESS.__dict__[value.__name__]
    return _INPUT if value is MISSING and name == "input" else None


@functools.cache
def watch_files() -> None:
    """Note from now on which files are opened while a function is recorded."""
    sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and WATCH.watcher is not None and not str(args[0]).endswith(_SOURCES):
        observe(f"a file, {args[0]}")
