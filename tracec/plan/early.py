"""Sums that depend on integers alone, such as the number of targets that count: kernels of their own, before others.

A loss that is a mean divides by such a number, and so does its gradient. Summed up side by side with the losses it is
there only when all rows are through, and the gradient has to read every row once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tracec.ir.graph import Graph
from tracec.ir.lower import Reduction
from tracec.ir.node import Node, is_constant, is_input
from tracec.plan.inline import is_pointwise, is_view, operation_cost

#: The most nodes that readers compute again, so that none of them waits for another's kernel.
MOST = 16


@dataclass(frozen=True, slots=True)
class Early:
    """What is to be there before other kernels begin.

    Attributes:
        nodes: Sums, and what is made of them alone; they share no kernel with others.
        inlined: What they are made of, which readers compute anew, with the cost of an element.
    """

    nodes: frozenset[Node] = frozenset()
    inlined: Mapping[Node, int] = field(default_factory=dict)


def find_early(graph: Graph) -> Early:
    """The sums over what is made, element by element, of integers."""
    nodes: set[Node] = set()
    inlined: dict[Node, int] = {}
    for node in graph.nodes:
        if isinstance(node.op.lower, Reduction):
            made = _made_of_integers(node.inputs[0])
            if made is not None:
                nodes.add(node)
                inlined |= made
                continue
        operands = [i for i in node.inputs if not is_constant(i)]
        simple = is_pointwise(node) or isinstance(node.op.lower, Reduction)
        if simple and operands and nodes.issuperset(operands):
            nodes.add(node)
    return Early(frozenset(nodes), inlined)


def _made_of_integers(node: Node) -> dict[Node, int] | None:
    """The nodes between a value and the integers given that it is made of; None where there is more to it."""
    found: dict[Node, None] = {}
    stack, most = [node], node.type.size
    given = False
    while stack:
        n = stack.pop()
        if n in found or is_constant(n):
            continue
        if n.type.size > most or (not is_input(n) and not is_pointwise(n)):
            return None
        if is_input(n):
            given = True
            if n.dtype.kind not in "iub":
                return None
            continue
        found[n] = None
        if len(found) > MOST:
            return None
        # What integers pick from a table, as the weights of classes, is there as early as they are.
        stack.extend(n.inputs[1:] if n.op.name == "index" and _is_given(n.inputs[0]) else n.inputs)
    if not given:
        return None
    costs: dict[Node, int] = {}
    for n in reversed(found):
        costs[n] = operation_cost(n) + sum(costs.get(i, 0) for i in set(n.inputs))
    return costs


def _is_given(node: Node) -> bool:
    """Whether a value is an input, or a look at one."""
    while is_view(node) and node.inputs:
        node = node.inputs[0]
    return is_input(node)
