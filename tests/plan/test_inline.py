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


def shuffled(x: Node, y: Node) -> Node:
    """Half of the channels and new ones, in turns."""
    n, c, *size = x.shape
    half = ops.slice(x, starts=(0,) * 4, stops=(n, c // 2, *size), steps=(1,) * 4)
    whole = ops.reshape(ops.concatenate(half, y, axis=1), shape=(n, 2, c // 2, *size))
    return ops.reshape(ops.transpose(whole, perm=(0, 2, 1, 3, 4)), shape=x.shape)


@pytest.mark.parametrize("target", TARGETS)
def test_concatenations_are_read_through_few_others(target: str) -> None:
    with made_from(None):
        x, *new = inputs((2, 12, 3, 3), *[(2, 6, 3, 3)] * 7)
        found = x
        for y in new:
            found = shuffled(found, y)
        graph = Graph((x, *new), (ops.exp(found),))
    plan = make_plan(graph, TARGETS[target])
    assert len(plan.steps) == 3  # what three, three and one of the seven give
    assert all(len(kernel.buffers) <= 5 for kernel in plan.kernels)
    check(graph)


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_made_of_many_parts_is_not_chosen_again_by_each_reader(target: str) -> None:
    with made_from(None):
        parts = inputs(*[(4,)] * 8)
        whole = ops.neg(ops.concatenate(*parts, axis=0))
        rows = tuple(ops.exp(ops.expand(whole, shape=(n, 32))) for n in (3, 5, 7))
        graph = Graph(tuple(parts), rows)
    kernels = make_plan(graph, TARGETS[target]).kernels
    assert sorted(len(kernel.buffers) for kernel in kernels) == [2, 2, 2, 9]
    check(graph)


@pytest.mark.parametrize("target", TARGETS)
def test_a_product_reads_a_concatenation_from_memory(target: str) -> None:
    with made_from(None):
        x, y, w = inputs((2, 8, 6, 6), (2, 4, 6, 6), (8, 1, 3, 3), dtype=dt.float32)
        windows = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 8}
        graph = Graph((x, y, w), (ops.conv(shuffled(x, y), w, **windows),))
    first, second = make_plan(graph, TARGETS[target]).kernels
    assert len(first.buffers) == 3 and len(second.buffers) == 3
    check(graph, tolerance=1e-4)


def graph_of(function: Any, shapes: Any) -> Graph:
    with made_from(None):
        given = inputs(*shapes)
        return Graph(tuple(given), (function(*given),))
