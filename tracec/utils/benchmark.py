"""Timing of small pieces of code: ``Timer``, ``Measurement`` and ``Compare``, as in ``torch.utils.benchmark``."""

from __future__ import annotations

import math
import timeit
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from statistics import fmean, quantiles
from statistics import median as median_of
from typing import Any

import tracec
from tracec.errors import ArgumentError

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def timer() -> float:
    """Seconds, once the GPU has done what it was given."""
    if tracec.cuda.is_available() and tracec.cuda.is_initialized():
        tracec.cuda.synchronize()
    return timeit.default_timer()


def select_unit(t: float) -> tuple[str, float]:
    """A unit for so many seconds, and how many seconds it is."""
    scale, name = next(((s, n) for s, n in _UNITS if t >= s), _UNITS[-1])
    return name, scale


@dataclass(frozen=True)
class TaskSpec:
    """What was timed.

    Attributes:
        stmt: The code.
        setup: What ran once before.
        label, sub_label, description: Names for it in tables: of the table, of the row and of the column.
        env: Where it ran.
        num_threads: Threads that compiled programs were allowed.
    """

    stmt: str
    setup: str
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1

    @property
    def title(self) -> str:
        """The best name that there is."""
        return self.label or self.stmt

    def row(self) -> tuple[str, int]:
        """What tells its row in a table."""
        return self.sub_label or self.stmt, self.num_threads


@dataclass
class Measurement:
    """Times of some runs.

    Attributes:
        number_per_run: Executions in each run.
        raw_times: Seconds of each run.
        task_spec: What was timed.
    """

    number_per_run: int
    raw_times: list[float]
    task_spec: TaskSpec
    metadata: dict[Any, Any] | None = field(default=None)

    @property
    def times(self) -> list[float]:
        """Seconds of one execution, in each run."""
        return [t / self.number_per_run for t in self.raw_times]

    @property
    def median(self) -> float:
        """The median of the times."""
        return median_of(self.times)

    @property
    def mean(self) -> float:
        """The mean of the times."""
        return fmean(self.times)

    @property
    def iqr(self) -> float:
        """Distance between the quartiles of the times; 0 for a single run."""
        if len(self.times) < 2:
            return 0.0
        low, _, high = quantiles(self.times, n=4, method="inclusive")
        return high - low

    @property
    def has_warnings(self) -> bool:
        """Whether the times differ by more than a tenth between the quartiles."""
        return self.iqr > 0.1 * self.median

    @property
    def title(self) -> str:
        """The best name of what was timed."""
        return self.task_spec.title

    @staticmethod
    def merge(measurements: Sequence[Measurement]) -> list[Measurement]:
        """Measurements of one piece of code with one number of executions as one."""
        groups: dict[tuple[TaskSpec, int], list[float]] = {}
        for m in measurements:
            groups.setdefault((m.task_spec, m.number_per_run), []).extend(m.raw_times)
        return [Measurement(number, times, spec) for (spec, number), times in groups.items()]

    def __repr__(self) -> str:
        unit, scale = select_unit(self.median)
        count, n, spec = len(self.raw_times), self.number_per_run, self.task_spec
        lines = [f"{self.title}", f"  {'Median: ' if count > 1 else ''}{self.median / scale:.2f} {unit}"]
        if spec.label and spec.label != spec.stmt:
            lines.insert(1, f"  {spec.stmt}")
        if count > 1:
            lines.append(f"  IQR:    {self.iqr / scale:.2f} {unit}")
        runs = f"{n} run{'s' if n > 1 else ''}{' per measurement' if count > 1 else ''}"
        threads = f"{spec.num_threads} thread{'s' if spec.num_threads > 1 else ''}"
        lines.append(f"  {count} measurement{'s' if count > 1 else ''}, {runs}, {threads}")
        if self.has_warnings:
            lines.append("  WARNING: the times differ much; other work on the machine may have come between")
        return "<tracec.utils.benchmark.Measurement>\n" + "\n".join(lines)


