"""Whose code something is: the user's, which is walked and guarded, or an installed library's, which is not."""

from __future__ import annotations

import functools
import os
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

from tracec.beside import Alias


def tell_of(file: Any) -> Callable[[], int] | None:
    """What tells where a file is that can be written and not read; None for others."""
    if any(file is s for s in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)):
        return None  # what is printed is seen otherwise
    try:
        if file.readable() or not file.seekable():
            return None
        file.tell()
    except (OSError, ValueError):  # it is closed
        return None
    tell: Callable[[], int] = file.tell
    return tell


def referred(proxy: Any) -> Callable[[], Any]:
    """What gives what a weak proxy stands for; None where that is gone."""
    try:
        return weakref.ref(proxy.__reduce__.__self__)
    except ReferenceError:
        return lambda: None


def of_library(module: Any) -> bool:
    """Whether a module is none whose state changes what the user's functions of tensors do."""
    if module is not None and not isinstance(module, str):  # classes of C code may have anything there
        return True
    top = (module or "").partition(".")[0]
    return top != "__main__" and (top in ("tracec", "numpy") or top in sys.stdlib_module_names or _is_foreign(top))


def is_of_library(fn: types.FunctionType) -> bool:
    """Whether a function is a library's, and decorates none of the user's: each wears the module of what it wraps."""
    return of_library(fn.__module__) and of_library(fn.__globals__.get("__name__"))


@functools.cache
def _is_foreign(top: str) -> bool:
    """Whether a package is installed, rather than being worked on, and none of its modules names tracec."""
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    if not {"site-packages", "dist-packages"} & {*file.split(os.sep)}:
        return False
    own = sys.modules["tracec"]
    loaded = [
        m
        for name, m in list(sys.modules.items())
        if (name == top or name.startswith(f"{top}.")) and not isinstance(m.__dict__.get("__loader__"), Alias)
    ]
    return not any(v is own or _module_of(v) == "tracec" for m in loaded for v in list(vars(m).values()))


def made_later(module: types.ModuleType) -> frozenset[str]:
    """Names of the library's that are there only when they are asked for; what is asked for then may be replaced."""
    return _names_of() - module.__dict__.keys() if module.__name__ == "tracec" else frozenset()


@functools.cache
def _names_of() -> frozenset[str]:
    return frozenset(dir(sys.modules["tracec"])) - {"default_generator"}


def _module_of(value: Any) -> str:
    """The package that a function, class or module says it is of."""
    name = value.__dict__.get("__name__") if isinstance(value, types.ModuleType) else None
    if isinstance(value, (type, types.FunctionType)):
        name = value.__module__
    return name.partition(".")[0] if isinstance(name, str) else ""
