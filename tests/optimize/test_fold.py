"""Constant folding."""

from __future__ import annotations

import numpy as np
import pytest

from tracec.ir import evaluate, parse_graph, verify
from tracec.optimize import fold

FOLDED = {
    "scalars": "%1 = add(f32(0.1), f32(0.2))",
    "sine": "%1 = sin(f32(1.0))",
    "half": "%1 = exp(f16(1.0))",
    "bfloat": "%1 = div(bf16(1.0), bf16(3.0))",
    "wraps": "%1 = mul(i8(100), i8(2))",
    "infinite": "%1 = div(f32(1.0), f32(0.0))",
    "not a number": "%1 = log(f32(-1.0))",
    "cast": "%1 = cast(f32(2.5), dtype=i32)",
    "compare": "%1 = lt(f32(1.0), f32(2.0))",
    "of expanded": "%2 = expand(f32(2.0), shape=(100, 100))\n  %1 = mul(%2, f32(3.0))",
    "views": (
        "%2 = expand(f32(2.0), shape=(20, 30))\n  %3 = transpose(%2, perm=(1, 0))\n  %4 = reshape(%3, shape=(600,))\n"
        "  %1 = slice(%4, starts=(3,), stops=(500,), steps=(1,))"
    ),
    "sum of expanded": "%2 = expand(f32(0.5), shape=(20, 30))\n  %1 = sum(%2, axes=(1,), keepdims=False)",
    "sum of bools": "%2 = expand(i64(1), shape=(20, 30))\n  %1 = sum(%2, axes=(0, 1), keepdims=False)",
    "maximum of iota": "%2 = iota(shape=(8,), axis=0, dtype=i64)\n  %1 = max(%2, axes=(0,), keepdims=False)",
    "all of iota": "%2 = iota(shape=(8,), axis=0, dtype=i64)\n  %1 = ge(%2, i64(0))",
}
LEFT = {
    "input": "%1 = add(%0, f32(1.0))",
    "iota": "%1 = iota(shape=(8,), axis=0, dtype=i64)",
    "squares": "%2 = iota(shape=(8,), axis=0, dtype=i64)\n  %1 = mul(%2, %2)",
    "full": "%1 = expand(f32(1.0), shape=(8,))",
    "zeros of both signs": "%1 = concatenate(%2, %3, axis=0)",
    "empty": "%1 = expand(f32(1.0), shape=(0,))",
}


def text(body: str) -> str:
    zeros = "  %2 = expand(f32(0.0), shape=(1,))\n  %3 = expand(f32(-0.0), shape=(1,))\n" if "%3, axis" in body else ""
    return f"graph(%0: f32[]) {{\n{zeros}  {body}\n  return %1\n}}"


@pytest.mark.parametrize("name", FOLDED)
def test_folded(name: str, golden: str) -> None:
    graph = parse_graph(text(FOLDED[name]))
    folded = fold(graph)
    verify(folded)
    assert fold(folded) is folded
    assert str(folded.outputs[0].type) + "\n" + str(folded).split("    #")[0] == golden
    x = np.zeros((), np.float32)
    with np.errstate(all="ignore"):
        for a, b in zip(evaluate(graph, [x]), evaluate(folded, [x]), strict=True):
            np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("name", LEFT)
def test_left_alone(name: str) -> None:
    graph = parse_graph(text(LEFT[name]))
    assert fold(graph) is graph
