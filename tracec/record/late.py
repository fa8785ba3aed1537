"""Conditions that are tested when a program has run, on a GPU without waiting for it.

What a condition on values looks at is known to the program alone there (`tracec.record.check`). The numbers that tell
whether conditions hold stay on the GPU, where those of one call are added to those before
(`tracec.specialisations.device_checks`), and are copied to the host now and then, behind what is queued. They are
tested when they have come: at the latest when the host next waits for the GPU.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from tracec.errors import TracecError
from tracec.ir.forks import free_in_children
from tracec.ir.source import Source
from tracec.record.backend import Readback, is_capturing, to_device
from tracec.record.check import Requirement

#: Copies that may be under way; behind more of them, the oldest is waited for.
_MOST = 256

#: Raises for the numbers that have come.
Test = Callable[[Sequence[int]], None]


class Late(NamedTuple):
    """A condition that is tested when a program has run.

    Attributes:
        requires: What the numbers that the program found are tested for.
        source: The user's line.
        device: Where the numbers are; nobody waits for those on a GPU.
    """

    requires: Requirement
    source: Source | None
    device: str

    @property
    def is_late(self) -> bool:
        """Whether they come from a GPU."""
        return self.device != "cpu"


class OnDevice(Protocol):
    """Numbers on a GPU that the host has not looked at."""

    def look(self) -> None:
        """Copy them to the host behind what is queued, to be tested when they have come (`test_later`)."""


def test_all(late: Sequence[Late], found: Sequence[int]) -> None:
    """Raise where numbers that a program found, one behind the other, break a condition.

    Raises:
        TracecError: they do; it tells the user's line.
    """
    at = 0
    for requires, source, _ in late:
        try:
            requires.test_numbers(found[at : at + requires.how_many])
        except TracecError as error:
            error.where = f"at {source}" if source is not None else None
            error.within = None  # it was called by whoever waited
            raise
        at += requires.how_many


_pending: deque[tuple[Readback, Test]] = deque()
_registered: dict[OnDevice, None] = {}
_lock = threading.RLock()
free_in_children(_lock)


def test_later(found: Any, test: Test) -> None:
    """Test the numbers in an array when they have come from the GPU."""
    with _lock:
        _pending.append((Readback(found), test))


def forget(test: Test) -> None:
    """Let go of all that is under way to a test."""
    with _lock:
        kept = [one for one in _pending if one[1] != test]
        _pending.clear()
        _pending.extend(kept)


def register(one: OnDevice) -> None:
    """Have numbers looked at before the host waits the next time."""
    if one not in _registered:
        with _lock:
            _registered[one] = None


def look() -> None:
    """Have all numbers that calls were added to copied to the host: before it waits."""
    if _registered:
        with _lock:
            ones = list(_registered)
            _registered.clear()
        for one in ones:
            one.look()


def to_host(array: Any) -> Any:
    """An array on the host, which has waited then for what was queued before.

    Raises:
        TracecError: as `settle`.
    """
    look()  # before the copy, so that the host waits once
    found = to_device(array, "cpu")
    settle(wait=True)
    return found


def settle(wait: bool = False) -> None:
    """Test what has come from the GPU; where too much is under way, also wait for the oldest.

    Args:
        wait: Also wait for what has not come yet.

    Raises:
        TracecError: an index or a class was out of range in a call before.
    """
    if wait:
        look()
    elif _pending and is_capturing():  # which asking for an event could end
        return
    while _pending:
        with _lock:
            if not _pending or not (wait or len(_pending) >= _MOST or _pending[0][0].done):
                return
            readback, test = _pending.popleft()
        try:
            test(readback.values().tolist())
        except TracecError as error:
            late = "found on the GPU after the call: what it computed is of the nearest value in range"
            error.hint = f"{error.hint}; {late}" if error.hint else late
            raise
