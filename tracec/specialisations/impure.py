"""Reads that no guard can tell of: the clock, files, the process, the network, the user at the keyboard.

A function that makes one runs eagerly at every call. While it is recorded, others stand in for the functions that read:
where the user's code names them, and in the modules that library code finds them in. What is opened, listed or started
is seen by the interpreter's audit events. A replay pays for none of this.
"""

from __future__ import annotations

import functools
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from tracec.ir.call_hook import put_back_hook
from tracec.ir.number import WATCH, observe
from tracec.specialisations.garbage import INSTEAD
from tracec.specialisations.origins import of_library
from tracec.specialisations.places import Place


class Source(NamedTuple):
    """What functions of a module read.

    Attributes:
        what: In words.
        functions: Their names.
        within: Reads of library code that the user's calls count too: they show in what it gives.
    """

    what: str
    functions: tuple[str, ...]
    within: bool = True


_SOURCES = {
    "time": Source("the clock", (
        "clock_gettime", "clock_gettime_ns", "ctime", "gmtime", "localtime", "monotonic", "monotonic_ns",
        "perf_counter", "perf_counter_ns", "process_time", "process_time_ns", "sleep", "strftime", "thread_time",
        "thread_time_ns", "time", "time_ns",
    ), False),
    "os": Source("the process", (
        "access", "cpu_count", "getcwd", "getlogin", "getpid", "getppid", "getloadavg", "listdir", "popen", "read",
        "scandir", "stat", "system", "times", "urandom", "walk",
    )),
    "posixpath": Source("the file system", (
        "exists", "getatime", "getctime", "getmtime", "getsize", "isdir", "isfile",
    )),
    "random": Source("random bytes of the system", ("_urandom",)),
    "gc": Source("the interpreter", (
        "collect", "disable", "enable", "freeze", "get_count", "get_debug", "get_freeze_count", "get_objects",
        "get_referrers", "get_stats", "get_threshold", "isenabled", "set_debug", "set_threshold", "unfreeze",
    ), False),
    "sys": Source("the interpreter", (
        "get_int_max_str_digits", "getallocatedblocks", "getprofile", "getrecursionlimit", "getrefcount",
        "getswitchinterval", "gettrace",
        "setrecursionlimit", "setswitchinterval",
    ), False),
    "weakref": Source("the interpreter", ("getweakrefcount", "getweakrefs"), False),
    "tracemalloc": Source("the interpreter", ("get_traced_memory", "is_tracing", "take_snapshot"), False),
    "locale": Source("the process", ("getlocale", "localeconv", "setlocale"), False),
    "signal": Source("the process", ("getitimer", "getsignal", "signal"), False),
    "shutil": Source("the file system", ("disk_usage", "get_terminal_size", "which"), False),
    "numpy": Source("the state of NumPy", (
        "geterr", "geterrcall", "get_printoptions", "seterr", "seterrcall", "set_printoptions",
    ), False),
    "importlib": Source("a module by its name", ("import_module", "reload")),
    "threading": Source("the thread", (
        "active_count", "current_thread", "enumerate", "get_ident", "get_native_id", "start_new_thread",
    ), False),
    "uuid": Source("random bytes of the system", ("getnode", "uuid1", "uuid4")),
    "secrets": Source("random bytes of the system", (
        "choice", "randbelow", "randbits", "token_bytes", "token_hex", "token_urlsafe",
    )),
    "tempfile": Source("the file system", ("mkdtemp", "mkstemp", "mktemp", "gettempdir")),
    "socket": Source("the network", ("create_connection", "getaddrinfo", "gethostbyname", "gethostname")),
    "subprocess": Source("another process", ("call", "check_call", "check_output", "getoutput", "run")),
    "getpass": Source("the keyboard", ("getpass", "getuser")),
    "resource": Source("the process", ("getrusage",)),
    "builtins": Source("the keyboard", ("input",)),
}  # fmt: skip
#: Functions in C that go by the frame that calls them, or belong to classes in C: their calls are seen where any code
#: names them.
CALLS = {
    "eval": "what eval names", "exec": "what exec names", "globals": "variables by their names, globals()",
    "__import__": "a module by its name, __import__", "_getframe": "the frames of functions, sys._getframe",
    "now": "the clock, datetime.now", "today": "the clock, datetime.today", "utcnow": "the clock, datetime.utcnow",
}  # fmt: skip
#: Names that lead to them.
_LEADING = {*CALLS, "currentframe", "stack", "trace"}
_THREAD = "another thread, threading.Thread.start"
_EVENTS = {
    "open": "a file", "os.listdir": "the file system", "os.scandir": "the file system", "os.system": "another process",
    "os.posix_spawn": "another process", "subprocess.Popen": "another process", "socket.__new__": "the network",
    "socket.connect": "the network", "sqlite3.connect": "a data base",
    **dict.fromkeys(("os.chdir", "os.chmod", "os.kill", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir",
                     "os.symlink", "os.truncate"), "the file system, or the process"),
}  # fmt: skip

