"""Rows and sums of their columns in one kernel: where they meet, what is read, and that values stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.codegen.emulated import needs_compiler
from tests.plan.test_planner import inputs, layer_norm, softmax
from tracec import ops
from tracec.codegen.cuda import at_sizes, render
from tracec.ir import dtype as dt
from tracec.ir.conditions import noting
from tracec.ir.evaluate import evaluate
from tracec.ir.extent import symbolic
from tracec.ir.formula import Symbol
from tracec.ir.graph import Graph
from tracec.ir.node import Node, made_from
from tracec.ir.plan import Launch, Plan
from tracec.ir.verify_kernel import verify_kernel
from tracec.ir.verify_plan import verify_plan
from tracec.optimize import PIPELINE
from tracec.plan import TARGETS, make_plan, stripes
from tracec.plan.planner import traffic
from tracec.runtime.emulator import load
from tracec.runtime.interpreter import run_plan
from tracec.specialisations.sizes import Plainly
from tracec.transform import vjp

Build = Callable[[int, int, dt.DType], Graph]


def norm_gradient(rows: int, row: int, dtype: dt.DType = dt.float32) -> Graph:
    """A layer norm with weight and bias: gradients of all three."""
    x, w, b = inputs((rows, row), (row,), (row,), dtype=dtype)
    graph = vjp(Graph((x, w, b), (layer_norm(x) * w + b,)))
    return PIPELINE.run(Graph(graph.inputs, graph.outputs[1:])).graph


def rms_gradient(rows: int, row: int, dtype: dt.DType = dt.float32) -> Graph:
    """A root mean square norm with a weight."""
    x, w = inputs((rows, row), (row,), dtype=dtype)
    mean = ops.sum(x * x, axes=(1,), keepdims=True) / float(row)
    graph = vjp(Graph((x, w), (x * ops.rsqrt(mean + 1e-5) * w,)))
    return PIPELINE.run(Graph(graph.inputs, graph.outputs[1:])).graph


def softmax_gradient(rows: int, row: int, dtype: dt.DType = dt.float32) -> Graph:
    """A softmax whose operand has a bias: the gradient of both."""
    x, b = inputs((rows, row), (row,), dtype=dtype)
    graph = vjp(Graph((x, b), (softmax(x + b),)))
    return PIPELINE.run(Graph(graph.inputs, graph.outputs[1:])).graph


def pooled(rows: int, row: int, dtype: dt.DType = dt.float32) -> Graph:
    """Rows of a batch, normalised, and their sum over the axis between."""
    (x,) = inputs((rows // 16, 16, row), dtype=dtype)
    with made_from(None):
        y = layer_norm(x)
        return Graph((x,), (ops.sum(y, axes=(1,), keepdims=False),))


BUILDS: dict[str, Build] = {
    "norm": norm_gradient, "rms": rms_gradient, "softmax": softmax_gradient, "pooled": pooled,
}  # fmt: skip
#: Those that may have any number of rows.
UNEVEN = ("norm", "rms", "softmax")


def shapes(plan: Plan) -> list[str]:
    return [plan.kernels[s.kernel].shape for s in plan.steps if isinstance(s, Launch)]


def drawn(node: Node, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(node.shape).astype(node.dtype.numpy)


def compare(exact: Graph, found: list[np.ndarray], arrays: list[np.ndarray], tolerance: float) -> None:
    """With the operators one by one, in float64."""
    for have, want in zip(found, evaluate(exact, [a.astype(np.float64) for a in arrays]), strict=True):
        want = np.asarray(want)
        scale = float(np.abs(want).max())
        np.testing.assert_allclose(have.astype(np.float64), want, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize(("name", "rows"), [*((name, 4096) for name in BUILDS), *((name, 4093) for name in UNEVEN)])
def test_rows_and_columns_are_one_kernel(name: str, rows: int) -> None:
    graph = BUILDS[name](rows, 256, dt.float32)
    plan = make_plan(graph, TARGETS["cuda"])
    assert shapes(plan) == (["stripe"] if name == "pooled" else ["stripe", "column"])
    assert "stripe" not in shapes(make_plan(graph, TARGETS["cpu"]))
    verify_plan(plan)
    for kernel in plan.kernels:
        verify_kernel(kernel)
    arrays = [drawn(n, k) for k, n in enumerate(graph.inputs)]
    compare(BUILDS[name](rows, 256, dt.float64), run_plan(plan, [a.copy() for a in arrays]), arrays, 1e-5)


@pytest.mark.parametrize("rows", [65536, 65537])
@pytest.mark.parametrize("name", UNEVEN)
def test_what_rows_read_is_read_once(name: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = BUILDS[name](rows, 1024, dt.float32)
    floor = sum(n.type.nbytes for n in {*graph.inputs, *graph.outputs})
    assert traffic(make_plan(graph, TARGETS["cuda"])) <= 1.011 * floor
    monkeypatch.setattr(stripes, "FEWEST", 1 << 60)
    assert traffic(make_plan(graph, TARGETS["cuda"])) > (1.3 if name == "softmax" else 1.6) * floor


@pytest.mark.parametrize(
    ("rows", "row"),
    [
        (1021, 1024),  # too few rows for every multiprocessor to have a stripe
        (4096, 100),  # all of it stays in a cache
        (4096, 16384),  # no room for the sums
    ],
)
def test_rows_and_columns_apart(rows: int, row: int) -> None:
    assert "stripe" not in shapes(make_plan(norm_gradient(rows, row), TARGETS["cuda"]))


def varying(rows: int) -> tuple[Graph, Symbol]:
    """A softmax of as many rows as a symbol says, and the sums of its columns."""
    symbol = Symbol("n", rows)
    (x,) = inputs((symbolic(symbol), 500), dtype=dt.float32)
    with made_from(None):
        y = softmax(x)
        return Graph((x,), (y, ops.sum(y, axes=(0,), keepdims=False))), symbol


@needs_compiler
def test_rows_that_vary_in_number() -> None:
    """One program, whose stripes are as many as for rows that do not vary."""
    graph, symbol = varying(2048)
    noted: list[Any] = []
    with noting(noted.append, named=True):
        plan = make_plan(graph, TARGETS["cuda"])
        program = render(plan, "sm_90")
    assert shapes(plan) == ["stripe", "column"] and not program.of_one_size
    assert not [c for c in noted if " == " in str(c)]
    learned = [c for c in noted if c.left != c.right]
    assert all(c.holds({symbol: n}) for c in learned for n in (1100, 2039, 4096, 100_003))
    assert not all(c.holds({symbol: 900}) for c in learned)
    for rows in (1100, 2039, 3072):
        new = Plainly({symbol: rows})
        found = at_sizes(program, new.plan(plan), new)
        assert found.kernels[0].source == program.kernels[0].source
        fixed = make_plan(Plainly({symbol: rows}).graph(graph), TARGETS["cuda"])
        assert found.kernels[0].entries[0].grid == render(fixed, "sm_90").kernels[0].entries[0].grid


def centred(dtype: dt.DType) -> Graph:
    (x,) = inputs((2048, 512), dtype=dtype)
    with made_from(None):
        y = softmax(x)
        return Graph((x,), (y - ops.sum(y, axes=(0,), keepdims=True),))


def test_what_sums_of_columns_lead_to_is_not_in_their_kernel() -> None:
    graph = centred(dt.float32)
    plan = make_plan(graph, TARGETS["cuda"])
    assert shapes(plan)[0] == "stripe" and len(shapes(plan)) > 1
    arrays = [drawn(graph.inputs[0], 0)]
    compare(centred(dt.float64), run_plan(plan, [a.copy() for a in arrays]), arrays, 1e-5)


def test_loops(golden: str) -> None:
    assert "\n\n".join(map(str, make_plan(norm_gradient(1 << 14, 1024), TARGETS["cuda"]).kernels)) == golden


TOLERANCES = {dt.float32: 1e-5, dt.float64: 1e-12, dt.bfloat16: 2e-2, dt.float16: 3e-3}


CASES = [
    *((n, size, d) for n in BUILDS for size in ((48, 64), (80, 37), (64, 515)) for d in TOLERANCES),
    *((n, size, d) for n in UNEVEN for size in ((67, 64), (59, 515)) for d in (dt.float32, dt.bfloat16)),
]


@needs_compiler
@pytest.mark.parametrize(("name", "size", "dtype"), CASES, ids=lambda part: str(part).replace("tracec.", ""))
def test_on_a_gpu(name: str, size: tuple[int, int], dtype: dt.DType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripes, "FEWEST", 1)
    monkeypatch.setattr(stripes, "LEAST_STRIPES", 2)
    monkeypatch.setattr(stripes, "LEAST_ROWS", 4)
    graph = BUILDS[name](*size, dtype)
    plan = make_plan(graph, TARGETS["cuda"])
    assert "stripe" in shapes(plan)
    arrays = [drawn(n, k) for k, n in enumerate(graph.inputs)]
    found = load(plan, render(plan, "sm_90"), "random", checks=True)([a.copy() for a in arrays])
    compare(BUILDS[name](*size, dt.float64), found, arrays, TOLERANCES[dtype])
