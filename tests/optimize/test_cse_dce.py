"""Common subexpressions and dead elements."""

from __future__ import annotations

import numpy as np

from tracec import ops
from tracec.ir import Graph, TensorType, evaluate, input_node, parse_graph, verify
from tracec.ir import dtype as dt
from tracec.optimize import cse, dce


def test_cse_merges_equal_calls(golden: str) -> None:
    graph = parse_graph("""
        graph(%0: f32[4], %1: f32[4]) {
          %2 = sin(%0)                                 # a.py:1
          %3 = sin(%0)                                 # a.py:2
          %4 = add(%2, %1)                             # a.py:3
          %5 = add(%1, %3)                             # a.py:4
          %6 = sub(%2, %1)                             # a.py:5
          %7 = sub(%1, %3)                             # a.py:6
          %8 = sum(%4, axes=(0,), keepdims=True)       # a.py:7
          %9 = sum(%5, axes=(0,), keepdims=False)      # a.py:8
          return %4, %5, %6, %7, %8, %9
        }""")
    once = cse(graph)
    assert str(once) == golden
    assert cse(once) is once


def test_cse_tells_constants_apart_by_their_bits() -> None:
    graph = parse_graph("""
        graph(%0: f32[4]) {
          %1 = add(%0, f32(0.0))
          %2 = add(%0, f32(-0.0))
          %3 = add(%0, f32(nan))
          %4 = add(%0, f32(nan))
          %5 = add(%0, f32(0.0))
          return %1, %2, %3, %4, %5
        }""")
    a, b, c, d, e = cse(graph).outputs
    assert a is e
    assert c is d
    assert len({a, b, c}) == 3


def test_cse_names_a_merged_node_as_the_user_did() -> None:
    graph = parse_graph("""
        graph(%0: f32[4]) {
          %1 = sin(%0)    # a.py:1 (vjp of cos)
          %2 = sin(%0)    # a.py:2
          %3 = sin(%0)    # a.py:3
          %4 = mul(%1, %2)
          return %4, %3
        }""")
    (sin, _) = cse(graph).nodes
    assert (str(sin.source), sin.origin) == ("a.py:2", "")


def test_cse_leaves_recomputed_values_apart() -> None:
    graph = parse_graph("""
        graph(%0: f32[4]) {
          %1 = sin(%0)    # a.py:1
          %2 = sin(%0)    # a.py:1 (remat)
          %3 = sin(%0)    # a.py:1 (remat)
          return %1, %2, %3
        }""")
    kept, copy, again = cse(graph).outputs
    assert kept is not copy
    assert copy is again


def test_dead_nodes_are_not_in_a_graph_at_all() -> None:
    x = input_node(TensorType(dt.float32, (4,)))
    ops.sin(x)
    assert len(Graph((x,), (ops.cos(x),)).nodes) == 1


def test_dce_drops_what_a_slice_passes_by(golden: str) -> None:
    graph = parse_graph("""
        graph(%0: f32[2,4], %1: f32[2,4], %2: f32[2,4]) {
          %3 = sin(%0)                                                                # a.py:1
          %4 = concatenate(%3, %1, %2, axis=0)                                        # a.py:2
          %5 = slice(%4, starts=(2, 0), stops=(4, 4), steps=(1, 1))                   # a.py:3
          %6 = pad(%5, low=(1, 1), high=(1, 1), value=0.0)                            # a.py:4
          %7 = slice(%6, starts=(1, 2), stops=(3, 4), steps=(1, 1))                   # a.py:5
          return %7
        }""")
    once = dce(graph)
    assert str(once) == golden
    assert dce(once) is once


UNREAD = """
    graph(%0: f32[2], %1: f32[3,2], %2: f32[3,2], %3: f32[2]) {
      %4: f32[20] = scan(%0, %1, %2, %3, body=graph(%0: f32[2], %1: f32[2], %2: f32[2], %3: f32[2]) {
          %4: f32[2] = mul(%0, %1)
          %5: f32[2] = sin(%2)
          %6: f32[2] = add(%4, %3)
          return %4, %5, %6, %0
        }, carries=1, scanned=2, length=3, reverse=False, kept=1)
      %5: f32[6] = slice(%4, starts=(8,), stops=(14,), steps=(1,))
      %6: f32[12] = scan(%0, %1, %5, body=graph(%0: f32[2], %1: f32[2], %2: f32[6]) {
          %3: f32[2] = mul(%0, %1)
          %4: f32[3,2] = reshape(%2, shape=(3, 2))
          %5: f32[2] = sum(%4, axes=(0,), keepdims=False)
          return %3, %5, %0
        }, carries=1, scanned=1, length=3, reverse=False, kept=0)
      %7: f32[2] = slice(%6, starts=(0,), stops=(2,), steps=(1,))
      %8: f32[3] = slice(%6, starts=(9,), stops=(12,), steps=(1,))
      %9: f32[6] = slice(%4, starts=(14,), stops=(20,), steps=(1,))
      return %7, %8, %9
    }""".replace("f32[12] = scan", "f32[14] = scan")


def test_what_loops_stack_and_nothing_reads_is_dropped(golden):
    graph = parse_graph(UNREAD)
    verify(graph)
    after = dce(graph)
    verify(after)
    assert str(after) == golden and dce(after) is after
    rng = np.random.default_rng(0)
    given = [rng.standard_normal(i.shape).astype(np.float32) for i in graph.inputs]
    for found, expected in zip(evaluate(after, given), evaluate(graph, given), strict=True):
        np.testing.assert_array_equal(found, expected)
