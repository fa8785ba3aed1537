"""Sums of which one element counts read that element."""

from __future__ import annotations

import numpy as np
import pytest

from tests.plan.test_planner import inputs
from tracec import ops
from tracec.ir import dtype as dt
from tracec.ir.evaluate import evaluate
from tracec.ir.graph import Graph
from tracec.ir.kernel import Loop, walk
from tracec.ir.node import Node, input_node, made_from
from tracec.ir.types import TensorType
from tracec.plan import TARGETS, make_plan
from tracec.runtime.interpreter import run_plan


def placed(shape: tuple[int, ...], axis: int, place: Node, value: Node) -> Node:
    count = ops.iota(shape=shape, axis=axis, dtype=dt.int64)
    return ops.where(ops.eq(count, place), value, 0.0)


def loops(graph: Graph) -> list[str]:
    plan = make_plan(graph, TARGETS["cuda"])
    return [s.kind for k in plan.kernels for s in walk(k.body) if isinstance(s, Loop) and s.kind != "parallel"]


def check(graph: Graph, arrays: list[np.ndarray]) -> None:
    for target in TARGETS.values():
        with np.errstate(all="ignore"):
            found, expected = run_plan(make_plan(graph, target), arrays), evaluate(graph, arrays)
        for f, e in zip(found, expected, strict=True):
            np.testing.assert_allclose(f, e, rtol=1e-12)


@pytest.mark.parametrize("keepdims", [False, True])
def test_the_likelihood_of_a_class(keepdims: bool) -> None:
    (x,) = inputs((6, 50))
    y = input_node(TensorType(dt.int64, (6, 1)))
    with made_from(None):
        shifted = x - ops.max(x, axes=(1,), keepdims=True)
        logs = shifted - ops.log(ops.sum(ops.exp(shifted), axes=(1,), keepdims=True))
        loss = ops.sum(ops.neg(placed((6, 50), 1, y, logs)), axes=(1,), keepdims=keepdims)
    graph = Graph((x, y), (loss,))
    assert loops(graph) == ["reduce", "reduce"]
    values = np.random.default_rng(0).standard_normal((6, 50))
    check(graph, [values, np.array([[0], [49], [7], [-1], [50], [-100]])])
    values[0, 1] = np.inf
    check(graph, [values, np.full((6, 1), 3)])


def test_places_along_any_axis_of_values_broadcast_or_not() -> None:
    shape = (3, 5, 4)
    x, row = inputs(shape, (3, 1, 4))
    y, z = input_node(TensorType(dt.int64, (3, 1, 4))), input_node(TensorType(dt.int64, (4,)))
    with made_from(None):
        outputs = (
            ops.sum(placed(shape, 1, y, ops.sin(x) * row), axes=(1,), keepdims=False),
            ops.sum(placed(shape, 1, y, ops.expand(row, shape=shape)), axes=(1,), keepdims=True),
            ops.sum(placed(shape, 1, z, row), axes=(1,), keepdims=True),
            ops.sum(placed(shape, 0, z, x), axes=(0,), keepdims=False),
            ops.sum(placed(shape, 1, y, x), axes=(0,), keepdims=False),  # no such sum: along another axis
            ops.sum(placed(shape, 1, y, x), axes=(1, 2), keepdims=False),
        )
    random = np.random.default_rng(1)
    arrays = [random.standard_normal(n.shape) for n in (x, row)]
    check(Graph((x, row, y, z), outputs), [*arrays, random.integers(-1, 6, y.shape), random.integers(-1, 4, z.shape)])


def test_values_that_would_have_to_be_stored_are_summed() -> None:
    (x,) = inputs((6, 50))
    y = input_node(TensorType(dt.int64, (6, 1)))
    with made_from(None):
        scanned = ops.cumsum(x, axis=1, reverse=False)
        graph = Graph((x, y), (ops.sum(placed((6, 50), 1, y, scanned), axes=(1,), keepdims=False),))
    assert "reduce" in loops(graph)


def test_products_are_turned_where_their_rows_become_columns_among_other_axes() -> None:
    a, b = inputs((2, 3, 8, 5), (2, 3, 5, 16))
    with made_from(None):
        turned = ops.transpose(ops.dot(a, b), perm=(0, 3, 1, 2))
    graph = Graph((a, b), (turned,))
    for target in TARGETS.values():
        last = make_plan(graph, target).kernels[-1]
        assert last.shape in ("map", "contraction")
    random = np.random.default_rng(2)
    check(graph, [random.standard_normal(n.shape) for n in (a, b)])
