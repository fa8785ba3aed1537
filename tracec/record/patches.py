"""Functions of the library, and methods of Tensor, that a program replaces: what is compiled must see them as well."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from tracec.ir.number import observe
from tracec.record.state import PROCESS

#: Stands for what is not there.
MISSING = object()
#: What was there before any program replaced it, by owner and name.
_originals: dict[tuple[str, str], Any] = {}


class Replacement:
    """What stands in the place of a function of the library; it is equal to no other one.

    Attributes:
        name: How the user would write the place.
        value: What stands there; `MISSING` where the function was taken away.
    """

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Replacement) and self.name == other.name and self.value is other.value

    def __hash__(self) -> int:
        return hash((self.name, id(self.value)))


class Patchable(ModuleType):
    """A module in which modules of the library look functions up at each call."""

    def __setattr__(self, name: str, value: Any) -> None:
        before = self.__dict__.get(name)
        super().__setattr__(name, value)
        if callable(before):
            replaced(self.__name__, name, before, value)


def replaced(owner: str, name: str, before: Any, now: Any) -> None:
    """Note in `tracec.record.state.PROCESS` that a function of the library is another one now, or is what it was.

    Args:
        owner: Its module or class.
        name: Its name.
        before: What it was; `MISSING` where there was none, here and below.
        now: What it is.
    """
    if now is before:
        return
    full = f"{owner}.{name}"
    observe(f"{full}, which it replaces")
    rest = [r for r in PROCESS.replaced if r.name != full]
    if now is not _originals.setdefault((owner, name), before):
        rest.append(Replacement(full, now))
    PROCESS.replaced = tuple(sorted(rest, key=lambda r: r.name))
