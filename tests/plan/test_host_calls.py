"""Operators that no kernel computes run as calls out of the program, on every target, in their place among kernels."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.codegen.emulated import needs_compiler
from tracec import ops
from tracec.build import build, load
from tracec.ir import dtype as dt
from tracec.ir.evaluate import evaluate
from tracec.ir.graph import Graph
from tracec.ir.lower import HostCall
from tracec.ir.node import Node, constant, input_node
from tracec.ir.operator import OPERATORS
from tracec.ir.types import TensorType
from tracec.ir.verify_plan import verify_plan
from tracec.plan import TARGETS, make_plan
from tracec.runtime.interpreter import run_plan

RUNNERS = [
    pytest.param("cpu", "gpu", marks=pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")),
    pytest.param("cuda", "emulator", marks=needs_compiler),
]


def by_eager_rule(graph: Graph, *names: str) -> Graph:
    """The graph with operators of these names as if no kernel could compute them."""

    def rule(node: Node) -> Node:
        return replace(node, op=replace(node.op, lower=HostCall())) if node.op.name in names else node

    return graph.map(rule)


def inputs(*shapes: tuple[int, ...]) -> list[Node]:
    return [input_node(TensorType(dt.float32, s)) for s in shapes]


def between_kernels() -> Graph:
    x, y = inputs((5, 7), (5, 7))
    a = ops.sin(x + y)
    b = ops.sum(ops.exp(a) * y, axes=(1,))
    return by_eager_rule(Graph((x, y), (b, ops.sin(b))), "sin")


def alone() -> Graph:
    (x,) = inputs((3, 4))
    return by_eager_rule(Graph((x,), (ops.sin(x),)), "sin")


def first_and_last() -> Graph:
    (x,) = inputs((6,))
    return by_eager_rule(Graph((x,), (ops.sin(ops.sqrt(ops.exp(ops.sin(x)))), ops.sin(x))), "sin")


def of_views() -> Graph:
    (x,) = inputs((4, 6))
    turned = ops.transpose(ops.slice(x, starts=(0, 1), stops=(4, 6), steps=(1, 2)), perm=(1, 0))
    return by_eager_rule(Graph((x,), (ops.reshape(ops.sin(turned), shape=(12,)) * 2.0,)), "sin")


def reshaped_result() -> Graph:
    (x,) = inputs((4, 6))
    return by_eager_rule(Graph((x,), (ops.reshape(ops.sin(x), shape=(24,)),)), "sin")


def with_numbers() -> Graph:
    (x,) = inputs((4, 6))
    half = ops.expand(constant(0.5, TensorType(dt.float32, ())), shape=(4, 6))
    return by_eager_rule(Graph((x,), (ops.where(ops.lt(x, half), x, half) * 3.0,)), "where", "expand")


def empty() -> Graph:
    (x,) = inputs((0, 6))
    return by_eager_rule(Graph((x,), (ops.sin(x) + 1.0, ops.sum(ops.sin(x), axes=(0,)))), "sin", "sum")


def two_routines() -> Graph:
    x, y = inputs((16, 16), (16, 16))
    return by_eager_rule(Graph((x, y), (ops.dot(ops.sin(ops.dot(x, y)), y),)), "sin")


def over_memory_of_another_shape() -> Graph:
    (x,) = inputs((4, 6))
    # The product may be written over what the first sine gave, which has another shape: its reader needs its own.
    product = ops.reshape(ops.sin(x) * 2.0, shape=(4, 2, 3))
    return by_eager_rule(Graph((x,), (ops.sum(product, axes=(2,)),)), "sin", "sum")


def of_a_reshaped_result() -> Graph:
    (x,) = inputs((4, 6))
    turned = ops.reshape(ops.sin(x), shape=(2, 12))
    return by_eager_rule(Graph((x,), (ops.sum(turned, axes=(1,)),)), "sin", "sum")


def of_a_reshaped_result_that_is_a_result_too() -> Graph:
    (x,) = inputs((4, 6))
    turned = ops.reshape(ops.sin(x), shape=(2, 12))
    return by_eager_rule(Graph((x,), (ops.sum(turned, axes=(1,)), turned, ops.exp(turned))), "sin", "sum")


GRAPHS = [
    between_kernels, alone, first_and_last, of_views, reshaped_result, with_numbers, empty, two_routines,
    over_memory_of_another_shape, of_a_reshaped_result, of_a_reshaped_result_that_is_a_result_too,
]  # fmt: skip


def arrays(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(n.shape).astype(n.dtype.numpy) for n in graph.inputs]


@pytest.mark.parametrize("make", GRAPHS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(("target", "launcher"), RUNNERS)
def test_programs_call_eager_rules(make, target: str, launcher: str) -> None:
    graph = make()
    given = arrays(graph)
    expected = evaluate(graph, given)
    built = build(graph, target, "sm_90", {}, frozenset())
    verify_plan(built.plan)
    assert any(getattr(s, "routine", "") == "eager" for s in built.plan.steps) or not given[0].size
    run = load(built, launcher)
    for _ in range(2):
        for found, wanted in zip(run([a.copy() for a in given]), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-6)
    for found, wanted in zip(run_plan(built.plan, given), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("target", "launcher"), RUNNERS)
def test_results_in_place_of_inputs(target: str, launcher: str) -> None:
    x, y = inputs((5, 7), (5, 7))
    graph = by_eager_rule(Graph((x, y), (ops.sin(x) * y, ops.sin(y))), "sin")
    given = arrays(graph)
    expected = [np.array(e) for e in evaluate(graph, given)]
    built = build(graph, target, "sm_90", {0: 0, 1: 1}, frozenset())
    mine = [a.copy() for a in given]
    found = load(built, launcher)(mine)
    for f, a, e in zip(found, mine, expected, strict=True):
        assert f is a
        np.testing.assert_allclose(f, e, rtol=2e-5)


def test_nothing_to_compile_needs_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracec.runtime.cpu.find_compiler", lambda: pytest.fail("no compiler is needed"))
    graph = alone()
    given = arrays(graph)
    (found,) = load(build(graph, "cpu", "", {}, frozenset()))(given)
    np.testing.assert_array_equal(found, np.sin(given[0]))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_errors_of_eager_rules_reach_the_caller_and_the_next_call_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = between_kernels()
    calls = []

    def fails_once(xp, x):
        calls.append(x)
        if len(calls) == 1:
            raise np.linalg.LinAlgError("singular")
        return xp.sin(x)

    given = arrays(graph)
    expected = evaluate(graph, given)
    monkeypatch.setitem(OPERATORS, "sin", replace(OPERATORS["sin"], eager=fails_once))
    run = load(build(graph, "cpu", "", {}, frozenset()))
    with pytest.raises(np.linalg.LinAlgError):
        run(given)
    np.testing.assert_allclose(run(given)[0], expected[0], rtol=2e-5)


def test_plans_and_loaded_programs_say_what_runs_so() -> None:
    plan = make_plan(between_kernels(), TARGETS["cpu"])
    assert "eager sin(" in str(plan)
    built = build(between_kernels(), "cpu", "", {}, frozenset())
    if shutil.which("gcc"):
        assert load(built).describe().endswith("computed by NumPy between them: sin")
