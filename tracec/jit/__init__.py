"""Marks for PyTorch's older compiler, under the names of ``torch.jit``: functions and modules pass as they are.

What is scripted there is Python here, and means the same; `tracec.compile` makes it fast.
"""

from __future__ import annotations

import builtins
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tracec.errors import UnsupportedError, name_missing
from tracec.nn.module import Module as ScriptModule

T = TypeVar("T")

__all__ = [
    "Final", "ScriptModule", "TracerWarning", "annotate", "export", "freeze", "ignore", "interface", "is_scripting",
    "is_tracing", "isinstance", "load", "optimize_for_inference", "save", "script", "script_if_tracing",
    "script_method", "trace", "trace_module", "unused",
]  # fmt: skip


class TracerWarning(Warning):
    """PyTorch's warning of values that a trace keeps as they were; programs filter it by name. Nothing warns so."""


def script(obj: T, *_: Any, **__: Any) -> T:
    """The function, class or module as it is."""
    return obj


def trace(func: T, *_: Any, **__: Any) -> T:
    """The function or module as it is: it goes on to follow the values that it is given."""
    return func


def trace_module(mod: T, inputs: Any, *_: Any, **__: Any) -> T:
    """The module as it is."""
    return mod


def script_method(fn: T) -> T:
    """The method as it is."""
    return fn


def script_if_tracing(fn: T) -> T:
    """The function as it is."""
    return fn


def export(fn: T) -> T:
    """The method as it is."""
    return fn


def _overload(func: T) -> T:
    """The function as it is: a signature that a compiler would choose by types."""
    return func


def _overload_method(func: T) -> T:
    """The method as it is."""
    return func


def interface(obj: T) -> T:
    """The class as it is."""
    return obj


def unused(fn: T) -> T:
    """The function as it is: what calls it may do so."""
    return fn


def ignore(drop: Any = False, **_: Any) -> Any:
    """The function as it is; without one, what gives it."""
    return drop if callable(drop) else script


def annotate(the_type: Any, the_value: T) -> T:
    """The value."""
    return the_value


def isinstance(obj: Any, target_type: Any) -> bool:
    """Whether an object is of a class, or of one of several."""
    return builtins.isinstance(obj, target_type)


def is_scripting() -> bool:
    """Whether the function is being scripted: no."""
    return False


def is_tracing() -> bool:
    """Whether the function is being traced: no."""
    return False


def freeze(mod: T, *_: Any, **__: Any) -> T:
    """The module as it is."""
    return mod


def optimize_for_inference(mod: T, *_: Any, **__: Any) -> T:
    """The module as it is."""
    return mod


def save(m: Any, f: Any, *_: Any, **__: Any) -> None:
    """Scripts are no files here.

    Raises:
        UnsupportedError: always.
    """
    raise UnsupportedError(
        "jit.save: a module's code cannot be written to a file", hint="save(model.state_dict(), file) keeps its values"
    )


def load(f: Any, *_: Any, **__: Any) -> Any:
    """Scripts are no files here.

    Raises:
        UnsupportedError: always.
    """
    raise UnsupportedError(
        "jit.load: code is not read from files",
        hint="make the model in Python, and load its values with model.load_state_dict(load(file))",
    )


if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
