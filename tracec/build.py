"""From a graph to something that runs: optimise, plan, generate, load; every stage kept for reading."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from tracec import optimize, plan_cache
from tracec.autotune import Choices, describe
from tracec.codegen import c as c_codegen
from tracec.codegen import cuda as cuda_codegen
from tracec.codegen.render import Kept as KeptTemplates
from tracec.codegen.render import keep_templates
from tracec.errors import ArgumentError, CompileError, CompilerMissing, KeyMissingError
from tracec.ir.conditions import unnoted
from tracec.ir.evaluate import evaluate
from tracec.ir.graph import Graph
from tracec.ir.passes import PassRecord, PipelineResult, verifying
from tracec.ir.plan import Plan
from tracec.ir.room import CLUSTER
from tracec.ir.source import warn
from tracec.ir.verify_plan import verify_plan
from tracec.plan import ask_for_products, make_plan, target_for
from tracec.plan.target import Target
from tracec.progress import stage
from tracec.runtime import cpu as cpu_runtime
from tracec.runtime import cuda as cuda_runtime
from tracec.runtime import emulator as emulator_runtime
from tracec.spills import without_spills

#: ``arrays -> arrays``; an output that takes over an input's memory is that input's array.
Runner = Callable[[Sequence[Any]], list[Any]]

PLANNING = ("fuse", "horizontal", "library", "order", "memory", "slice", "join", "cluster", "deterministic", "serial")
#: Those that are promises: what keeps them is no optimisation.
PROMISES = frozenset(("deterministic", "serial"))
#: In place of ``cluster``, where it is the GPU that has no place for any.
NO_PLACE = "no place for clusters"
#: Names that may be disabled and are those of no pass over graphs.
NO_PASSES = frozenset((*PLANNING, NO_PLACE))
LAUNCHERS = ("gpu", "emulator")

keep_templates(KeptTemplates(plan_cache.read_template, plan_cache.store_template))


class Stages(Mapping[str, str]):
    """Name → text of each stage, in order; a text is made when it is asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], str]]) -> None:
        self._makers = dict(makers)

    def __getitem__(self, name: str) -> str:
        if name not in self._makers:
            raise KeyMissingError(f"stages: there is no stage {name!r}", hint=f"those that exist: {', '.join(self)}")
        return self._makers[name]()

    def but(self, name: str, make: Callable[[], str]) -> Stages:
        """The same, with another text for one of them."""
        return Stages({**self._makers, name: make})

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __repr__(self) -> str:
        return f"<stages: {', '.join(self)}>"


@dataclass(frozen=True, slots=True)
class Built:
    """A graph's way through the compiler.

    Attributes:
        target: ``cpu`` or ``cuda``.
        arch: GPU architecture.
        optimised: Gives what the passes made: of a plan that was kept they run when it is asked for.
        plan: Its kernels, order and memory.
        program: The generated source: `tracec.codegen.c.CProgram` or `tracec.codegen.cuda.CudaProgram`.
        donate: Output position → input position whose memory it takes over.
        stages: Text of every stage.
        written: Gives a program for ``cuda`` with some kernels on other rungs of their ladders.
    """

    target: str
    arch: str
    optimised: Callable[[], PipelineResult]
    plan: Plan
    program: Any
    donate: Mapping[int, int]
    stages: Stages
    written: Callable[[cuda_codegen.Rungs], cuda_codegen.CudaProgram] | None = None

    @property
    def graph(self) -> Graph:
        """The optimised graph."""
        return self.optimised().graph

    @property
    def records(self) -> tuple[PassRecord, ...]:
        """What each pass did."""
        return self.optimised().records


def check_names(disabled: frozenset[str]) -> None:
    """Refuse names of optimisations that there are not.

    Raises:
        ArgumentError: a name is unknown; the message lists those that exist.
    """
    known = (*(p.name for p in optimize.PIPELINE.passes), *PLANNING)
    unknown = sorted(disabled - set(known))
    if unknown:
        raise ArgumentError(
            f"compile: no optimisation or promise is named {', '.join(unknown)}",
            hint=f"those that exist: {', '.join(known)}",
        )


