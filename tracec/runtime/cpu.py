"""The CPU target: rendered C is compiled to a shared object, cached and loaded; and the helper for guards in C."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np

from tracec.errors import CompileError, CompilerMissing
from tracec.ir.forks import unforked
from tracec.ir.plan import LibraryCall, Plan
from tracec.runtime.compiler import Compiler, find_compiler
from tracec.runtime.executable import Executable, Host
from tracec.runtime.pool import Array
from tracec.runtime.threads import Left, threads_of


class Program(Protocol):
    """What `tracec.codegen.c` renders."""

    @property
    def units(self) -> tuple[str, ...]: ...

    @property
    def parts(self) -> tuple[str | LibraryCall, ...]: ...

    @property
    def sizes(self) -> tuple[int, ...]: ...

    @property
    def reals(self) -> tuple[float, ...]: ...


def load(plan: Plan, program: Program, seconds: list[float] | None = None) -> Executable:
    """Compile a rendered plan (or find it in the disk cache) and load it; one of eager rules alone needs no compiler.

    Args:
        plan: The plan.
        program: Its source.
        seconds: Where a call is to put the time that each part takes.

    Raises:
        CompilerMissing: there is no C compiler that works.
        CompileError: the compiler rejects the source.
    """
    if not program.units:
        return Executable(plan, None, program.parts, None, seconds=seconds)
    compiler = find_compiler()
    _load_threads()
    library = compiler.loaded(program.units, ctypes.CDLL)
    threads = threads_of(library)
    if threads is not None and not _set_threads:
        _set_threads.append(threads.set)
    parallel = any("#pragma omp parallel" in unit for unit in program.units)
    tables: list[Array] = []
    if program.sizes or program.reals:
        tables = [np.array(program.sizes, np.int64), np.array(program.reals, np.float64)]
    used = threads if parallel else None
    return Executable(plan, library, program.parts, _host(compiler), used, tables, seconds)


@cache
def _host(compiler: Compiler) -> Host:
    package = Path(__file__).resolve().parent.parent
    folders = (package / "templates", package.parent / "templates")
    source = next(p for p in (f / "c" / "host.c" for f in folders) if p.exists())
    made = compiler.loaded([source.read_text()], Host)
    _hosts.append(made)
    return made


def host() -> Host | None:
    """The compiled helper; None where there is no compiler."""
    try:
        return _host(find_compiler())
    except (CompilerMissing, CompileError):
        return None


#: Rounds that an idle thread spins before it sleeps, some hundred microseconds. The default is several times
#: that, and on a busy machine a thread that spins keeps the one it waits for from running.
_SPIN = "50000"


@cache
def _load_threads() -> None:
    """Load OpenMP's runtime, which reads its settings at that moment, unless the user has chosen them."""
    if os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        return
    with unforked():  # nor does another thread do the same
        os.environ["GOMP_SPINCOUNT"] = _SPIN
        try:
            ctypes.CDLL("libgomp.so.1")
        except OSError:
            pass
        finally:
            del os.environ["GOMP_SPINCOUNT"]


_set_threads: list[Callable[[int], object]] = []
_hosts: list[Host] = []


def _leave_threads_behind() -> None:
    """A forked child has none of its parent's threads, and waiting for them would never end."""
    if _set_threads:
        Left.thread = threading.get_ident()
    for set_threads in _set_threads:
        set_threads(1)
    for made in _hosts:
        made.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_threads_behind)
