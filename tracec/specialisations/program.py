"""A recorded function as programs: one for what it computes, one for the gradients of each of its results."""

from __future__ import annotations

from dataclasses import dataclass

from tracec import optimize
from tracec.autotune import Choices
from tracec.build import PLANNING, Built, build, load
from tracec.ir.graph import Graph
from tracec.record.check import Range
from tracec.record.recording import Recording, find_tensors
from tracec.record.tensor import Tensor
from tracec.specialisations.checks import clamped, may_raise, with_ranges
from tracec.specialisations.derivatives import Backward, Derivative
from tracec.specialisations.recorded import Recorded
from tracec.specialisations.replay import Replay
from tracec.specialisations.way_back import held_to
from tracec.transform.split import Later, split


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A recorded function, built.

    Attributes:
        recorded: What it was built from.
        forward: What the function computes, and the values that gradients need.
        backward: For each derivative its program and where its inputs come from.
        inputs: For each input of ``forward`` its position among the recording's.
        ranges: Conditions on the values of an output of ``forward`` that is there for them alone, behind those of
            the recording and before the residuals.
    """

    recorded: Recorded
    forward: Built
    backward: tuple[tuple[Derivative, Built, Later], ...]
    inputs: tuple[int, ...]
    ranges: tuple[Range, ...]

    def load(self, launcher: str = "gpu", graphs: bool = True) -> Replay:
        """Compile or find the programs and make them callable; see `tracec.build.load`."""
        backwards = []
        for derivative, built, later in self.backward:
            gives, position = [], 0
            for g in derivative.grads:
                gives.append(None if g is None else position)
                position += g is not None
            run = held_to(load(built, launcher, graphs), derivative.constants)
            backwards.append(Backward(derivative, run, later.residuals, tuple(gives)))
        recorded = self.recorded
        values = [self.forward.plan.values[v] for v in self.forward.plan.outputs]
        places = [(v.place, v.index) for v in values]
        forward = load(self.forward, launcher, graphs)
        return Replay(
            recorded.recording, forward, places, recorded.out, recorded.arguments, backwards, self.inputs,
            recorded.captured, self.ranges, recorded.numbers, recorded.left,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Graphs:
    """The graphs that a recording is built as.

    Attributes:
        whole: All of it: results, gradients of results, then state.
        forward: What the function computes, and the values that gradients need.
        donate: Output → input of ``forward`` whose memory it takes over.
        backward: For each derivative its graph.
        inputs: For each input of ``forward`` its position among the recording's.
        ranges: As `Program.ranges`.
    """

    whole: Graph
    forward: Graph
    donate: dict[int, int]
    backward: tuple[tuple[Derivative, Later], ...]
    inputs: tuple[int, ...]
    ranges: tuple[Range, ...]


def graphs_of(recorded: Recorded, disabled: frozenset[str]) -> Graphs:
    """The graphs to build; those of a function that gradients go back through are parts of the optimised whole."""
    recording = recorded.recording
    graph, ranges = with_ranges(clamped(recording.graph, recording.checks), recording.checks)
    # What raises leaves everything as it was, so that the function can be run as it is written.
    donations = {} if may_raise(graph, ranges) else recording.donations()
    if not recorded.derivatives:
        return Graphs(graph, graph, donations, (), tuple(range(len(graph.inputs))), ranges)
    joint = optimize.PIPELINE.run(graph, disabled - set(PLANNING)).graph
    count = len(find_tensors(recorded.out))
    later, at = [], count
    for d in recorded.derivatives:
        size = sum(g is not None for g in d.grads)
        later.append(list(range(at, at + size)))
        at += size
    first = [i for i in range(len(graph.outputs)) if not count <= i < at]
    cotangents = [input_of(recording, d.cotangent) for d in recorded.derivatives]
    inputs = tuple(i for i in range(len(graph.inputs)) if i not in cotangents)
    forward, parts = split(joint, first, later, [[c] for c in cotangents], frozenset(donations.values()))
    donate = {first.index(out): inputs.index(inp) for out, inp in donations.items()}
    return Graphs(graph, forward, donate, tuple(zip(recorded.derivatives, parts, strict=True)), inputs, ranges)


def build_program(
    recorded: Recorded, target: str, arch: str, disabled: frozenset[str], choices: Choices | None = None
) -> Program:
    """Optimise, split, plan and generate source; see `tracec.build.build`."""
    graphs = graphs_of(recorded, disabled)
    built = build(graphs.forward, target, arch, graphs.donate, disabled, choices)
    backward = tuple((d, build(part.graph, target, arch, {}, disabled, choices), part) for d, part in graphs.backward)
    return Program(recorded, built, backward, graphs.inputs, graphs.ranges)


def input_of(recording: Recording, tensor: Tensor) -> int:
    """The input of a recording that a tensor's memory is."""
    return next(i for i, v in enumerate(recording.inputs) if v.storage is tensor._storage)
