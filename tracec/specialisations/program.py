"""A recording built as programs: a forward one, and a backward one for each result that gradients go back from.

The recorded graph holds both; it is optimised as a whole, then partitioned, so that what is saved between the two is
decided with both in view (`tracec.transform.split`, `tracec.optimize.remat`).
"""

from __future__ import annotations

from dataclasses import dataclass

from tracec import optimize
from tracec.autotune import Choices
from tracec.build import NO_PASSES, Built, build, load
from tracec.ir.graph import Graph
from tracec.plan import TARGETS, with_recomputation
from tracec.record.late import Late
from tracec.record.recording import Recording, find_tensors
from tracec.record.tensor import Tensor
from tracec.specialisations.backward_reads import held_to
from tracec.specialisations.checks import checked, may_raise, on_device, tested
from tracec.specialisations.derivatives import Backward, Derivative
from tracec.specialisations.recorded import Recorded
from tracec.specialisations.replay import Replay
from tracec.transform.split import Later, split


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A recorded function, built.

    Attributes:
        recorded: What it was built from.
        forward: What the function computes, and the values that gradients need.
        backward: For each derivative its program and where its inputs come from.
        inputs: For each input of ``forward`` its position among the recording's; for the last one, where there are
            `tracec.specialisations.device_checks`, there is none.
        late: Conditions on the numbers in an output of ``forward`` that is there for them alone, behind those of the
            recording and before the residuals.
        of_gradients: The same for each of ``backward``, on its last output.
    """

    recorded: Recorded
    forward: Built
    backward: tuple[tuple[Derivative, Built, Later], ...]
    inputs: tuple[int, ...]
    late: tuple[Late, ...]
    of_gradients: tuple[tuple[Late, ...], ...]

    def load(self, launcher: str = "gpu", graphs: bool = True) -> Replay:
        """Compile or find the programs and make them callable; see `tracec.build.load`."""
        backwards = []
        for (derivative, built, later), late in zip(self.backward, self.of_gradients, strict=True):
            gives, position = [], 0
            for g in derivative.grads:
                gives.append(None if g is None else position)
                position += g is not None
            run = held_to(tested(load(built, launcher, graphs), late), derivative.constants)
            backwards.append(Backward(derivative.loaded(), run, later.residuals, tuple(gives)))
        values = [self.forward.plan.values[v] for v in self.forward.plan.outputs]
        places = [(v.place, v.index) for v in values]
        forward = load(self.forward, launcher, graphs)
        return Replay(self.recorded, forward, places, backwards, self.inputs, self.late)


@dataclass(frozen=True, slots=True, eq=False)
class Graphs:
    """The graphs that a recording is built as.

    Attributes:
        whole: All of it: results, gradients of results, then state.
        forward: What the function computes, and the values that gradients need.
        donate: Output → input of ``forward`` whose memory it takes over.
        backward: For each derivative its graph.
        inputs: As `Program.inputs`.
        late: As `Program.late`.
        of_gradients: As `Program.of_gradients`.
    """

    whole: Graph
    forward: Graph
    donate: dict[int, int]
    backward: tuple[tuple[Derivative, Later], ...]
    inputs: tuple[int, ...]
    late: tuple[Late, ...]
    of_gradients: tuple[tuple[Late, ...], ...]


def graphs_of(recorded: Recorded, target: str, disabled: frozenset[str]) -> Graphs:
    """The graphs to build; those of a function that gradients go back through are parts of the optimised whole."""
    recording = recorded.recording
    cotangents = [input_of(recording, d.cotangent) for d in recorded.derivatives if d.cotangent is not None]
    nodes = [recording.graph.inputs[k] for k in cotangents]
    graph, (late, *of_gradients) = checked(recording, nodes)
    # What raises leaves everything as it was, so that the function can be run as it is written.
    donations = {} if may_raise(graph, late) else recording.donations()
    given = len(recording.graph.inputs)
    if on_device(late):
        donations = {**donations, len(recording.graph.outputs): given}
    if not recorded.derivatives:
        return Graphs(graph, graph, donations, (), tuple(range(given)), late, ())
    joint = optimize.PIPELINE.run(graph, disabled - NO_PASSES).graph
    if "slice" not in disabled:
        joint = with_recomputation(joint, TARGETS[target])
    count = len(find_tensors(recorded.out))
    parts_of, at = [], count
    end = more = len(recording.graph.outputs) + bool(late)
    for d, conditions in zip(recorded.derivatives, of_gradients, strict=True):
        size = sum(g is not None for g in d.grads)
        parts_of.append([*range(at, at + size), *([more] if conditions else [])])
        at, more = at + size, more + bool(conditions)
    first = [i for i in range(end) if not count <= i < at]
    inputs = [i for i in range(len(graph.inputs)) if i not in cotangents]
    forward, parts = split(joint, first, parts_of, [[c] for c in cotangents], frozenset(donations.values()))
    donate = {first.index(out): inputs.index(inp) for out, inp in donations.items()}
    backward = tuple(zip(recorded.derivatives, parts, strict=True))
    own = tuple(i for i in inputs if i < given)
    return Graphs(graph, forward, donate, backward, own, late, tuple(of_gradients))


def build_program(
    recorded: Recorded, target: str, arch: str, disabled: frozenset[str], choices: Choices | None = None
) -> Program:
    """Optimise, split, plan and generate source; see `tracec.build.build`.

    Args:
        recorded: What was recorded.
        target: ``cpu`` or ``cuda``.
        arch: GPU architecture, as ``sm_90``; of no account for ``cpu``.
        disabled: Optimisations, and promises, to leave out.
        choices: Which matrix products a library does faster, as measured; None goes by estimates.
    """
    graphs = graphs_of(recorded, target, disabled)
    built = build(graphs.forward, target, arch, graphs.donate, disabled, choices)
    backward = tuple((d, build(part.graph, target, arch, {}, disabled, choices), part) for d, part in graphs.backward)
    return Program(recorded, built, backward, graphs.inputs, graphs.late, graphs.of_gradients)


def input_of(recording: Recording, tensor: Tensor) -> int:
    """The input of a recording that a tensor's memory is."""
    return next(i for i, v in enumerate(recording.inputs) if v.storage is tensor._storage)
