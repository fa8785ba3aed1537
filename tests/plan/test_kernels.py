"""The loops that groups of nodes become, as text."""

from __future__ import annotations

import pytest

from tests.plan.test_planner import inputs, layer_norm, softmax
from tracec import ops
from tracec.ir import dtype as dt
from tracec.ir.graph import Graph
from tracec.ir.node import input_node
from tracec.ir.types import TensorType
from tracec.plan import TARGETS, make_plan


def text(graph: Graph, target: str = "cpu", donate: dict[int, int] | None = None) -> str:
    plan = make_plan(graph, TARGETS[target], donate)
    return "\n\n".join(map(str, plan.kernels))


def test_broadcast_operands_keep_their_own_loops(golden: str) -> None:
    x, y = inputs((5, 7), (7,), dtype=dt.float32)
    assert text(Graph((x, y), (ops.sin(x) + y,))) == golden


def test_contiguous_loops_become_one(golden: str) -> None:
    x, y = inputs((5, 7, 3), (5, 7, 3), dtype=dt.float32)
    assert text(Graph((x, y), (x * y,))) == golden


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_softmax(golden: str, target: str) -> None:
    (x,) = inputs((64, 100), dtype=dt.float32)
    assert text(Graph((x,), (softmax(x),)), target) == golden


def test_layer_norm(golden: str) -> None:
    (x,) = inputs((4, 16, 64), dtype=dt.float32)
    assert text(Graph((x,), (layer_norm(x),))) == golden


def test_half_precision_computes_in_float32(golden: str) -> None:
    (x,) = inputs((33,), dtype=dt.float16)
    assert text(Graph((x,), (ops.exp(x) + 1.0,))) == golden


def test_pooling(golden: str) -> None:
    (x,) = inputs((2, 3, 8, 6), dtype=dt.float32)
    padded = ops.pad(x, low=(0, 0, 1, 1), high=(0, 0, 1, 1), value=float("-inf"))
    w = ops.windows(padded, size=(3, 3), stride=(2, 2), dilation=(1, 1))
    assert text(Graph((x,), (ops.max(w, axes=(4, 5), keepdims=False),))) == golden


def test_convolution_with_an_epilogue(golden: str) -> None:
    x, w, b = inputs((2, 3, 8, 8), (4, 3, 3, 3), (4,), dtype=dt.float32)
    y = ops.conv(x, w, stride=(1, 1), padding=((1, 1), (1, 1)), dilation=(1, 1), groups=1)
    y = ops.maximum(y + ops.reshape(b, shape=(4, 1, 1)), 0.0)
    assert text(Graph((x, w, b), (y,)), "cuda") == golden


def test_scatter_add_walks_positions_in_order(golden: str) -> None:
    x, v = inputs((10, 4), (6, 4), dtype=dt.float32)
    at = input_node(TensorType(dt.int64, (6,)))
    assert text(Graph((x, v, at), (ops.index_put(x, v, at, axes=(0,), add=True),))) == golden


def test_an_update_in_place_of_many_parameters(golden: str) -> None:
    p, q, g, h = inputs((3, 4), (7,), (3, 4), (7,), dtype=dt.float32)
    graph = Graph((p, q, g, h), (p - 0.1 * g, q - 0.1 * h))
    assert str(make_plan(graph, TARGETS["cpu"], {0: 0, 1: 1})) + "\n" + text(graph, donate={0: 0, 1: 1}) == golden
