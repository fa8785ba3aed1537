"""Padding of merged axes: added to the axes that are merged, where that keeps positions simple."""

from __future__ import annotations

import numpy as np
import pytest

from tests.plan.test_planner import inputs
from tracec import ops
from tracec.ir import dtype as dt
from tracec.ir.evaluate import evaluate
from tracec.ir.graph import Graph
from tracec.ir.verify import verify
from tracec.plan import TARGETS, make_plan
from tracec.plan.prepare import prepare
from tracec.runtime.interpreter import run_plan


def padded(shape: tuple[int, ...], perm: tuple[int, ...], merged: tuple[int, ...], low, high) -> Graph:
    (x,) = inputs(shape, dtype=dt.float32)
    y = ops.reshape(ops.transpose(x, perm=perm), shape=merged)
    return Graph((x,), (ops.pad(y, low=low, high=high, value=2.0),))


@pytest.mark.parametrize(
    ("shape", "perm", "merged", "low", "high", "moves"),
    [
        ((2, 3, 5, 4), (0, 2, 1, 3), (2, 5, 12), (0, 0, 24), (0, 0, 12), True),
        ((2, 3, 5, 4), (0, 2, 1, 3), (2, 5, 12), (0, 0, 0), (0, 0, 8), True),
        ((2, 3, 5, 4), (0, 2, 1, 3), (10, 12), (0, 4), (0, 0), True),
        ((3, 1, 5, 4), (2, 1, 0, 3), (5, 12), (0, 12), (0, 4), True),
        ((3, 4, 5), (1, 0, 2), (12, 5), (3, 0), (6, 0), True),
        ((3, 4, 5), (1, 0, 2), (12, 5), (4, 0), (6, 0), False),  # parts of rows
        ((2, 3, 5, 4), (0, 2, 1, 3), (2, 5, 12), (0, 0, 2), (0, 0, 0), False),
        ((2, 3, 5, 4), (0, 2, 1, 3), (2, 5, 12), (0, 1, 12), (0, 0, 0), False),  # two axes
        ((2, 3, 5, 4), (0, 2, 1, 3), (2, 5, 4, 3), (0, 0, 0, 3), (0, 0, 0, 0), False),  # nothing is merged
        ((0, 2, 2, 4), (0, 2, 1, 3), (0, 4, 4), (0, 0, 4), (0, 0, 0), False),  # no elements
    ],
    ids=str,
)
def test_padding_comes_before_axes_are_merged(shape, perm, merged, low, high, moves) -> None:
    graph = padded(shape, perm, merged, low, high)
    found = prepare(graph)
    verify(found)
    assert (found.outputs[0].op.name == "reshape") == moves
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    (expected,) = evaluate(graph, [x])
    np.testing.assert_array_equal(evaluate(found, [x])[0], expected)
    for target in TARGETS.values():
        np.testing.assert_array_equal(run_plan(make_plan(graph, target), [x])[0], expected)


def test_where_split_heads_meet_again_no_position_is_taken_apart_twice(golden: str) -> None:
    parts = inputs(*[(2, 4, 6, 8)] * 2, dtype=dt.float32)
    wide = [
        ops.pad(
            ops.reshape(ops.transpose(x, perm=(0, 2, 1, 3)), shape=(2, 6, 32)), low=(0, 0, 32 * n),
            high=(0, 0, 64 - 32 * n), value=0.0,
        )
        for n, x in enumerate(parts)
    ]  # fmt: skip
    graph = Graph(parts, (ops.add(*wide),))
    assert str(make_plan(graph, TARGETS["cpu"]).kernels[0]) == golden
