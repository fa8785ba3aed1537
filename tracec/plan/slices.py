"""Tiling of regions with large intermediate values: a loop over slices, of each of which one is in memory at a time.

An attention's scores grow with the square of the length, though its operands and results do not. Where all values of
such a region can be sliced along one axis (the batch, the heads), the region becomes the body of a ``scan`` over slices
of its operands, and its memory is that of one iteration: array contraction by tiling, in a compiler's terms.

1. A region is a connected set of large values, their users, and the small values on paths between these; it is convex.
2. Large forward values that backward nodes read would have to be kept. The backward part recomputes them from small
   values that are kept anyway, such as the maximum and the sum of each row of a softmax.
3. An axis of one matrix product is propagated through the region, to operands and to users. Where that fails, as at a
   sum over the axis, the product's next axis is tried.
4. A slice has as many positions of the axis as fit the last level of cache. One that is still large is sliced again,
   along another axis, when the body is planned.

Sizes that vary from call to call are compared as formulas, and their axes are not sliced.

Source: Rabe, Staats, "Self-attention Does Not Need O(n²) Memory", 2021, whose algorithm this is for the axes of batch,
heads and queries, along which there are no partial sums; steps 1 and 3 find such regions in any graph.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from functools import cached_property

from tracec.ir.extent import plain
from tracec.ir.graph import Graph, backward_part, recomputed_in, substitute
from tracec.ir.lower import ContractionSpec, Reduction
from tracec.ir.node import Node, is_constant, is_input
from tracec.ir.plan import Sliced
from tracec.plan.inline import is_view
from tracec.plan.slice_loop import CHEAP, SMALL, Axes, Region, as_loop, propagate_axis, shared, with_views
from tracec.plan.target import Limits

#: Bytes of an element as values are compared by: a mask belongs to the scores that it is for.
_WIDTH = 4
#: How much larger the values of one level are than those of the next.
_LEVEL = 4
#: Small values between large ones; where there are more, most of a network is between them.
_MOST_BETWEEN = 64
#: A slice of less than this part of what is wanted is not worth a run.
_LEAST_PART = 32


def slice_large(graph: Graph, limits: Limits) -> Graph:
    """Compute regions with large intermediate values slice by slice.

    Args:
        graph: What to compute, of operators that have a lowering of their own.
        limits: When regions are cut.

    Returns:
        The graph; the same one where there is no such region.
    """
    for level in _levels(graph, limits.large):
        flow, failed, parts = _Dataflow(graph, level), 0, _kept(graph, level) >= limits.kept
        while failed < len(regions := flow.regions()):
            region = regions[failed]
            if (loop := _loop(flow, region, limits.wanted)) is not None:
                flow = flow.changed(flow.graph.with_outputs(substitute(flow.graph.outputs, loop)))
            elif parts and (apart := _recomputed(flow, region, limits.wanted)) is not None:
                flow = apart
            else:
                failed += 1
        graph = flow.graph
    return graph


def sliced_in(graph: Graph) -> tuple[Sliced, ...]:
    """What `slice_large` made loops of, for readers."""
    loops = [n for n in graph.nodes if n.op.name == "scan" and n.origin == "slices"]
    return tuple(_told(n) for n in loops)


def _told(node: Node) -> Sliced:
    body: Graph = node.param("body").graph
    runs = plain(node.param("length"))
    largest = max(plain(n.type.nbytes) for n in body.nodes)
    names = tuple(n.op.name for n in body.nodes if not is_view(n) and not is_constant(n) and not is_input(n))
    return Sliced(runs, runs * largest, names, node.source)


def recompute_large(graph: Graph, limits: Limits) -> Graph:
    """Let the backward part compute what `slice_large` can cut then, and cut nothing yet.

    Args:
        graph: As of `slice_large`: both parts, which are planned apart.
        limits: When regions are cut.
    """
    for level in _levels(graph, limits.large):
        if _kept(graph, level) < limits.kept:
            continue
        flow, seen = _Dataflow(graph, level), 0
        while seen < len(regions := flow.regions()):
            apart = _recomputed(flow, regions[seen], limits.wanted)
            flow, seen = (flow, seen + 1) if apart is None else (apart, seen)
        graph = flow.graph
    return graph


def _kept(graph: Graph, large: int) -> int:
    """Bytes of large values of the forward part that the backward part reads."""
    backward = backward_part(graph)
    read = {i for n in backward for i in n.inputs if i not in backward and i.dtype.is_floating_point}
    return sum(plain(n.type.nbytes) for n in read if n.inputs and _is_large(n, large))


def _levels(graph: Graph, large: int) -> list[int]:
    """From how many bytes on values are large, the most first.

    Where most of a network's values are large, the largest among them still form regions of their own.
    """
    sizes = [plain(n.type.size) * _WIDTH for n in graph.nodes if _is_product(n) and _is_large(n, large)]
    levels = []
    while sizes and large <= max(sizes):
        levels.append(large)
        large *= _LEVEL
    return levels[::-1]


def _is_large(node: Node, large: int) -> bool:
    return bool(plain(node.type.size) * _WIDTH >= large)


def _is_product(node: Node) -> bool:
    return node.op.name == "dot" and isinstance(node.op.lower, ContractionSpec)


# Regions ----------------------------------------------------------------------------------------------


class _Dataflow:
    """The users, the order and the dependences of a graph's nodes.

    Args:
        graph: The graph.
        large: Bytes from which a value is large.

    Attributes:
        graph: The same.
        users: Node → those that read it.
    """

    def __init__(self, graph: Graph, large: int) -> None:
        self.graph = graph
        self.users = graph.users()
        self._limit = large
        self._large: dict[Node, bool] = {}
        self._place = {n: k for k, n in enumerate(graph.nodes)}

    def changed(self, graph: Graph) -> _Dataflow:
        """That of another graph, most of whose nodes are the same."""
        other = _Dataflow(graph, self._limit)
        other._large = self._large
        return other

    def is_large(self, node: Node) -> bool:
        found = self._large.get(node)
        if found is None:
            found = self._large[node] = _is_large(node, self._limit)
        return found

    def ordered(self, nodes: Iterable[Node]) -> tuple[Node, ...]:
        """Nodes in the order of the graph."""
        return tuple(sorted(nodes, key=self._place.__getitem__))

    @cached_property
    def _before(self) -> list[int]:
        """For each node the set of those that it depends on, as the bits of a number."""
        found: list[int] = []
        for node in self.graph.nodes:
            bits = 0
            for i in node.inputs:
                if (k := self._place.get(i)) is not None:
                    bits |= found[k] | 1 << k
            found.append(bits)
        return found

    def between(self, region: Iterable[Node]) -> list[Node]:
        """The other nodes on the way from one of a region to another."""
        places = {self._place[n] for n in region}
        above, inside = 0, 0
        for k in places:
            above |= self._before[k]
            inside |= 1 << k
        above &= ~inside
        nodes = self.graph.nodes
        return [nodes[k] for k in _bits(above >> min(places), min(places)) if self._before[k] & inside]

    def regions(self) -> list[tuple[Node, ...]]:
        """Connected large values and their users, in order, where at least one of the values is a product."""
        big = {n: None for n in self.graph.nodes if self.is_large(n)}
        regions: list[tuple[Node, ...]] = []
        seen: set[Node] = set()
        for first in big:
            if first in seen:
                continue
            members = _joined(first, self.users, big)
            seen |= members
            if any(map(_is_product, members)) and not members.intersection(self.graph.outputs):
                regions.append(self.ordered(members | {u for n in members for u in self.users[n]}))
        return regions


def _bits(number: int, first: int) -> Iterator[int]:
    """The places of the bits that are set, counted from a first one."""
    while number:
        low = number & -number
        yield first + low.bit_length() - 1
        number ^= low


def _is_simple(node: Node) -> bool:
    """Whether a node may be between large values: a maximum or a sum of rows, and what is made of it."""
    return node.op.family in CHEAP or isinstance(node.op.lower, Reduction)


def _joined(first: Node, users: Mapping[Node, list[Node]], big: Container[Node]) -> set[Node]:
    """The large values that one leads to, by operands and users that are large."""
    members, waiting = {first}, [first]
    while waiting:
        node = waiting.pop()
        for other in (*node.inputs, *users[node]):
            if other in big and other not in members:
                members.add(other)
                waiting.append(other)
    return members


def _recomputed(flow: _Dataflow, region: tuple[Node, ...], wanted: int) -> _Dataflow | None:
    """The graph whose backward part recomputes a region's large forward values; None where that cannot be sliced."""
    backward = backward_part(flow.graph)
    forward = {n for n in region if n not in backward and flow.is_large(n)}
    if not any(u in backward for n in forward for u in flow.users[n]):
        return None
    graph, copies = recomputed_in(flow.graph, backward, forward)
    apart, concerned = flow.changed(graph), forward.union(copies.values())
    parts = [r for r in apart.regions() if not concerned.isdisjoint(r)]
    return apart if parts and all(_loop(apart, r, wanted) is not None for r in parts) else None


