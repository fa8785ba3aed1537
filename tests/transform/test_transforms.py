"""Reverse mode, forward mode and batching against finite differences, each other and loops."""

from __future__ import annotations

import numpy as np
import pytest

from tracec import ops
from tracec.errors import GradientError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.evaluate import evaluate
from tracec.ir.graph import Graph
from tracec.ir.node import Node, input_node
from tracec.ir.operator import not_differentiable
from tracec.ir.types import TensorType
from tracec.transform import gradients, jvp, vjp, vmap

F64 = dt.float64


def inputs_of(*shapes, dtype=F64):
    return [input_node(TensorType(dtype, s), f"x{i}") for i, s in enumerate(shapes)]


def random_graph(seed: int, size: int = 25) -> Graph:
    """A smooth graph over matrices, with values shared between users."""
    rng = np.random.default_rng(seed)
    inputs = inputs_of((3, 4), (4, 3), (4,))
    square = [ops.dot(inputs[0], inputs[1])]
    rect = [inputs[0], ops.mul(inputs[0], inputs[2])]

    def pick(pool):
        return pool[int(rng.integers(len(pool)))]

    for _ in range(size):
        kind = int(rng.integers(8))
        pool = rect if rng.integers(2) else square
        a, b = pick(pool), pick(pool)
        if kind == 0:
            pool.append(ops.add(a, ops.sin(b)))
        elif kind == 1:
            pool.append(ops.mul(ops.tanh(a), b))
        elif kind == 2:
            pool.append(ops.sigmoid(a))
        elif kind == 3:
            total = ops.sum(a, axes=(1,), keepdims=True)
            pool.append(ops.mul(a, ops.tanh(total)))
        elif kind == 4:
            rect.append(ops.dot(pick(square), ops.tanh(pick(rect))))
        elif kind == 5:
            square.append(ops.tanh(ops.transpose(pick(square), perm=(1, 0))))
        elif kind == 6:
            pool.append(ops.flip(ops.exp(ops.mul(ops.tanh(a), 0.5)), axes=(0,)))
        else:
            pool.append(ops.div(a, ops.add(ops.mul(b, b), 1.5)))
    return Graph(tuple(inputs), (rect[-1], ops.sum(square[-1], axes=(0, 1))))


def arrays_for(nodes, seed=0):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.uniform(-1, 1, n.shape), n.dtype.numpy) for n in nodes]


def finite_differences(graph: Graph, values, seeds, position, h=1e-6):
    def loss(x):
        given = [x if i == position else v for i, v in enumerate(values)]
        return sum(float((o * s).sum()) for o, s in zip(evaluate(graph, given), seeds, strict=True))

    x = values[position]
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        grad[i] = (loss(up) - loss(down)) / (2 * h)
    return grad


@pytest.mark.parametrize("seed", range(6))
def test_vjp_agrees_with_finite_differences(seed):
    graph = random_graph(seed)
    values, seeds = arrays_for(graph.inputs, seed), arrays_for(graph.outputs, seed + 1)
    results = evaluate(vjp(graph), [*values, *seeds])
    for position, grad in enumerate(results[len(graph.outputs) :]):
        np.testing.assert_allclose(grad, finite_differences(graph, values, seeds, position), rtol=1e-5, atol=1e-6)