def build(
    graph: Graph, target: str, arch: str, donate: Mapping[int, int], disabled: frozenset[str],
    choices: Choices | None = None,
) -> Built:  # fmt: skip
    """Optimise, plan and generate source for a target.

    Args:
        graph: What was recorded.
        target: ``cpu`` or ``cuda``.
        arch: GPU architecture.
        donate: Output position → input position whose memory it takes over.
        disabled: Names of optimisations to leave out.
        choices: What was measured on the GPU that it is to run on.
    """
    no_clusters = _no_clusters(disabled)
    planned_for = target_for(target, arch, no_clusters)
    stage("looking for its plan")
    place = plan_cache.place_of(graph, planned_for, arch, donate, disabled)
    found = plan_cache.read(place, choices)
    passes = cache(lambda: optimize.PIPELINE.run(graph, disabled - NO_PASSES))
    if found is None:
        start = time.perf_counter()
        stage("optimising")
        donate = _harmless(passes().graph, donate)
        stage("planning")
        found = _plan(passes().graph, planned_for, donate, disabled & set(PLANNING), choices)
        plan_cache.keep(place, found, time.perf_counter() - start)
    plan, donate = found.plan, found.donate
    if verifying():
        with unnoted():
            verify_plan(plan)
    stage("writing source")
    written = None
    if target == "cpu":
        program: Any = c_codegen.render(plan)
    else:
        ways = "join" not in disabled, not no_clusters, "serial" in disabled
        written = partial(cuda_codegen.render, plan, arch, *ways)
        program = written({})
    makers: dict[str, Callable[[], str]] = {"record": lambda: f"# recorded: {len(graph.nodes)} nodes\n{graph}"}
    for number, optimisation in enumerate(n for n in optimize.PIPELINE.names if n not in disabled):
        makers[optimisation] = lambda k=number: str(passes().records[k])  # type: ignore[misc]
    makers["plan"] = plan.__str__
    makers["kernels"] = lambda: "\n\n".join(map(str, plan.kernels))
    makers["source"] = program.__str__
    built = Built(target, arch, passes, plan, program, donate, Stages(makers), written)
    folder = os.environ.get("TRACEC_DUMP")
    if folder:
        dump(built, Path(folder), graph.name)
    return built


def _no_clusters(disabled: frozenset[str]) -> str:
    """Why blocks form no clusters; empty where they may."""
    if NO_PLACE in disabled:
        return f"the GPU's driver has no place for {CLUSTER} blocks that run at a time and share their memory"
    return "clusters are disabled" if "cluster" in disabled else ""


def _plan(
    graph: Graph, target: Target, donate: Mapping[int, int], disabled: frozenset[str], choices: Choices | None
) -> plan_cache.Found:
    if choices is None:
        return plan_cache.Found(make_plan(graph, target, donate, disabled), donate, ())
    asked: dict[str, tuple[Mapping[str, Any], bool]] = {}

    def gemm(params: Mapping[str, Any]) -> bool:
        chosen = choices.prefers_library(params)
        asked[describe(params)] = dict(params), chosen
        return chosen

    target = replace(target, gemm=gemm)
    ask_for_products(graph, target, disabled)
    while True:
        if choices.unknown:
            stage("measuring products")
            choices.measure()
            stage("planning")
        plan = make_plan(graph, target, donate, disabled)
        if not choices.unknown:  # such as those of what loops run
            return plan_cache.Found(plan, donate, tuple(asked.values()))


def _harmless(graph: Graph, donate: Mapping[int, int]) -> dict[int, int]:
    """Donations of inputs whose former value is no other output, as it is where two tensors are exchanged."""
    position = {n: i for i, n in enumerate(graph.inputs)}
    holders: dict[int, set[int]] = {}
    for output, node in enumerate(graph.outputs):
        while node.op.name == "reshape":
            node = node.inputs[0]
        if node in position:
            holders.setdefault(position[node], set()).add(output)
    return {o: i for o, i in donate.items() if holders.get(i, set()) <= {o}}


