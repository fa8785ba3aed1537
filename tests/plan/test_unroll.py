"""Short reductions written out: which are, that values stay, and that shared operands are computed once."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.plan.test_planner import inputs
from tracec import ops
from tracec.ir.evaluate import evaluate
from tracec.ir.graph import Graph
from tracec.ir.node import Node
from tracec.plan import TARGETS, make_plan
from tracec.plan.unroll import unroll_short_reductions
from tracec.runtime.interpreter import run_plan


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


def forces(n: int, few: int, shared: bool = True) -> tuple[tuple[Node, Node], Node]:
    """Differences of all pairs times what all of their coordinates have in common."""
    given, apart = differences(n, few)
    near = ops.exp(ops.sum(ops.mul(apart, apart), axes=(2,), keepdims=False))
    other = ops.reshape(near, shape=(n, n, 1)) if shared else ops.expand(given[0], shape=(n, n, few))
    return given, ops.mul(apart, other)


@pytest.mark.parametrize("name", ["sum", "max"])
@pytest.mark.parametrize("axes", [(1,), (0,), (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_few_side_by_side_are_reduced_beside_each_other(name: str, axes: tuple[int, ...], keepdims: bool) -> None:
    given, value = forces(300, 3)
    graph = Graph(given, (getattr(ops, name)(value, axes=axes, keepdims=keepdims),))
    found = unroll_short_reductions(graph)
    assert reductions(found) == 3
    arrays = [np.random.default_rng(0).uniform(-1, 1, n.shape) for n in given]
    (got,), (expected,) = evaluate(found, arrays), evaluate(graph, arrays)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
    plan = make_plan(graph, TARGETS["cuda"])
    assert plan.memory.peak_bytes < 1 << 17  # and not 720,000 bytes of what they have in common
    np.testing.assert_allclose(run_plan(plan, arrays)[0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("n", "few", "shared"), [(300, 5, True), (8, 3, True), (300, 3, False)])
def test_they_stay_together_where_that_saves_nothing(n: int, few: int, shared: bool) -> None:
    given, value = forces(n, few, shared)
    graph = Graph(given, (ops.sum(value, axes=(1,), keepdims=False),))
    assert all(node.op.name != "concatenate" for node in unroll_short_reductions(graph).nodes)


@pytest.mark.parametrize("n", [257, 320])
def test_forces_in_the_emulator(n: int) -> None:
    def function(x):
        r = x.unsqueeze(0) - x.unsqueeze(1)
        square = (r * r).sum(-1) + 0.01
        return (r * tracec.rsqrt(square * square * square).unsqueeze(-1)).sum(1)

    x = tracec.tensor(np.random.default_rng(0).standard_normal((n, 3)).astype(np.float32))
    run = tracec.compile(function, target="cuda", launcher="emulator")
    expected = function(x.double()).numpy()
    for _ in range(2):
        np.testing.assert_allclose(run(x).numpy(), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
