"""NumPy's names of arguments, which PyTorch takes as well: ``axis`` for ``dim``, ``keepdims`` for ``keepdim``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from tracec.errors import ArgumentTypeError

#: NumPy's name → PyTorch's.
_NAMES = {"axis": "dim", "keepdims": "keepdim"}


def takes_aliases(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose ``dim`` and ``keepdim`` may go by NumPy's names; itself where it has neither.

    Raises:
        ArgumentTypeError: from the function, where an argument is given by both of its names.
    """
    own = inspect.signature(function).parameters
    aliases = {alias: name for alias, name in _NAMES.items() if name in own and alias not in own}
    if not aliases:
        return function

    @functools.wraps(function)
    def _run(*args: Any, **kwargs: Any) -> Any:
        for alias in aliases.keys() & kwargs.keys() if kwargs else ():
            if aliases[alias] in kwargs:
                raise ArgumentTypeError(
                    f"{function.__name__}: {aliases[alias]} is given a second time, as {alias}", hint="leave one away"
                )
            kwargs[aliases[alias]] = kwargs.pop(alias)
        return function(*args, **kwargs)

    return _run


def give_aliases(namespace: dict[str, Any], names: list[str]) -> None:
    """Let those functions of a module take NumPy's names of their arguments."""
    for name in names:
        if inspect.isfunction(namespace[name]):
            namespace[name] = takes_aliases(namespace[name])
