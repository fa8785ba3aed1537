"""Functions that run around a module's forward."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

_numbers = count()


class RemovableHandle:
    """What registering a hook gives back.

    Args:
        hooks: Where the hook is kept, by number.
        hook: The hook, and whether it takes keyword arguments.
        prepend: Whether it runs before those that are there.
    """

    def __init__(self, hooks: dict[int, Any], hook: tuple[Callable[..., Any], bool], prepend: bool = False) -> None:
        self.id = next(_numbers)
        self._hooks = hooks
        before = dict(hooks) if prepend else {}
        if prepend:
            hooks.clear()
        hooks[self.id] = hook
        hooks.update(before)

    def remove(self) -> None:
        """Call the hook no more."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def call_with_hooks(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Forward, with what hooks make of arguments and results."""
    for hook, with_kwargs in list(module._forward_pre_hooks.values()):
        if with_kwargs:
            changed = hook(module, args, kwargs)
            if changed is not None:
                args, kwargs = changed
        else:
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
    result = module.forward(*args, **kwargs)
    for hook, with_kwargs in list(module._forward_hooks.values()):
        changed = hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)
        if changed is not None:
            result = changed
    return result
