"""Forward mode: tensors that move, and how results move with them.

A level of forward mode gives tensors tangents. Every operation that runs while levels are open also computes the
tangent of its result, by a graph derived once for its operands' types and run through the operators, so that
tangents are themselves remembered, recorded and batched. Levels nest: the tangents of one are computed with only the
levels around it open, so that they move at those as everything else does, and never mix with each other.

Tangents belong to memory, as nodes do: a view moves as its base, and a write moves on what it writes into.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from tracec.ir.node import current_source
from tracec.record.call import Call
from tracec.record.cell import Cell, Storage, is_dual
from tracec.record.dispatch import apply
from tracec.record.rules import compute, operands
from tracec.record.state import STATE

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor

Tangents = dict["DualLevel", Any]


class DualLevel:
    """One level of forward mode: a context within which tensors that were given tangents move.

    Attributes:
        is_open: Whether it is entered.
    """

    def __init__(self) -> None:
        self.is_open = False
        self._moving: list[weakref.ref[Storage]] = []
        self._kept: list[Tangents] = []

    def __enter__(self) -> DualLevel:
        STATE.duals = (*STATE.duals, self)
        self.is_open = True
        return self

    def __exit__(self, *_: object) -> None:
        STATE.duals = tuple(level for level in STATE.duals if level is not self)
        self.is_open = False
        for reference in self._moving:
            storage = reference()
            if storage is not None and storage.tangents is not None:
                storage.tangents.pop(self, None)
                storage.tangents = storage.tangents or None
        for tangents in self._kept:
            tangents.pop(self, None)
        self._moving.clear()
        self._kept.clear()

    def give(self, x: Cell, tangent: Any) -> None:
        """Let a tensor that has memory of its own move at this level."""
        storage = x._storage
        if storage.tangents is None:
            storage.tangents = {}
        storage.tangents[self] = tangent
        x._is_dual = True
        self._moving.append(weakref.ref(storage))

    def remember(self, tangents: Tangents) -> None:
        """Take the tangent of this level out of those that an operation keeps, in the end.

        It may hold on to the operation by its history, which would keep both alive.
        """
        self._kept.append(tangents)

    def tangent(self, x: Any) -> Tensor | None:
        """How a tensor moves at this level; None where it does not."""
        if not isinstance(x, Cell) or not is_dual(x):
            return None
        found = x._storage.tangents.get(self)  # type: ignore[union-attr]
        return None if found is None else through(x._steps, found)

    @staticmethod
    def push(call: Call, inputs: tuple[Any, ...], result: Tensor) -> None:
        """Compute how a result moves at each open level."""
        if not call.floating or not any(isinstance(x, Cell) and is_dual(x) for x in inputs):
            return
        levels, source, packing = STATE.duals, current_source(), STATE.packing
        try:
            # What hooks keep is what the operations themselves need, with or without forward mode.
            STATE.packing = None
            for k, level in enumerate(levels):
                moved = [level.tangent(x) for x in inputs]
                mask = tuple([t is not None for t in moved])
                if not any(mask):
                    continue
                rule = call.pushforward(mask)
                if not rule.outputs:
                    continue
                STATE.duals = levels[:k]
                values = [*operands(call, inputs), result, *(t for t in moved if t is not None)]
                level.give(result, compute(rule, values, source)[0])
        finally:
            STATE.duals, STATE.packing = levels, packing


def tangents_of(x: Any) -> Tangents | None:
    """How a tensor moves at all levels."""
    if not isinstance(x, Cell) or not is_dual(x):
        return None
    return {level: through(x._steps, t) for level, t in x._storage.tangents.items()}  # type: ignore[union-attr]


def move_with(x: Cell, tangents: Tangents | None) -> None:
    """Let all of a tensor's memory move in these ways."""
    x._storage.tangents = None if tangents is None else {}
    x._is_dual = tangents is not None
    for level, tangent in (tangents or {}).items():
        level.give(x, tangent)


def through(steps: tuple[Call, ...], tangent: Any) -> Any:
    """What a view sees of its memory's tangent."""
    for step in steps:
        tangent = apply(step.op, (tangent,), dict(step.params))
    return tangent
