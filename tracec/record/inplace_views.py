"""Methods that change in place how a tensor views its memory: ``squeeze_``, ``transpose_`` and others."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tracec.record.cell import Cell, Changes
from tracec.record.dispatch import apply
from tracec.record.mode import enable_grad, set_grad_enabled
from tracec.record.refusal import refuse
from tracec.record.state import STATE
from tracec.record.tape import edge_of
from tracec.record.write import check_no_leaf

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor

_LOOK = ("_storage", "_array", "_steps", "_parent", "_history", "_seen", "_node", "_node_of", "_is_constant")


def turns_into(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The method ``name_``: the tensor becomes the view that the function gives of it.

    Views that it had before stay as they are. What it was goes on to be the base of all of them, so that gradients
    and writes still find each other.
    """

    @functools.wraps(function)
    def run(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_no_leaf(self, name + "_")
        recorder = STATE.recorder
        if recorder is not None and not recorder.is_inside(self):
            refuse(
                f"{name}_: cannot change the shape of a tensor from outside in a compiled function",
                hint=f"use {name}, which gives a view",
            )
        leaf = edge_of(self) is self
        before: Any = object.__new__(type(self))
        before.__dict__.update(self.__dict__)
        with enable_grad():
            view = function(before, *args, **kwargs)
        if view is not before:
            _become(self, view, leaf)
        return self

    run.__name__ = run.__qualname__ = name + "_"
    run.__doc__ = f"`{name}`, which the tensor itself becomes."
    return run


def look_again(x: Any, of: Callable[[], Any]) -> None:
    """Make a tensor the look that it would have been, had no recorder been at work; see `Storage.copied_from`."""
    view = of()
    with set_grad_enabled(view._parent is not None):
        for step in x._steps:
            view = apply(step.op, (view,), dict(step.params))
    for what in _LOOK:
        setattr(x, what, getattr(view, what))


def _become(x: Cell, view: Cell, leaf: bool) -> None:
    for what in _LOOK:
        setattr(x, what, getattr(view, what))
    x._requires_grad = leaf
    if leaf:  # with gradients off: it stays a leaf of its own
        x._parent = x._history = x._seen = None
    Changes.count += 1
