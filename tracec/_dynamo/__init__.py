"""PyTorch's recorder of functions, as programs reach into it: what is asked of it is asked of `tracec.compiler`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tracec._dynamo import config
from tracec.compiler import compile, disable, is_compiling, list_backends, reset
from tracec.errors import name_missing


def optimize(backend: Any = "inductor", *, nopython: bool = False, dynamic: bool | None = None, **_: Any) -> Any:
    """A decorator that compiles a function; the former name of `tracec.compile`."""

    def made(fn: Callable[..., Any]) -> Any:
        return compile(fn, backend=backend, fullgraph=nopython, dynamic=dynamic)

    return made


def explain(f: Callable[..., Any], *extra_args: Any, **extra_kwargs: Any) -> Any:
    """What calls a function and gives what `tracec.compile` would say of that call."""

    def told(*args: Any, **kwargs: Any) -> Any:
        compiled: Any = compile(f)
        compiled(*args, **kwargs)
        return compiled.explain()

    return told(*extra_args, **extra_kwargs) if extra_args or extra_kwargs else told


def mark_dynamic(t: Any, index: Any, **_: Any) -> None:
    """Say that a size changes from call to call.

    Nothing follows from it: a size that is seen to change becomes a symbol.
    """


def mark_static(t: Any, index: Any = None) -> None:
    """Say that a size does not change.

    Nothing follows from it: a size that is not seen to change is compiled as it is.
    """


def mark_static_address(t: Any, guard: bool = True) -> None:
    """Say that a tensor stays where it is.

    Nothing follows from it: what a program takes from outside is asked where it lies.
    """


def allow_in_graph(fn: Any) -> Any:
    """The function as it is: all that it does is recorded."""
    return fn


def graph_break(msg: str = "") -> None:
    """Ask for what comes before and after to be compiled apart.

    Nothing follows from it: what a function does is one program.
    """


__all__ = [
    "allow_in_graph", "config", "disable", "explain", "graph_break", "is_compiling", "list_backends", "mark_dynamic",
    "mark_static", "mark_static_address", "optimize", "reset",
]  # fmt: skip


if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
