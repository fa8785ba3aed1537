"""PyTorch's newer names for the profiler of `tracec.autograd.profiler`."""

from __future__ import annotations

import enum
import os
import socket
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from tracec.autograd import profiler
from tracec.autograd.profiler import EventList, FunctionEvent, record_function
from tracec.errors import ArgumentError
from tracec.functions.common import fail


class ProfilerActivity(enum.Enum):
    """What is watched. The host always is; work on a GPU counts where the host waits for it."""

    CPU = "cpu"
    CUDA = "cuda"


class ProfilerAction(enum.Enum):
    """What a profile does in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


_WATCHING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


def supported_activities() -> set[ProfilerActivity]:
    """What can be watched."""
    return {ProfilerActivity.CPU}


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
) -> Callable[[int], ProfilerAction]:
    """Which steps a profile watches: rounds of some that are left out, some for warming up, and some that are watched.

    Args:
        wait: Steps that each round begins with, which are left out.
        warmup: Steps after those, which are left out as well.
        active: Steps that are watched.
        repeat: How many rounds there are; with 0 as many as there is time for.
        skip_first: Steps before the first round.
        skip_first_wait: Other than 0, the first round does not wait.

    Raises:
        ArgumentError: a number is negative, or no step is watched.
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        fail(
            ArgumentError,
            f"schedule: wait={wait}, warmup={warmup}, active={active}, repeat={repeat}, skip_first={skip_first}",
            "give 1 or more for active, 0 or more for the others",
        )

    def action(step: int) -> ProfilerAction:
        if step < skip_first:
            return ProfilerAction.NONE
        step += (wait if skip_first_wait else 0) - skip_first
        rounds, at = divmod(step, wait + warmup + active)
        if (repeat and rounds >= repeat) or at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD_AND_SAVE if at == wait + warmup + active - 1 else ProfilerAction.RECORD

    return action


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False, **_: Any
) -> Callable[[profile], None]:
    """What writes each profile that is ready into a folder, as TensorBoard's plugin and Perfetto read it.

    Args:
        dir_name: The folder, which is made.
        worker_name: What its files begin with; by default the names of the machine and the process.
        use_gzip: Whether files are compressed.
        **_: What else PyTorch takes, with no effect.
    """

    def write(ready: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        name = f"{worker}.{time.time_ns()}.pt.trace.json" + (".gz" if use_gzip else "")
        ready.export_chrome_trace(os.path.join(dir_name, name))

    return write


class profile:
    """Within, calls are timed: all of them, or those of some steps.

    Args:
        activities: PyTorch's choice of what to watch; see `ProfilerActivity` for what is.
        schedule: What tells what to do in each step, as `schedule` makes it. `step` begins the next one.
        on_trace_ready: Called with the profile when it ends, or a round of steps does.
        record_shapes: Whether shapes of operands are kept.
        **_: What else PyTorch can watch (memory, stacks, floating-point operations), taken with no effect.

    Attributes:
        step_num: How many steps have ended.
        current_action: What it does in this one.
    """

    def __init__(
        self,
        *,
        activities: Iterable[ProfilerActivity] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[[Any], Any] | None = None,
        record_shapes: bool = False,
        **_: Any,
    ) -> None:
        self.activities = set(activities or (ProfilerActivity.CPU,))
        self.on_trace_ready = on_trace_ready
        self.record_shapes = record_shapes
        self.step_num = 0
        self._action = schedule if schedule is not None else lambda step: ProfilerAction.RECORD
        self.current_action = self._action(0)
        self._profile = profiler.profile(record_shapes=record_shapes)
        self._runs = False

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to watch, if the first step is watched."""
        self._watch(self.current_action in _WATCHING)

    def stop(self) -> None:
        """Watch no more."""
        self._end()

    def step(self) -> None:
        """Begin the next step."""
        before, self.step_num = self.current_action, self.step_num + 1
        self.current_action = self._action(self.step_num)
        watched = self.current_action in _WATCHING
        if before is ProfilerAction.RECORD_AND_SAVE or not watched:
            self._end()
        self._watch(watched)

    def _watch(self, watched: bool) -> None:
        if watched and not self._runs:
            self._profile = profiler.profile(record_shapes=self.record_shapes)
            self._profile.start()
            self._runs = True

    def _end(self) -> None:
        if self._runs:
            self._profile.stop()
            self._runs = False
            if self.on_trace_ready is not None:
                self.on_trace_ready(self)

    def events(self) -> list[FunctionEvent]:
        """All calls, by when they began: those of the last round, with a schedule."""
        return self._profile.events()

    def key_averages(self, group_by_input_shape: bool = False, **_: Any) -> EventList:
        """The calls by name, and by shapes of operands if asked for."""
        return self._profile.key_averages(group_by_input_shape)

    def export_chrome_trace(self, path: str) -> None:
        """Write all calls to a file that chrome://tracing and Perfetto show."""
        self._profile.export_chrome_trace(path)


__all__ = [
    "ProfilerAction", "ProfilerActivity", "profile", "record_function", "schedule", "supported_activities",
    "tensorboard_trace_handler",
]  # fmt: skip
