"""Gradients of what strided convolutions read are put together of convolutions that have no stride."""

from __future__ import annotations

import numpy as np
import pytest

from tests.plan.test_planner import inputs
from tracec import ops
from tracec.build import build, load
from tracec.ir import dtype as dt
from tracec.ir.graph import Graph
from tracec.ops.conv import conv_shape
from tracec.plan import TARGETS, make_plan
from tracec.plan.phases import without_strides

Shape = tuple[int, ...]


def gradient(
    x: Shape, w: Shape, stride: Shape, padding: tuple[tuple[int, int], ...], dilation: Shape, groups: int = 1
) -> Graph:
    params = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    g, weight = inputs(conv_shape(x, w, stride, padding, dilation, groups), w, dtype=dt.float32)
    return Graph((g, weight), (ops.conv_input_grad(g, weight, shape=x, **params),))


def phases(graph: Graph) -> list[Shape]:
    """The kernels' sizes of the products without a stride that a gradient is made of; none where it is left alone."""
    written = graph.map(without_strides)
    assert written.map(without_strides) is written
    found = [n for n in written.nodes if n.op.name == "conv_input_grad"]
    assert written is graph or all(set(n.param("stride")) == {1} for n in found)
    return [] if written is graph else [n.inputs[1].shape[2:] for n in found]


def same(n: int, low: int, high: int | None = None) -> tuple[tuple[int, int], ...]:
    return ((low, low if high is None else high),) * n


CASES = [
    (gradient((2, 3, 9), (4, 3, 3), (2,), same(1, 1), (1,)), [(2,), (1,)]),
    (gradient((2, 3, 8, 8), (4, 3, 3, 3), (2, 2), same(2, 1), (1, 1)), [(1, 1), (1, 2), (2, 1), (2, 2)]),
    (gradient((2, 5, 7, 6), (3, 5, 1, 1), (2, 2), same(2, 0), (1, 1)), [(1, 1)]),
    (gradient((1, 1, 17, 15), (2, 1, 2, 5), (3, 2), same(2, 0), (1, 1)), None),
    (gradient((3, 2, 17, 16), (1, 2, 7, 3), (2, 1), same(2, 3, 0), (1, 2)), None),
    (gradient((1, 2, 19, 31), (7, 2, 4, 2), (4, 3), same(2, 0, 2), (1, 1)), None),
    (gradient((2, 3, 13, 13), (5, 3, 2, 2), (5, 5), same(2, 1), (1, 1)), []),  # 25 phases
    (gradient((2, 4, 9, 9), (6, 2, 3, 3), (2, 2), same(2, 1), (1, 1), 2), [(2, 2), (2, 1), (1, 2), (1, 1)]),
    (gradient((2, 4, 9, 9), (4, 1, 3, 3), (2, 2), same(2, 1), (1, 1), 4), []),  # one channel a group
    (gradient((2, 3, 9, 9), (4, 3, 3, 3), (2, 2), same(2, 1), (2, 1)), []),  # a stride and a dilation of one axis
    (gradient((2, 3, 9, 9), (4, 3, 3, 3), (1, 1), same(2, 1), (1, 1)), []),
    (gradient((1, 3, 5, 4, 6), (2, 3, 3, 1, 2), (2, 2, 2), ((1, 0), (0, 0), (1, 2)), (1, 1, 1)), None),
    (gradient((2, 2, 4, 4), (3, 2, 1, 1), (3, 3), same(2, 5), (1, 1)), None),  # windows that hold nothing but zeros
    (gradient((1, 2, 16, 16), (3, 2, 3, 3), (4, 4), same(2, 0), (1, 1)), None),  # elements that no window holds
    (gradient((1, 2, 2, 3), (3, 2, 5, 5), (2, 2), same(2, 4), (1, 1)), None),
    (gradient((0, 2, 8, 8), (3, 2, 3, 3), (2, 2), same(2, 1), (1, 1)), []),
]


@pytest.mark.parametrize(("graph", "kernels"), CASES)
def test_values_and_sizes_of_phases(graph: Graph, kernels: list[Shape] | None) -> None:
    found = phases(graph)
    if kernels is not None:
        assert sorted(found) == sorted(kernels)
    else:
        assert found
    rng = np.random.default_rng(0)
    given = [rng.standard_normal(i.shape).astype(np.float32) for i in graph.inputs]
    node = graph.outputs[0]
    expected = node.op.eager(np, *(a.astype(np.float64) for a in given), **dict(node.params))
    (computed,) = load(build(graph, "cpu", "sm_90", {}, frozenset()))(given)
    np.testing.assert_allclose(computed, expected, rtol=1e-5, atol=1e-5)


def test_phases_multiply_what_is_not_zero() -> None:
    graph = gradient((4, 16, 32, 32), (24, 16, 3, 3), (2, 2), same(2, 1), (1, 1))
    written = graph.map(without_strides)
    taps = sum(int(np.prod(n.shape)) * int(np.prod(n.inputs[1].shape[2:]))
               for n in written.nodes if n.op.name == "conv_input_grad")  # fmt: skip
    assert taps == 4 * 16 * 32 * 32 * 9 // 4
    kinds = [k.contraction is not None for k in make_plan(graph, TARGETS["cpu"]).kernels]
    assert kinds.count(True) == 4
    whole = make_plan(graph, TARGETS["cuda"]).kernels  # which keeps it one kernel
    assert [k.contraction is not None for k in whole] == [True]
