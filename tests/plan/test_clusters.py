"""Rows that a cluster of blocks keeps are one kernel, which reads them once; others are what they were."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plan.test_long_rows import FUNCTIONS, graph_of, shapes
from tests.plan.test_planner import inputs
from tracec import ops
from tracec.ir import dtype as dt
from tracec.ir.graph import Graph
from tracec.ir.node import made_from
from tracec.ir.verify_kernel import verify_kernel
from tracec.plan import TARGETS, make_plan
from tracec.plan.planner import traffic
from tracec.plan.target import target_for

CUDA = TARGETS["cuda"]


@pytest.mark.parametrize("dtype", [dt.float32, dt.bfloat16, dt.float64], ids=str)
@pytest.mark.parametrize("shape", [(2048, 65536), (16, 1 << 17), (3, 5, 40000), (9, 100003)], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_are_read_once(name: str, shape: tuple[int, ...], dtype: dt.DType) -> None:
    graph = graph_of(name, shape, dtype)
    plan = make_plan(graph, CUDA)
    for kernel in plan.kernels:
        verify_kernel(kernel)
    assert shapes(plan) == ["row"]
    assert traffic(plan) <= (1 if name == "log sum" else 2) * 1.01 * graph.inputs[0].type.nbytes


def test_the_plan(golden: Any) -> None:
    """Of rows of a quarter of a million elements: one kernel, and nothing between."""
    assert "\n\n".join(map(str, make_plan(graph_of("softmax", (256, 1 << 18)), CUDA).kernels)) == golden


@pytest.mark.parametrize(
    ("row", "dtype", "whole"),
    [
        (1 << 18, dt.float32, True),
        ((1 << 18) + 8, dt.float32, False),
        (1 << 19, dt.bfloat16, True),
        ((1 << 19) + 16, dt.bfloat16, False),
        (1 << 17, dt.float64, True),
        ((1 << 17) + 8, dt.float64, False),
    ],
)
def test_longer_rows_are_in_pieces(row: int, dtype: dt.DType, whole: bool) -> None:
    plan = make_plan(graph_of("softmax", (64, row), dtype), CUDA)
    assert (shapes(plan) == ["row"]) is whole


@pytest.mark.parametrize("arch", ["sm_80", "sm_86", "sm_120"])
def test_without_clusters_long_rows_are_in_pieces(arch: str) -> None:
    assert not target_for("cuda", arch).cluster_bytes
    assert len(shapes(make_plan(graph_of("softmax", (64, 1 << 17)), target_for("cuda", arch)))) == 3


def test_sums_that_nothing_of_the_row_takes_are_split_as_ever() -> None:
    """They round the same on all GPUs, and more blocks than those of a few clusters read them."""
    (x,) = inputs((9, 1 << 17))
    with made_from(None):
        total = ops.sum(x, axes=(1,), keepdims=True)
        found = [Graph((x,), (y,)) for y in (total, ops.exp(total), total / ops.sum(x * x, axes=(1,), keepdims=True))]
    for graph in found:
        plans = [make_plan(graph, target_for("cuda", arch)) for arch in ("sm_80", "sm_90")]
        assert len({tuple(map(str, p.kernels)) for p in plans}) == 1
        assert len(shapes(plans[0])) > 1


def test_a_gradient_alone_is_one_kernel() -> None:
    """The product's sum returns to the row that it is of."""
    y, g = inputs((9, 1 << 17), (9, 1 << 17))
    with made_from(None):
        slope = y * (g - ops.sum(g * y, axes=(1,), keepdims=True))
    assert shapes(make_plan(Graph((y, g), (slope,)), CUDA)) == ["row"]
    assert len(shapes(make_plan(Graph((y, g), (slope,)), target_for("cuda", "sm_80")))) > 1


def test_a_few_rows_are_spread_over_the_machine() -> None:
    """Nothing is fused with the reductions of so few: all blocks read them in parts."""
    for shape in ((1 << 17,), (1, 1 << 17), (3, 1 << 17)):
        (x,) = inputs(shape)
        with made_from(None):
            graph = Graph((x,), (x / ops.sum(x, axes=(len(shape) - 1,), keepdims=True),))
        assert shapes(make_plan(graph, CUDA)) == shapes(make_plan(graph, target_for("cuda", "sm_80")))


def test_16_bit_rows_that_a_block_holds_are_one_blocks() -> None:
    """As they are in memory there is room for them; with few of them a cluster takes each."""
    for rows, kept in ((128, 0), (127, 1)):
        (kernel,) = make_plan(graph_of("softmax", (rows, 50304), dt.bfloat16), CUDA).kernels
        assert str(kernel).count("scratch") == kept
