"""Better errors for wrong arguments: names the one that a function has failed over, where Python or NumPy do not."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar, cast

import numpy as np

from tracec.errors import ArgumentTypeError, TracecError
from tracec.ir.source import is_internal

F = TypeVar("F", bound=Callable[..., Any])

#: What Python and NumPy raise over an argument that does not fit.
ERRORS = (TypeError, ValueError, AttributeError)


def _is_number(x: Any) -> bool:
    return any(hasattr(type(x), name) for name in ("__float__", "__index__", "__complex__"))


_NUMBER = ("a number", _is_number)
#: What parameters are annotated with → in words, and whether a value goes for one. Numbers go for tensors in many
#: functions.
_KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "Tensor": ("a tensor", lambda x: _is_number(x) or hasattr(type(x), "__array__")),
    "bool": ("True or False", lambda x: hasattr(type(x), "__index__") or isinstance(x, np.bool_)),
    "int": ("an integer", lambda x: hasattr(type(x), "__index__")),
    "float": _NUMBER,
    "Number": _NUMBER,
    "Scalar": _NUMBER,
    "str": ("text", lambda x: isinstance(x, str)),
    "None": ("None", lambda x: x is None),
}


def misfit(
    name: str, own: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any], error: Exception
) -> ArgumentTypeError | None:
    """The error that names the first argument that is not what the function says it takes; None where all are.

    Args:
        name: The function's name.
        own: Its signature, with annotations as text.
        args: What it was called with.
        kwargs: The same by name.
        error: What it raised. What comes from functions that it was given is theirs to tell.
    """
    if isinstance(error, TracecError) or _is_of_user(error.__traceback__):
        return None
    try:
        given = own.bind(*args, **kwargs).arguments
    except TypeError:
        return None
    for parameter, value in given.items():
        kinds = str(own.parameters[parameter].annotation).replace("builtins.", "").split(" | ")
        if own.parameters[parameter].kind in _SEVERAL or any(kind not in _KINDS for kind in kinds):
            continue
        if not any(_KINDS[kind][1](value) for kind in kinds):
            words = " or ".join(dict.fromkeys(_KINDS[kind][0] for kind in kinds))
            return ArgumentTypeError(
                f"{name}: {parameter} must be {words}, {type(value).__name__} given", hint=f"Python says: {error}"
            )
    return None


def telling(function: F, name: str = "") -> F:
    """The function, whose errors name the argument that does not fit.

    Args:
        function: A function, or a method ``__init__``.
        name: What errors call it; by default its name, of a method that of the object's class.
    """

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except ERRORS as error:
            own = inspect.signature(function)
            called = name or (type(args[0]).__name__ if function.__name__ == "__init__" else function.__name__)
            if (told := misfit(called, own, args, kwargs, error)) is None:
                raise
        raise told

    return cast(F, run)


def tell_of_classes(namespace: Mapping[str, Any], names: Iterable[str]) -> None:
    """Let classes of a module be made by `telling` methods, those of the library that they are made of as well."""
    for name in names:
        made = namespace[name]
        for cls in made.__mro__ if isinstance(made, type) else ():
            init: Any = vars(cls).get("__init__")
            if inspect.isfunction(init) and cls.__module__.startswith("tracec.") and not hasattr(init, "__wrapped__"):
                setattr(cls, "__init__", telling(init))  # noqa: B010  (mypy takes an assignment for unsound)


_SEVERAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _is_of_user(traceback: TracebackType | None) -> bool:
    """Whether an error came out of the user's code, which tracec had called."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return False
    file = traceback.tb_frame.f_code.co_filename
    return not is_internal(file) and "numpy" not in traceback.tb_frame.f_globals.get("__name__", "").split(".")
