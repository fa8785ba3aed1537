"""Where a program goes wrong: the first value that is not the eager one, and the stage that made it so.

The stages are tried in the order in which a graph goes through them. Each pass gives a graph that eager rules can run;
a plan can be run by the interpreter, and be made with single steps of planning left out; what is right up to there
and wrong when it runs is the fault of the source, or of a library. Within a graph the first wrong value is looked for
by halves, in the order of computation: the graph is taken through the stage with the value in question as an output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from tracec import optimize
from tracec.autotune import Choices
from tracec.build import NO_PASSES, PLANNING, PROMISES, Built, build, load
from tracec.inspect.rounding import Expected, expected, on_host
from tracec.ir.evaluate import evaluate
from tracec.ir.graph import Graph, topological
from tracec.ir.kernel import Store, Update, walk
from tracec.ir.node import Node, is_constant, is_input
from tracec.ir.plan import Branch, Launch, LibraryCall, Repeat, While
from tracec.runtime.interpreter import run_plan
from tracec.specialisations.program import graphs_of
from tracec.specialisations.recorded import Recorded


@dataclass(frozen=True, slots=True)
class Settings:
    """How programs are built and run.

    Attributes:
        target: ``cpu`` or ``cuda``.
        arch: GPU architecture.
        disabled: Names of optimisations that are left out.
        choices: What was measured on the GPU.
        launcher: ``gpu`` or ``emulator``.
    """

    target: str
    arch: str
    disabled: frozenset[str]
    choices: Choices | None = None
    launcher: str = "gpu"

    def built(self, graph: Graph, donate: Mapping[int, int], *without: str) -> Built:
        """A graph, built."""
        return build(graph, self.target, self.arch, donate, self.disabled | set(without), self.choices)

    def run(self, built: Built, arrays: Sequence[Any]) -> list[Any]:
        """What a built graph gives for copies of some arrays."""
        return load(built, self.launcher, False)([a.copy() for a in arrays])


@dataclass(frozen=True, slots=True)
class Fault:
    """A value that a program has wrong.

    Attributes:
        node: What it is a value of.
        graph: The graph in which it shows; the node is its last output.
        arrays: Values of the graph's inputs.
        donate: Output → input of the graph whose memory it takes over.
        expected: The value that it ought to be.
        found: What it is.
        stage: What makes it wrong, in words.
        without: The optimisation without which it is right; None where there is none.
    """

    node: Node
    graph: Graph
    arrays: tuple[Any, ...]
    donate: Mapping[int, int]
    expected: Any
    found: Any
    stage: str
    without: str | None = None


def find_fault(recorded: Recorded, arrays: Sequence[Any], settings: Settings) -> Fault | None:
    """Build a recording anew, and find what is wrong with it.

    Args:
        recorded: The recording.
        arrays: A value for each of its inputs.
        settings: How it is built.

    Returns:
        The fault; None where what is built is right.
    """
    graphs = graphs_of(recorded, settings.target, settings.disabled)
    asked = [d.node for d in recorded.recording.decisions]
    whole = graphs.whole.with_outputs((*graphs.whole.outputs, *asked))
    if not graphs.backward:
        return _Search(whole, arrays, graphs.donate, settings).fault()
    found = _Search(whole, arrays, {}, settings).of_passes()
    if found is not None:
        return found
    forward = [arrays[i] for i in graphs.inputs]
    found = _Search(graphs.forward, forward, graphs.donate, settings).fault()
    values = evaluate(graphs.forward, forward) if found is None else []
    given = [arrays[i] for i in range(len(arrays)) if i not in graphs.inputs]
    for (_, later), cotangent in zip(graphs.backward, given, strict=True):
        if found is None:
            kept = [values[i] if from_output else forward[i] for from_output, i in later.residuals]
            found = _Search(later.graph, [*kept, cotangent], {}, settings).fault()
    return found


class _Search:
    """Looks for the fault of one graph.

    Args:
        graph: The graph.
        arrays: Values of its inputs.
        donate: Output → input whose memory it takes over.
        settings: How it is built.
    """

    def __init__(self, graph: Graph, arrays: Sequence[Any], donate: Mapping[int, int], settings: Settings) -> None:
        self.graph = graph
        self.arrays = arrays
        self.donate = donate
        self.settings = settings
        nodes = tuple(n for n in topological(graph.outputs) if not (is_input(n) or is_constant(n)))
        self._expected = dict(zip(nodes, expected(graph, nodes, arrays), strict=True))

    def fault(self) -> Fault | None:
        """What is wrong with the graph's passes, its plan or its source."""
        return self.of_passes() or self._of_program()

    def of_passes(self) -> Fault | None:
        """The first pass that gives a graph of other values."""
        passes = optimize.PIPELINE.passes
        off = self.settings.disabled - NO_PASSES
        for number, one in enumerate(passes):
            if one.name in off:
                continue
            left_out = off | {p.name for p in passes[number + 1 :]}
            wrong = self._wrong_output(evaluate(_through(self.graph, left_out), self.arrays))
            if wrong is not None:
                node = self._first(wrong, partial(self._after, left_out))
                made = _through(self._with(node), left_out).outputs[-1]
                stage = f"pass {one.name}" + (f" ({made.origin})" if made.origin.startswith("rule") else "")
                return self._fault(node, self._with(node), self._after(left_out, node), stage, one.name)
        return None

    def _of_program(self) -> Fault | None:
        settings = self.settings
        wrong = self._wrong_output(settings.run(settings.built(self.graph, self.donate), self.arrays))
        if wrong is None:
            return None
        # A slice is compiled sooner, and says more, where the fault shows in it.
        slices = self._is_wrong(wrong, self._of_slice(wrong))
        node = self._first(wrong, self._of_slice if slices else self._of_whole)
        graph, donate = (self._slice(node), {}) if slices else (self._with(node), self.donate)
        stage, without = self._stage(node, graph, donate)
        return self._fault(node, graph, settings.run(settings.built(graph, donate), self.arrays)[-1], stage, without)

    def _stage(self, node: Node, graph: Graph, donate: Mapping[int, int]) -> tuple[str, str | None]:
        """Whether planning, lowering, a library or the source is at fault."""
        settings = self.settings
        built = settings.built(graph, donate)
        steps = [s for s in PLANNING if s not in settings.disabled | PROMISES]
        if self._is_wrong(node, self._interpreted(built)):
            for step in steps:
                if not self._is_wrong(node, self._interpreted(settings.built(graph, donate, step))):
                    return f"planning step {step}", step
            return f"lowering of {node.op.name}", None
        for step in steps:
            if not self._is_wrong(node, settings.run(settings.built(graph, donate, step), self.arrays)[-1]):
                maker = _maker(built)
                return f"{maker}, which is right without planning step {step}", step
        return _maker(built), None

    # Values -----------------------------------------------------------------------------------------------

    def _with(self, node: Node) -> Graph:
        return Graph(self.graph.inputs, (*self.graph.outputs, node), self.graph.name)

    def _after(self, left_out: frozenset[str], node: Node) -> Any:
        return evaluate(_through(self._with(node), left_out), self.arrays)[-1]

    def _slice(self, node: Node) -> Graph:
        return Graph(self.graph.inputs, (node,), self.graph.name)

    def _of_slice(self, node: Node) -> Any:
        return self.settings.run(self.settings.built(self._slice(node), {}), self.arrays)[-1]

    def _of_whole(self, node: Node) -> Any:
        return self.settings.run(self.settings.built(self._with(node), self.donate), self.arrays)[-1]

    def _interpreted(self, built: Built) -> Any:
        return run_plan(built.plan, [np.ascontiguousarray(on_host(a).copy()) for a in self.arrays])[-1]

    def _is_wrong(self, node: Node, found: Any) -> bool:
        wrong = self._expected[node].wrong(found)
        return wrong is None or bool(wrong.any())

    def _wrong_output(self, values: Sequence[Any]) -> Node | None:
        """An output that is wrong; of several the first one computed."""
        wrong = {
            n for n, value in zip(self.graph.outputs, values, strict=True)
            if n in self._expected and self._is_wrong(n, value)
        }  # fmt: skip
        return next((n for n in self._expected if n in wrong), None)

    def _first(self, wrong: Node, compute: Callable[[Node], Any]) -> Node:
        """A value that is wrong though those that it is computed from are right.

        Args:
            wrong: A value that is wrong.
            compute: What the stage in question makes of a node.
        """
        known = {wrong: True}

        def is_wrong(node: Node) -> bool:
            if is_input(node) or is_constant(node):
                return False
            if node not in known:
                known[node] = self._is_wrong(node, compute(node))
            return known[node]

        order = [n for n in topological((wrong,)) if n in self._expected]
        low, high = 0, len(order) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if is_wrong(order[middle]) else (middle + 1, high)
        node = order[low]
        # What is wrong may be right again in between, so that halving can miss the first one.
        while (earlier := next(filter(is_wrong, node.inputs), None)) is not None:
            node = earlier
        return node

    def _fault(self, node: Node, graph: Graph, found: Any, stage: str, without: str | None) -> Fault:
        value: Expected = self._expected[node]
        arrays = tuple(a.copy() for a in self.arrays)
        donate = self.donate if len(graph.outputs) > 1 else {}
        return Fault(node, graph, arrays, donate, on_host(value.value), on_host(found), stage, without)


