"""Dead code elimination: keeps what the outputs reach."""

from __future__ import annotations

from tracec.ir.graph import Graph
from tracec.ir.rewrite import apply_rules
from tracec.optimize.structured import trimmed
from tracec.optimize.views import DEAD_RULES


def dce(graph: Graph) -> Graph:
    """Drop elements that no output needs.

    Whole nodes that nothing needs never get here: a `Graph` does not hold them. What is left are operands
    of a concatenation that a slice passes by, padding that is cut off again, writes that a later write to
    the same places covers, empty operands, and what loops stack and nothing reads.
    """
    while True:
        before, graph = graph, trimmed(apply_rules(graph, DEAD_RULES))
        if graph is before:
            return graph
