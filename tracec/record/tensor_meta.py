"""The class of the class Tensor: it finds methods when they are asked for, and notes what programs replace in it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tracec.record.overriding import disabled, install
from tracec.record.patches import MISSING, replaced


class Methods:
    """Finds methods that modules make which have not been imported yet.

    Attributes:
        find: Imports the module that makes a method; whether there is one.
    """

    find: Callable[[str], bool] = staticmethod(lambda name: False)


class TensorMeta(type):
    """The class of Tensor, which finds its methods when they are asked for.

    Classes that are made of Tensor take part in the protocol ``__torch_function__``.
    """

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> None:
        super().__init__(name, bases, namespace, **options)
        if any(isinstance(b, TensorMeta) for b in bases) and cls.__torch_function__ is not disabled:
            install(cls)

    def __getattr__(cls, name: str) -> Any:
        if not name.startswith("__") and Methods.find(name):
            return getattr(cls, name)
        raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")

    def __setattr__(cls, name: str, value: Any) -> None:
        before = cls.__dict__.get(name, MISSING)
        super().__setattr__(name, value)
        cls._note(name, before, value)

    def __delattr__(cls, name: str) -> None:
        before = cls.__dict__.get(name, MISSING)
        super().__delattr__(name)
        cls._note(name, before, MISSING)

    def _note(cls, name: str, before: Any, now: Any) -> None:
        """A program replaces what library code calls, where it is a class of the library; its own classes are seen."""
        by: str = sys._getframe(2).f_globals.get("__name__", "")
        if cls.__module__.startswith("tracec.") and not by.startswith("tracec."):  # which makes methods when asked
            replaced(cls.__name__, name, before, now)

    def __dir__(cls) -> list[str]:
        Methods.find("")
        return sorted(super().__dir__())
