"""Saved values as tensors again, with the history, node and tangents that they had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracec.record.cell import new_tensor
from tracec.record.dual import move_with, through
from tracec.record.saved import Packed
from tracec.record.state import STATE

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


def restored(array: Any, readers: list[Any], known: Any, moves: Any) -> Tensor:
    """A tensor over an array that was kept.

    Args:
        array: The values.
        readers: The list of readers of its memory.
        known: A recorder and what the values are to it, or None.
        moves: The tangents of the memory and the view steps to the values, or None.
    """
    made = new_tensor(array)
    made._storage.readers = readers
    if known is not None and STATE.recorder is not None and STATE.recorder.includes(known[0]):
        made._storage.recorder, made._storage.node = known
    if moves is not None:
        tangents, steps = moves
        move_with(made, {level: through(steps, t) for level, t in tangents.items() if level.is_open})
    return made


def unpacked(value: Packed, moves: Any) -> Tensor:
    """A value as hooks give it back, moving as it did."""
    found = value.unpacked()
    known = None if STATE.recorder is None else STATE.recorder.known(found)
    return restored(found._array, found._storage.readers, known, moves)
