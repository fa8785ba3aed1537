"""Garbage collection is suspended while a function is recorded, and the function's view of ``gc`` is kept as it was."""

from __future__ import annotations

from gc import get_threshold, set_threshold  # others stand in for these in the module
from typing import Any

#: What the thresholds were, where others stand in for them: ``gc.isenabled`` tells of another way to pause.
_before: list[tuple[int, int, int]] = []


def pause() -> None:
    """Collect none from now on."""
    _before.append(get_threshold())
    set_threshold(0, *_before[-1][1:])


def go_on() -> None:
    """Collect again, unless somebody has set other thresholds meanwhile."""
    if _before and get_threshold()[0] == 0:
        set_threshold(*_before[-1])
    del _before[-1:]


def thresholds() -> Any:
    """What ``gc.get_threshold`` would give."""
    now = get_threshold()
    return _before[-1] if _before and now[0] == 0 else now


#: Functions of the module, and what gives what they would.
INSTEAD = {get_threshold: thresholds}
