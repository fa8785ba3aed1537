"""A graph made ready for kernels: composite operators written out, reductions split, products turned."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import prod

from tracec.ir.extent import is_varying
from tracec.ir.graph import Graph
from tracec.ir.kernel import identity
from tracec.ir.lower import ContractionSpec, Decompose, HostCall, Library, Reduction, Structured
from tracec.ir.node import Node, constant, is_constant, made_from
from tracec.ir.operator import OPERATORS, Operator
from tracec.ops.branches import both
from tracec.plan.clusters import rows_of_clusters
from tracec.plan.long_rows import part_long_rows
from tracec.plan.phases import without_strides
from tracec.plan.pick import pick_elements
from tracec.plan.side_by_side import join_parts
from tracec.plan.split import split_reductions
from tracec.plan.unroll import unroll_short_reductions


def prepare(graph: Graph, blocks: int = 0, row_bytes: int = 0, cluster_bytes: int = 0) -> Graph:
    """The same values from operators that have a lowering of their own.

    Args:
        graph: What to compute.
        blocks: Blocks that fill the target, where it is a GPU.
        row_bytes: Bytes of a row that one of them keeps.
        cluster_bytes: Bytes of a row that a cluster of them keeps; 0 where there are no clusters.
    """
    whole: set[object] = set()
    graph = written_out(graph)
    graph = join_parts(turn_products(graph)).map(_padded_before_merging)
    graph = graph.map(_without_empty)
    if blocks:
        graph = decompose(graph.map(_both_branches))
        graph = unroll_short_reductions(graph.map(pick_elements))
        whole = rows_of_clusters(graph, row_bytes, cluster_bytes)
        graph = part_long_rows(graph, row_bytes, whole)
    else:
        graph = graph.map(without_strides)
    graph = split_reductions(graph, blocks, whole)
    return called_eagerly(_materialise_constants(graph.map(_with_operands_in_memory)))


def written_out(graph: Graph) -> Graph:
    """The graph without composite operators."""
    return decompose(called_eagerly(graph))


def called_eagerly(graph: Graph) -> Graph:
    """Set apart what no kernel computes: operators that ask for their eager rule, and all that is complex."""

    def called(node: Node) -> Node:
        complex_ = node.dtype.kind == "c" or any(i.dtype.kind == "c" for i in node.inputs)
        if is_constant(node) or isinstance(node.op.lower, Library):
            return node
        return replace(node, op=_called(node.op)) if complex_ or isinstance(node.op.lower, HostCall) else node

    return graph.map(called)


@cache
def _called(op: Operator) -> Operator:
    return replace(op, lower=Library("eager"))


def decompose(graph: Graph) -> Graph:
    """Write out operators whose lowering is other operators."""
    while any(isinstance(n.op.lower, Decompose) for n in graph.nodes):
        graph = graph.map(_decomposed)
    return graph


def _decomposed(node: Node) -> Node:
    lower = node.op.lower
    if not isinstance(lower, Decompose):
        return node
    with made_from(node.source, f"decompose {node.op.name}"):
        built: Node = lower.build(*node.inputs, **dict(node.params))
    return built


def _without_empty(node: Node) -> Node:
    """A reduction over no elements is the value that it starts from; what has no elements is not computed."""
    lower = node.op.lower
    if is_constant(node) or (node.op.name == "expand" and is_constant(node.inputs[0])):
        return node
    combine = "add"
    if node.type.size:
        if not isinstance(lower, (Reduction, ContractionSpec)) or all(i.type.size for i in node.inputs):
            return node
        combine = lower.combine if isinstance(lower, Reduction) else "add"
    start = identity(combine, node.dtype)
    with made_from(node.source, "no elements"):
        result: Node = OPERATORS["expand"](constant(start, node.type), shape=node.shape)
    return result


def _both_branches(node: Node) -> Node:
    """On a GPU, which is not asked for a condition, both bodies are computed."""
    if node.op.name != "cond" or not isinstance(node.op.lower, Structured):
        return node
    with made_from(node.source, "both branches"):
        return both(*node.inputs, **dict(node.params))


def _with_operands_in_memory(node: Node) -> Node:
    """What runs a body takes constants from memory."""
    if not isinstance(node.op.lower, Structured) or not any(map(is_constant, node.inputs)):
        return node
    with made_from(node.source, "materialise"):
        return node.with_inputs(tuple(OPERATORS["expand"](i, shape=()) if is_constant(i) else i for i in node.inputs))


def _padded_before_merging(node: Node) -> Node:
    """``pad(reshape(x))`` as ``reshape(pad(x))`` where axes of x become the padded one, whole rows are added, and x
    lies in another order: positions behind the padding would have to be taken apart as if they might be negative."""
    if node.op.name != "pad" or node.inputs[0].op.name != "reshape" or is_constant(node.inputs[0].inputs[0]):
        return node
    merged, x = node.inputs[0], node.inputs[0].inputs[0]
    low, high = node.param("low"), node.param("high")
    padded = [a for a, n in enumerate(zip(low, high, strict=True)) if n != (0, 0)]
    if x.op.name != "transpose" or len(padded) != 1 or not x.type.size or is_varying((x.type.size, low, high)):
        return node
    (axis,) = padded
    outer, size = prod(merged.shape[:axis]), merged.shape[axis]
    first = next((a for a in range(x.ndim) if prod(x.shape[:a]) == outer and x.shape[a] != 1), x.ndim)
    last = next((a for a in range(first + 1, x.ndim + 1) if prod(x.shape[first:a]) == size), first)
    row = prod(x.shape[first + 1 : last])
    if last - first < 2 or row < 2 or low[axis] % row or high[axis] % row:
        return node
    before, behind = ([0] * x.ndim for _ in range(2))
    before[first], behind[first] = low[axis] // row, high[axis] // row
    with made_from(node.source, node.origin or "pad before merging"):
        wider = node.op(x, low=tuple(before), high=tuple(behind), value=node.param("value"))
        result: Node = OPERATORS["reshape"](wider, shape=node.shape)
    return result


def turn_products(graph: Graph) -> Graph:
    """``(a b)ᵀ`` is ``bᵀ aᵀ``: a product writes its elements in the order in which they are wanted.

    Where other axes move too, what is left is to move whole rows.
    """
    users = graph.users()
    outputs = set(graph.outputs)
    products = [n for n in graph.nodes if n.op.name == "dot" and isinstance(n.op.lower, ContractionSpec)]
    sole = {n for n in products if len(users[n]) == 1 and n not in outputs}
    turned = {id(users[n][0]) for n in sole if _swaps_last(users[n][0])}
    if not turned:
        return graph
    chosen = {n.inputs[0]: n for n in graph.nodes if id(n) in turned}
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        operands = tuple(new.get(i, i) for i in node.inputs)
        if node in chosen.values():
            product = new.get(node.inputs[0], node.inputs[0])
            a, b = product.inputs
            with made_from(node.source, "turn product"):
                new[node] = _permuted(product.op(_turn(b), _turn(a)), node.param("perm"))
        else:
            new[node] = node.with_inputs(operands)
    return graph.with_outputs(tuple(new.get(o, o) for o in graph.outputs))


def _turn(node: Node) -> Node:
    perm = (*range(node.ndim - 2), node.ndim - 1, node.ndim - 2)
    result: Node = OPERATORS["transpose"](node, perm=perm)
    return result


def _permuted(turned: Node, perm: tuple[int, ...]) -> Node:
    """What a permutation made of a product, made of the turned one."""
    n = turned.ndim
    other = {n - 1: n - 2, n - 2: n - 1}
    moved = tuple(other.get(a, a) for a in perm)
    result: Node = turned if moved == tuple(range(n)) else OPERATORS["transpose"](turned, perm=moved)
    return result


def _swaps_last(node: Node) -> bool:
    """Whether rows of the operand become columns: its last axis but one comes last."""
    return node.op.name == "transpose" and node.ndim >= 2 and node.param("perm")[-1] == node.ndim - 2


def _materialise_constants(graph: Graph) -> Graph:
    """Outputs that are literals become values that a kernel writes."""

    def stored(node: Node) -> Node:
        if not is_constant(node):
            return node
        with made_from(node.source, "materialise"):
            one: Node = OPERATORS["expand"](node, shape=node.shape)
        return one

    return graph.with_outputs(tuple(stored(o) for o in graph.outputs))
