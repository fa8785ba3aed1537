"""Every rule of `simplify` and `dce`, one example each: what it makes, and that values are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tracec.ir import Graph, Rule, Source, evaluate, parse_graph, verify
from tracec.ir import rewrite as rewriting
from tracec.optimize import arithmetic, dce, reductions, simplify, structured, views

EXAMPLES = {
    "add_zero": "graph(%0: f32[4]) { %1 = add(f32(-0.0), %0)\n return %1 }",
    "sub_zero": "graph(%0: f32[4]) { %1 = sub(%0, f32(0.0))\n return %1 }",
    "one_is_neutral": "graph(%0: f32[4]) { %1 = mul(%0, f32(1.0))\n %2 = div(%1, f32(1.0))\n return %2 }",
    "integer_times_zero": "graph(%0: i32[4]) { %1 = mul(%0, i32(0))\n return %1 }",
    "integer_minus_itself": "graph(%0: i32[4]) { %1 = sub(%0, %0)\n return %1 }",
    "double_negation": "graph(%0: f32[4]) { %1 = neg(%0)\n %2 = neg(%1)\n return %2 }",
    "double_not": "graph(%0: bool[4]) { %1 = logical_not(%0)\n %2 = logical_not(%1)\n return %2 }",
    "not_equal": "graph(%0: f32[4], %1: f32[4]) { %2 = eq(%0, %1)\n %3 = logical_not(%2)\n return %3 }",
    "not_different": "graph(%0: f32[4], %1: f32[4]) { %2 = ne(%0, %1)\n %3 = logical_not(%2)\n return %3 }",
    "times_minus_one": "graph(%0: f32[4]) { %1 = mul(f32(-1.0), %0)\n return %1 }",
    "add_negated": "graph(%0: f32[4], %1: f32[4]) { %2 = neg(%0)\n %3 = add(%2, %1)\n return %3 }",
    "sub_negated": "graph(%0: f32[4], %1: f32[4]) { %2 = neg(%1)\n %3 = sub(%0, %2)\n return %3 }",
    "mul_both_negated": "graph(%0: f32[4], %1: f32[4]) { %2 = neg(%0)\n %3 = neg(%1)\n %4 = mul(%2, %3)\n return %4 }",
    "div_both_negated": "graph(%0: f32[4], %1: f32[4]) { %2 = neg(%0)\n %3 = neg(%1)\n %4 = div(%2, %3)\n return %4 }",
    "negate_factor": "graph(%0: f32[4]) { %1 = mul(%0, f32(3.0))\n %2 = neg(%1)\n return %2 }",
    "negate_factor wraps": "graph(%0: i8[4]) { %1 = neg(%0)\n %2 = mul(%1, i8(-128))\n return %2 }",
    "neg_out_of_mul": (
        "graph(%0: f32[4], %1: f32[4]) { %2 = neg(%0)\n %3 = mul(%1, %2)\n %4 = add(%3, %0)\n return %4 }"
    ),
    "neg_out_of_div": (
        "graph(%0: f32[4], %1: f32[4]) { %2 = neg(%0)\n %3 = div(%1, %2)\n %4 = sub(%0, %3)\n return %4 }"
    ),
    "integer_add_constants": "graph(%0: i8[4]) { %1 = add(%0, i8(100))\n %2 = add(%1, i8(100))\n return %2 }",
    "integer_mul_constants": "graph(%0: u8[4]) { %1 = mul(%0, u8(20))\n %2 = mul(%1, u8(20))\n return %2 }",
    "div_by_power_of_two": "graph(%0: f32[4]) { %1 = div(%0, f32(-4.0))\n return %1 }",
    "power_zero": "graph(%0: f32[4]) { %1 = pow(%0, f32(0.0))\n return %1 }",
    "square": "graph(%0: f32[4]) { %1 = pow(%0, f32(2.0))\n return %1 }",
    "cube": "graph(%0: f32[4]) { %1 = pow(%0, f32(3.0))\n return %1 }",
    "power_minus_one": "graph(%0: f32[4]) { %1 = pow(%0, f32(-1.0))\n return %1 }",
    "power_one_half": (
        "graph(%0: f32[4]) { %1 = mul(%0, %0)\n %2 = add(%1, f32(1e-5))\n %3 = pow(%2, f32(0.5))\n return %3 }"
    ),
    "power_minus_one_half": "graph(%0: f32[4]) { %1 = abs(%0)\n %2 = pow(%1, f32(-0.5))\n return %2 }",
    "loop_back": (
        "graph(%0: f32[8], %1: f32[8], %2: f32[2], %3: f32[3,2]) {\n"
        "%4 = scan_grad(%0, %1, %2, %3, body=graph(%0: f32[2], %1: f32[2]) {\n"
        "%2 = mul(%0, %1)\n return %2, %0 }, carries=1, scanned=1, length=3, kept=1)\n return %4 }"
    ),
    "bits_and_back": "graph(%0: f32[4]) { %1 = view_bits(%0, dtype=i32)\n %2 = view_bits(%1, dtype=f32)\n return %2 }",
    "both_the_same": "graph(%0: f32[4]) { %1 = maximum(%0, %0)\n return %1 }",
    "where_both_the_same": "graph(%0: bool[2,4], %1: f32[4]) { %2 = where(%0, %1, %1)\n return %2 }",
    "where_known": "graph(%0: f32[4], %1: f32[2,4]) { %2 = where(bool(True), %0, %1)\n return %2 }",
    "where_not": "graph(%0: bool[4], %1: f32[4]) { %2 = logical_not(%0)\n %3 = where(%2, %1, f32(0.0))\n return %3 }",
    "negation_out_of_odd": "graph(%0: f32[4]) { %1 = neg(%0)\n %2 = erf(%1)\n return %2 }",
    "sign_out_of_odd": "graph(%0: f32[4]) { %1 = mul(%0, f32(-0.5))\n %2 = tanh(%1)\n return %2 }",
    "negation_out_of_even": "graph(%0: f32[4]) { %1 = neg(%0)\n %2 = cos(%1)\n return %2 }",
    "abs_negated": "graph(%0: f32[4]) { %1 = neg(%0)\n %2 = abs(%1)\n return %2 }",
    "abs_twice": "graph(%0: f32[4]) { %1 = abs(%0)\n %2 = abs(%1)\n return %2 }",
    "cast_to_same": "graph(%0: f32[4]) { %1 = cast(%0, dtype=f32)\n return %1 }",
    "cast_through_wider": "graph(%0: f16[4]) { %1 = cast(%0, dtype=f32)\n %2 = cast(%1, dtype=bf16)\n return %2 }",
    "expand_last": (
        "graph(%0: f32[4]) { %1 = expand(%0, shape=(2, 4))\n %2 = mul(%1, f32(3.0))\n %3 = sin(%2)\n return %3 }"
    ),
    "same_shape": "graph(%0: f32[4]) { %1 = reshape(%0, shape=(4,))\n %2 = expand(%1, shape=(4,))\n return %2 }",
    "reshape_twice": (
        "graph(%0: f32[2,2]) { %1 = reshape(%0, shape=(4,))\n %2 = reshape(%1, shape=(1, 4))\n return %2 }"
    ),
    "expand_twice": "graph(%0: f32[4]) { %1 = expand(%0, shape=(1, 4))\n %2 = expand(%1, shape=(3, 4))\n return %2 }",
    "expand_adds_leading_ones": (
        "graph(%0: f32[4]) { %1 = reshape(%0, shape=(1, 1, 4))\n %2 = expand(%1, shape=(2, 3, 4))\n return %2 }"
    ),
    "transpose_moves_no_element": "graph(%0: f32[2,1,4]) { %1 = transpose(%0, perm=(1, 0, 2))\n return %1 }",
    "transpose_twice": (
        "graph(%0: f32[2,3,4]) { %1 = transpose(%0, perm=(1, 2, 0))\n %2 = transpose(%1, perm=(1, 0, 2))\n return %2 }"
    ),
    "slice_everything": "graph(%0: f32[4]) { %1 = slice(%0, starts=(0,), stops=(4,), steps=(1,))\n return %1 }",
    "slice_twice": (
        "graph(%0: f32[20]) { %1 = slice(%0, starts=(1,), stops=(20,), steps=(2,))\n"
        " %2 = slice(%1, starts=(2,), stops=(9,), steps=(3,))\n return %2 }"
    ),
    "pad_nothing": "graph(%0: f32[4]) { %1 = pad(%0, low=(0,), high=(0,), value=1.0)\n return %1 }",
    "pad_twice": (
        "graph(%0: f32[4]) { %1 = pad(%0, low=(1,), high=(0,), value=-inf)\n"
        " %2 = pad(%1, low=(1,), high=(2,), value=-inf)\n return %2 }"
    ),
    "flip_nothing": "graph(%0: f32[1,4]) { %1 = flip(%0, axes=(0,))\n return %1 }",
    "flip_twice": "graph(%0: f32[2,4]) { %1 = flip(%0, axes=(0, 1))\n %2 = flip(%1, axes=(1,))\n return %2 }",
    "concatenate_one": "graph(%0: f32[4]) { %1 = concatenate(%0, axis=0)\n return %1 }",
    "reduce_single_elements": "graph(%0: i32[4,1]) { %1 = sum(%0, axes=(1,), keepdims=False)\n return %1 }",
    "reduce_twice": (
        "graph(%0: f32[2,3,4]) { %1 = sum(%0, axes=(1,), keepdims=False)\n"
        " %2 = sum(%1, axes=(1,), keepdims=True)\n return %2 }"
    ),
    "reduce_expanded": (
        "graph(%0: f32[3,1]) { %1 = expand(%0, shape=(2, 3, 4))\n %2 = sum(%1, axes=(1, 2), keepdims=False)"
        "\n return %2 }"
    ),
    "concatenate_empty": "graph(%0: f32[4], %1: f32[0]) { %2 = concatenate(%0, %1, %0, axis=0)\n return %2 }",
    "slice_of_some_operands": (
        "graph(%0: f32[4], %1: f32[2], %2: f32[3], %3: f32[4]) { %4 = concatenate(%0, %1, %2, %3, axis=0)\n"
        " %5 = slice(%4, starts=(5,), stops=(9,), steps=(2,))\n return %5 }"
    ),
    "slice_of_unpadded": (
        "graph(%0: f32[3,4]) { %1 = pad(%0, low=(1, 2), high=(1, 2), value=0.0)\n"
        " %2 = slice(%1, starts=(1, 3), stops=(4, 6), steps=(2, 1))\n return %2 }"
    ),
    "slice_of_folded": (
        "graph(%0: f32[3,5,3]) { %1 = fold(%0, shape=(11,), stride=(2,), dilation=(1,), low=(1,), high=(0,))\n"
        " %2 = slice(%1, starts=(0, 2), stops=(3, 9), steps=(1, 1))\n return %2 }"
    ),
    "index_put_covers": (
        "graph(%0: f32[4], %1: f32[2], %2: f32[2], %3: i64[2]) {"
        " %4 = index_put(%0, %1, %3, axes=(0,), add=False)\n %5 = index_put(%4, %2, %3, axes=(0,), add=False)"
        "\n return %5 }"
    ),
}

ALL: tuple[Rule, ...] = (*arithmetic.RULES, *views.RULES, *reductions.RULES, *structured.RULES, *views.DEAD_RULES)


@pytest.fixture
def fired(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the rules that were applied."""
    names: list[str] = []
    first = rewriting._first

    def noted(node: Any, rules: Any) -> Any:
        for r in rules:
            if r.apply(node) is not None:
                names.append(r.name)
                break
        return first(node, rules)

    monkeypatch.setattr(rewriting, "_first", noted)
    return names