#: Modules that read for the interpreter, or what does not show, and those of the library that read for users.
_OF_THE_INTERPRETER = (
    "importlib", "_frozen_importlib", "linecache", "logging", "tokenize", "traceback", "warnings", "zipimport",
)  # fmt: skip
_FOR_USERS = ("tracec.serialization", "tracec.utils", "tracec.io")


@functools.cache
def _told(function: Callable[..., Any], what: str, within: bool) -> Callable[..., Any]:
    """A function that notes what it reads for the user's code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if WATCH.watcher is not None:
            caller = sys._getframe(1)
            if _is_of_user(caller) if within else not of_library(caller.f_globals.get("__name__")):
                observe(what)
        return INSTEAD.get(function, function)(*args, **kwargs)

    return run


def _is_of_user(frame: types.FrameType | None) -> bool:
    """Whether what is being read is read for the user's code, rather than by the interpreter or the library itself."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        top = name.partition(".")[0]
        if top in _OF_THE_INTERPRETER or (top == "tracec" and not name.startswith((*_FOR_USERS, __name__))):
            return False
        if not of_library(name):
            return True
        frame = frame.f_back
    return False


@functools.cache
def _unseeded(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        # NumPy's generators call it a seed, and its sequences of seeds entropy.
        if (args[0] if args else kwargs.get("seed", kwargs.get("entropy"))) is None:
            observe("random bytes of the system, np.random without a seed")
        return function(*args, **kwargs)

    return run


def told(value: Any) -> Any:
    """What stands in for a function that the user's code names; None where nothing has to."""
    found = _source_of(value)
    return None if found is None else _told(value, *found)


def reads(value: Any) -> str | None:
    """What a function reads that no guard can tell of, in words; None for others."""
    if value is id or value is hash:
        return f"the address of an object, {value.__name__}"
    found = _source_of(value)
    return None if found is None else found[0]


def _source_of(value: Any) -> tuple[str, bool] | None:
    if not isinstance(value, (types.FunctionType, types.BuiltinFunctionType)):
        return None
    module = {"posix": "os", "genericpath": "posixpath", "_thread": "threading"}.get(value.__module__, value.__module__)
    source = _SOURCES.get(module)
    if source is None or value.__name__ not in source.functions:
        return None
    return f"{source.what}, {module}.{value.__name__}", source.within


def within() -> list[tuple[Place, Any, Any]]:
    """Functions in modules that others stand in for while a function is recorded: places, these, and the others."""
    found = []
    for module, source in _SOURCES.items():
        names = vars(sys.modules[module]) if module in sys.modules else {}
        for name in source.functions:
            if name in names:
                stand_in = _told(names[name], f"{source.what}, {module}.{name}", source.within)
                found.append((Place(names, name), names[name], stand_in))
    threads = vars(threading)
    for name in ("_start_new_thread", "_start_joinable_thread"):  # by the version of Python
        if name in threads:
            found.append((Place(threads, name), threads[name], _told(threads[name], _THREAD, True)))
    random = np.random.__dict__
    unseeded = [(Place(random, n), random[n], _unseeded(random[n])) for n in ("default_rng", "SeedSequence")]
    return [*found, *unseeded]


@contextmanager
def calls_seen(names: Iterable[Iterable[str]], held: Mapping[Any, str]) -> Iterator[None]:
    """Within, calls of functions that read what no guard tells of are noted.

    Args:
        names: The names in each piece of code; nothing is done where none of these leads to such a function.
        held: Functions, or the code of those in Python, that are held where nothing can stand in for them, and what
            they read.
    """
    if not held and not any(name in _LEADING for some in names for name in some):
        yield
        return

    def note(frame: types.FrameType, event: str, function: Any) -> None:
        # At every call and return of what is recorded: most are left by one look at a table.
        if event == "call":
            found = held.get(frame.f_code)
            if found is None:
                return
            frame = frame.f_back or frame
        elif event == "c_call":
            found = held.get(function) if isinstance(function, types.BuiltinFunctionType) else None
        else:
            return
        if found is not None and not of_library(frame.f_globals.get("__name__")):
            observe(found)
        if event == "c_call" and function.__name__ in CALLS:
            _note_call(frame, function)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        put_back_hook(before)


def _note_call(frame: types.FrameType, function: Any) -> None:
    what = CALLS[function.__name__]
    module = function.__self__.__module__ if isinstance(function.__self__, type) else function.__module__
    caller: Any = frame
    while caller.f_globals.get("__name__") == "inspect":
        caller = caller.f_back
    if module in ("builtins", "sys", "datetime") and not of_library(caller.f_globals.get("__name__")):
        observe(what)


@functools.cache
def watch_files() -> None:
    """Note from now on which files are opened, processes started and the like while a function is recorded."""
    sys.addaudithook(_audit)


def _audit(event: str, args: tuple[Any, ...], events: dict[str, str] = _EVENTS, watch: Any = WATCH) -> None:
    what = events.get(event)  # by way of an argument: when the interpreter ends, globals are gone before hooks
    if what is not None and watch.watcher is not None and _is_of_user(sys._getframe(1)):
        observe(f"{what}, {args[0]}" if event == "open" else f"{what}, {event}")
