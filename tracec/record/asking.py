"""What the user's code asks of a tensor from outside that no guard covers: noted, so that no program stands in."""

from __future__ import annotations

from tracec.ir.number import observe
from tracec.record.cell import Cell
from tracec.record.opaque import is_for_library
from tracec.record.state import STATE


def ask(x: Cell, what: str) -> None:
    """Note, where the user's code calls what calls this while a function is recorded, what it asks of a tensor.

    Args:
        x: The tensor; of those that the function made itself nothing has to be noted.
        what: What is asked, in words.
    """
    recorder = STATE.recorder
    if recorder is None or is_for_library(3):
        return
    is_own = getattr(recorder, "is_own", None)
    if is_own is not None and not is_own(x):
        observe(what)
