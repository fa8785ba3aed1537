"""Short reductions written out: which are, that values stay, and that shared operands are computed once."""

from __future__ import annotations

import numpy as np
import pytest

from tests.plan.test_planner import inputs
from tracec import ops
from tracec.ir.evaluate import evaluate
from tracec.ir.graph import Graph
from tracec.ir.node import Node
from tracec.plan.unroll import unroll_short_reductions


def differences(n: int, axis_size: int) -> tuple[tuple[Node, Node], Node]:
    """Operands of [n, 1, axis_size] and [1, n, axis_size], and the differences of all pairs."""
    a, b = inputs((n, 1, axis_size), (1, n, axis_size))
    shape = (n, n, axis_size)
    return (a, b), ops.sub(ops.expand(a, shape=shape), ops.expand(b, shape=shape))


def reductions(graph: Graph) -> int:
    return sum(n.op.name in ("sum", "prod", "max", "min") for n in graph.nodes)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_values_stay(name: str, keepdims: bool) -> None:
    given, apart = differences(150, 3)
    graph = Graph(given, (getattr(ops, name)(ops.mul(apart, apart), axes=(2,), keepdims=keepdims),))
    found = unroll_short_reductions(graph)
    assert reductions(graph) == 1 and reductions(found) == 0
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(n.shape).astype(np.float32) for n in given]
    (value,), (expected,) = evaluate(found, arrays), evaluate(graph, arrays)
    assert value.shape == expected.shape
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize(("n", "axis_size"), [(150, 5), (8, 3), (150, 1)])
def test_long_ones_and_those_of_little_more_than_they_read_stay(n: int, axis_size: int) -> None:
    given, apart = differences(n, axis_size)
    graph = Graph(given, (ops.sum(apart, axes=(2,), keepdims=False),))
    assert reductions(unroll_short_reductions(graph)) == reductions(graph) == 1


def test_shared_operands_are_taken_once() -> None:
    given, value = differences(150, 3)
    for _ in range(60):  # 2⁶⁰ paths lead back to the differences
        value = ops.mul(value, value)
    found = unroll_short_reductions(Graph(given, (ops.sum(value, axes=(2,), keepdims=False),)))
    assert reductions(found) == 0 and len(found.nodes) < 400
