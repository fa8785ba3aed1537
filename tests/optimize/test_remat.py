"""Which forward values the backward part keeps."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given

from tests.optimize.test_values import assert_same_values
from tests.strategies import graphs
from tracec import ops
from tracec.ir import Graph, Node, TensorType, input_node, made_from, parse_graph, verify
from tracec.ir import dtype as dt
from tracec.optimize import PIPELINE, cse, remat

# relu(x @ w + b) ** 2, summed, and its gradient for x.
LAYER = """
graph(%0: f32[64,64], %1: f32[64,64], %2: f32[64]) {
  %3 = dot(%0, %1)                                # model.py:1
  %4 = add(%3, %2)                                # model.py:2
  %5 = maximum(%4, f32(0.0))                      # model.py:3
  %6 = mul(%5, %5)                                # model.py:4
  %7 = sum(%6, axes=(0, 1), keepdims=False)       # model.py:5
  %8 = mul(%5, f32(2.0))                          # model.py:4 (vjp of mul)
  %9 = gt(%4, f32(0.0))                           # model.py:3 (vjp of maximum)
  %10 = where(%9, %8, f32(0.0))                   # model.py:3 (vjp of maximum)
  %11 = transpose(%1, perm=(1, 0))                # model.py:1 (vjp of dot)
  %12 = dot(%10, %11)                             # model.py:1 (vjp of dot)
  return %7, %12
}"""


def kept(graph: Graph) -> set[Node]:
    """Forward values that the backward part reads, inputs left out."""
    made = set(graph.inputs)
    backward: list[Node] = []
    for n in graph.nodes:
        if n.origin.startswith(("vjp", "remat")) or any(i in backward for i in n.inputs):
            backward.append(n)
    later = set(backward)
    return {i for n in backward for i in n.inputs if i not in later and i not in made and i.op.name != "constant"}


def test_layer(golden: str) -> None:
    graph = parse_graph(LAYER)
    assert {n.op.name for n in kept(graph)} == {"add", "maximum"}
    once = remat(graph)
    assert str(once) == golden
    assert len(kept(once)) == 1
    verify(once)
    assert remat(once) is once
    assert_same_values(graph, once)


def test_copies_survive_the_other_passes() -> None:
    once = remat(parse_graph(LAYER))
    again = PIPELINE.run(once).graph
    assert sum(n.origin.startswith("remat") for n in again.nodes) == sum(n.origin == "remat" for n in once.nodes) > 0


def test_a_small_mask_is_kept_rather_than_its_large_source() -> None:
    graph = parse_graph("""
        graph(%0: i64[2], %1: f32[64,64], %2: f32[64,64]) {
          %3 = random_bits(%0, shape=(64, 64))
          %4 = lt(%3, u32(2147483648))
          %5 = where(%4, %1, f32(0.0))
          %6 = sum(%5, axes=(0, 1), keepdims=False)
          %7 = where(%4, %2, f32(0.0))      # (vjp of where)
          return %6, %7
        }""")
    assert remat(graph) is graph


def test_what_is_dear_is_not_computed_again() -> None:
    graph = parse_graph("""
        graph(%0: f32[64,64]) {
          %1 = sum(%0, axes=(1,), keepdims=True)
          %2 = argsort(%0, axis=1, descending=False)
          %3 = cumsum(%0, axis=1, reverse=False)
          %4 = mul(%1, %3)                      # (vjp of sum)
          %5 = add(%2, i64(1))                  # (vjp of argsort)
          return %1, %4, %5
        }""")
    assert remat(graph) is graph


def test_outputs_and_inputs_cost_nothing() -> None:
    graph = parse_graph("""
        graph(%0: f32[64,64]) {
          %1 = sin(%0)
          %2 = mul(%1, f32(3.0))
          %3 = cos(%2)                          # (vjp of sin)
          %4 = mul(%1, %3)                      # (vjp of mul)
          return %2, %4
        }""")
    copies = [n for n in remat(graph).nodes if n.origin == "remat"]
    assert [n.op.name for n in copies] == ["sin"]


def test_without_a_backward_part() -> None:
    x = input_node(TensorType(dt.float32, (64, 64)))
    graph = Graph((x,), (ops.sin(ops.exp(x)),))
    assert remat(graph) is graph


def chain(length: int, size: int = 1024) -> Graph:
    """A long elementwise chain, and a backward part that reads each of its values."""
    x = input_node(TensorType(dt.float32, (size,)))
    values = [x]
    for _ in range(length):
        values.append(ops.mul(values[-1], ops.add(values[-1], 0.5)))
    gradient: Node = x
    for v in reversed(values[1:]):
        with made_from(None, "vjp of mul"):
            gradient = ops.mul(gradient, v)
    return Graph((x,), (values[-1], gradient))


def test_every_so_often_a_value_of_a_long_chain_is_kept() -> None:
    graph = chain(100)
    once = remat(graph)
    assert len(kept(graph)) == 100
    assert 5 < len(kept(once)) < 30
    assert remat(once) is once


@given(graphs(most=25))
def test_values_are_kept(graph: Graph) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Small arrays too, or nothing would ever be computed again.
        for price in ("_NODE_BYTES", "_EASY", "_HARD"):
            patch.setattr(sys.modules[remat.__module__], price, 0)
        graph = cse(graph)
        once = remat(graph)
        verify(once)
        assert remat(once) is once
    assert_same_values(graph, once)


def test_thousands_of_nodes_take_no_long_time() -> None:
    x = input_node(TensorType(dt.float32, (64, 64)))
    value: Node = x
    kept_values = []
    for _ in range(150):
        value = ops.dot(value, x)
        for _ in range(6):
            value = ops.mul(ops.tanh(value), 1.5)
            kept_values.append(value)
    gradient: Node = value
    for v in reversed(kept_values):
        with made_from(None, "vjp of tanh"):
            gradient = ops.mul(gradient, v)
    graph = Graph((x,), (value, gradient))
    assert len(graph.nodes) > 2500
    start = time.perf_counter()
    once = remat(graph)
    assert time.perf_counter() - start < 5
    assert sum(n.type.nbytes for n in kept(once)) < sum(n.type.nbytes for n in kept(graph)) / 2
