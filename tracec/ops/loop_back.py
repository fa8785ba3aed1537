"""One run of a loop on its way back: what runs leave for it, and the body that the loop in the other direction runs.

`widened` adds what the derivative of a run reads to what the run gives. `way_back` then parts the gradients of a run:
those of carried values are carried, those of slices are stacked, and those of operands that are the same in all runs
are summed run by run, or stacked as what one product over all runs takes. `tracec.ops.loop_grad` runs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tracec.ir import dtype as dt
from tracec.ir.body import TRANSFORMS, Body, cached
from tracec.ir.extent import plain
from tracec.ir.graph import Graph, substitute, topological
from tracec.ir.node import Node, input_node, is_constant, is_input, made_from
from tracec.ir.operator import OPERATORS
from tracec.ops.core import zeros_like
from tracec.ops.loops import ScanParams

#: Views that commute with stacking.
TURNS = frozenset({"reshape", "transpose"})


# What runs leave --------------------------------------------------------------------------------------


@cached
def widened(loop: ScanParams, every: bool = False) -> ScanParams:
    """The loop whose runs leave what the way back reads; the same loop where they do.

    Args:
        loop: The loop.
        every: Whether gradients come back from what is kept too.
    """
    if way_back(loop, asked_of(loop, every)) is not None:
        return loop
    graph = loop.body.graph
    found, _ = _pulled(loop, asked_of(loop, every))
    forward = set(topological(graph.outputs)).union(graph.inputs)
    kept: dict[Node, None] = {}
    conditions: dict[Node, None] = {}
    for node in topological([g for g in found.values() if g is not None]):
        for i in (node, *node.inputs):
            if i in forward and (node not in forward or i is node):
                sources = list(_sources(i, loop))
                kept.update((s, None) for s in sources if s.dtype is not dt.bool_)
                conditions.update((s, None) for s in sources if s.dtype is dt.bool_)
    for node in conditions:  # computed again where what they compare is there
        compared = [s for i in node.inputs for s in _sources(i, loop)]
        if not compared or not all(s in kept for s in compared):
            kept[node] = None
    more = [n for n in kept if n not in graph.outputs[len(graph.outputs) - loop.kept :]]
    body = Body(Graph(graph.inputs, (*graph.outputs, *more), graph.name))
    return loop._replace(body=body, kept=loop.kept + len(more))


def asked_of(loop: ScanParams, every: bool) -> tuple[bool, ...]:
    """From which results gradients come back."""
    last = len(loop.body.outputs) - (0 if every else loop.kept)
    return tuple(k < last for k in range(len(loop.body.outputs)))


def _sources(node: Node, loop: ScanParams) -> Iterator[Node]:
    """What must be kept for a value to be there on the way back: views and casts are computed again."""
    again = node.op.family == "view" or node.op.name == "cast"
    if is_constant(node):
        return
    if is_input(node):
        if node in loop.body.graph.inputs[: loop.carries]:
            yield node
    elif again and node.inputs:
        for i in node.inputs:
            yield from _sources(i, loop)
    else:
        yield node


def _pulled(loop: ScanParams, asked: tuple[bool, ...]) -> tuple[dict[int, Node | None], dict[int, Node]]:
    """One run's gradients by the positions of its inputs, and its cotangents by those of its outputs."""
    graph = loop.body.graph
    seeds = {
        k: input_node(o.type) for k, o in enumerate(graph.outputs)
        if o.dtype.is_differentiable and (asked[k] or k < loop.carries)
    }  # fmt: skip
    floating = [k for k, i in enumerate(graph.inputs) if i.dtype.is_differentiable]
    found = TRANSFORMS.transposed(
        [graph.outputs[k] for k in seeds], list(seeds.values()), [graph.inputs[k] for k in floating]
    )
    return dict(zip(floating, found, strict=True)), seeds


# One run's way back -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class WayBack:
    """The loop back.

    Attributes:
        body: What it runs: from cotangents of carried values, sums, slices and operands to the first two and to what
            is stacked.
        sums: Positions of the operands whose gradients are summed run by run.
        slices: What it scans: (``x``, ``kept`` or ``ct``, the position of the operand or result).
        others: Positions of the operands that it reads in every run.
        stacked: Nodes of the body that are stacked, by number.
        gradients: The node of each operand's gradient in one run, by the operand's position.
        products: For operands that are the same in all runs, the terms of that which are computed over all at once.
        bases: For slices, the body's input.
    """

    body: Body
    sums: tuple[int, ...]
    slices: tuple[tuple[str, int], ...]
    others: tuple[int, ...]
    stacked: dict[Node, int]
    gradients: dict[int, Node | None]
    products: dict[int, tuple[Node, ...]]
    bases: dict[Node, tuple[str, int]]