class Timer:
    """Times a piece of Python code, waiting for the GPU.

    Args:
        stmt: The code.
        setup: Code to run once before.
        global_setup: Code to run before ``setup``.
        timer: A function of no arguments that gives seconds.
        globals: Names for the code.
        label: A name for it in tables.
        sub_label: The name of its row.
        description: The name of its column.
        env: A name for where it runs.
        num_threads: Threads that compiled programs are allowed while it runs.
    """

    def __init__(
        self,
        stmt: str = "pass",
        setup: str = "pass",
        global_setup: str = "",
        timer: Callable[[], float] = timer,
        globals: dict[str, Any] | None = None,
        label: str | None = None,
        sub_label: str | None = None,
        description: str | None = None,
        env: str | None = None,
        num_threads: int = 1,
    ) -> None:
        self._spec = TaskSpec(stmt, setup, label, sub_label, description, env, num_threads)
        names = {"tracec": tracec, "torch": tracec, **(globals or {})}
        before = "\n".join(part for part in (global_setup, setup) if part)
        self._timer = timeit.Timer(stmt, before, timer, names)

    def _threads(self) -> AbstractContextManager[None]:
        return tracec.settings.limited_threads(self._spec.num_threads)

    def timeit(self, number: int = 1_000_000) -> Measurement:
        """One run of so many executions, after a few to warm up."""
        with self._threads():
            self._timer.timeit(max(number // 100, 2))
            return Measurement(number, [self._timer.timeit(number)], self._spec)

    def _enough(self, least: float) -> int:
        """How many executions take that many seconds."""
        number = 1
        while (took := self._timer.timeit(number)) < least and number < 10**9:
            number = max(number * 2, math.ceil(number * min(least / max(took, 1e-9), 100)))
        return number

    def blocked_autorange(
        self, callback: Callable[[int, float], Any] | None = None, min_run_time: float = 0.2
    ) -> Measurement:
        """Runs of equal length until they have taken a time together.

        Args:
            callback: Called with the number of executions and the seconds of each run.
            min_run_time: Seconds to measure.
        """
        times: list[float] = []
        with self._threads():
            number = self._enough(min(1e-3, min_run_time / 10))
            while sum(times) < min_run_time:
                times.append(self._timer.timeit(number))
                if callback is not None:
                    callback(number, times[-1])
        return Measurement(number, times, self._spec)

    def adaptive_autorange(
        self,
        threshold: float = 0.1,
        *,
        min_run_time: float = 0.01,
        max_run_time: float = 10.0,
        callback: Callable[[int, float], Any] | None = None,
    ) -> Measurement:
        """Runs until the quartiles of their times lie within a fraction of the median.

        Args:
            threshold: That fraction.
            min_run_time: Seconds to measure at least.
            max_run_time: Seconds after which to give up.
            callback: As for `blocked_autorange`.
        """
        times: list[float] = []
        with self._threads():
            number = self._enough(min_run_time / 10)
            while sum(times) < max_run_time:
                times.append(self._timer.timeit(number))
                if callback is not None:
                    callback(number, times[-1])
                found = Measurement(number, times, self._spec)
                if sum(times) >= min_run_time and len(times) >= 3 and found.iqr <= threshold * found.median:
                    break
        return Measurement(number, times, self._spec)


class Compare:
    """A table of measurements: a row for each piece of code and number of threads, a column for each description.

    Args:
        results: The measurements.
    """

    def __init__(self, results: Sequence[Measurement]) -> None:
        self._results: list[Measurement] = []
        self._digits: int | None = None
        self.extend_results(results)

    def extend_results(self, results: Sequence[Measurement]) -> None:
        """Add measurements."""
        for r in results:
            if not isinstance(r, Measurement):
                raise ArgumentError(f"Compare: takes measurements, {type(r).__name__} given", hint="use Timer")
        self._results.extend(results)

    def trim_significant_figures(self) -> None:
        """Show three digits of each time."""
        self._digits = 3

    def print(self) -> None:
        """Print the table."""
        print(str(self))

    def __str__(self) -> str:
        tables = []
        for label in dict.fromkeys(m.title for m in self._results):
            tables.append(self._table(label, [m for m in self._results if m.title == label]))
        return "\n".join(tables)

    def _table(self, label: str, group: list[Measurement]) -> str:
        unit, scale = select_unit(min(m.median for m in group))
        columns = list(dict.fromkeys(m.task_spec.description or "" for m in group))
        rows = list(dict.fromkeys(m.task_spec.row() for m in group))
        cells = {(m.task_spec.row(), m.task_spec.description or ""): m.median / scale for m in group}
        lines = [["", *columns]]
        for name, threads in rows:
            shown = [cells.get(((name, threads), c)) for c in columns]
            lines.append([f"{name} ({threads} threads)" if threads > 1 else name, *map(self._number, shown)])
        widths = [max(len(line[k]) for line in lines) for k in range(len(columns) + 1)]
        text = ["  |  ".join(w.rjust(n) for w, n in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([f"[{label}]".center(len(text[0]), "-"), *text, f"Times are in {unit}."])

    def _number(self, value: float | None) -> str:
        if value is None:
            return ""
        return f"{value:.{self._digits}g}" if self._digits else f"{value:.1f}"