_dumps = itertools.count()


def dump(built: Built, folder: Path, name: str) -> None:
    """Write every stage as a file of its own."""
    suffixes = {"source": ".cu" if built.target == "cuda" else ".c"}
    clean = re.sub(r"\W+", "_", name)
    place = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{next(_dumps):03d}-{clean}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        for number, (stage, text) in enumerate(built.stages.items()):
            (place / f"{number:02d}-{stage}{suffixes.get(stage, '.txt')}").write_text(text + "\n")
    except OSError as error:
        warn(f"TRACEC_DUMP: cannot write to {folder}: {error.strerror or error}")


def settled(built: Built) -> Built:
    """The program as it is run on a GPU: kernels that would spill registers are written in another way.

    Raises:
        CompileError: NVRTC is missing or rejects the source.
    """
    if built.written is None:
        return built
    program = without_spills(built.program, built.written)
    return replace(built, program=program, stages=built.stages.but("source", program.__str__))


_warned_fallback = False
#: Are given each program that is loaded and what runs it, and give what is to run in its place.
WATCHERS: list[Callable[[Built, Runner], Runner]] = []


def load(built: Built, launcher: str = "gpu", graphs: bool = True) -> Runner:
    """Something that runs the built program; `WATCHERS` see it.

    For a GPU its kernels are settled first. Args and errors are those of `load_plainly`.
    """
    if launcher == "gpu":
        with suppress(CompileError):  # which loading it meets, too
            built = settled(built)
    run = load_plainly(built, launcher, graphs)
    for watch in WATCHERS:
        run = watch(built, run)
    return run


def load_plainly(built: Built, launcher: str = "gpu", graphs: bool = True) -> Runner:
    """Something that runs the built program.

    Args:
        built: The program.
        launcher: Of a program for ``cuda``: ``gpu``, or ``emulator`` to run its kernels on the CPU.
        graphs: Whether launches on a GPU may be captured as a CUDA graph.

    Where the compiler rejects the source, which is a fault of ours, the graph is run operator by operator, and a
    warning says so: the function has run once by then, and what it wrote must not be lost to an error.

    Raises:
        CompilerMissing: there is no C++ compiler for the emulator.
        DeviceError: no GPU can be reached.
    """
    stage(f"compiling source for {'the emulator' if launcher == 'emulator' else built.target}")
    if built.target == "cpu":
        return _on_cpu(built)
    if launcher == "emulator":
        return emulator_runtime.load(built.plan, built.program)
    try:
        loaded: Runner = cuda_runtime.load(built.plan, built.program, graphs=graphs)
        return loaded
    except CompileError as error:
        warn(f"{error}\n  this function runs operator by operator in CuPy")
        return interpreted(built.graph, built.donate)


def _on_cpu(built: Built) -> Runner:
    """The built program on the CPU.

    With no C compiler on the machine the graph is run operator by operator; one warning says what to install.
    """
    try:
        runner: Runner = cpu_runtime.load(built.plan, built.program)
        return runner
    except CompilerMissing as missing:
        global _warned_fallback
        if not _warned_fallback:
            _warned_fallback = True
            text = f"{missing.message}: compiled functions run operator by operator in NumPy; {missing.hint}"
            warn(text)
        return interpreted(built.graph, built.donate)
    except CompileError as error:
        warn(f"{error}\n  this function runs operator by operator in NumPy")
        return interpreted(built.graph, built.donate)


def interpreted(graph: Graph, donate: Mapping[int, int]) -> Runner:
    """The graph run by the operators' eager rules, with the same effects on donated inputs."""

    def run(arrays: Sequence[Any]) -> list[Any]:
        # Copies: results may be views of inputs that are about to be written.
        results = [r.copy() for r in evaluate(graph, arrays)]
        for out, inp in donate.items():
            arrays[inp][...] = results[out]
            results[out] = arrays[inp]
        return results

    return run
