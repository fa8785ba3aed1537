"""Structured loops unrolled: the launches of every run, one after another, for targets whose launches are a list.

Kernels are there once. What differs from run to run is where a launch reads and writes: pieces of values.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tracec.ir.extent import fixed, formula_key
from tracec.ir.plan import Launch, LibraryCall, Plan, Repeat, Step, Value
from tracec.ir.types import TensorType


def unrolled(plan: Plan) -> Plan:
    """The plan with the steps of every run in a loop's place; the same plan where it has no loops."""
    if not any(isinstance(s, Repeat) for s in plan.steps):
        return plan
    return _Unrolling(plan).plan()


class _Unrolling:
    def __init__(self, plan: Plan) -> None:
        self.old = plan
        self.values = list(plan.values)
        self.kernels = list(plan.kernels)
        self.steps: list[Step] = []
        self._pieces: dict[tuple[int, Any, Any], int] = {}
        self._bodies: dict[int, int] = {}

    def plan(self) -> Plan:
        first, last = [], []
        for step in self.old.steps:
            first.append(len(self.steps))
            if isinstance(step, Repeat):
                self._repeat(step)
            else:
                self.steps.append(step)
            last.append(len(self.steps) - 1)
        for k, v in enumerate(self.old.values):
            begin = v.first if v.first < 0 else first[v.first]
            end = v.last if v.last < 0 else last[v.last]
            self.values[k] = replace(v, first=begin, last=end)
        return replace(self.old, kernels=tuple(self.kernels), steps=tuple(self.steps), values=tuple(self.values))

    def _repeat(self, step: Repeat) -> None:
        shift = self._kernels(step.body)
        for run in range(fixed(step.length)):
            places = self._places(step, run)
            for inner in step.body.steps:
                self.steps.append(self._moved(inner, places, shift))

    def _kernels(self, body: Plan) -> int:
        """Where the body's kernels are among all."""
        if id(body) not in self._bodies:
            self._bodies[id(body)] = len(self.kernels)
            self.kernels += body.kernels
        return self._bodies[id(body)]

    def _places(self, step: Repeat, run: int) -> list[int]:
        """Where each of the body's values is in a run."""
        body, n, m = step.body, step.carries, step.carries + step.scanned
        at = step.length - 1 - run if step.reverse else run
        found: dict[int, tuple[int, int]] = {}
        for k, v in enumerate(body.inputs):
            if k < n and run:
                found[v] = step.scratch, step.buffers[k][(run + 1) % 2]
            else:
                moved = at * body.values[v].type.nbytes if n <= k < m else 0
                found[v] = step.inputs[k], step.offsets[k] + moved
        for k, v in enumerate(body.outputs):
            if k < n and (run < step.length - 1 or step.places[k] < 0):
                found[v] = step.scratch, step.buffers[k][run % 2]
            else:
                found[v] = step.output, step.places[k] + at * step.strides[k]
        places = []
        for k, value in enumerate(body.values):
            base, offset = found.get(k, (step.scratch, value.offset))
            if value.place == "part":
                base, offset = found.get(value.index, (step.scratch, body.values[value.index].offset))
                offset += value.offset
            places.append(self._piece(base, offset, value.type))
        return places

    def _piece(self, base: int, offset: int, type_: TensorType) -> int:
        if base < 0:  # of no elements
            return self._piece(0, 0, type_) if self.values else 0
        key = base, formula_key(offset), formula_key(type_)
        if key not in self._pieces:
            whole = self.old.values[base]
            if whole.place == "part":
                base, offset = whole.index, offset + whole.offset
            self._pieces[key] = len(self.values)
            self.values.append(Value(f"{whole.name}+{offset}", type_, "part", base, offset, source=whole.source))
        return self._pieces[key]

    @staticmethod
    def _moved(step: Step, places: list[int], shift: int) -> Step:
        if isinstance(step, Launch):
            args = tuple(tuple(places[a] for a in row) for row in step.args)
            return replace(step, kernel=step.kernel + shift, args=args)
        assert isinstance(step, LibraryCall)
        return replace(step, inputs=tuple(places[v] for v in step.inputs), output=places[step.output])