@cached
def way_back(loop: ScanParams, asked: tuple[bool, ...]) -> WayBack | None:
    """The way back from these results; None where a run would have to know what none has left."""
    graph, n, m = loop.body.graph, loop.carries, loop.carries + loop.scanned
    found, seeds = _pulled(loop, asked)
    bases: dict[Node, tuple[str, int]] = {x: ("x", n + k) for k, x in enumerate(graph.inputs[n:m])}
    bases |= {node: ("ct", k) for k, node in seeds.items() if k >= n}
    left: dict[Node, Node] = {}
    for k in range(len(graph.outputs) - loop.kept, len(graph.outputs)):
        node = graph.outputs[k]
        if node not in left and node not in bases and not is_constant(node) and node not in graph.inputs[m:]:
            left[node] = input_node(node.type)
            bases[left[node]] = ("kept", k)
    positions = [k for k, g in found.items() if g is not None]
    again = substitute([g for k in positions if (g := found[k]) is not None], dict(left))
    gradients = dict(found) | dict(zip(positions, again, strict=True))
    with made_from(None, "vjp of scan"):
        return _assembled(loop, gradients, seeds, bases)


def _assembled(
    loop: ScanParams, gradients: dict[int, Node | None], seeds: dict[int, Node], bases: dict[Node, tuple[str, int]]
) -> WayBack | None:
    """The loop back; None where its body would read what is neither scanned nor carried.

    Args:
        loop: The loop.
        gradients: One run's gradients, by the positions of the body's inputs.
        seeds: The run's cotangents, by the positions of its outputs.
        bases: What can be scanned, by nodes that the gradients read.
    """
    inputs, n, m = loop.body.graph.inputs, loop.carries, loop.carries + loop.scanned
    stacked: dict[Node, int] = {}
    for k in range(n, m):
        if (g := gradients.get(k)) is not None:
            stacked.setdefault(g, len(stacked))
    products: dict[int, tuple[Node, ...]] = {}
    sums: dict[int, Node] = {}
    for k in range(m, len(inputs)):
        if (g := gradients.get(k)) is None:
            continue
        at_once = []
        for term in _terms(g):
            wanted = _stackable(term, inputs[m:])
            if wanted is not None and _is_worth(term, [w for w in wanted if w not in stacked and w not in bases]):
                at_once.append(term)
                for w in wanted:
                    if w not in bases:
                        stacked.setdefault(w, len(stacked))
            else:
                sums[k] = term if k not in sums else OPERATORS["add"](sums[k], term)
        products[k] = tuple(at_once)
    so_far = {k: input_node(inputs[k].type) for k in sums}
    carried = [k for k in range(n) if inputs[k].dtype.is_differentiable]
    new = [gradients.get(k) or zeros_like(inputs[k]) for k in carried]
    outputs = (*new, *(OPERATORS["add"](so_far[k], term) for k, term in sums.items()), *stacked)
    read = [x for x in topological(outputs) if is_input(x)]
    slices = [x for x in bases if x in read]
    others = [k for k in range(m, len(inputs)) if inputs[k] in read]
    takes = (*(seeds[k] for k in carried), *so_far.values(), *slices, *(inputs[k] for k in others))
    if not set(read) <= set(takes):
        return None
    body = Body(Graph(takes, outputs))
    where = tuple(bases[x] for x in slices)
    return WayBack(body, tuple(sums), where, tuple(others), stacked, gradients, products, bases)


def _terms(g: Node) -> list[Node]:
    """What is added up to a gradient."""
    found, waiting = [], [g]
    while waiting:
        node = waiting.pop()
        if node.op.name == "add" and all(i.shape == node.shape for i in node.inputs):
            waiting += reversed(node.inputs)
        else:
            found.append(node)
    return found


def _turned(node: Node) -> Node:
    """What a value is a reshaped or transposed view of."""
    while node.op.name in TURNS:
        node = node.inputs[0]
    return node


def _stackable(term: Node, same: Sequence[Node]) -> list[Node] | None:
    """What must be stacked for a term to be summed over all runs at once; None where that cannot be."""
    root = _turned(term)
    if root.op.name not in ("dot", "sum"):
        return None
    found = [_turned(i) for i in root.inputs]
    return None if any(is_constant(f) or f in same for f in found) else found


def _is_worth(term: Node, new: Sequence[Node]) -> bool:
    """Whether stacking takes no more than adding to the sum in each run; both ways are right for all sizes."""
    stacked: int = sum(plain(n.type.nbytes) for n in dict.fromkeys(new))
    return stacked <= int(plain(term.type.nbytes))
