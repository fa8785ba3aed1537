"""Modules made in other ways than by calling their class."""

from __future__ import annotations

import inspect
from typing import Any

from tracec.errors import ArgumentError
from tracec.nn.module import Module


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Any:
    """A module whose first values are not relied on.

    Args:
        module_cls: Its class, whose making takes ``device``.
        *args: For the class.
        **kwargs: For the class.

    Returns:
        The module. Its values are drawn all the same, which costs little here.

    Raises:
        ArgumentError: it is no class of modules, or takes no ``device``.
    """
    if not (isinstance(module_cls, type) and issubclass(module_cls, Module)):
        raise ArgumentError(f"skip_init: expected a Module, got {module_cls!r}", hint="give the class, not a module")
    if "device" not in inspect.signature(module_cls.__init__).parameters:
        raise ArgumentError(f"skip_init: {module_cls.__name__} takes no device", hint="it must support 'device'")
    make: Any = module_cls
    return make(*args, device=kwargs.pop("device", "cpu"), **kwargs)
