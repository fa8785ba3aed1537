"""What is computed where it is read: with it, what it is made of, as far as nobody reads more."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plan.test_planner import check, inputs
from tracec import ops
from tracec.ir import dtype as dt
from tracec.ir.graph import Graph
from tracec.ir.node import Node, constant, made_from
from tracec.plan import TARGETS, make_plan


def turned(x: Node, y: Node) -> Node:
    return ops.transpose(ops.maximum(x * 2 + 1, 0.0), perm=(1, 0)) + y


def kept_in_range(x: Node, y: Node) -> Node:
    at = ops.cast(x, dtype=dt.int64)
    low, high = (constant(n, at.type) for n in (0, 39))
    return ops.index(y, ops.minimum(ops.maximum(at, low), high), axes=(0,))


def of_two(x: Node, y: Node) -> Node:
    """A sum of two values in memory: whoever computes it anew reads both."""
    s = x + ops.transpose(y, perm=(1, 0))
    return ops.transpose(s * 2, perm=(1, 0)) + y


def dear(x: Node, y: Node) -> Node:
    return ops.reshape(ops.exp(x) * 3, shape=(40, 1)) * y


CASES = {
    "turned": (turned, (30, 40), (40, 30), 1),
    "kept in range": (kept_in_range, (70,), (40, 30), 1),
    "of two": (of_two, (30, 40), (40, 30), 2),
    "dear": (dear, (40,), (40, 900), 2),
}


@pytest.mark.parametrize("name", CASES)
def test_a_chain_is_computed_where_it_is_read(name: str) -> None:
    function, *shapes, expected = CASES[name]
    graph = graph_of(function, shapes)
    for target in TARGETS.values():
        assert len(make_plan(graph, target).kernels) == expected
    check(graph)


def test_what_is_a_result_is_stored() -> None:
    with made_from(None):
        x, y = inputs((30, 40), (40, 30))
        z = x * 2
        graph = Graph((x, y), (ops.transpose(z + 1, perm=(1, 0)) + y, z))
    check(graph)


def graph_of(function: Any, shapes: Any) -> Graph:
    with made_from(None):
        given = inputs(*shapes)
        return Graph(tuple(given), (function(*given),))
