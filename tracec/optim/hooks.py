"""Functions that run around what an optimiser does: its steps, and saving and loading its state."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

from tracec.errors import ArgumentError
from tracec.utils.hooks import HookTable, RemovableHandle, hooks_in

Hook = Callable[..., Any]

#: Hooks of the steps of all optimisers: number → whether it runs behind the step, and the hook.
EVERYWHERE: dict[int, tuple[bool, Hook]] = {}

_BEFORE, _BEHIND = "_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"


class Hooked:
    """An optimiser's hooks, and how they are registered."""

    #: What compiled functions watch beside the optimisers themselves.
    _watched = EVERYWHERE
    _optimizer_step_pre_hooks = cast("dict[int, Hook]", HookTable())
    _optimizer_step_post_hooks = cast("dict[int, Hook]", HookTable())
    _optimizer_state_dict_pre_hooks = cast("dict[int, Hook]", HookTable())
    _optimizer_state_dict_post_hooks = cast("dict[int, Hook]", HookTable())
    _optimizer_load_state_dict_pre_hooks = cast("dict[int, Hook]", HookTable())
    _optimizer_load_state_dict_post_hooks = cast("dict[int, Hook]", HookTable())

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = with_hooks(cls.step)  # type: ignore[attr-defined]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if not isinstance(Hooked.__dict__.get(k), HookTable)}

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step.

        Args:
            hook: The function. ``args`` are the optimiser and the arguments of ``step``; what it returns, if not None,
                is a pair that takes the place of both.
        """
        return RemovableHandle.enter(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` behind each step; what it returns is not looked at."""
        return RemovableHandle.enter(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` before `state_dict`.

        Args:
            hook: The function.
            prepend: Whether it runs before the other hooks of the optimiser.
        """
        return RemovableHandle.enter(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` behind `state_dict`; what it returns, if not None, is the state.

        Args:
            hook: The function.
            prepend: Whether it runs before the other hooks of the optimiser.
        """
        return RemovableHandle.enter(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before a state is loaded; what it returns, if not None, is loaded.

        Args:
            hook: The function; the dictionary that it is given is a copy.
            prepend: Whether it runs before the other hooks of the optimiser.
        """
        return RemovableHandle.enter(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` when a state is loaded.

        Args:
            hook: The function.
            prepend: Whether it runs before the other hooks of the optimiser.
        """
        return RemovableHandle.enter(self._optimizer_load_state_dict_post_hooks, hook, prepend)


def register_optimizer_step_pre_hook(hook: Hook) -> RemovableHandle:
    """`Optimizer.register_step_pre_hook` for all optimisers."""
    return RemovableHandle.enter(EVERYWHERE, (False, hook))


def register_optimizer_step_post_hook(hook: Hook) -> RemovableHandle:
    """`Optimizer.register_step_post_hook` for all optimisers."""
    return RemovableHandle.enter(EVERYWHERE, (True, hook))


def has_step_hooks(optimizer: Any) -> bool:
    """Whether anything is called around the steps of an optimiser."""
    return bool(EVERYWHERE or hooks_in(optimizer, _BEFORE) or hooks_in(optimizer, _BEHIND))


def with_hooks(step: Hook) -> Hook:
    """A class's ``step`` with what hooks do around it; around that of a base class nothing is done once more."""

    @functools.wraps(step)
    def hooked(self: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(type(self), "step", None) is not hooked or not has_step_hooks(self):
            return step(self, *args, **kwargs)
        given = _before(self, (self, *args), kwargs)
        result = step(*given[0], **given[1])
        everywhere = [hook for behind, hook in EVERYWHERE.values() if behind]
        for hook in (*hooks_in(self, _BEHIND), *everywhere):
            hook(self, *given)
        return result

    return hooked


def _before(optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """What hooks before a step make of its arguments."""
    everywhere = [hook for behind, hook in EVERYWHERE.values() if not behind]
    for hook in (*everywhere, *hooks_in(optimizer, _BEFORE)):
        changed = hook(optimizer, args, kwargs)
        if changed is None:
            continue
        if not isinstance(changed, tuple) or len(changed) != 2:
            raise ArgumentError(
                f"{type(optimizer).__name__}: a step pre-hook must return None or a tuple of (new_args, new_kwargs), "
                f"but got {type(changed).__name__}",
                hint="return (args, kwargs), the optimizer first among args",
            )
        args, kwargs = changed
    return args, kwargs