def _through(graph: Graph, left_out: frozenset[str]) -> Graph:
    """A graph after all passes but some."""
    return optimize.PIPELINE.run(graph, left_out).graph


def _maker(built: Built) -> str:
    """The step of a plan that makes its last output."""
    plan = built.plan
    wanted = plan.outputs[-1]
    for step in reversed(plan.steps):
        if isinstance(step, LibraryCall) and step.output == wanted:
            return f"library call {step.routine}" if step.routine != "eager" else f"eager rule of {step.operator}"
        if isinstance(step, (Repeat, Branch, While)) and step.output == wanted:
            return f"{step.operator}, or a body of it"
        if isinstance(step, Launch):
            kernel = plan.kernels[step.kernel]
            names = {getattr(s, "buffer", None) for s in walk(kernel.body) if isinstance(s, (Store, Update))}
            written = [k for k, b in enumerate(kernel.buffers) if b.name in names]
            if any(row[k] == wanted for row in step.args for k in written):
                return f"source of kernel {kernel.name}"
    return "source of the program"


def sliced(fault: Fault) -> Fault:
    """A fault whose graph has no inputs that are not read."""
    used = set(topological(fault.graph.outputs))
    kept = [i for i, n in enumerate(fault.graph.inputs) if n in used or i in fault.donate.values()]
    graph = Graph(tuple(fault.graph.inputs[i] for i in kept), fault.graph.outputs, fault.graph.name)
    donate = {out: kept.index(i) for out, i in fault.donate.items()}
    return replace(fault, graph=graph, arrays=tuple(fault.arrays[i] for i in kept), donate=donate)