# Loops ------------------------------------------------------------------------------------------------


def _loop(flow: _Dataflow, members: tuple[Node, ...], wanted: int) -> dict[Node, Node] | None:
    """The results of a region as those of a loop; None where it cannot be cut."""
    between = flow.between(members)
    if len(between) > _MOST_BETWEEN or not all(map(_is_simple, between)):
        return None
    order = flow.ordered({*members, *between})
    seed = next(n for n in order if _is_product(n) and flow.is_large(n))
    for axis, size in enumerate(seed.shape[:-1]):
        axes = propagate_axis(order, flow.users, seed, axis) if type(size) is int and size > 1 else None
        if axes is not None and (region := _cut(flow, order, axes, size, wanted)) is not None:
            return as_loop(region)
    return None


def _cut(flow: _Dataflow, order: tuple[Node, ...], axes: Axes, size: int, wanted: int) -> Region | None:
    """A region cut along an axis; None where that is not worth it, or something else reads what is cut."""
    cut = [n for n in order if axes.get(n) is not None]
    inside, outputs = set(cut), set(flow.graph.outputs)
    whole = max(plain(n.type.size) for n in cut) * _WIDTH
    count = next((c for c in range(size // 2, 0, -1) if size % c == 0 and whole // size * c <= wanted), 1)
    if whole // size * count * _LEAST_PART < wanted or any(
        i in inside for n in order if n not in inside for i in n.inputs
    ):
        return None
    results = tuple(n for n in cut if n in outputs or not inside.issuperset(flow.users[n]))
    if max(plain(n.type.size) for n in results) * _WIDTH * SMALL > whole:
        return None
    nodes = with_views(cut, axes)
    region = Region((*shared(nodes, axes), *nodes), axes, size, count, results)
    return region if region.is_even() else None
