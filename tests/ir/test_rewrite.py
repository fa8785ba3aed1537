"""Rewrite rules."""

from __future__ import annotations

from typing import Any

import pytest

from tracec import ops
from tracec.errors import VerifyError
from tracec.ir import (
    C,
    Graph,
    Node,
    Source,
    TensorType,
    X,
    Y,
    apply_rules,
    constant,
    input_node,
    made_from,
    named,
    parse_graph,
    rule,
)
from tracec.ir import dtype as dt
from tracec.ir.rewrite import applied, origin_after

F4 = TensorType(dt.float32, (4,))


@rule(ops.neg(ops.neg(X)))
def double_negation(x: Node) -> Node:
    return x


@rule(X + Y * 2)
def twice(x: Node, y: Node) -> Node:
    return x + y + y


@rule(ops.mul(X, 1))
def times_one(x: Node) -> Node:
    return x


@rule(ops.sub(X, X))
def minus_itself(node: Node) -> Node:
    return ops.expand(constant(0.0, node.type), shape=node.shape)  # type: ignore[no-any-return]


def test_rewriting(golden: str) -> None:
    graph = parse_graph("""
        graph(%0: f32[4], %1: f32[4]) {
          %2 = neg(%0)            # a.py:1
          %3 = neg(%2)            # a.py:2
          %4 = mul(f32(2.0), %1)  # a.py:3
          %5 = add(%4, %3)        # a.py:4 (vjp of mul)
          %6 = mul(%5, f32(1.0))  # a.py:5
          %7 = sub(%6, %5)        # a.py:6
          return %6, %7
        }""")
    assert str(apply_rules(graph, [double_negation, twice, times_one, minus_itself])) == golden


def test_the_same_graph_where_nothing_applies() -> None:
    x = input_node(F4)
    graph = Graph((x,), (ops.sin(x) + 1.0,))
    assert apply_rules(graph, [double_negation, twice, times_one, minus_itself]) is graph


def test_what_a_rule_makes_is_rewritten_too() -> None:
    @rule(ops.sin(X))
    def to_negated(x: Node) -> Any:
        return ops.neg(ops.neg(ops.cos(x)))

    x = input_node(F4)
    graph = apply_rules(Graph((x,), (ops.sin(ops.sin(x)),)), [to_negated, double_negation])
    assert [n.op.name for n in graph.nodes] == ["cos", "cos"]


def test_one_result_for_a_node_with_many_users() -> None:
    x = input_node(F4)
    shared = ops.neg(ops.neg(ops.sin(x)))
    graph = apply_rules(Graph((x,), (shared + 1.0, shared * 3.0)), [double_negation])
    assert [n.op.name for n in graph.nodes] == ["sin", "add", "mul"]


def test_names_parameters_and_constants() -> None:
    @rule(ops.sum(named("inner", ops.mul(X, C)), keepdims=False))
    def scaled(x: Node, c: Node, inner: Node, node: Node) -> Any:
        assert inner.op.name == "mul"
        return ops.mul(ops.sum(x, axes=node.param("axes"), keepdims=False), c)

    x = input_node(F4)
    graph = Graph((x,), (ops.sum(3.0 * x, axes=(0,), keepdims=False), ops.sum(3.0 * x, axes=(0,), keepdims=True)))
    assert [n.op.name for n in apply_rules(graph, [scaled]).nodes] == ["sum", "mul", "mul", "sum"]


def test_any_operands() -> None:
    @rule(applied("concatenate"))
    def single(node: Node) -> Node | None:
        return node.inputs[0] if len(node.inputs) == 1 else None

    x = input_node(F4)
    graph = Graph((x,), (ops.concatenate(ops.concatenate(x, axis=0), x, axis=0),))
    assert [n.op.name for n in apply_rules(graph, [single]).nodes] == ["concatenate"]


def test_literals_tell_zeros_apart() -> None:
    @rule(ops.add(X, -0.0))
    def add_nothing(x: Node) -> Node:
        return x

    x = input_node(F4)
    graph = Graph((x,), (x + 0.0, x + (-0.0)))
    assert apply_rules(graph, [add_nothing]).outputs == (graph.outputs[0], x)


def test_new_nodes_keep_the_source_and_say_who_made_them() -> None:
    x = input_node(F4)
    with made_from(Source("model.py", 3), "vjp of mul"):
        y = x + x * 2.0
    (node,) = apply_rules(Graph((x,), (y,)), [twice]).outputs
    assert (node.source, node.origin) == (Source("model.py", 3), "vjp of mul, rule twice")
    assert origin_after(node.origin, "rule other") == "vjp of mul, rule other"
    assert origin_after("rule twice", "rule other") == "rule other"


def test_a_rule_keeps_the_type() -> None:
    @rule(ops.sin(X))
    def wrong(x: Node) -> Any:
        return ops.sum(x, axes=(0,), keepdims=False)

    x = input_node(F4)
    with pytest.raises(VerifyError, match=r"rule wrong: gave f32\[\] in place of sin: f32\[4\]"):
        apply_rules(Graph((x,), (ops.sin(x),)), [wrong])


def test_rules_that_undo_each_other_are_found() -> None:
    @rule(ops.sin(X))
    def there(x: Node) -> Any:
        return ops.cos(x)

    @rule(ops.cos(X))
    def back(x: Node) -> Any:
        return ops.sin(x)

    x = input_node(F4)
    with pytest.raises(VerifyError, match="the rules undo each other"):
        apply_rules(Graph((x,), (ops.sin(x),)), [there, back])


def test_a_rule_asks_only_for_what_its_pattern_names() -> None:
    with pytest.raises(TypeError, match="rule lost: its patterns name no z"):

        @rule(ops.sin(X))
        def lost(z: Node) -> Node:
            return z


def test_linear_in_the_size_of_the_graph() -> None:
    x = input_node(F4)
    node = x
    for _ in range(2000):
        node = ops.neg(ops.neg(ops.sin(node))) * 1.0
    graph = apply_rules(Graph((x,), (node,)), [double_negation, times_one])
    assert len(graph.nodes) == 2000
