"""Functions that run around what a module does: its forward and backward parts, and saving and loading its state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

from tracec.nn.tree import Tree
from tracec.utils.hooks import HookTable, RemovableHandle


class Hook(NamedTuple):
    """A function that is called with a module, and how.

    Attributes:
        function: The function.
        with_kwargs: Whether it takes the keyword arguments of the call too.
        always: Whether it is called even if the call ends in an exception.
    """

    function: Callable[..., Any]
    with_kwargs: bool = False
    always: bool = False


#: Hooks of all modules: number → when it runs, and the hook.
EVERYWHERE: dict[int, tuple[str, Hook]] = {}


class Hooked(Tree):
    """A module's hooks, and how they are registered."""

    #: What compiled functions watch beside the modules themselves.
    _watched = EVERYWHERE
    _forward_pre_hooks = cast("dict[int, Hook]", HookTable())
    _forward_hooks = cast("dict[int, Hook]", HookTable())
    _backward_pre_hooks = cast("dict[int, Hook]", HookTable())
    _backward_hooks = cast("dict[int, Hook]", HookTable())
    _state_dict_pre_hooks = cast("dict[int, Callable[..., Any]]", HookTable())
    _state_dict_hooks = cast("dict[int, Callable[..., Any]]", HookTable())
    _load_state_dict_pre_hooks = cast("dict[int, Callable[..., Any]]", HookTable())
    _load_state_dict_post_hooks = cast("dict[int, Callable[..., Any]]", HookTable())

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before forward; what it returns, if not None, are the arguments.

        Args:
            hook: The function.
            prepend: Whether it runs before the other hooks of the module.
            with_kwargs: Call ``hook(module, args, kwargs)``; it returns both of them, or None.
        """
        return RemovableHandle.enter(self._forward_pre_hooks, Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args, result)`` after forward; what it returns, if not None, is the result.

        Args:
            hook: The function.
            prepend: Whether it runs before the other hooks of the module.
            with_kwargs: Call ``hook(module, args, kwargs, result)``.
            always_call: Call it, with the result None, even if forward ends in an exception.
        """
        return RemovableHandle.enter(self._forward_hooks, Hook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` before gradients go back through the module.

        What it returns, if not None, takes the place of the gradients of the module's results, a tuple.
        """
        return RemovableHandle.enter(self._backward_pre_hooks, Hook(hook), prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when gradients have gone back through the module.

        What it returns, if not None, takes the place of the gradients of the module's positional arguments, a tuple
        with None for those that have none. Arguments and results within other objects than tuples are not seen.
        """
        return RemovableHandle.enter(self._backward_hooks, Hook(hook), prepend)

    #: PyTorch's older name; there it saw the gradients of one operation of the module alone.
    register_backward_hook = register_full_backward_hook

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before `state_dict` enters the module's tensors."""
        return RemovableHandle.enter(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` when `state_dict` has entered its tensors."""
        return RemovableHandle.enter(self._state_dict_hooks, hook)

    _register_state_dict_hook = register_state_dict_post_hook

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call a hook before the module's own tensors are looked up in a state that is loaded.

        It is called with ``(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
        error_msgs)``, and may change the state, which is a copy.
        """
        return RemovableHandle.enter(self._load_state_dict_pre_hooks, lambda *args: hook(self, *args))

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> RemovableHandle:
        function = (lambda *args: hook(self, *args)) if with_module else hook
        return RemovableHandle.enter(self._load_state_dict_pre_hooks, function)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` when the module is loaded; it may change the lists of keys."""
        return RemovableHandle.enter(self._load_state_dict_post_hooks, hook)


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """`Module.register_forward_pre_hook` for all modules."""
    return RemovableHandle.enter(EVERYWHERE, ("forward_pre", Hook(hook)))


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """`Module.register_forward_hook` for all modules."""
    return RemovableHandle.enter(EVERYWHERE, ("forward", Hook(hook, with_kwargs, always_call)))


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """`Module.register_full_backward_pre_hook` for all modules."""
    return RemovableHandle.enter(EVERYWHERE, ("backward_pre", Hook(hook)))


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """`Module.register_full_backward_hook` for all modules."""
    return RemovableHandle.enter(EVERYWHERE, ("backward", Hook(hook)))