def test_vjp_of_vjp_agrees_with_finite_differences():
    graph = random_graph(3, size=10)
    first = vjp(graph, wrt=[0])
    values, seeds = arrays_for(first.inputs, 5), arrays_for(first.outputs, 6)
    results = evaluate(vjp(first), [*values, *seeds])
    for position, grad in enumerate(results[len(first.outputs) :]):
        np.testing.assert_allclose(grad, finite_differences(first, values, seeds, position), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_jvp_is_the_transpose_of_vjp(seed):
    graph = random_graph(seed)
    values = arrays_for(graph.inputs, seed)
    moves, seeds = arrays_for(graph.inputs, seed + 1), arrays_for(graph.outputs, seed + 2)
    moved = evaluate(jvp(graph), [*values, *moves])[len(graph.outputs) :]
    grads = evaluate(vjp(graph), [*values, *seeds])[len(graph.outputs) :]
    forward = sum(float((m * s).sum()) for m, s in zip(moved, seeds, strict=True))
    backward = sum(float((m * g).sum()) for m, g in zip(moves, grads, strict=True))
    assert forward == pytest.approx(backward, rel=1e-9)


def test_jvp_is_derived_from_vjp_where_an_operator_has_none():
    graph = random_graph(1)
    values = arrays_for((*graph.inputs, *graph.inputs))
    expected = evaluate(jvp(graph), values)
    originals = {n.op: n.op.jvp for n in graph.nodes}
    try:
        for op in originals:
            object.__setattr__(op, "jvp", None)
        derived = evaluate(jvp(graph), values)
    finally:
        for op, rule in originals.items():
            object.__setattr__(op, "jvp", rule)
    for a, b in zip(expected, derived, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_vmap_agrees_with_a_loop():
    graph = random_graph(2)
    rng = np.random.default_rng(0)
    values = [rng.uniform(-1, 1, (5, *n.shape)) for n in graph.inputs]
    values[1] = values[1][0]
    results = evaluate(vmap(graph, (True, False, True), 5), values)
    for i in range(5):
        one = evaluate(graph, [values[0][i], values[1], values[2][i]])
        for many, single in zip(results, one, strict=True):
            np.testing.assert_allclose(many[i], single, rtol=1e-12)


def test_vmap_repeats_outputs_that_do_not_depend_on_the_batch():
    x, y = inputs_of((3,), (2,))
    (doubled, same) = evaluate(vmap(Graph((x, y), (ops.add(x, x), y)), (True, False), 4), [np.ones((4, 3)), np.ones(2)])
    assert doubled.shape == (4, 3) and same.shape == (4, 2)


def test_a_graph_of_fifty_thousand_nodes_needs_no_recursion():
    (x,) = inputs_of((2,))
    y: Node = x
    for _ in range(50_000):
        y = ops.add(y, x)
    graph = vjp(Graph((x,), (y,)))
    result = evaluate(graph, [np.ones(2), np.ones(2)])
    np.testing.assert_allclose(result[1], np.full(2, 50_001.0))


def test_gradients_with_respect_to_values_between():
    (x,) = inputs_of((3,))
    y = ops.sin(x)
    z = ops.mul(y, y)
    (ct,) = inputs_of((3,))
    at_y, at_x, at_z = gradients([z], [ct], [y, x, z])
    values = np.array([0.1, 0.2, 0.3])
    found = evaluate(Graph((x, ct), (at_y, at_x, at_z)), [values, np.ones(3)])
    np.testing.assert_allclose(found[0], 2 * np.sin(values))
    np.testing.assert_allclose(found[1], 2 * np.sin(values) * np.cos(values))
    np.testing.assert_allclose(found[2], np.ones(3))


def test_a_gradient_is_none_or_zeros_where_nothing_depends_on_the_input():
    x, y = inputs_of((3,), (2,))
    out = ops.sin(x)
    assert gradients([out], [x], [y]) == [None]
    assert gradients([out], [None], [x]) == [None]
    *_, grad = evaluate(vjp(Graph((x, y), (out,))), [np.ones(3), np.ones(2), np.ones(3)])
    np.testing.assert_array_equal(grad, np.zeros(2))


def test_integer_values_stop_the_flow():
    (x,) = inputs_of((3,))
    steps = ops.cast(ops.cast(x, dtype=dt.int64), dtype=F64)
    (grad,) = gradients([ops.mul(steps, x)], [x], [x])
    found = evaluate(Graph((x,), (grad,)), [np.array([1.5, 2.5, 3.5])])[0]
    np.testing.assert_allclose(found, [1.5, 5.0, 10.5])


def test_a_cotangent_of_another_type_is_refused():
    x, ct = inputs_of((3,), (2,))
    with pytest.raises(ShapeError, match=r"cotangent of type f64\[2\] for an output of type f64\[3\]"):
        gradients([ops.sin(x)], [ct], [x])


def test_only_floating_inputs_can_be_named():
    (x,) = inputs_of((3,), dtype=dt.int32)
    with pytest.raises(GradientError, match=r"input 0 of type i32\[3\] has no derivative"):
        vjp(Graph((x,), (ops.cast(x, dtype=F64),)), wrt=[0])


def test_an_operator_without_a_rule_is_named_with_the_reason():
    (x,) = inputs_of((3,))
    rule = ops.sin.vjp
    object.__setattr__(ops.sin, "vjp", not_differentiable("it is only a test"))
    try:
        y = ops.sin(x)
        with pytest.raises(GradientError, match="sin: has no derivative: it is only a test") as caught:
            gradients([y], [x], [x])
    finally:
        object.__setattr__(ops.sin, "vjp", rule)
    assert "sin(f64[3]) -> f64[3]    at test_transforms.py:" in str(caught.value)
    assert "hint: detach() its operand" in str(caught.value)


def test_provenance_is_carried_on():
    (x,) = inputs_of((3,))
    y = ops.sin(x)
    (grad,) = gradients([y], [x], [x])
    assert grad.source == y.source
    assert grad.origin == "vjp of sin"
