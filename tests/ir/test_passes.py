"""Passes, pipelines and running graphs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tracec import ops
from tracec.errors import ArgumentError, VerifyError
from tracec.ir import Graph, Node, Pass, Pipeline, TensorType, evaluate, input_node, parse_graph
from tracec.ir import dtype as dt

TEXT = """
graph(%0: f32[4]) {
  %1 = sin(%0)  # model.py:12
  %2 = sin(%0)
  %3 = add(%1, %2)
  return %3
}"""


def halve(graph: Graph) -> Graph:
    """Merge the two sines.

    More to say.
    """
    first = graph.nodes[0]
    return graph.map(lambda n: first if n.op is ops.sin else n)


def nothing(graph: Graph) -> Graph:
    """Change nothing."""
    return graph


def spoil(graph: Graph) -> Graph:
    """Give the last node a wrong type."""
    last = graph.outputs[0]
    return graph.with_outputs((replace(last, type=TensorType(dt.float32, (5,))),))


PIPELINE = Pipeline(nothing, halve, Pass("again", halve))


def test_dumps(golden: str) -> None:
    result = PIPELINE.run(parse_graph(TEXT))
    assert [name for name, _ in result.dumps] == ["nothing", "halve", "again"]
    text = "\n".join(text for _, text in result.dumps)
    assert re.sub(r"[\d.]+ ms", "0.1 ms", text) == golden
    assert result.graph is result.records[-1].after
    assert result.records[0].after is result.records[0].before


def test_passes_can_be_turned_off() -> None:
    result = PIPELINE.run(parse_graph(TEXT), disabled={"halve", "again"})
    assert [r.name for r in result.records] == ["nothing"]
    with pytest.raises(ArgumentError) as error:
        PIPELINE.run(parse_graph(TEXT), disabled={"quarter"})
    assert error.value.message == "disabled passes: there is no pass 'quarter'"
    assert error.value.hint == "the passes are nothing, halve, again"


def test_a_pass_tells_what_it_does() -> None:
    assert [p.doc for p in PIPELINE] == ["Change nothing.", "Merge the two sines.", "Merge the two sines."]
    assert repr(PIPELINE) == "Pipeline(nothing, halve, again)"


def test_the_pass_that_breaks_the_graph_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEC_VERIFY", "0")
    Pipeline(nothing, spoil).run(parse_graph(TEXT))
    monkeypatch.setenv("TRACEC_VERIFY", "1")
    with pytest.raises(VerifyError, match=r"^after pass spoil: %3 = add has type f32\[5\]"):
        Pipeline(nothing, spoil, halve).run(parse_graph(TEXT))
    with pytest.raises(VerifyError, match=r"^after recording: "):
        Pipeline(nothing).run(spoil(parse_graph(TEXT)))


def test_evaluate() -> None:
    x = np.linspace(0, 1, 4, dtype=np.float32)
    graph = parse_graph(TEXT)
    (y,) = evaluate(graph, [x])
    np.testing.assert_allclose(y, 2 * np.sin(x), rtol=1e-6)
    assert y.dtype == np.float32
    with pytest.raises(ArgumentError, match="takes 1 inputs, 2 given"):
        evaluate(graph, [x, x])


def test_evaluate_keeps_arrays_and_dtypes() -> None:
    x = input_node(TensorType(dt.float16, ()))
    graph = Graph((x,), (x * 0.1, x, ops.isnan(x)))
    results = evaluate(graph, [np.asarray(2, np.float16)])
    assert [type(r) for r in results] == [np.ndarray] * 3
    assert [str(r.dtype) for r in results] == ["float16", "float16", "bool"]


def test_evaluate_over_something_else() -> None:
    def apply(op: Any, operands: Any, params: Any, node: Node) -> str:
        return f"{op.name}({', '.join([*operands, *(f'{k}={v}' for k, v in params.items())])})"

    x = input_node(TensorType(dt.float32, (4,)))
    graph = Graph((x,), (ops.sin(x) * 2.0, x))
    assert evaluate(graph, ["x"], apply) == ["mul(sin(x), constant(value=2.0))", "x"]


def test_evaluate_drops_values_after_their_last_use() -> None:
    alive: set[int] = set()
    most = 0

    class Counted:
        def __init__(self) -> None:
            nonlocal most
            alive.add(id(self))
            most = max(most, len(alive))

        def __del__(self) -> None:
            alive.discard(id(self))

    x = input_node(TensorType(dt.float32, (4,)))
    node = x
    for _ in range(2000):
        node = ops.sin(node)
    evaluate(Graph((x,), (node,)), [Counted()], lambda op, operands, params, n: Counted())
    assert most <= 3
