"""What this is made of, in words, as programs print it: the names of ``torch.__config__``."""

from __future__ import annotations

import importlib.metadata
import os
import platform

from tracec.settings import get_num_threads
from tracec.version import __version__

_LIBRARIES = ("numpy", "ml_dtypes", "cupy-cuda13x", "cupy-cuda12x")


def show() -> str:
    """Versions of this library, of Python and of what arrays are made with, a line each."""
    lines = [f"tracec {__version__}, on Python {platform.python_version()}, {platform.machine()}"]
    return "".join(f"{line}\n" for line in (*lines, *(f"  - {name} {found}" for name, found in _installed())))


def _installed() -> list[tuple[str, str]]:
    found = []
    for name in _LIBRARIES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def parallel_info() -> str:
    """How many threads programs run on, and how many cores there are."""
    return f"threads of a program: {get_num_threads()}\ncores of this machine: {os.cpu_count()}\n"


__all__ = ["parallel_info", "show"]
