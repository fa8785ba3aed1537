"""Loads whose position may fall outside of their buffer."""

import numpy as np

from tracec import ops
from tracec.ir import dtype as dt
from tracec.ir.evaluate import evaluate
from tracec.ir.graph import Graph
from tracec.ir.node import input_node, made_from
from tracec.ir.types import TensorType
from tracec.plan import TARGETS, make_plan
from tracec.runtime.interpreter import run_plan


def test_a_padded_gather_reads_no_position_from_outside_of_its_index_array():
    x, at = np.arange(20, dtype=np.float32).reshape(5, 4), np.array([4, 1, 3])
    inputs = (input_node(TensorType(dt.float32, x.shape)), input_node(TensorType(dt.int64, at.shape)))
    with made_from(None):
        padded = ops.pad(ops.index(*inputs, axes=(0,)), low=(1, 2), high=(3, 0), value=0.0)
        graph = Graph(inputs, (padded * 2.0,))
    plan = make_plan(graph, TARGETS["cpu"])
    assert len(plan.kernels) == 1  # fused, and the interpreter refuses reads out of bounds
    np.testing.assert_array_equal(run_plan(plan, [x, at])[0], evaluate(graph, [x, at])[0])