@pytest.mark.parametrize("name", EXAMPLES)
def test_rule(name: str, golden: str, fired: list[str]) -> None:
    graph = parse_graph(EXAMPLES[name]).map(lambda n: replace(n, source=Source("model.py", 1)))
    after = dce(simplify(graph))
    assert name.split()[0] in fired
    assert f"{graph}\n{after}" == golden
    verify(after)
    for seed in range(3):
        inputs = special_values(graph, seed)
        with np.errstate(all="ignore"):
            for x, y in zip(evaluate(graph, inputs), evaluate(after, inputs), strict=True):
                np.testing.assert_allclose(y.astype(np.float64), x.astype(np.float64), rtol=1e-6)
                zero = (x == 0) & (y == 0)
                np.testing.assert_array_equal(np.signbit(y[zero].astype(float)), np.signbit(x[zero].astype(float)))


def special_values(graph: Graph, seed: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    values = {
        "f": (0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.1, 3e4, -1e-3),
        "i": (0, 1, 2, 100, -128),
        "u": (0, 1, 255),
        "b": (False, True),
    }
    return [
        np.arange(2)[::-1].copy()
        if n.dtype.short == "i64"
        else rng.choice(values[n.dtype.kind], n.shape).astype(n.dtype.numpy)
        for n in graph.inputs
    ]


def test_every_rule_has_an_example() -> None:
    assert {r.name for r in ALL} == {name.split()[0] for name in EXAMPLES}


LEFT_ALONE = {
    "float add of 0.0": "graph(%0: f32[4]) { %1 = add(%0, f32(0.0))\n return %1 }",
    "float times 0": "graph(%0: f32[4]) { %1 = mul(%0, f32(0.0))\n return %1 }",
    "0 minus float": "graph(%0: f32[4]) { %1 = sub(f32(0.0), %0)\n return %1 }",
    "float minus itself": "graph(%0: f32[4]) { %1 = sub(%0, %0)\n return %1 }",
    "root of what may be negative": "graph(%0: f32[4]) { %1 = pow(%0, f32(0.5))\n return %1 }",
    "division by three": "graph(%0: f32[4]) { %1 = div(%0, f32(3.0))\n return %1 }",
    "narrowing cast": "graph(%0: f32[4]) { %1 = cast(%0, dtype=f16)\n %2 = cast(%1, dtype=f32)\n return %2 }",
    "float scale twice": "graph(%0: f32[4]) { %1 = mul(%0, f32(3.0))\n %2 = mul(%1, f32(3.0))\n return %2 }",
    "not less": "graph(%0: f32[4]) { %1 = lt(%0, f32(1.0))\n %2 = logical_not(%1)\n return %2 }",
    "half sum of many": "graph(%0: f16[]) { %1 = expand(%0, shape=(4099,))\n %2 = sum(%1, axes=(0,))\n return %2 }",
    "pad of two values": (
        "graph(%0: f32[4]) { %1 = pad(%0, low=(1,), high=(0,), value=0.0)\n"
        " %2 = pad(%1, low=(1,), high=(0,), value=-0.0)\n return %2 }"
    ),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_left_alone(name: str) -> None:
    graph = parse_graph(LEFT_ALONE[name])
    assert dce(simplify(graph)) is graph
