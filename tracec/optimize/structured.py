"""Rules over operators that run bodies, and what comes with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracec import ops
from tracec.ir.body import Body
from tracec.ir.graph import Graph, substitute, topological
from tracec.ir.node import Node, made_from
from tracec.ir.rewrite import applied, named, rule
from tracec.ops.loops import ScanParams


@rule(applied("scan_grad"))
def loop_back(node: Node) -> Any:
    """The way back through a loop is a loop; what is plainly zero takes no part in it."""
    return node.op.lower.build(*node.inputs, **dict(node.params))


@rule(named("outer", applied("view_bits")))
def bits_and_back(outer: Node) -> Node | None:
    """Bits seen as another type and back again: how a value stands that no gradient flows through."""
    inner = outer.inputs[0]
    return inner.inputs[0] if inner.op is ops.view_bits and inner.inputs[0].type == outer.type else None


RULES = (loop_back, bits_and_back)


def trimmed(graph: Graph) -> Graph:
    """Loops without the stacked results that nothing reads, and without the operands that nothing else reads then."""
    loops = [n for n in graph.nodes if n.op.name == "scan"]
    if not loops:
        return graph
    users, outputs = graph.users(), set(graph.outputs)
    for node in reversed(loops):
        readers = users[node]
        if node in outputs or not all(u.op.name == "slice" and u.param("steps") == (1,) for u in readers):
            continue
        replaced = _without_unread(node, readers)
        if replaced:
            # One at a time: what a loop no longer reads may be the results of one before it.
            return trimmed(graph.with_outputs(substitute(graph.outputs, replaced)))
    return graph


def _without_unread(node: Node, readers: Sequence[Node]) -> dict[Node, Node]:
    """For each slice of a loop's results the same slice of those of a smaller loop; empty where there is none."""
    loop, graph = ScanParams(**dict(node.params)), node.param("body").graph
    parts, n, m = loop.results.parts, loop.carries, loop.carries + loop.scanned
    read = [(u.param("starts")[0], u.param("stops")[0]) for u in readers]
    left = [k for k, p in enumerate(parts) if k < n or any(start < p.stop and p.start < stop for start, stop in read)]
    new = tuple(graph.outputs[k] for k in left)
    used = set(topological(new))
    inputs = [k for k, i in enumerate(graph.inputs) if k < n or i in used]
    if len(left) == len(parts) and len(inputs) == len(graph.inputs):
        return {}
    body = Body(Graph(tuple(graph.inputs[k] for k in inputs), new, graph.name))
    kept = sum(k >= len(parts) - loop.kept for k in left)
    less = ScanParams(body, n, sum(n <= k < m for k in inputs), loop.length, loop.reverse, kept)
    if less.results.type.dtype is not node.dtype:
        return {}
    with made_from(node.source, node.origin):
        smaller = ops.scan(*(node.inputs[k] for k in inputs), **less._asdict())
    found = {}
    for u, (start, stop) in zip(readers, read, strict=True):
        at = next((j for j, k in enumerate(left) if parts[k].start <= start < parts[k].stop), None)
        shift = -start if at is None else less.results.parts[at].start - parts[left[at]].start
        with made_from(u.source, u.origin):
            stop = start if at is None else stop
            found[u] = ops.slice(smaller, starts=(start + shift,), stops=(stop + shift,), steps=(1,))
    return found
