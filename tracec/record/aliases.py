"""NumPy's names of arguments, which PyTorch takes as well: ``axis`` for ``dim``, ``keepdims`` for ``keepdim``."""

from __future__ import annotations

import inspect
from typing import Any

from tracec.errors import ArgumentTypeError

#: NumPy's name → PyTorch's.
_NAMES = {"axis": "dim", "keepdims": "keepdim"}


def aliases_of(signature: inspect.Signature) -> dict[str, str]:
    """NumPy's names that a function may be given → its own names."""
    own = signature.parameters
    return {alias: name for alias, name in _NAMES.items() if name in own and alias not in own}


def rename(function: str, aliases: dict[str, str], kwargs: dict[str, Any]) -> None:
    """Give arguments that go by NumPy's names their own.

    Raises:
        ArgumentTypeError: an argument is given by both of its names.
    """
    for alias, name in aliases.items():
        if alias in kwargs:
            if name in kwargs:
                raise ArgumentTypeError(f"{function}: {name} is given a second time, as {alias}", hint="leave one away")
            kwargs[name] = kwargs.pop(alias)
