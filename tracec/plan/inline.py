"""Inlining: which nodes are computed where they are read, views, generators, and arithmetic cheaper than a store."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from tracec.ir.exact import VARIATES
from tracec.ir.extent import plain
from tracec.ir.graph import Graph
from tracec.ir.lower import ContractionSpec, Elementwise, Library, Pull, Reduction, input_types
from tracec.ir.node import Node, is_constant
from tracec.ir.types import same
from tracec.plan.side_by_side import is_apart, side_by_side

#: Nodes that read one, through views or not, and whether they walk its elements in the same order.
Readers = list[tuple[Node, bool]]

#: Cost of one element in simple vector operations.
_COSTS = {
    **dict.fromkeys(("div", "sqrt", "rsqrt", "floor_div", "remainder"), 4),
    **dict.fromkeys(("exp", "expm1", "log", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "atan2"), 12),
    **dict.fromkeys(("exp2", "log2", "log10", "asinh", "acosh", "atanh", "hypot", "fmod"), 12),
    **dict.fromkeys(VARIATES, 24),
    **dict.fromkeys(("sinh", "cosh", "tanh", "erf", "sigmoid", "pow"), 12),
}
#: An element of a value in memory costs about this many simple operations to write and read back.
STORE_COST = 8
#: Reading an element costs about as much as computing it with this many simple operations.
LOAD_COST = 3
#: Repeated work that loops hoist out of their innermost level may cost this much.
HOISTED_COST = 40
#: Concatenations that are read through one another: each is a choice by position, whose position the next one takes
#: apart again, and a block that shuffles channels has one.
MOST_CHOICES = 2
#: How often products may ask for an element of a concatenation before it is better stored.
MOST_ASKED = 4


def operation_cost(node: Node) -> int:
    """What one element of the node costs by itself, in simple vector operations."""
    lower = node.op.lower
    if node.op.name == "concatenate":
        return len(node.inputs) - 1  # a choice each, of all parts where elements are computed side by side
    if isinstance(lower, Pull):
        return 0 if lower.view or node.op.name == "iota" else 12 if node.op.name == "random_bits" else 2
    return _COSTS.get(lower.scalar, 1) if isinstance(lower, Elementwise) else 1


def is_pointwise(node: Node) -> bool:
    return isinstance(node.op.lower, (Elementwise, Pull))


def is_view(node: Node) -> bool:
    return isinstance(node.op.lower, Pull) and (node.op.lower.view or not node.inputs)


def inline_nodes(graph: Graph) -> dict[Node, int]:
    """Nodes whose readers compute them anew, with the cost of one element.

    Views always, but for concatenations through others or for products, and casts to more bytes; arithmetic where
    readers that walk it in another order (through a view, or broadcast) repeat so little of it that a trip through
    memory would cost more. So it is with what feeds such arithmetic alone, as far as that makes nobody read more.
    """
    readers = _readers(graph)
    outputs = set(graph.outputs)
    inlined: dict[Node, int] = {}
    choices: dict[Node, int] = {}
    for node in graph.nodes:
        if not is_pointwise(node) or _is_joined(node, node in outputs, readers[node]):
            continue
        chosen = max((choices.get(i, 0) for i in node.inputs), default=0)
        if node.op.name == "concatenate":
            if chosen == MOST_CHOICES or _is_asked_often(node, readers[node]):
                continue
            chosen += 1
        cost = operation_cost(node) + sum(inlined.get(i, 0) for i in set(node.inputs))
        if is_view(node) or ((node not in outputs or node.type.size == 1) and _is_cheap(node, cost, readers[node])):
            inlined[node], choices[node] = cost, chosen
    _inline_operands(graph, readers, inlined)
    return inlined


def _inline_operands(graph: Graph, readers: Mapping[Node, Readers], inlined: dict[Node, int]) -> None:
    """Enter what feeds arithmetic that is computed anew, and nothing else, where that costs no more than a load."""
    spare: dict[Node, float] = {}  # what more may be computed with a node
    outputs = set(graph.outputs)
    for node in reversed(graph.nodes):
        cost = inlined.get(node)
        through = [r for r, aligned in readers[node] if aligned]
        if cost is None:
            if not (readers[node] and len(through) == len(readers[node]) and all(r in spare for r in through)):
                continue
            cost = operation_cost(node)
            if node in outputs or not _is_of_one_load(node, inlined) or any(spare[r] < cost for r in through):
                continue
            for r in through:
                spare[r] -= cost
            inlined[node] = cost
        if isinstance(node.op.lower, Elementwise) and node.type.size > 1:
            own = [] if len(through) == len(readers[node]) else [_limit(node, readers[node]) - cost]
            known = [spare[r] for r in through if r in spare]
            if own or known:
                spare[node] = min(*own, *known, LOAD_COST)


def _is_of_one_load(node: Node, inlined: Mapping[Node, int]) -> bool:
    """Whether it is arithmetic on elements of one value of no more bytes, which may be repeated."""
    operands = {i for i in node.inputs if not is_constant(i) and not _is_generated(i, inlined)}
    if not isinstance(node.op.lower, Elementwise) or len(operands) != 1:
        return False
    (operand,) = operands
    if same(operand.shape, node.shape):
        return operand.dtype.itemsize <= node.dtype.itemsize
    return bool(plain(operand.type.nbytes) <= plain(node.type.nbytes))


def _is_generated(node: Node, inlined: Mapping[Node, int]) -> bool:
    """Whether it is made from the positions of elements alone, where it is read."""
    while node in inlined and is_view(node) and node.inputs:
        node = node.inputs[0]
    return node.op.name == "iota"


def _is_cheap(node: Node, cost: int, readers: Readers) -> bool:
    if node.type.size == 1:
        return cost <= HOISTED_COST
    if _is_widened(node) and cost <= LOAD_COST:
        return not any(isinstance(r.op.lower, (ContractionSpec, Library)) for r, _ in readers)
    return cost <= _limit(node, readers)


def _limit(node: Node, readers: Readers) -> float:
    """What an element may cost that readers compute anew; -1 for those that none does."""
    apart = [reader for reader, aligned in readers if not aligned]
    if not apart or any(isinstance(r.op.lower, (ContractionSpec, Library)) for r in apart):
        return -1
    size = max(plain(node.type.size), 1)
    repeats = sum(_points(r) for r in apart) / size
    hoisted = node.ndim > 0 and node.shape[-1] == 1
    return HOISTED_COST if repeats <= 1 or hoisted else max(LOAD_COST, STORE_COST / repeats)


def _is_joined(node: Node, is_output: bool, readers: Readers) -> bool:
    """Whether a node is parts side by side in memory: whoever computes them stores them there."""
    return side_by_side(node) and (is_output or any(is_apart(r) for r, _ in readers))


def _is_asked_often(node: Node, readers: Readers) -> bool:
    """Whether products ask for each element of a node several times."""
    products = [r for r, _ in readers if isinstance(r.op.lower, ContractionSpec)]
    return any(_factors(r) >= MOST_ASKED * plain(node.type.size) for r in products)


def _factors(product: Node) -> int:
    """How many products of two elements it sums up, over all of its own."""
    lower = product.op.lower
    assert isinstance(lower, ContractionSpec)
    reduced = lower.extents(input_types(product), **dict(product.params))
    factors: int = plain(product.type.size) * prod(map(plain, reduced))
    return factors


def _is_widened(node: Node) -> bool:
    """Whether a node is a cast of what is in memory in fewer bytes: whoever reads that moves less."""
    (operand, *others) = node.inputs or (node,)
    return node.op.name == "cast" and not others and operand.dtype.itemsize < node.dtype.itemsize


def _points(reader: Node) -> int:
    """How often a reader asks for an element of its operand."""
    points: int = plain(reader.type.size)
    if isinstance(reader.op.lower, Reduction):
        points = max(points, plain(reader.inputs[0].type.size))
    return points


def _readers(graph: Graph) -> dict[Node, Readers]:
    """Node → (node that reads it, through views or not; whether it walks the elements in the same order)."""
    found: dict[Node, Readers] = {n: [] for n in (*graph.inputs, *graph.nodes)}
    outputs = set(graph.outputs)
    for node in reversed(graph.nodes):
        for operand in node.inputs:
            if is_constant(operand):
                continue
            if node.op.name == "reshape":
                found[operand].extend(found[node])
            elif side_by_side(node) and _is_joined(node, node in outputs, found[node]):
                found[operand].append((node, True))
            elif is_view(node):
                # windows and expand ask for more elements than there are: the view itself counts as the reader
                wider = plain(node.type.size) > plain(operand.type.size)
                through = [(node, False)] if wider else [(r, False) for r, _ in found[node]]
                found[operand].extend(through or [(node, False)])
            elif isinstance(node.op.lower, Elementwise):
                found[operand].append((node, same(operand.shape, node.shape)))
            elif isinstance(node.op.lower, Reduction):
                found[operand].append((node, node.op.lower.axes is not None))
            else:
                found[operand].append((node, False))
    return found
