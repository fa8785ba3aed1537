"""Conditions of one program on a GPU: the numbers that they are tested for stay there from call to call.

A program is given the numbers of its calls before, and puts the largest of these and its own in their place: a least
one counts as the largest of its complements, which are there for every integer. So nothing is copied for a call, no
event is recorded, and a CUDA graph finds the numbers where they were. They are copied to the host before that waits,
and where it does not wait, now and then.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracec import ops
from tracec.errors import TracecError
from tracec.ir.node import Node
from tracec.record.backend import elsewhere, module
from tracec.record.check import Requirement
from tracec.record.late import Late, forget, register, test_all, test_later
from tracec.runtime.arena import told_apart

#: Seconds after which numbers are copied to a host that does not wait.
PATIENCE = 0.1
#: No larger than any number.
_LEAST = int(np.iinfo(np.int64).min)


def rising(requires: Requirement, values: Node) -> list[Node]:
    """What tells whether values break a condition (`Requirement.numbers`), such that the largest of several calls do.

    Args:
        requires: The condition.
        values: At least one of them.
    """
    numbers = requires.numbers(values)
    if requires.bounds is None:
        return numbers
    low, high = numbers
    return [ops.bitwise_not(low), high]


class DeviceChecks:
    """The conditions of one program, and their numbers on the GPU.

    Args:
        late: Its conditions, for sizes that are those of every call.
    """

    def __init__(self, late: Sequence[Late]) -> None:
        self._late, self._device = late, _gpu_of(late)
        #: Of each stream, by its number: the numbers, and the stream. Calls in two streams run at the same time.
        self._seen: dict[int, tuple[Any, Any]] = {}
        self._looked = -PATIENCE

    def numbers(self) -> Any:
        """The array that a call in the current stream is given."""
        place = elsewhere(self._device)
        if place is not None:
            with place:
                return self._of_stream()
        return self._of_stream()

    def _of_stream(self) -> Any:
        cupy = module(self._device)
        stream = cupy.cuda.get_current_stream()
        number = told_apart(stream.ptr)
        found = self._seen.get(number)
        if found is None:
            found = self._seen.setdefault(number, (unseen(self._late), stream))  # another thread's may count by now
        return found[0]

    def note(self) -> None:
        """Have what a call added looked at: it was queued."""
        register(self)
        now = time.monotonic()
        if now - self._looked > PATIENCE:
            self.look()

    def look(self) -> None:
        """Copy the numbers to the host, behind what is queued."""
        self._looked = time.monotonic()
        cupy = module(self._device)
        seen = list(self._seen.values())
        if any(stream.ptr and cupy.cuda.runtime.streamIsCapturing(stream.ptr) for _, stream in seen):
            # A copy would be part of the graph that a caller makes; in the legacy stream, it would end the capture.
            register(self)
            return
        for array, stream in seen:
            with array.device, stream:
                test_later(array, self._test)

    def _test(self, found: Sequence[int]) -> None:
        values, at = list(found), 0
        for requires, _, _ in self._late:
            if requires.bounds is not None:
                values[at] = ~values[at]
            at += requires.how_many
        try:
            test_all(self._late, values)
        except TracecError:
            forget(self._test)  # later copies tell the same once more
            for array, stream in list(self._seen.values()):
                with array.device, stream:
                    array.fill(_LEAST)
            raise


def unseen(late: Sequence[Late]) -> Any:
    """Numbers of no call at all, on the current device."""
    count = sum(c.requires.how_many for c in late)
    return module(_gpu_of(late)).full(count, _LEAST, np.int64)


def _gpu_of(late: Sequence[Late]) -> str:
    return next(c.device for c in late if c.is_late)
