"""What prints parses back."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given

from tests.strategies import graphs, kernels
from tracec import ops
from tracec.errors import ParseError, VerifyError
from tracec.ir import (
    Graph,
    Kernel,
    Node,
    Source,
    TensorType,
    constant,
    input_node,
    made_from,
    parse,
    parse_graph,
    verify,
)
from tracec.ir import dtype as dt


@given(graphs())
def test_graph_text_parses_back(graph: Graph) -> None:
    again = parse_graph(str(graph))
    assert str(again) == str(graph)
    assert again.key() == graph.key()
    assert [(str(n.source), n.origin) for n in again.nodes] == [(str(n.source), n.origin) for n in graph.nodes]


@given(kernels())
def test_kernel_text_parses_back(kernel: Kernel) -> None:
    again = parse(str(kernel))
    assert isinstance(again, Kernel)
    assert str(again) == str(kernel)
    # nan is not equal to itself; repr is.
    assert repr(again) == repr(kernel)


def test_graph_text(golden: str) -> None:
    x = input_node(TensorType(dt.float32, (4, 8)), "x")
    with made_from(Source("/home/me/model.py", 12)):
        y = ops.sin(x) * 2.0
    with made_from(Source("/home/me/model.py", 13), "vjp of sum"):
        z = ops.sum(y, axes=(1,), keepdims=False)
    with made_from(Source("/home/me/my model.py", 14), "rule (odd) name"):
        w = ops.cast(ops.where(ops.lt(z, 0.5), z, float("-inf")), dtype=dt.bfloat16)
    graph = Graph((x,), (z, w, constant(True)), "step")
    assert str(graph) == golden
    assert str(parse(str(graph))) == golden


def test_many_inputs_take_a_line_each(golden: str) -> None:
    inputs = tuple(input_node(TensorType(dt.float32, (256, 256)), f"layers.{i}.weight") for i in range(4))
    with made_from(Source("model.py", 1)):
        graph = Graph(inputs, (inputs[0] + inputs[1],))
    assert str(graph) == golden
    assert str(parse(str(graph))) == golden


def test_constants_live_on_the_device_of_their_user() -> None:
    x = input_node(TensorType(dt.float32, (4,), "cuda:0"))
    graph = Graph((x,), (x * 2.0, constant(1.0, x.type)))
    assert "mul(%0, f32(2.0))" in str(graph)
    again = parse_graph(str(graph))
    assert again.nodes[0].inputs[1].device == "cuda:0"
    assert again.outputs[1].device == "cuda:0"


@pytest.mark.parametrize("value", [0.1, -0.0, float("inf"), float("-inf"), float("nan"), 1e-30, 3e38])
def test_float_constants(value: float) -> None:
    x = input_node(TensorType(dt.float32, ()))
    again = parse_graph(str(Graph((x,), (x + value,))))
    assert repr(again.nodes[0].inputs[1].param("value")) == repr(value)


def test_types_and_defaults_may_be_left_out() -> None:
    graph = parse_graph("graph(%0: f32[4]) { %1 = sin(%0)\n return %1 }")
    assert graph.outputs[0].type == TensorType(dt.float32, (4,))


def test_comments_of_other_forms_are_for_readers() -> None:
    graph = parse_graph("# after cse\ngraph(%0: f32[4]) {\n %1 = sin(%0)  # this is the interesting one\n return %1 }")
    assert graph.nodes[0].source is None


def test_depth_is_no_limit() -> None:
    node: Node = input_node(TensorType(dt.float32, (4,)))
    first = node
    for _ in range(3000):
        node = ops.sin(node)
    graph = Graph((first,), (node,))
    assert len(parse_graph(str(graph)).nodes) == 3000


BAD = {
    "empty": "",
    "not a graph": "module {}",
    "operator": "graph(%0: f32[4]) {\n  %1 = sinus(%0)\n  return %1\n}",
    "undefined": "graph(%0: f32[4]) {\n  %1 = sin(%7)\n  return %1\n}",
    "twice": "graph(%0: f32[4]) {\n  %0 = sin(%0)\n  return %0\n}",
    "dtype": "graph(%0: float[4]) {\n  return %0\n}",
    "return": "graph(%0: f32[4]) {\n  %1 = sin(%0)\n}",
    "parameter": "graph(%0: f32[4]) {\n  %1 = sin(%0, axis=1)\n  return %1\n}",
    "shape": "graph(%0: f32[4], %1: f32[3]) {\n  %2 = add(%0, %1)\n  return %2\n}",
    "rest": "graph(%0: f32[4]) {\n  return %0\n} graph",
    "character": "graph(%0: f32[4]) {\n  return $0\n}",
    "scope": "kernel k(x: in f32[4]) map {\n  store x[i] = f32(1.0)\n}",
    "buffer": "kernel k(x: in f32[4]) map {\n  for i in 4 parallel {\n    store y[i] = f32(1.0)\n  }\n}",
    "sum of floats": "kernel k(x: out f32[4]) map {\n  for i in 4 parallel {\n    store x[i] = x[i] + 1\n  }\n}",
    "cast": "kernel k(x: out f32[4]) map {\n  store x[0] = cast(x[1])\n}",
    "let": "kernel k(x: out f32[4]) map {\n  let t: f64 = x[0]\n}",
}


def test_parse_errors(golden: str) -> None:
    messages = []
    for name, text in BAD.items():
        with pytest.raises(ParseError) as error:
            parse(text)
        messages.append(f"{name}\n{error.value}\n")
    assert "\n".join(messages) == golden


LOOP = """
    graph(%0: f32[2], %1: f32[3,2], %2: f32[]) {
      %3: f32[8] = scan(%0, %1, %2, body=graph(%0: f32[2], %1: f32[2], %2: f32[]) {
          %3: f32[2] = mul(%0, %2)         # model.py:3
          %4: f32[2] = add(%3, f32(1.0))   # model.py:4 (rule of thumb)
          return %4, %1
        }, carries=1, scanned=1, length=3, reverse=True, kept=0)    # model.py:7
      %4: f32[8] = sin(%3)
      return %4
    }"""


def test_bodies_parse_back(golden: str) -> None:
    graph = parse_graph(LOOP)
    verify(graph)
    assert str(graph) == golden
    again = parse_graph(str(graph))
    assert str(again) == str(graph) and again.key() == graph.key()
    body = graph.nodes[0].param("body")
    assert body == again.nodes[0].param("body") and hash(body) == hash(again.nodes[0].param("body"))
    assert [str(n.source) for n in body.graph.nodes] == ["model.py:3", "model.py:4"]
    other = parse_graph(LOOP.replace("f32(1.0)", "f32(-1.0)"))
    assert body != other.nodes[0].param("body") and other.key() != graph.key()
    assert pickle.loads(pickle.dumps(body)) == body


def test_bodies_are_verified() -> None:
    with pytest.raises(
        VerifyError, match=r"body of %3 = scan: %3 = mul has type f32\[3\], its type rule gives f32\[2\]"
    ):
        verify(parse_graph(LOOP.replace("%3: f32[2] = mul", "%3: f32[3] = mul")))
    with pytest.raises(ParseError, match=r"scan: carried value 0 is f32\[2\] before a run and f32\[\] after it"):
        parse_graph(LOOP.replace("%3: f32[8] =", "%3 =").replace("return %4, %1\n", "return %2, %1\n"))
