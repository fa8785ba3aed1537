"""Tables of functions that are called around others, and handles that take them out again."""

from __future__ import annotations

from itertools import count
from typing import Any

_numbers = count()


class RemovableHandle:
    """What registering a hook gives back; within it as a context the hook is called.

    Args:
        hooks_dict: Where hooks are kept, by number.

    Attributes:
        id: The number of the hook, no other hook's.
    """

    def __init__(self, hooks_dict: dict[int, Any]) -> None:
        self.id = next(_numbers)
        self._hooks = hooks_dict

    @staticmethod
    def enter(hooks: dict[int, Any], hook: Any, prepend: bool = False) -> RemovableHandle:
        """Enter a hook behind the others of a table, or before them."""
        handle = RemovableHandle(hooks)
        others = dict(hooks) if prepend else {}
        if prepend:
            hooks.clear()
        hooks[handle.id] = hook
        hooks.update(others)
        return handle

    def remove(self) -> None:
        """Call the hook no more."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class HookTable:
    """An attribute that is a table of hooks, which an object has from the first time that it is asked for.

    Most objects never have any.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, cls: type | None = None) -> Any:
        if owner is None:
            return self
        made: dict[int, Any] = {}
        owner.__dict__[self.name] = made
        return made


def hooks_in(owner: Any, table: str) -> list[Any]:
    """An object's hooks of one table, which is not made for that."""
    return list(owner.__dict__.get(table, {}).values())
