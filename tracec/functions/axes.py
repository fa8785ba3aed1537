"""Functions over one, two and three spatial axes, which are written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def over_axes(common: Callable[Concatenate[str, int, P], R], n: int) -> Callable[P, R]:
    """The public function over n spatial axes, by what such functions have in common.

    Args:
        common: ``(name, n, *arguments)``, called ``_name``: the public function is called ``name1d``, ``name2d`` or
            ``name3d``, and has its text and its other arguments.
        n: How many axes.
    """
    name = f"{common.__name__.removeprefix('_')}{n}d"

    def function(*args: P.args, **kwargs: P.kwargs) -> R:
        return common(name, n, *args, **kwargs)

    signature = inspect.signature(common)
    made: Any = function
    made.__name__ = made.__qualname__ = name
    # Errors name the function by its code.
    made.__code__ = made.__code__.replace(co_name=name, co_qualname=name)
    made.__module__, made.__doc__ = common.__module__, common.__doc__
    made.__signature__ = signature.replace(parameters=list(signature.parameters.values())[2:])
    return function
