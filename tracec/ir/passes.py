"""Passes and pipelines: the order of passes is data, and what each did can be read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from tracec.errors import ArgumentError, VerifyError
from tracec.ir.body import Body
from tracec.ir.graph import Graph
from tracec.ir.node import Node
from tracec.ir.verify import verify


@dataclass(frozen=True, slots=True)
class Pass:
    """A named function from graph to graph; it returns the very same graph where it changes nothing.

    Attributes:
        name: Name in dumps, and for turning it off.
        run: The function.
    """

    name: str
    run: Callable[[Graph], Graph]

    @property
    def doc(self) -> str:
        """What the pass does, in one line."""
        return (self.run.__doc__ or "").strip().partition("\n")[0]


@dataclass(frozen=True, slots=True)
class PassRecord:
    """What one pass did.

    Attributes:
        name: The pass.
        before: The graph given to it.
        after: The graph that came out.
        milliseconds: Time that it took.
    """

    name: str
    before: Graph
    after: Graph
    milliseconds: float

    def __str__(self) -> str:
        counts = f"{len(self.before.nodes)} -> {len(self.after.nodes)} nodes"
        return f"# after {self.name}: {counts}, {self.milliseconds:.1f} ms\n{self.after}"


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """The graph at the end, and the way to it.

    Attributes:
        graph: The last pass's graph.
        records: One for each pass that ran.
    """

    graph: Graph
    records: tuple[PassRecord, ...]

    @property
    def dumps(self) -> list[tuple[str, str]]:
        """Each pass's name, and the graph after it as text under a line with node counts and time."""
        return [(r.name, str(r)) for r in self.records]


class Pipeline:
    """Passes in the order in which they run.

    Args:
        *passes: Functions from graph to graph, named by their ``__name__``, or `Pass` objects.
    """

    def __init__(self, *passes: Pass | Callable[[Graph], Graph]) -> None:
        self.passes = tuple(p if isinstance(p, Pass) else Pass(p.__name__, p) for p in passes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.passes)

    def __iter__(self) -> Iterator[Pass]:
        return iter(self.passes)

    def __repr__(self) -> str:
        return f"Pipeline({', '.join(self.names)})"

    def check(self, disabled: Collection[str]) -> None:
        """Raise for a name that no pass has.

        Raises:
            ArgumentError: lists the known names.
        """
        unknown = sorted(set(disabled) - set(self.names))
        if unknown:
            raise ArgumentError(
                f"disabled passes: there is no pass {', '.join(map(repr, unknown))}",
                hint=f"the passes are {', '.join(self.names)}",
            )

    def run(self, graph: Graph, disabled: Collection[str] = frozenset()) -> PipelineResult:
        """Run every pass that is not disabled.

        With ``TRACEC_VERIFY=1`` in the environment the graph is verified at the start and after each pass.

        Raises:
            ArgumentError: ``disabled`` holds a name that no pass has.
            VerifyError: a pass gave a graph that breaks an invariant; names the pass.
        """
        self.check(disabled)
        checked = verifying()
        if checked:
            _verify_after("recording", graph)
        records: list[PassRecord] = []
        for p in self.passes:
            if p.name in disabled:
                continue
            start = time.perf_counter()
            after = through_bodies(p.run, p.run(graph))
            records.append(PassRecord(p.name, graph, after, 1e3 * (time.perf_counter() - start)))
            if checked and after is not graph:
                _verify_after(f"pass {p.name}", after)
            graph = after
        return PipelineResult(graph, tuple(records))


def through_bodies(run: Callable[[Graph], Graph], graph: Graph) -> Graph:
    """The graph with a pass applied to the bodies of its operators, each once, and to theirs."""
    if not any(isinstance(value, Body) for n in graph.nodes for _, value in n.params):
        return graph
    done: dict[Body, Body] = {}

    def within(value: object) -> object:
        if not isinstance(value, Body):
            return value
        if value not in done:
            done[value] = value.with_graph(through_bodies(run, run(value.graph)))
        return done[value]

    def rule(node: Node) -> Node:
        params = tuple((name, within(value)) for name, value in node.params)
        same = all(a[1] is b[1] for a, b in zip(params, node.params, strict=True))
        return node if same else replace(node, params=params)

    return graph.map(rule)


def verifying() -> bool:
    """Whether the environment asks for checks between passes."""
    return os.environ.get("TRACEC_VERIFY", "") not in ("", "0")


def _verify_after(what: str, graph: Graph) -> None:
    try:
        verify(graph)
    except VerifyError as error:
        error.message = f"after {what}: {error.message}"
        raise
