"""Where time goes: a table of operators, ways back and named regions.

The profiler watches Python's calls of the functions that run operators, gradients and compiled programs; nothing is
watched, and nothing is slower, outside of it. Times are wall-clock times of the host. Work on a GPU that is only
queued counts where the host waits for it.
"""

from __future__ import annotations

import functools
import gzip
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import CodeType, FrameType, TracebackType
from typing import Any, TypeVar

from tracec.errors import ArgumentError
from tracec.functions.common import fail
from tracec.ir.call_hook import put_back_hook
from tracec.record import backward, compositions, dispatch

F = TypeVar("F", bound=Callable[..., Any])


class _Running(threading.local):
    profile: profile | None = None


_running = _Running()


def _operator(frame: FrameType) -> str:
    return f"tracec::{frame.f_locals['op'].name}"


def _composition(frame: FrameType) -> str:
    return f"tracec::{frame.f_locals['self'].name}"


def _backward_name(frame: FrameType) -> str:
    return str(frame.f_locals["operation"].name())


#: Code whose calls are events → the event's name. `Replay.__call__` is known by its name: it is of a later stage.
_WATCHED: dict[CodeType, Callable[[FrameType], str]] = {
    dispatch.apply.__code__: _operator,
    compositions.Composed.__call__.__code__: _composition,
    compositions.Composed.with_kept.__code__: _composition,
    backward.ArrayEngine.pull.__code__: _backward_name,
    backward.RecordedEngine.pull.__code__: _backward_name,
}


def _event_name(frame: FrameType) -> str | None:
    code = frame.f_code
    watched = _WATCHED.get(code)
    if watched is not None:
        return watched(frame)
    if code.co_qualname == "Replay.__call__" and code.co_filename.endswith("replay.py"):
        return "compiled program"
    return None


@dataclass
class FunctionEvent:
    """One call.

    Attributes:
        name: What was called.
        start: When it began, in microseconds since the profile did.
        end: When it ended.
        children: Microseconds of the events within it.
        shapes: Shapes of an operator's operands, where they are recorded.
        depth: Number of events that it is within.
    """

    name: str
    start: float
    end: float = 0.0
    children: float = 0.0
    shapes: tuple[Any, ...] = ()
    depth: int = 0

    @property
    def cpu_time_total(self) -> float:
        """Microseconds, those of what it called included."""
        return self.end - self.start

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds, those of what it called left out."""
        return self.cpu_time_total - self.children


@dataclass
class FunctionEventAvg:
    """Calls of one name.

    Attributes:
        key: The name.
        input_shapes: Shapes of the operands, where calls are told apart by them.
        count: Number of calls.
        cpu_time_total: Microseconds of all, those of what they called included.
        self_cpu_time_total: Microseconds, those of what they called left out.
    """

    key: str
    input_shapes: tuple[Any, ...] = ()
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0

    @property
    def cpu_time(self) -> float:
        """Microseconds of a call, on average."""
        return self.cpu_time_total / max(self.count, 1)


#: What a table can be sorted by.
_SORTS = ("cpu_time", "cpu_time_total", "self_cpu_time_total", "count")
#: PyTorch's other orders → those that are nearest: work on a GPU counts where the host waits for it, and memory is not
#: watched.
_NEAREST = {
    **{f"{device}_time": "cpu_time" for device in ("cuda", "device", "xpu")},
    **{f"{device}_time_total": "cpu_time_total" for device in ("cuda", "device", "xpu")},
    **{f"self_{device}_time_total": "self_cpu_time_total" for device in ("cuda", "device", "xpu")},
    **{f"{device}_memory_usage": "cpu_time_total" for device in ("cpu", "cuda", "device", "xpu")},
    **{f"self_{device}_memory_usage": "self_cpu_time_total" for device in ("cpu", "cuda", "device", "xpu")},
}


@dataclass
class EventList:
    """Events by name; iterates over them.

    Attributes:
        events: The events.
        total: Microseconds that are some event's own.
    """

    events: list[FunctionEventAvg] = field(default_factory=list)
    total: float = 0.0

    def __iter__(self) -> Iterator[FunctionEventAvg]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def __getitem__(self, k: int) -> FunctionEventAvg:
        return self.events[k]

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds that are some event's own."""
        return self.total

    def table(
        self, sort_by: str | None = None, row_limit: int = 100, max_name_column_width: int = 55, **_: Any
    ) -> str:  # fmt: skip
        """The events as text.

        Args:
            sort_by: ``cpu_time``, ``cpu_time_total``, ``self_cpu_time_total`` or ``count``; None for order of calls.
                PyTorch's names for times of other devices are those of the host, and of memory, which is not watched,
                those of time.
            row_limit: How many rows to show; -1 for all.
            max_name_column_width: Letters of a name.
            **_: What else PyTorch takes for the look of it, with no effect.

        Raises:
            ArgumentError: there is no such order.
        """
        events = list(self.events)
        if sort_by is not None:
            sort_by = _NEAREST.get(sort_by, sort_by)
            if sort_by not in _SORTS:
                fail(ArgumentError, f"table: sort_by={sort_by!r} is not known", f"use one of {', '.join(_SORTS)}")
            events.sort(key=lambda e: getattr(e, sort_by), reverse=True)
        shown = events if row_limit < 0 else events[:row_limit]
        head = ("Name", "Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg", "# of Calls")
        shaped = any(e.input_shapes for e in shown)
        rows: list[tuple[str, ...]] = [head + (("Input Shapes",) if shaped else ())]
        for e in shown:
            own, whole = e.self_cpu_time_total, e.cpu_time_total
            cells = (e.key[:max_name_column_width], self._share(own), _time(own), self._share(whole), _time(whole))
            more = (str(list(e.input_shapes)),) if shaped else ()
            rows.append((*cells, _time(e.cpu_time), str(e.count), *more))
        widths = [max(12, *(len(row[k]) for row in rows)) for k in range(len(rows[0]))]
        line = "  ".join("-" * w for w in widths)
        text = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
        return "\n".join([line, text[0], line, *text[1:], line, f"Self CPU time total: {_time(self.total)}", ""])

    def _share(self, value: float) -> str:
        return f"{100 * value / self.total if self.total else 0:.2f}%"


