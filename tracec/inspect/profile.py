"""What each step of a program takes, measured, beside what it has to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tracec.build import Built, load_plainly
from tracec.codegen import c as c_codegen
from tracec.errors import ArgumentError
from tracec.inspect.work import Work, work_of
from tracec.ir.extent import plain
from tracec.ir.launch import CudaLaunch
from tracec.ir.plan import Launch, LibraryCall, Plan, Step
from tracec.ir.plan_text import format_bytes
from tracec.ir.source import Source
from tracec.runtime import cpu as cpu_runtime
from tracec.runtime import cuda as cuda_runtime

#: Calls before the first that counts: programs with parallel loops find out meanwhile on how many threads they are
#: fastest.
_WARM_UP = 8
#: Rounds that are run however long they take.
_LEAST = 3


@dataclass(frozen=True, slots=True)
class StepTime:
    """What is timed as one: a step of a plan, or several that one launch does.

    Attributes:
        steps: The numbers of the steps in the plan, from 0.
        name: The kernel's name, or the routine's; of several with a plus between them.
        sources: The user's lines that it computes.
        seconds: Median time of a run.
        work: What it has to do.
    """

    steps: tuple[int, ...]
    name: str
    sources: tuple[Source, ...]
    seconds: float
    work: Work

    @property
    def bandwidth(self) -> float:
        """Bytes moved in a second."""
        return self.work.moved / max(self.seconds, 1e-9)

    @property
    def speed(self) -> float:
        """Operations in a second."""
        return self.work.operations / max(self.seconds, 1e-9)


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of a program goes.

    Attributes:
        name: The function.
        target: ``cpu`` or ``cuda``.
        seconds: Median time of a call of the program as it runs otherwise, all steps together.
        rounds: How often it was run.
        steps: In the order in which they run. Each is timed by itself, so that together they take longer than a call.
    """

    name: str
    target: str
    seconds: float
    rounds: int
    steps: tuple[StepTime, ...]

    @property
    def in_steps(self) -> float:
        """Seconds of all steps, timed one by one."""
        return sum(s.seconds for s in self.steps)

    def share(self, step: StepTime) -> float:
        """The part of the time of all steps that one takes, up to 1."""
        return step.seconds / max(self.in_steps, 1e-12)

    def __str__(self) -> str:
        head = (
            f"{self.name} on {self.target}: {1e6 * self.seconds:.1f} µs a call; {len(self.steps)} steps, one by one "
            f"{1e6 * self.in_steps:.1f} µs (medians of {self.rounds} rounds)"
        )
        rows = [("share", "µs", "moves", "GB/s", "GFLOP/s", "step", "lines")]
        for s in sorted(self.steps, key=lambda s: -s.seconds):
            numbers = "+".join(map(str, s.steps))
            shown = ", ".join(map(str, s.sources[:3])) + (", …" if len(s.sources) > 3 else "")
            rows.append((
                f"{100 * self.share(s):.1f}%", f"{1e6 * s.seconds:.1f}", format_bytes(s.work.moved),
                f"{1e-9 * s.bandwidth:.3g}", f"{1e-9 * s.speed:.3g}", f"{numbers}: {s.name}", shown,
            ))  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        aligned = [[str.rjust, str.ljust][k > 4] for k in range(len(widths))]
        lines = ("  ".join(put(c, w) for put, c, w in zip(aligned, row, widths, strict=True)) for row in rows)
        return "\n".join([head, *map(str.rstrip, lines)])


def name_of(plan: Plan, step: Step) -> str:
    """What a step is called."""
    if isinstance(step, Launch):
        name = plan.kernels[step.kernel].name
        return name if len(step.args) == 1 else f"{name} ×{len(step.args)}"
    if not isinstance(step, LibraryCall) or step.routine == "eager":
        return step.operator
    if step.routine != "gemm":
        return step.routine
    params = dict(step.params)
    return f"gemm {'×'.join(str(plain(n)) for n in (*params['batch'], params['m'], params['n'], params['k']))}"


def sources_of(plan: Plan, step: Step) -> tuple[Source, ...]:
    """The user's lines that a step computes."""
    if isinstance(step, Launch):
        return plan.kernels[step.kernel].sources
    return () if step.source is None else (step.source,)


def profile(built: Built, arrays: Sequence[Any], rounds: int, most: float) -> Profile:
    """Time a program as it runs, and step by step, rounds alternating.

    Args:
        built: The program.
        arrays: The values of its inputs; copies of them are worked on.
        rounds: How many rounds to run.
        most: Seconds after which no further round is begun.

    Raises:
        ArgumentError: no round is to be run.
        CompilerMissing: there is no C compiler, without which nothing runs step by step.
        DeviceError: the program is for a GPU, and none can be reached.
    """
    if rounds < 1:
        raise ArgumentError(f"profile: rounds must be at least 1, {rounds} given", hint="leave it away for 50")
    seconds: list[float] = []
    apart, wait = _apart(built, seconds)
    whole = load_plainly(built)
    given = [a.copy() for a in arrays]
    start = time.perf_counter()
    for _ in range(_WARM_UP):
        if time.perf_counter() - start < most / 2:
            whole(list(given))
            apart(list(given))
    calls: list[float] = []
    times: list[list[float]] = []
    while len(calls) < rounds and (len(calls) < _LEAST or time.perf_counter() - start < most):
        wait()
        begin = time.perf_counter()
        whole(list(given))
        wait()
        calls.append(time.perf_counter() - begin)
        apart(list(given))
        times.append(list(seconds))
    found, at = [], 0
    for numbers, parts in _timed_together(built):
        took = median(sum(row[at : at + parts]) for row in times)
        found.append(_step_time(built.plan, numbers, took))
        at += parts
    return Profile(built.graph.name, built.target, median(calls), len(calls), tuple(found))


def _step_time(plan: Plan, numbers: tuple[int, ...], seconds: float) -> StepTime:
    steps = [plan.steps[n] for n in numbers]
    names = " + ".join(dict.fromkeys(name_of(plan, s) for s in steps))
    lines = dict.fromkeys(line for s in steps for line in sources_of(plan, s))
    work = sum((work_of(plan, s) for s in steps), Work())
    return StepTime(numbers, names, tuple(lines), seconds, work)


def _apart(built: Built, seconds: list[float]) -> tuple[Callable[[list[Any]], Any], Callable[[], None]]:
    """The program run step by step, with their times put into a list; and what waits until it is done."""
    if built.target == "cpu":
        return cpu_runtime.load(built.plan, c_codegen.render(built.plan, apart=True), seconds), lambda: None
    run = cuda_runtime.load(built.plan, built.program, graphs=False, seconds=seconds)
    return run, run.synchronize


def _timed_together(built: Built) -> list[tuple[tuple[int, ...], int]]:
    """The plan's steps as they are timed, and how many times make one: a launch may do several, a step take several."""
    if built.target == "cpu":
        return [(numbers, 1) for numbers in c_codegen.together(built.plan)]
    number = {id(s): n for n, s in enumerate(built.plan.steps)}
    found: list[tuple[tuple[int, ...], int]] = []
    for step in built.program.steps:
        numbers = step.steps if isinstance(step, CudaLaunch) else (number[id(step)],)
        if found and not set(found[-1][0]).isdisjoint(numbers):
            before, parts = found[-1]
            found[-1] = tuple(dict.fromkeys((*before, *numbers))), parts + 1
        else:
            found.append((numbers, 1))
    return found
