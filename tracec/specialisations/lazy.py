"""Lazy execution of functions that no recording can stand in for: Python runs at each call, operations are deferred.

The operations between two places where the function asks for a value form a segment (as between the graph breaks of
TorchDynamo, or the barriers of LazyTensor). A segment whose form, its graph up to Python's numbers, has come before
runs as a compiled program; others run one operation after the other.

Source: Suhan et al., "LazyTensor: combining eager execution with domain-specific compilers", 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from tracec.background import Job, resume, submit
from tracec.build import Runner
from tracec.ir.graph import Graph
from tracec.ir.source import caller, collecting, warn_at
from tracec.progress import progress
from tracec.record.deferred import Deferred
from tracec.record.deferred_steps import LOOK, Step
from tracec.record.state import STATE
from tracec.specialisations.segments import Form, Shapeless

#: From a graph, and output → input whose memory it may take over, to its program.
Build = Callable[[Graph, Mapping[int, int]], Runner]

#: Segments of fewer steps are not worth a program.
_FEWEST = 4
#: Bytes that an operation makes, on average, below which to write it down takes longer than what a program saves.
_SMALLEST = 1 << 16
#: Forms that may have come before none is compiled any more.
_MOST_FORMS = 64
#: Calls, or segments that ran operation by operation, before that is a sign that few segments come again.
_FRUITLESS = 64
#: Programs of one form, each for other numbers, before all of its numbers are inputs.
_MOST_NUMBERS = 2


class _Segment:
    """The program of a form.

    Attributes:
        numbers: Python's numbers in the program, as bytes.
        program: The program, and what of the numbers it takes as inputs; None before it is built.
        job: What builds it in the background.
        failed: It could not be built, which was said.
        calls: How often it ran.
    """

    def __init__(self, form: Form) -> None:
        self.numbers = _as_bytes(form)
        self._operations = sum(row.kind == "call" for row in form.rows)
        self._lines = tuple(str(row.source) for row in form.rows if row.source is not None)
        self.calls = 0
        self._lifted: set[int] = set()
        self.program: tuple[Runner, tuple[int, ...]] | None = None
        self.job: Job | None = None
        self.failed = False
        self._changes = 0

    def lift(self, form: Form) -> None:
        """Let the numbers that are others in a form be inputs."""
        found = _as_bytes(form)
        others = {k for k, (a, b) in enumerate(zip(found, self.numbers, strict=True)) if a != b}
        if not others <= self._lifted:
            self._changes += 1
            self._lifted.update(range(len(found)) if self._changes > _MOST_NUMBERS else others)

    @property
    def lifted(self) -> tuple[int, ...]:
        """Positions of the numbers that are inputs; other threads may add to them, and none is taken away."""
        return tuple(sorted(self._lifted))

    def __str__(self) -> str:
        where = "" if not self._lines else f", {self._lines[0]} to {self._lines[-1]}"
        numbers = f", {len(self.lifted)} numbers are inputs" if self.lifted else ""
        return f"  a part of {self._operations} operations{where}: ran {self.calls} times{numbers}"

    def ready(self) -> tuple[Runner, tuple[int, ...]] | None:
        """The program, if it takes as inputs what it has to."""
        program = self.program
        return program if program is not None and program[1] == self.lifted else None


def _as_bytes(form: Form) -> list[bytes]:
    return [a.tobytes() for a in form.numbers]


class LazyRunner:
    """Runs a function whose operations are recorded anew at each call, and compared with those of calls before.

    Args:
        fn: The function.
        name: Its name.
        build: Makes programs.
        background: Whether they are made in the background.

    Attributes:
        calls: How often it ran.
        compiled: Segments that ran as programs.
        others: Segments that ran operation by operation.
    """

    def __init__(self, fn: Callable[..., Any], name: str, build: Build, background: bool) -> None:
        self._fn, self._name, self._build, self._background = fn, name, build, background
        self._known: dict[Hashable, _Segment] = {}
        self.calls = self.compiled = self.others = 0
        self._is_small = False
        #: Whether the last call had forms that had not come before.
        self._learns = True

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if STATE.deferred is not None or self._why_not:
            return self._fn(*args, **kwargs)
        self.calls += 1
        others = self.others
        deferred = Deferred(self._serve, self._learns)
        try:
            with deferred:
                return self._fn(*args, **kwargs)
        finally:
            self._learns = self.calls == 1 or self.others > others  # the first one learns how results lie
            if self.calls <= 2:  # the first may set things up
                self._is_small = deferred.bytes < _SMALLEST * deferred.operations

    @property
    def _why_not(self) -> str:
        """Why it is not worth while to write operations down; empty where it is."""
        if self._is_small:
            return "what they compute is small"
        if max(self.calls, self.others) >= _FRUITLESS and self.compiled < self.others + (self.calls >> 1):
            return "few come again"
        return ""

    def _serve(self, steps: Sequence[Step]) -> Callable[[], None] | None:
        """What computes steps by a program, where they have a form that has come before."""
        if sum(kind != LOOK for kind, *_ in steps) < _FEWEST:
            return None
        try:
            form = Form(steps)
        except Shapeless:
            self.others += 1
            return None
        known = self._known.get(form.key)
        if known is None:
            if len(self._known) < _MOST_FORMS:
                self._known[form.key] = _Segment(form)
            self.others += 1
            return None
        known.lift(form)
        program = known.ready() or self._built(known, form)
        if program is None:
            self.others += 1
            return None
        self.compiled, known.calls = self.compiled + 1, known.calls + 1
        run, lifted = program

        def compute() -> None:
            for target, values in zip(form.targets, run(form.given(lifted)), strict=True):
                if values is not target:
                    target[...] = values

        return compute

    def _built(self, segment: _Segment, form: Form) -> tuple[Runner, tuple[int, ...]] | None:
        """Build a program; None where it is being built in the background, or cannot be."""
        if segment.failed:
            return None
        if segment.job is not None and not segment.job.done.is_set():
            resume()
            return None
        lifted, replaces = segment.lifted, form.replaces
        graph = form.graph(self._name, lifted)

        def build() -> tuple[Runner, tuple[int, ...]]:
            segment.program = program = self._build(graph, replaces), lifted
            return program

        line = caller()

        def run() -> None:
            with collecting() as said:
                try:
                    build()
                except Exception as error:
                    segment.failed = True
                    said.append(
                        f"{self._name}: a part could not be compiled, and runs operation by operation: "
                        f"{type(error).__name__}: {error}"
                    )
            for message in said:
                warn_at(line, message)

        if self._background:
            segment.job = submit(run)
            return None
        with progress(f"compiling {self._name}"):
            run()
        return segment.ready()

    def wait(self) -> None:
        """Wait until nothing is being compiled in the background."""
        for segment in tuple(self._known.values()):
            if segment.job is not None:
                segment.job.done.wait()

    def describe(self) -> list[str]:
        """How the calls ran, in words."""
        if not self.calls:
            return []
        programs = [s for s in self._known.values() if s.program is not None]
        return [
            f"recorded again at each call and compared: in {self.calls} calls {self.compiled} segments ran as "
            f"{len(programs)} programs, {self.others} operation by operation"
            + (f"; calls run eagerly now, since {self._why_not}" if self._why_not else ""),
            *map(str, programs),
        ]
