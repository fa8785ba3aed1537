"""From a recording to a loaded program, on the target, architecture and libraries that its tensors ask for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tracec.autotune import Choices, choices_of
from tracec.build import NO_PLACE, Built, Runner, build, load
from tracec.errors import DeviceError
from tracec.ir.body import structure_of
from tracec.ir.extent import Values
from tracec.ir.forks import imported
from tracec.ir.graph import Graph
from tracec.options import Options
from tracec.record.state import PROCESS
from tracec.record.tensor import Tensor
from tracec.runtime.cuda import arch_of, takes_clusters
from tracec.specialisations.counted import Always, Made, OfCounts, counts_among, holds
from tracec.specialisations.program import Program, build_program
from tracec.specialisations.recorded import Recorded
from tracec.specialisations.replay import Replay
from tracec.specialisations.tree import TreeBuilder, apart
from tracec.specialisations.variants import AtSizes, Fitting, Prepared, graph_at

DEFAULT_ARCH = "sm_90"


class ProgramBuilder:
    """Builds and loads the programs of one compiled function.

    Args:
        options: How it is compiled.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def replay(self, recorded: Recorded, disabled: frozenset[str], sizes: AtSizes | None = None) -> Replay:
        """What runs in a recording's place.

        Args:
            recorded: The recording.
            disabled: What to leave out: what `disabled` gave when it was made.
            sizes: Builds its program, where that is for some of many sizes.
        """
        return self._replay(recorded, self.target(recorded.recording.graph), disabled, sizes)

    def tree_builder(self, graph: Graph, sizes: AtSizes | None = None) -> TreeBuilder:
        """How the programs of a tree are made, whose first recording is a graph.

        Args:
            graph: The graph.
            sizes: Builds them, where they are for some of many sizes.
        """
        target, options, disabled = self.target(graph), self._options, self.disabled()

        def made(part: Graph) -> Built:
            arch, left_out, choices = self.settings(target, graph, disabled)
            return build(part, target, arch, {}, left_out, choices)

        def run_of(part: Graph, structure: Hashable, at: AtSizes | None) -> Runner:
            built = made(part) if at is None else at.segment(part, structure, made)
            run = load(built, options.launcher, options.cuda_graph)
            lent = [k for k, v in enumerate(built.plan.outputs) if built.plan.values[v].place == "input"]
            return apart(run, lent) if lent else run

        counted = AtSizes(Prepared(), {}, dict) if sizes is None else sizes

        def segment(part: Graph, recorded: Recorded) -> Made[Runner]:
            structure = structure_of(part)
            symbols = counts_among(structure[1], recorded.recording.decisions)
            if sizes is None and not symbols:
                return Always(run_of(part, structure, None))

            def fits(values: Values) -> bool:
                return holds(recorded.conditions, values) and graph_at(part, values) is not None

            return OfCounts(symbols, lambda counts: run_of(part, structure, counted.with_counts(counts, fits)))

        ends: dict[Hashable, Program] = {}

        def end(recorded: Recorded, counts: Values) -> Made[Replay]:
            """The program of the end of a way; ways of several lengths may end alike."""
            recording = recorded.recording
            if counts or sizes is not None:
                return self._for_counts(recorded, counts, target, disabled, counted)
            if recorded.derivatives or recording.checks:
                return Always(self._replay(recorded, target, disabled))
            key = recording.graph.key(), tuple(recording.donations().items())
            if key not in ends:
                ends[key] = build_program(recorded, target, *self.settings(target, recording.graph, disabled))
            return Always(replace(ends[key], recorded=recorded).load(options.launcher, options.cuda_graph))

        return TreeBuilder(segment, end)

    def _for_counts(
        self, recorded: Recorded, counts: Values, target: str, disabled: frozenset[str], sizes: AtSizes
    ) -> Made[Replay]:
        """The end of a path over symbols, made for some sizes; it is there for those that it was recorded with."""
        fitting = Fitting(recorded, counts)

        def fits(values: Values) -> bool:
            return holds(recorded.conditions, values) and fitting(values) is not None

        def at(values: Values) -> Replay | None:
            found = fitting(sizes.with_values(values))
            return None if found is None else self._replay(found, target, disabled, sizes.with_counts(values, fits))

        ends = OfCounts(None, at)
        if holds(recorded.conditions, sizes.with_values(counts)):
            ends(sizes.with_values(counts))
        return ends

    def program(self, graph: Graph, donate: Mapping[int, int]) -> Runner:
        """What runs in place of a graph by itself.

        Args:
            graph: The graph.
            donate: Output position → input position whose memory it may take over.
        """
        target, options = self.target(graph), self._options
        arch, disabled, choices = self.settings(target, graph, self.disabled())
        built = build(graph, target, arch, donate, disabled, choices)
        run = load(built, options.launcher, options.cuda_graph)
        lent = [
            k
            for k, v in enumerate(built.plan.outputs)
            if built.plan.values[v].place == "input" and k not in built.donate
        ]
        return apart(run, lent) if lent else run

    def verification(self, fn: Callable[..., Any]) -> Any:
        """What compares calls of a function with eager ones."""
        inspection = imported("tracec.inspect.verification")

        def settings(graph: Graph) -> Any:
            target = self.target(graph)
            return inspection.Settings(target, *self.settings(target, graph, self.disabled()), self._options.launcher)

        return inspection.Verification(fn, settings)

    def _replay(
        self, recorded: Recorded, target: str, disabled: frozenset[str], sizes: AtSizes | None = None
    ) -> Replay:
        def made(part: Recorded) -> Program:
            return build_program(part, target, *self.settings(target, part.recording.graph, disabled))

        program = made(recorded) if sizes is None else sizes.end(recorded, made)
        return program.load(self._options.launcher, self._options.cuda_graph)

    def target(self, graph: Graph) -> str:
        """``cpu`` or ``cuda``: as asked for, else by where a graph's values are."""
        return self._options.target or ("cuda" if any(d.startswith("cuda") for d in _devices(graph)) else "cpu")

    def disabled(self) -> frozenset[str]:
        """Optimisations, and promises, to leave out of what is recorded now."""
        return self._options.disable | ({"deterministic"} if PROCESS.any_order else frozenset())

    def settings(
        self, target: str, graph: Graph, disabled: frozenset[str]
    ) -> tuple[str, frozenset[str], Choices | None]:
        """Architecture, optimisations to leave out, and measurements: on a GPU those of it and of its libraries."""
        if target == "cpu" or self._options.launcher == "emulator":
            return DEFAULT_ARCH, disabled, None
        device = _device_of(graph)
        left_out = disabled if takes_clusters(device) else disabled | {NO_PLACE}
        return arch_of(device), left_out, choices_of(device)


def check_devices(name: str, tensors: Sequence[Tensor]) -> None:
    """Refuse to launch on a GPU what is on the CPU.

    Raises:
        DeviceError: tensors are given, and none of them is on a CUDA device.
    """
    if tensors and all(t._device == "cpu" for t in tensors):
        raise DeviceError(
            f"{name}: target 'cuda' runs on a GPU, but the tensors given are on the CPU "
            f"({', '.join(str(t._type) for t in tensors[:4])})",
            hint="move them with .to('cuda'), or run the kernels on the CPU with launcher='emulator'",
        )


def _device_of(graph: Graph) -> int:
    """Number of the CUDA device that a graph works on."""
    found = min((d for d in _devices(graph) if d.startswith("cuda")), default="cuda:0")
    return int(found.partition(":")[2] or 0)


def _devices(graph: Graph) -> set[str]:
    return {n.device for n in (*graph.inputs, *graph.outputs)}
