"""Functions of the library that a program replaces in its modules: others see them, and so must what is compiled."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

#: Are called when a function has been replaced.
LISTENERS: list[Callable[[], None]] = []


class Patchable(ModuleType):
    """A module in which modules of the library look functions up at each call."""

    def __setattr__(self, name: str, value: Any) -> None:
        before = self.__dict__.get(name)
        super().__setattr__(name, value)
        if callable(before) and value is not before:
            for listener in LISTENERS:
                listener()
