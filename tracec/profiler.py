"""PyTorch's newer names for the profiler of `tracec.autograd.profiler`."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from tracec.autograd import profiler
from tracec.autograd.profiler import EventList, FunctionEvent, record_function


class ProfilerActivity(enum.Enum):
    """What is watched. The host always is; work on a GPU counts where the host waits for it."""

    CPU = "cpu"
    CUDA = "cuda"


class profile:
    """Within, calls are timed.

    Args:
        activities: PyTorch's choice of what to watch; see `ProfilerActivity` for what is.
        on_trace_ready: Called with the profile when it ends.
        record_shapes: Whether shapes of operands are kept.
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        on_trace_ready: Callable[[Any], Any] | None = None,
        record_shapes: bool = False,
    ) -> None:
        self.activities = set(activities or (ProfilerActivity.CPU,))
        self.on_trace_ready = on_trace_ready
        self.step_num = 0
        self._profile = profiler.profile(record_shapes=record_shapes)

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to watch."""
        self._profile.start()

    def stop(self) -> None:
        """Watch no more."""
        self._profile.stop()
        if self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def step(self) -> None:
        """Count a step of training."""
        self.step_num += 1

    def events(self) -> list[FunctionEvent]:
        """All calls, by when they began."""
        return self._profile.events()

    def key_averages(self, group_by_input_shape: bool = False) -> EventList:
        """The calls by name, and by shapes of operands if asked for."""
        return self._profile.key_averages(group_by_input_shape)

    def export_chrome_trace(self, path: str) -> None:
        """Write all calls to a file that chrome://tracing and Perfetto show."""
        self._profile.export_chrome_trace(path)


__all__ = ["ProfilerActivity", "profile", "record_function"]
