"""Checks of a recording as part of its replay: indices are in range before anything is read or written.

What depends on integers alone is worked out before the program runs, which does not run where it breaks. What is
computed from floats is known only inside of the program: indices are kept in range there, and the least and the
largest value are an output. So it is with all on a GPU, where asking for values before would mean to wait; see
`tracec.record.check`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tracec import ops
from tracec.ir import dtype as dt
from tracec.ir.body import Body
from tracec.ir.evaluate import evaluate
from tracec.ir.graph import Graph, substitute, topological
from tracec.ir.lower import HostCall
from tracec.ir.node import Node, constant, is_input, made_from
from tracec.record.check import SAME_VALUES, Range
from tracec.record.recording import Check

#: Operators whose results are positions along an axis of their operand.
_POSITIONS = frozenset({"argmax", "argmin", "argsort"})


class Checks:
    """The checks that can be made before a replay.

    Args:
        checks: All checks of a recording, over its graph.
        inputs: The inputs of that graph.

    Attributes:
        needs: Positions of the inputs that it takes.
    """

    def __init__(self, checks: Sequence[Check], inputs: Sequence[Node]) -> None:
        known = {(_unviewed(c.node), c.bounds): c.test for c in checks if _is_known_before(c.node)}
        known = {key: test for key, test in known.items() if not _is_fixed(key[0])}
        self._tests: list[Callable[[Any], None]] = list(known.values())
        outputs = tuple(node for node, _ in known)
        used = set(topological(outputs))
        self.needs = tuple(i for i, n in enumerate(inputs) if n in used)
        self._graph = Graph(tuple(inputs[i] for i in self.needs), outputs, "checks")
        at = {n: i for i, n in enumerate(self._graph.inputs)}
        #: For each test the input that it looks at; None where something is to be computed.
        self._direct = tuple(at[n] for n in self._graph.outputs) if all(map(is_input, self._graph.outputs)) else None

    def __bool__(self) -> bool:
        return bool(self._tests)

    def __call__(self, arrays: Sequence[Any]) -> None:
        """Raise what the function would raise for these inputs."""
        if self._direct is not None:
            for test, i in zip(self._tests, self._direct, strict=True):
                test(arrays[i])
            return
        for test, values in zip(self._tests, evaluate(self._graph, arrays), strict=True):
            test(values)


def clamped(graph: Graph, checks: Sequence[Check]) -> Graph:
    """The graph with those indices kept in range whose values are not known before it runs."""
    kept: dict[Node, Node] = {}
    for node, _, bounds, _ in checks:
        if bounds is None or not node.type.size or _is_known_before(node) or _is_position(node, bounds):
            continue
        with made_from(node.source, "kept in range"):
            low, high = (constant(b, node.type) for b in bounds)
            kept[node] = ops.minimum(ops.maximum(node, low), high)
    return Graph(graph.inputs, _replaced(graph, kept), graph.name) if kept else graph


def _replaced(graph: Graph, kept: dict[Node, Node]) -> tuple[Node, ...]:
    # Operands first: a clamped index may hang on another one.
    done: dict[Node, Node] = {}
    for node in topological(graph.outputs):
        if node in kept:
            (done[node],) = substitute((kept[node],), {**done, node: _again(node, done)})
    # What is given, and is tested later, is as it is.
    given = iter(substitute([o for o in graph.outputs if o not in kept], done))
    return tuple(_again(o, done) if o in kept else next(given) for o in graph.outputs)


def _again(node: Node, done: dict[Node, Node]) -> Node:
    return node if is_input(node) else node.with_inputs(substitute(node.inputs, done))


def _is_known_before(node: Node) -> bool:
    """Whether a value hangs on integers alone, which the host has."""
    return not _is_on_gpu(node) and all(
        n.dtype.kind in "iub" and n.op.name not in _POSITIONS for n in topological((node,))
    )


def _is_on_gpu(node: Node) -> bool:
    return node.device != "cpu"


def with_ranges(graph: Graph, checks: Sequence[Check]) -> tuple[Graph, tuple[Range, ...]]:
    """The graph with one more output for what is not known before it runs: the least and the largest value of each.

    Returns:
        The graph, the very same where there are no such checks, and the conditions on those values.
    """
    found: dict[tuple[Node, int | None, tuple[int, int] | None], Range] = {}
    for c in checks:
        node = _unviewed(c.node)
        if not _is_known_before(node) and node.type.size and not (_is_fixed(node) or _is_within(node, c.bounds)):
            found.setdefault((node, c.ignored, c.bounds), Range(c.test, c.node.source, _is_on_gpu(node)))
    if not found:
        return graph, ()
    ends: list[Node] = []
    for (node, ignored, _), condition in found.items():
        with made_from(condition.source, "check of a range"):
            value = ops.cast(node, dtype=dt.int64)
            if ignored is not None:
                value = ops.where(ops.eq(value, ignored), 0, value)
            axes = tuple(range(value.ndim))
            ends += [ops.reshape(end(value, axes=axes), shape=(1,)) for end in (ops.min, ops.max)]
    with made_from(None, "check of a range"):
        every = ops.concatenate(*ends, axis=0)
    return Graph(graph.inputs, (*graph.outputs, every), graph.name), tuple(found.values())


def may_raise(graph: Graph, ranges: Sequence[Range]) -> bool:
    """Whether a program, or what is tested when it has run, may raise before anything is written."""
    if any(not r.is_late for r in ranges):
        return True
    bodies = {id(v): v.graph for n in graph.nodes for _, v in n.params if isinstance(v, Body)}
    return any(isinstance(n.op.lower, HostCall) for n in graph.nodes) or any(may_raise(g, ()) for g in bodies.values())


def _is_fixed(node: Node) -> bool:
    """Whether a value hangs on nothing: it was right when it was recorded."""
    return not any(is_input(n) for n in topological((node,)))


def _unviewed(node: Node) -> Node:
    while node.op.name in SAME_VALUES and node.type.size:
        node = node.inputs[0]
    return node


def _is_within(node: Node, bounds: tuple[int, int] | None) -> bool:
    return bounds is not None and _is_position(node, bounds)


def _is_position(node: Node, bounds: tuple[int, int]) -> bool:
    """Whether a value is a position on an axis that is no longer than the one it is used on."""
    while node.op.name in SAME_VALUES or node.op.name == "slice":
        node = node.inputs[0]
    return node.op.name in _POSITIONS and node.inputs[0].shape[node.param("axis")] <= bounds[1] + 1
