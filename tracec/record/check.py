"""Conditions on the values of integer tensors: tested at once, and again before every replay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tracec.record.cell import Cell
from tracec.record.recording import Check
from tracec.record.state import STATE


def check_values(x: Cell, test: Callable[[Any], None], bounds: tuple[int, int] | None) -> None:
    """Test a tensor's values, which a recorded function does not ask for by that.

    Args:
        x: An integer tensor.
        test: Raises where an array of its values breaks the condition.
        bounds: The least and the largest value that memory may be addressed with, where they address any.
    """
    test(x._array)
    if STATE.recorder is not None:
        STATE.recorder.checks.append(Check(STATE.recorder.node_of(x), test, bounds))
