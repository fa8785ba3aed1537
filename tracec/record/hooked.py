"""Gradient hooks: what a hook returns replaces the gradient, and must keep its shape and element type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from tracec.record.cell import Cell

_KEEP = "return a gradient like the one that is given, or None to leave it"


def hooked(hook: Callable[..., Any], given: Any) -> Any:
    """The gradient that a hook returns, or the one that it was given.

    Raises:
        ArgumentTypeError: what it returns is no tensor.
        ShapeError: it has another shape.
        DTypeError: it has another element type.
    """
    changed = hook(given)
    return given if changed is None else _checked(hook, given, changed)


def all_hooked(hook: Callable[..., Any], given: tuple[Any, ...], *more: Any) -> tuple[Any, ...] | None:
    """The gradients that a hook of an operation returns, or None.

    Args:
        hook: The hook.
        given: The gradients that it may change, None for those that there are not.
        more: What it is given besides.

    Raises:
        ArgumentTypeError: what it returns is no tuple, or something in that no tensor.
        ArgumentError: there are more or fewer.
        ShapeError: one has another shape.
        DTypeError: one has another element type.
    """
    changed = hook(given, *more)
    if changed is None:
        return None
    if not isinstance(changed, tuple):
        raise ArgumentTypeError(
            f"backward: expected a tuple, but hook {_name(hook)!r} returned {type(changed).__name__}",
            hint="return a tuple of gradients, or None to leave them",
        )
    if len(changed) != len(given):
        raise ArgumentError(
            f"backward: hook {_name(hook)!r} has returned an incorrect number of values (got {len(changed)}, "
            f"but expected {len(given)})",
            hint="return as many gradients as are given",
        )
    pairs = zip(given, changed, strict=True)
    return tuple(b if a is None or b is None else _checked(hook, a, b) for a, b in pairs)


def _checked(hook: Any, given: Any, changed: Any) -> Any:
    if not isinstance(changed, Cell):
        raise ArgumentTypeError(
            f"backward: expected a tensor, but hook {_name(hook)!r} returned {type(changed).__name__}", hint=_KEEP
        )
    if given.is_composite or changed.is_composite:
        return changed
    before, now = given._array, changed._array
    if now.shape != before.shape:
        raise ShapeError(
            f"backward: hook {_name(hook)!r} has changed the size of value (was {before.shape}, got {now.shape})",
            hint=_KEEP,
        )
    if now.dtype != before.dtype:
        raise DTypeError(
            f"backward: hook {_name(hook)!r} has changed the type of value (was {given._type.dtype.name}, got "
            f"{changed._type.dtype.name})",
            hint=_KEEP,
        )
    return changed


def _name(hook: Any) -> str:
    return getattr(hook, "__name__", type(hook).__name__)
