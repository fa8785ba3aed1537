"""Times on a device, on a pretended one with a clock of its own."""

from __future__ import annotations

import types
from typing import Any

import pytest

from tracec.runtime.measure import _time


class Clocks:
    """A host that queues, and a device that works off what is queued, in microseconds.

    Args:
        host: What queueing takes the host.
        device: What the work takes the device.
    """

    def __init__(self, host: float, device: float) -> None:
        self.cost, self.work = host, device
        self.now = self.ready = 0.0
        event = lambda: Event(self)  # noqa: E731
        runtime = types.SimpleNamespace(memsetAsync=lambda *_: self.queue(2, 10))
        self.cupy = types.SimpleNamespace(
            cuda=types.SimpleNamespace(
                Event=event,
                runtime=runtime,
                get_current_stream=lambda: types.SimpleNamespace(ptr=0),
                alloc=lambda nbytes: types.SimpleNamespace(ptr=1),
                get_elapsed_time=lambda start, end: (end.at - start.at) / 1000,
            )
        )

    def queue(self, host: float, device: float) -> None:
        self.now += host
        self.ready = max(self.ready, self.now) + device

    def run(self) -> None:
        self.queue(self.cost, self.work)


class Event:
    def __init__(self, clocks: Clocks) -> None:
        self.clocks = clocks

    def record(self) -> None:
        self.clocks.queue(1, 0)
        self.at = self.clocks.ready

    def synchronize(self) -> None:
        self.clocks.now = max(self.clocks.now, self.at)


@pytest.mark.parametrize(("host", "device"), [(20, 3), (5, 1), (5, 400)])
def test_the_hosts_time_is_hidden(host: float, device: float) -> None:
    clocks = Clocks(host, device)
    found: Any = _time(clocks.cupy, clocks.run)
    assert found == pytest.approx(device, rel=1e-6)
