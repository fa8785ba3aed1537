"""What the verifiers refuse, and how they say it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from tests.ir.test_kernel_text import GEMM, SOFTMAX, plan
from tests.strategies import graphs
from tracec import ops
from tracec.errors import VerifyError
from tracec.ir import (
    Graph,
    Kernel,
    Plan,
    Source,
    TensorType,
    constant,
    input_node,
    made_from,
    parse,
    parse_graph,
    verify,
    verify_kernel,
    verify_plan,
)
from tracec.ir import dtype as dt
from tracec.ir.plan import Launch, Memory

F4 = TensorType(dt.float32, (4,))


@given(graphs())
def test_built_graphs_are_valid(graph: Graph) -> None:
    verify(graph)


def test_type(golden: str) -> None:
    graph = parse_graph("""
        graph(%0: f32[4]) {
          %1: f32[4] = sin(%0)        # model.py:1
          %2: f32[4] = cos(%1)        # model.py:2
          %3: f32[4] = sin(%2)        # model.py:3
          %4: f32[5] = exp(%3)        # model.py:4 (rule wrong)
          %5: f32[5] = neg(%4)        # model.py:5
          %6: f32[5] = neg(%5)        # model.py:6
          %7: f32[5] = neg(%6)        # model.py:7
          return %7
        }""")
    with pytest.raises(VerifyError) as error:
        verify(graph)
    assert str(error.value) == golden


def graph_failures() -> dict[str, Graph]:
    x, y = input_node(F4), input_node(F4, "y")
    with made_from(Source("model.py", 3)):
        add, sin = ops.add(x, x), ops.sin(x)
    wide = replace(add, inputs=(x, constant(1.0, dt.float64)))
    return {
        "unlisted": Graph((x,), (replace(add, inputs=(sin, y)),)),
        "unlisted output": Graph((x,), (y,)),
        "duplicate": Graph((x, y, x), (add,)),
        "not an input": Graph((sin,), (add,)),
        "arity": Graph((x,), (replace(add, inputs=(x,)),)),
        "parameters": Graph((x,), (replace(sin, params=(("axis", 1),)),)),
        "refused": Graph((x,), (wide,)),
        "constant": Graph((x,), (replace(add, inputs=(x, replace(constant(1, dt.float32), params=(("value", 1),)))),)),
        "operator": Graph((x,), (replace(sin, op=replace(sin.op, name="sinus")),)),
    }


def test_graph_messages(golden: str) -> None:
    messages = []
    for name, graph in graph_failures().items():
        with pytest.raises(VerifyError) as error:
            verify(graph)
        messages.append(f"{name}\n{error.value}\n")
    assert "\n".join(messages) == golden


KERNEL_FAILURES = {
    "index": ("update m <- x[128*i + r]", "update m <- x[128*i + r + 1]"),
    "negative index": ("store y[128*i + r]", "store y[128*i - r]"),
    "accumulator": ("update m <- x", "update e <- x"),
    "update dtype": ("update s <- e", "update s <- cast(e, f64)"),
    "let twice": ("store row[r] = e", "let m: f32 = e"),
    "read only": ("store y[128*i + r] =", "store x[128*i + r] ="),
    "mixed": ("sub(x[128*i + r], m)", "sub(x[128*i + r], r)"),
    "arity": ("sub(x[128*i + r], m)", "sub(x[128*i + r])"),
    "float index": ("store row[r]", "store row[m]"),
    "condition": ("div(row[r], s)", "select(s, s, s)"),
    "loop variable": ("each {\n      store y[128*i + r] = div(row[r], s)", "each {\n      for i in 2 each {\n      }"),
    "loop extent": ("for r in 128 each", "for r in ? each"),
    "contraction": (") row {", ") contraction {"),
}


def test_kernel_messages(golden: str) -> None:
    messages = []
    for name, (text, wrong) in KERNEL_FAILURES.items():
        assert text in SOFTMAX
        kernel = parse(SOFTMAX.replace(text, wrong))
        assert isinstance(kernel, Kernel)
        with pytest.raises(VerifyError) as error:
            verify_kernel(kernel)
        messages.append(f"{name}\n{error.value}\n")
    assert "\n".join(messages) == golden


@pytest.mark.parametrize("around", ["", "for p in 2 reduce {", "for p in 2 parallel { for q in 2 parallel {"])
def test_shared_loops_part_one_parallel_loop(around: str) -> None:
    """Neither none, nor one of another kind, nor two."""
    text = f"kernel k(x: in f32[8], y: out f32[8]) stripe {{ {around} for i in 8 share {{ store y[i] = x[i] }}"
    kernel = parse(text + "}" * (1 + around.count("{")))
    assert isinstance(kernel, Kernel)
    with pytest.raises(VerifyError, match="a share loop parts its iterations among those of one parallel loop"):
        verify_kernel(kernel)


def test_names_out_of_scope() -> None:
    kernel = parse(GEMM)
    assert isinstance(kernel, Kernel)
    with pytest.raises(VerifyError, match="kernel gemm: there is no buffer a"):
        verify_kernel(replace(kernel, buffers=kernel.buffers[1:]))
    loop = kernel.body[0]
    with pytest.raises(VerifyError, match="kernel gemm: m is not in scope"):
        verify_kernel(replace(kernel, body=loop.body))  # type: ignore[union-attr]
    assert kernel.contraction is not None
    with pytest.raises(VerifyError, match="contraction names loop k in m, which is no parallel loop"):
        verify_kernel(replace(kernel, contraction=replace(kernel.contraction, m=("k",))))
    with pytest.raises(VerifyError, match="contraction names accumulator t, which is not declared"):
        verify_kernel(replace(kernel, contraction=replace(kernel.contraction, acc="t")))


def test_guarded_indices_may_leave_the_buffer() -> None:
    text = """kernel k(x: in f32[4], y: out f32[6]) map {
      for i in 6 parallel { store y[i] = select(lt(i, 4), x[i], f32(0.0)) }
    }"""
    kernel, bare = parse(text), parse(text.replace("select(lt(i, 4), x[i], f32(0.0))", "x[i]"))
    assert isinstance(kernel, Kernel)
    assert isinstance(bare, Kernel)
    verify_kernel(kernel)
    with pytest.raises(VerifyError, match="index i runs from 0 to 5, x has 4 elements"):
        verify_kernel(bare)


def moved(offset: int) -> Plan:
    """The plan with its second intermediate value elsewhere in the arena."""
    p = plan()
    return replace(p, values=(*p.values[:3], replace(p.values[3], offset=offset), p.values[4]))


PLAN_FAILURES = {
    "overlap": lambda: moved(2048),
    "outside": lambda: moved(4096 + 64),
    "order": lambda: replace(plan(), steps=plan().steps[1:]),
    "lifetime": lambda: replace(plan(), steps=(*plan().steps, plan().steps[0])),
    "value": lambda: replace(plan(), outputs=(9,)),
    "kernel": lambda: replace(plan(), steps=(Launch(7, ((0, 1, 2),)), *plan().steps[1:])),
    "arguments": lambda: replace(plan(), steps=(Launch(1, ((0, 1),)), *plan().steps[1:])),
    "type": lambda: replace(plan(), steps=(Launch(1, ((0, 1, 4),)), *plan().steps[1:])),
    "unwritten": lambda: replace(plan(), steps=plan().steps[:2]),
    "arena": lambda: replace(plan(), memory=Memory(4096, 0, 0)),
}


def test_plan_messages(golden: str) -> None:
    messages = []
    for name, make in PLAN_FAILURES.items():
        with pytest.raises(VerifyError) as error:
            verify_plan(make())
        messages.append(f"{name}\n{error.value}\n")
    assert "\n".join(messages) == golden


def test_a_value_may_take_over_the_bytes_of_one_that_dies() -> None:
    verify_plan(moved(0))
