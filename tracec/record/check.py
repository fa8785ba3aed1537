"""Conditions on the values of integer tensors: tested at once, and again before every replay.

A program on a GPU cannot be asked before it runs without waiting for all that was queued before it. There the
program itself finds the least and the largest value; they are copied to the host behind it, and tested when they
are there: at the latest when the host next waits for the GPU.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tracec.errors import TracecError
from tracec.ir.conditions import unnoted
from tracec.ir.forks import free_in_children
from tracec.ir.source import Source
from tracec.record.backend import CPU, Readback, device_of, module
from tracec.record.cell import Cell
from tracec.record.deferred import settled
from tracec.record.state import STATE

#: Views that hold all of their operand's values, and no others.
SAME_VALUES = frozenset({"reshape", "transpose", "expand", "flip"})
#: Copies that may be under way; behind more of them, the oldest is waited for.
_MOST = 256


def check_values(
    x: Cell, test: Callable[[Any], None], bounds: tuple[int, int] | None, ignored: int | None = None
) -> None:
    """Test a tensor's values, which a recorded function does not ask for by that.

    Args:
        x: An integer tensor.
        test: Raises where an array of its values breaks the condition, if it does so for the least and the largest
            of them, the ignored value left out.
        bounds: The least and the largest value that memory may be addressed with, where they address any.
        ignored: A value that the condition says nothing of.
    """
    with unnoted():  # the sizes in it are those of the call that it is made for
        values = settled(x._array)
        on_gpu = x._device is not CPU and bounds is not None and ignored is None and values.size
        test(np.array(least_and_largest(values)) if on_gpu else values)
    if STATE.recorder is not None:
        STATE.recorder.check(x, test, bounds, ignored)


def least_and_largest(array: Any) -> tuple[int, int]:
    """The least and the largest of some integers; a GPU is waited for once."""
    if isinstance(array, np.ndarray):
        return int(array.min()), int(array.max())
    low, high = module(device_of(array)).stack((array.min(), array.max())).get().tolist()
    return low, high


class Range(NamedTuple):
    """A condition that is tested when a program has run.

    Attributes:
        test: Raises where the least and the largest value break the condition.
        source: The user's line.
        is_late: They come from a GPU, and nobody waits for them.
    """

    test: Callable[[Any], None]
    source: Source | None
    is_late: bool = True


_pending: deque[tuple[Readback, Sequence[Range]]] = deque()
_lock = threading.Lock()
free_in_children(_lock)


def test_later(found: Any, ranges: Sequence[Range]) -> None:
    """Test least and largest values, two for each condition, when they have come from the GPU."""
    with _lock:
        _pending.append((Readback(found), ranges))


def settle(wait: bool = False) -> None:
    """Test what has come from the GPU; where too much is under way, also wait for the oldest.

    Args:
        wait: Also wait for what has not come yet.

    Raises:
        TracecError: an index or a class was out of range in a call before.
    """
    while _pending:
        with _lock:
            if not _pending or not (wait or len(_pending) >= _MOST or _pending[0][0].done):
                return
            readback, ranges = _pending.popleft()
        values = readback.values()
        for k, (test, source, _) in enumerate(ranges):
            try:
                test(values[2 * k : 2 * k + 2])
            except TracecError as error:
                error.where = f"at {source}" if source is not None else None
                late = "found on the GPU after the call: what it computed is of the nearest value in range"
                error.hint = f"{error.hint}; {late}" if error.hint else late
                raise
