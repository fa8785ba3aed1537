"""Calling a module that has hooks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from tracec import functions as F
from tracec.nn.hooks import EVERYWHERE, Hook
from tracec.record.mode import is_grad_enabled
from tracec.record.tensor import Tensor
from tracec.utils.hooks import hooks_in


def _hooks(module: Any, when: str) -> list[Hook]:
    return [*[hook for at, hook in EVERYWHERE.values() if at == when], *hooks_in(module, f"_{when}_hooks")]


def call_with_hooks(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Forward, with what hooks make of arguments, results and gradients."""
    waiting = [hook for hook in _hooks(module, "forward") if hook.always]
    try:
        return _called(module, args, kwargs, waiting)
    except Exception:
        for hook in waiting:
            try:
                _after(hook, module, args, kwargs, None)
            except Exception as error:
                warnings.warn(f"a forward hook with always_call ended in {error!r}", RuntimeWarning, stacklevel=3)
        raise


def _called(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], waiting: list[Hook]) -> Any:
    for hook in _hooks(module, "forward_pre"):
        if hook.with_kwargs:
            changed = hook.function(module, args, kwargs)
            if changed is not None:
                args, kwargs = changed
        else:
            changed = hook.function(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
    before, behind = _hooks(module, "backward_pre"), _hooks(module, "backward")
    gradients = Gradients(module, before, behind) if before or behind else None
    if gradients is not None:
        args = gradients.take_arguments(args)
    result = module.forward(*args, **kwargs)
    for hook in _hooks(module, "forward"):
        if hook in waiting:
            waiting.remove(hook)
        changed = _after(hook, module, args, kwargs, result)
        if changed is not None:
            result = changed
    return result if gradients is None else gradients.take_results(result)


def _after(hook: Hook, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
    return hook.function(module, args, kwargs, result) if hook.with_kwargs else hook.function(module, args, result)


class Gradients:
    """Hooks of one call's gradients.

    Several tensors go through one, laid end to end, so that their gradients are known all at once.

    Args:
        module: The module that is called.
        before: Hooks that are called before gradients go back through it.
        behind: Hooks that are called afterwards.
    """

    def __init__(self, module: Any, before: list[Hook], behind: list[Hook]) -> None:
        self.module, self.before, self.behind = module, before, behind
        self.inputs = 0
        self.watched = False
        self.outputs: tuple[Any, ...] = ()

    def take_arguments(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, watched by the hooks."""
        self.inputs = len(args)
        places = [i for i, a in enumerate(args) if _differentiable(a)]
        if not self.behind or not places:
            return args
        self.watched = True
        return _watched(args, places, self._behind)

    def take_results(self, result: Any) -> Any:
        """The results, watched by the hooks."""
        found = result if isinstance(result, tuple) else (result,)
        places = [i for i, r in enumerate(found) if _differentiable(r)]
        if not places:
            return result
        watched = _watched(found, places, self._before)
        if not isinstance(result, tuple):
            return watched[0]
        return type(result)(*watched) if hasattr(result, "_fields") else watched

    def _before(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.before:
            changed = hook.function(self.module, grads)
            if changed is not None:
                grads = changed if isinstance(changed, tuple) else (changed,)
        self.outputs = grads
        if not self.watched:
            for hook in self.behind:
                hook.function(self.module, (None,) * self.inputs, grads)
        return grads

    def _behind(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.behind:
            changed = hook.function(self.module, grads, self.outputs)
            if changed is not None:
                grads = changed if isinstance(changed, tuple) else (changed,)
        return grads


def _differentiable(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad and is_grad_enabled()


def _watched(
    values: tuple[Any, ...], places: Sequence[int], seen: Callable[[tuple[Any, ...]], tuple[Any, ...]]
) -> tuple[Any, ...]:
    """The values; when the gradients of those at some places are known, a function is called with all of them."""
    given = [values[i] for i in places]
    if len(given) == 1:
        return _one_watched(values, places[0], seen)
    sizes = [math.prod(x.shape) for x in given]

    def apart(row: Tensor) -> tuple[Any, ...]:
        parts = F.split(row, sizes)
        found: list[Any] = [None] * len(values)
        for i, x, part in zip(places, given, parts, strict=True):
            found[i] = F.reshape(part, tuple(x.shape)).to(x.dtype)
        return tuple(found)

    def together(parts: Sequence[Tensor]) -> Tensor:
        return F.cat([F.reshape(p, (-1,)) for p in parts])

    row = together(given)

    def hook(grad: Tensor) -> Tensor:
        changed = seen(apart(grad))
        return together([changed[i] for i in places]).to(grad.dtype)

    row.register_hook(hook)
    watched = apart(row)
    return tuple(watched[i] if i in places else v for i, v in enumerate(values))


def _one_watched(
    values: tuple[Any, ...], place: int, seen: Callable[[tuple[Any, ...]], tuple[Any, ...]]
) -> tuple[Any, ...]:
    """The same of one value, in the memory that it has: programs know a value again by where it lies."""
    x = values[place]
    watched = F.view_as(x, x)

    def hook(grad: Tensor) -> Tensor:
        changed = seen(tuple(grad if i == place else None for i in range(len(values))))
        found: Tensor = changed[place]
        return found.to(grad.dtype)

    watched.register_hook(hook)
    return tuple(watched if i == place else v for i, v in enumerate(values))