def _time(microseconds: float) -> str:
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:.3f}{unit}"
    return f"{microseconds:.3f}us"


class profile:
    """Within, calls are timed.

    Args:
        enabled: Whether they are.
        record_shapes: Whether shapes of operands are kept, for ``key_averages(group_by_input_shape=True)``.
        **_: What else PyTorch can watch (stacks, memory, devices), taken with no effect.
    """

    def __init__(self, enabled: bool = True, *, record_shapes: bool = False, **_: Any) -> None:
        self.enabled, self.record_shapes = enabled, record_shapes
        self.function_events: list[FunctionEvent] = []
        self._open: list[tuple[Any, FunctionEvent]] = []
        self._began = 0.0

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to watch.

        Raises:
            ArgumentError: another profile is under way.
        """
        if not self.enabled:
            return
        if _running.profile is not None:
            fail(ArgumentError, "profile: Profiler is already running in this thread", "leave the inner one out")
        self._began = time.perf_counter()
        _running.profile = self
        self._outer = sys.getprofile()
        sys.setprofile(self._watch)

    def stop(self) -> None:
        """Watch no more."""
        if _running.profile is self:
            put_back_hook(self._outer)
            _running.profile = None

    def _now(self) -> float:
        return 1e6 * (time.perf_counter() - self._began)

    def _watch(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            name = _event_name(frame)
            if name is not None:
                self.begin(frame, name, _shapes(frame) if self.record_shapes else ())
        elif event == "return" and self._open and self._open[-1][0] is frame:
            self.end(frame)

    def begin(self, of: Any, name: str, shapes: tuple[Any, ...] = ()) -> None:
        """Note that something begins."""
        self._open.append((of, FunctionEvent(name, self._now(), shapes=shapes, depth=len(self._open))))

    def end(self, of: Any) -> None:
        """Note that it, and what is still open within it, ends."""
        if not any(each is of for each, _ in self._open):
            return
        while True:
            each, event = self._open.pop()
            event.end = self._now()
            self.function_events.append(event)
            if self._open:
                self._open[-1][1].children += event.cpu_time_total
            if each is of:
                return

    # Results --------------------------------------------------------------------------------------------

    def events(self) -> list[FunctionEvent]:
        """All calls, by when they began."""
        return sorted(self.function_events, key=lambda e: e.start)

    def key_averages(self, group_by_input_shape: bool = False, **_: Any) -> EventList:
        """The calls by name, and by shapes of operands if asked for."""
        found: dict[Any, FunctionEventAvg] = {}
        for e in self.events():
            shapes = e.shapes if group_by_input_shape else ()
            mean = found.setdefault((e.name, shapes), FunctionEventAvg(e.name, shapes))
            mean.count += 1
            mean.cpu_time_total += e.cpu_time_total
            mean.self_cpu_time_total += e.self_cpu_time_total
        return EventList(list(found.values()), sum(e.self_cpu_time_total for e in found.values()))

    def table(self, sort_by: str | None = None, row_limit: int = 100) -> str:
        """The calls by name as text; see `EventList.table`."""
        return self.key_averages().table(sort_by, row_limit)

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds that are some call's own."""
        return self.key_averages().total

    def export_chrome_trace(self, path: str) -> None:
        """Write all calls to a file that chrome://tracing and Perfetto show."""
        events = [
            {"name": e.name, "ph": "X", "ts": e.start, "dur": e.cpu_time_total, "pid": 0, "tid": 0,
             "args": {"Input Dims": [list(s) for s in e.shapes]} if e.shapes else {}}
            for e in self.events()
        ]  # fmt: skip
        with gzip.open(path, "wt") if path.endswith(".gz") else open(path, "w") as file:
            json.dump({"traceEvents": events, "displayTimeUnit": "ms"}, file)


def _shapes(frame: FrameType) -> tuple[Any, ...]:
    inputs = frame.f_locals.get("inputs", ())
    return tuple(tuple(getattr(x, "shape", ())) for x in inputs) if isinstance(inputs, tuple) else ()


class record_function:
    """A region under a name in the table of a profile that is under way; a context, and a decorator.

    Args:
        name: The name.
        args: A note, which PyTorch keeps with the region and its table leaves out; nothing here shows it.
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name, self.args = name, args

    def __enter__(self) -> record_function:
        if _running.profile is not None:
            _running.profile.begin(self, self.name)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if _running.profile is not None:
            _running.profile.end(self)

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name, self.args):
                return function(*args, **kwargs)

        return run  # type: ignore[return-value]
