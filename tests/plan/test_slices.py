"""Regions with large intermediate values as loops over slices: the same values in less memory, on each target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

import tracec
from tests.codegen.emulated import needs_compiler
from tracec import nn, ops
from tracec.codegen.c import render
from tracec.ir import dtype as dt
from tracec.ir.evaluate import evaluate
from tracec.ir.extent import is_varying
from tracec.ir.graph import Graph
from tracec.ir.node import Node, input_node, made_from
from tracec.ir.plan import Repeat
from tracec.ir.types import TensorType
from tracec.ir.verify import verify
from tracec.ops.random import random_bits
from tracec.optimize import PIPELINE
from tracec.plan import TARGETS, make_plan, planner, target, with_recomputation
from tracec.plan.prepare import written_out
from tracec.plan.slices import slice_large
from tracec.plan.target import Limits
from tracec.record.recorder import trace
from tracec.runtime.interpreter import run_plan
from tracec.transform.split import split

F = nn.functional
Sizes = tuple[int, int, int, int]
SIZES = (3, 4, 32, 4)
Step = Callable[..., Any]


def tensors(sizes: Sizes, count: int = 4) -> list[Any]:
    return [tracec.randn(*sizes, requires_grad=k < 3) for k in range(count)]


def forward(q: Any, k: Any, v: Any, w: Any) -> Any:
    return F.scaled_dot_product_attention(q, k, v)


def written_by_hand(q: Any, k: Any, v: Any, w: Any) -> Any:
    """Attention as people write it, with a mask made of ones."""
    length = q.shape[-2]
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(tracec.tril(tracec.ones(length, length)) == 0, float("-inf"))
    return scores.softmax(-1) @ v


def causal(q: Any, k: Any, v: Any, w: Any) -> Any:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def with_dropout(q: Any, k: Any, v: Any, w: Any) -> Any:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=0.25)


def of_few_heads(q: Any, k: Any, v: Any, w: Any) -> Any:
    return F.scaled_dot_product_attention(q, k[:, :2], v[:, :2], enable_gqa=True)


def trained(attention: Step) -> Step:
    """Gradients; nothing is between the forward and the backward part."""

    def step(q: Any, k: Any, v: Any, w: Any) -> Any:
        (attention(q, k, v, w) * w).sum().backward()
        return q.grad, k.grad, v.grad

    return step


def in_network(attention: Step) -> Step:
    """Gradients through a layer that joins the heads, and another attention."""

    def step(q: Any, k: Any, v: Any, w: Any) -> Any:
        heads, width = q.shape[1], q.shape[3]
        x = attention(q, k, v, w)
        joined = x.transpose(1, 2).reshape(x.shape[0], x.shape[2], heads * width)
        x = (joined @ tracec.linspace(-1, 1, (heads * width) ** 2).reshape(heads * width, heads * width)).tanh()
        x = x.reshape(x.shape[0], x.shape[1], heads, width).transpose(1, 2)
        (attention(x, k, v, w) * w).sum().backward()
        return q.grad, k.grad, v.grad

    return step


def graph_of(step: Step, sizes: Sizes = SIZES) -> Graph:
    return written_out(PIPELINE.run(trace(step, *tensors(sizes))).graph)


def limits(sizes: Sizes = SIZES) -> Limits:
    """All scores are large; a slice is those of one head."""
    batch, heads, length, _ = sizes
    return Limits(4 * batch * heads * length**2, 4 * length**2)


def arrays_for(graph: Graph) -> list[Any]:
    rng = np.random.default_rng(7)

    def array(node: Node) -> Any:
        values = rng.standard_normal(node.shape) if node.dtype.is_floating_point else rng.integers(0, 99, node.shape)
        return values.astype(node.dtype.numpy)

    return [array(i) for i in graph.inputs]


def largest(graph: Graph) -> int:
    """Elements of the largest value that is computed outside of loops, but for what costs nothing to compute again."""
    return max(n.type.size for n in graph.nodes if n.op.name in ("dot", "exp", "div", "random_bits", "scan"))


STEPS = {
    "forward": forward,
    "by hand": written_by_hand,
    "causal": causal,
    "dropout": with_dropout,
    "few heads": of_few_heads,
    "gradients": trained(causal),
    "gradients by hand": trained(written_by_hand),
    "gradients with dropout": trained(with_dropout),
    "network": in_network(causal),
    "network with dropout": in_network(with_dropout),
}


@pytest.mark.parametrize("name", STEPS)
def test_values_are_the_same(name):
    graph = graph_of(STEPS[name])
    sliced = slice_large(graph, limits())
    loops = sum(n.op.name == "scan" for n in sliced.nodes)
    # The first attention's and the second's; what is in between parts each from its way back.
    assert loops == (3 if name.startswith("network") else 1)
    assert largest(graph) == 3 * 4 * 32 * 32 and largest(sliced) < largest(graph) / 2
    given = arrays_for(graph)
    for want, got in zip(evaluate(graph, given), evaluate(sliced, given), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("large", [4 * 3 * 4 * 32 * 32, 4 * 4 * 32 * 32], ids=["at once", "and again"])
@pytest.mark.parametrize("where", ["cpu", "cuda"])
@pytest.mark.parametrize("name", STEPS)
def test_plans_hold_one_slice(name, where, large):
    small = replace(TARGETS[where], slices=replace(limits(), large=large))
    graph = graph_of(STEPS[name])
    plan, whole = make_plan(graph, small), make_plan(graph, small, disabled=frozenset({"slice"}))
    if where == "cpu":
        assert any(isinstance(s, Repeat) for s in plan.steps)
    assert plan.memory.peak_bytes < whole.memory.peak_bytes / 2
    loops = [n for n in slice_large(graph, small.slices).nodes if n.op.name == "scan"]
    assert [s.runs for s in plan.sliced] == [n.param("length") for n in loops] and not whole.sliced
    assert max(s.nbytes for s in plan.sliced) == largest(graph) * 4
    for s in plan.sliced:
        assert "dot" in s.ops and ", ".join(s.ops[:6]) in str(plan) and f"in {s.runs} slices" in plan.about_slices
    given = arrays_for(graph)
    for want, got in zip(evaluate(graph, given), run_plan(plan, given), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@given(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(2, 40), st.sampled_from([1, 4, 8])), st.booleans())
def test_any_sizes(sizes, backwards):
    graph = graph_of(trained(with_dropout) if backwards else with_dropout, sizes)
    sliced = slice_large(graph, Limits(4 * sizes[2] ** 2, 4 * sizes[2]))
    given = arrays_for(graph)
    for want, got in zip(evaluate(graph, given), evaluate(sliced, given), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def scaled(x: Any, more: Any) -> Any:
    return x * 0.5


def masked(x: Any, more: Any) -> Any:
    return ops.where(ops.ge(more["i"], more["j"]), x, -1.0)


def biased(x: Any, more: Any) -> Any:
    return x + more["keys"]


def biased_by_head(x: Any, more: Any) -> Any:
    return x + more["heads"]


def without_maximum(x: Any, more: Any) -> Any:
    return x - ops.max(x, axes=(3,), keepdims=True)


def shared_by_columns(x: Any, more: Any) -> Any:
    return x / (ops.sum(ops.abs(x), axes=(2,), keepdims=True) + 1.0)


def shared_by_heads(x: Any, more: Any) -> Any:
    return x - ops.sum(x, axes=(1,), keepdims=True)


def turned_twice(x: Any, more: Any) -> Any:
    return ops.transpose(ops.tanh(ops.transpose(x, perm=(0, 1, 3, 2))), perm=(0, 1, 3, 2))


def heads_first(x: Any, more: Any) -> Any:
    return ops.transpose(ops.neg(ops.transpose(x, perm=(1, 0, 2, 3))), perm=(1, 0, 2, 3))


def with_heads_merged(x: Any, more: Any) -> Any:
    b, h, m, n = x.shape
    return ops.reshape(ops.abs(ops.reshape(x, shape=(b * h, m, n))), shape=x.shape)


def drawn(x: Any, more: Any) -> Any:
    return ops.where(ops.lt(ops.random_bits(more["state"], shape=x.shape), ops.full(1 << 31, (), dt.uint32)), x, 0.0)


OPERATIONS = (
    scaled, masked, biased, biased_by_head, without_maximum, shared_by_columns, shared_by_heads, turned_twice,
    heads_first, with_heads_merged, drawn,
)  # fmt: skip


@given(
    st.lists(st.sampled_from(OPERATIONS), max_size=6),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.sampled_from([4, 8, 12]), st.sampled_from([8, 32])),
    st.integers(1, 64),
)
def test_any_region(operations, sizes, wanted):
    """Where a region can be cut, and where not, its values are what they were."""
    b, h, m, n = sizes
    q, k, v = (input_node(TensorType(dt.float64, s)) for s in ((b, h, m, 2), (b, h, 2, n), (b, h, n, 1)))
    keys, heads = input_node(TensorType(dt.float64, (b, 1, 1, n))), input_node(TensorType(dt.float64, (1, h, 1, 1)))
    state = input_node(TensorType(dt.int64, (2,)))
    with made_from(None):
        i, j = ops.iota(shape=(m, 1), axis=0, dtype=dt.int64), ops.iota(shape=(1, n), axis=1, dtype=dt.int64)
        x = ops.dot(q, k)
        for operation in operations:
            x = operation(x, {"i": i, "j": j, "keys": keys, "heads": heads, "state": state})
        graph = Graph((q, k, v, keys, heads, state), (ops.dot(x, v), ops.sum(x, axes=(3,), keepdims=False)))
    sliced = slice_large(graph, Limits(4 * b * h * m * n, 4 * wanted))
    verify(sliced)
    given = arrays_for(graph)
    for want, got in zip(evaluate(graph, given), evaluate(sliced, given), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    event("loop" if any(n.op.name == "scan" for n in sliced.nodes) else "none")


@pytest.fixture
def small(monkeypatch):
    """All scores of `SIZES` are large on each target."""
    for name, of in TARGETS.items():
        monkeypatch.setitem(target.TARGETS, name, replace(of, slices=limits()))


@needs_compiler
@pytest.mark.parametrize("where", ["cpu", "cuda"])
@pytest.mark.parametrize("name", ["by hand", "dropout", "network with dropout"])
def test_programs_give_what_eager_runs_give(small, where, name):
    options = {"target": "cuda", "launcher": "emulator"} if where == "cuda" else {}
    given = tensors(SIZES)
    found = []
    for step in (STEPS[name], tracec.compile(STEPS[name], **options)):
        for _ in range(2):
            for x in given:
                x.grad = None
            tracec.manual_seed(5)
            out = step(*given)
        found.append([x.detach().clone().numpy() for x in (out if isinstance(out, tuple) else (out,))])
    for want, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("attention", [causal, with_dropout])
def test_a_function_that_gradients_go_back_through(small, attention):
    given = tensors(SIZES)
    found = []
    for f in (attention, tracec.compile(attention)):
        for _ in range(2):
            for x in given:
                x.grad = None
            tracec.manual_seed(5)
            out = f(*given)
            (out * out).sum().backward()
        found.append([x.detach().clone().numpy() for x in (out, *(x.grad for x in given[:3]))])
    for want, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_its_forward_part_keeps_no_scores():
    def step(q: Any, k: Any, v: Any, w: Any) -> Any:
        out = with_dropout(q, k, v, w)
        out.backward(w)
        return out, q.grad, k.grad, v.grad

    graph = PIPELINE.run(trace(step, *tensors(SIZES))).graph
    (later,) = (k for k, x in enumerate(graph.inputs) if x not in needed_by(graph.outputs[0]))
    kept = []
    for joint in (graph, with_recomputation(graph, replace(TARGETS["cpu"], slices=limits()))):
        first, _ = split(joint, [0], [range(1, len(graph.outputs))], [[later]])
        kept.append(max(o.type.size for o in first.outputs))
    assert kept == [3 * 4 * 32 * 32, 3 * 4 * 32 * 4]


@needs_compiler
@pytest.mark.parametrize("where", ["cpu", "cuda"])
@pytest.mark.parametrize("attention", [causal, with_dropout])
def test_one_program_for_batches_of_any_size(small, where, attention, monkeypatch):
    sliced = []

    def noted(graph: Graph, limits: Limits) -> Graph:
        found = slice_large(graph, limits)
        if any(is_varying(x.shape) for x in graph.inputs):
            sliced.append(found is not graph)
        return found

    monkeypatch.setattr(planner, "slice_large", noted)
    compiled = tracec.compile(attention, **({"target": "cuda", "launcher": "emulator"} if where == "cuda" else {}))
    for batch in (3, 4, 5, 6, 3):
        given, found = tensors((batch, *SIZES[1:])), []
        for f in (attention, compiled):
            tracec.manual_seed(3)
            found.append(f(*given).detach().numpy())
        np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-5)
    assert sliced == [True, False] * 2  # the forward and the backward part by heads, and the body of each
    assert "(argument, axis): 1 programs" in str(compiled.explain())


def test_what_is_kept_is_computed_again_where_it_is_much():
    graph = graph_of(in_network(causal))
    kept = 2 * 4 * 3 * 4 * 32 * 32  # the weights of two attentions, of which one is whole
    loops = [
        sum(n.op.name == "scan" for n in slice_large(graph, replace(limits(), kept=k)).nodes) for k in (kept, kept + 1)
    ]
    assert loops == [3, 1]


def needed_by(output: Node) -> set[Node]:
    found, waiting = {output}, [output]
    while waiting:
        for i in waiting.pop().inputs:
            if i not in found:
                found.add(i)
                waiting.append(i)
    return found


@pytest.mark.parametrize("step", [with_dropout, in_network(with_dropout)])
def test_words_of_a_counter_are_drawn_at_once_in_slices(step):
    sizes = (2, 2, 64, 4)
    plan = make_plan(graph_of(step, sizes), replace(TARGETS["cpu"], slices=limits(sizes)))
    assert any(isinstance(s, Repeat) for s in plan.steps)
    source = str(render(plan))
    assert "philox_strip(" in source and "= philox(" not in source


def test_a_graph_without_large_values_is_left_alone():
    graph = PIPELINE.run(trace(trained(causal), *tensors(SIZES))).graph
    assert with_recomputation(graph, TARGETS["cpu"]) is graph
    assert slice_large(graph, Limits(1 << 30, 1 << 20)) is graph


def product(x: Any, w: Any) -> Any:
    return (x @ w).exp() @ w.T


def test_what_cannot_be_cut():
    x, w = tracec.randn(64, 4, requires_grad=True), tracec.randn(4, 64, requires_grad=True)

    def gradients(x: Any, w: Any) -> Any:
        product(x, w).sum().backward()
        return x.grad, w.grad

    def returned(x: Any, w: Any) -> Any:
        scores = (x @ w).exp()
        return scores, scores @ w.T

    def rows_and_columns(x: Any, w: Any) -> Any:
        scores = (x @ w).softmax(0).softmax(1)
        return scores @ w.T

    for step, loops in ((product, 1), (gradients, 0), (returned, 0), (rows_and_columns, 0)):
        graph = written_out(PIPELINE.run(trace(step, x, w)).graph)
        sliced = slice_large(graph, Limits(4 * 64 * 64, 4 * 64 * 8))
        assert sum(n.op.name == "scan" for n in sliced.nodes) == loops, step
        assert loops or sliced is graph


def test_results_that_are_not_small_are_not_worth_it():
    """A hidden layer four times as wide as what goes in and comes out."""
    x, w = tracec.randn(64, 16), tracec.randn(16, 64)
    graph = written_out(PIPELINE.run(trace(product, x, w)).graph)
    assert slice_large(graph, Limits(4 * 64 * 64, 4 * 64 * 8)) is graph


def test_bits_of_a_part_are_those_of_the_whole():
    whole = random_bits.eager(np, np.array([3, 9]), shape=(6, 4, 8))
    behind = random_bits.eager(np, np.array([3, 9, 5, 0]), shape=(7,))
    np.testing.assert_array_equal(behind, whole.reshape(-1)[20:27])
    columns = random_bits.eager(np, np.array([3, 9, 2, 6]), shape=(6, 1, 8))  # 6 counters to the next one's
    np.testing.assert_array_equal(columns, whole[:, 1:2])
