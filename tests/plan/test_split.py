"""Reductions to few results in two steps: which are split, how, and that values stay."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.plan.test_planner import inputs, softmax
from tracec import ops
from tracec.ir import dtype as dt
from tracec.ir.evaluate import evaluate
from tracec.ir.graph import Graph
from tracec.ir.node import Node, made_from
from tracec.ir.plan import Launch
from tracec.ir.verify_plan import verify_plan
from tracec.plan import TARGETS, make_plan, split
from tracec.runtime.interpreter import run_plan


def shapes(graph: Graph) -> list[tuple[str, tuple[int, ...]]]:
    """Of each launch the kernel's shape and that of what it writes last."""
    plan = make_plan(graph, TARGETS["cuda"])
    kernels = [plan.kernels[s.kernel] for s in plan.steps if isinstance(s, Launch)]
    return [(k.shape, tuple(s for s in k.buffers[-1].shape if s != 1)) for k in kernels]


def summed(shape: tuple[int, ...], axes: tuple[int, ...], dtype: dt.DType = dt.float32) -> Graph:
    (x,) = inputs(shape, dtype=dtype)
    return Graph((x,), (ops.sum(x, axes=axes, keepdims=False),))


@pytest.mark.parametrize(
    ("shape", "axes", "steps"),
    [
        ((1 << 26,), (0,), [("row", (1024,)), ("full", ())]),
        ((65535,), (0,), [("full", ())]),
        ((1 << 20, 64), (0,), [("column", (512, 64)), ("column", (64,))]),
        ((1 << 20, 3), (0,), [("column", (128, 32, 3)), ("column", (3,))]),
        ((8, 1024, 1024), (0, 1), [("column", (32, 1024)), ("column", (1024,))]),
        ((8, 1 << 20), (1,), [("row", (8, 128)), ("row", (8,))]),
        ((32, 64, 112, 112), (0, 2, 3), [("row", (16, 64)), ("column", (64,))]),
        ((4096, 4096), (0,), [("column", (4096,))]),
        ((4096, 4096), (1,), [("row", (4096,))]),
        ((600, 1 << 20), (1,), [("row", (600,))]),
    ],
    ids=str,
)
def test_only_what_leaves_a_gpu_idle_is_split(shape, axes, steps) -> None:
    assert shapes(summed(shape, axes)) == steps


def test_cores_split_whole_reductions_alone() -> None:
    plan = make_plan(summed((1 << 20, 64), (0,)), TARGETS["cpu"])
    assert len(plan.steps) == 1


def test_what_feeds_a_sum_and_what_follows_fuse_into_its_steps() -> None:
    x, g = inputs((8, 1000, 96), (8, 1000, 96), dtype=dt.float32)
    with made_from(None):
        dw = ops.sum(x * g, axes=(0, 1), keepdims=False) * 0.5
        db = ops.sum(g, axes=(0, 1), keepdims=False) + 1.0
    plan = make_plan(Graph((x, g), (dw, db)), TARGETS["cuda"])
    assert [sorted(k.ops) for k in plan.kernels] == [
        ["mul", "sum", "sum"],
        ["add", "mul", "sum", "sum"],
    ]


def test_partial_results_are_as_wide_as_sums() -> None:
    plan = make_plan(summed((1 << 20, 64), (0,), dt.bfloat16), TARGETS["cuda"])
    first, second = (k.buffers for k in plan.kernels)
    assert [b.dtype for b in (*first, *second)] == [dt.bfloat16, dt.float32, dt.float32, dt.bfloat16]


EVERY = {"sum": ops.sum, "prod": ops.prod, "max": ops.max, "min": ops.min}
DTYPES = (dt.float32, dt.float64, dt.float16, dt.bfloat16, dt.int64, dt.int8, dt.bool_)


@pytest.fixture
def eager_to_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "LARGE_SHARES", ((10_000, 16),))
    monkeypatch.setattr(split, "SMALLEST_PART", 5)
    monkeypatch.setattr(split, "SMALLEST_OF_ONE", 5)


def drawn(node: Node, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    if node.dtype.kind == "f":
        return (1 + 0.1 * random.standard_normal(node.shape)).astype(node.dtype.numpy)
    return random.integers(0, 2 if node.dtype.kind == "b" else 9, node.shape).astype(node.dtype.numpy)


def check(graph: Graph, tolerance: float) -> int:
    """Compare with the operators run one by one; the number of launches."""
    arrays = [drawn(n) for n in graph.inputs]
    plan = make_plan(graph, TARGETS["cuda"])
    verify_plan(plan)
    for found, expected in zip(run_plan(plan, arrays), evaluate(graph, arrays), strict=True):
        wide = np.asarray(expected).astype(float)
        np.testing.assert_allclose(np.asarray(found).astype(float), wide, rtol=tolerance)
    return len(plan.steps)


@pytest.mark.usefixtures("eager_to_split")
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values(name: str, dtype: dt.DType) -> None:
    if dtype is dt.bool_ and name in ("sum", "prod"):
        return
    tolerance = {2: 1e-2, 4: 1e-5, 8: 1e-11}.get(dtype.itemsize, 0) if dtype.kind == "f" else 0
    cases = (
        ((97,), (0,)), ((128,), (0,)), ((1, 101, 1), (0, 1, 2)), ((64, 3), (0,)), ((101, 3), (0,)), ((60, 40), (0,)),
        ((3, 50), (1,)), ((4, 6, 25), (0, 2)), ((3, 7, 2, 11), (0, 2, 3)), ((2, 31, 37), (1,)),
        ((5, 7, 9, 4), (0, 1, 2)), ((16, 16), (0, 1)), ((5, 3, 7, 3), (0, 2)),
    )  # fmt: skip
    for shape, axes in cases:
        for keepdims in (False, True):
            (x,) = inputs(shape, dtype=dtype)
            assert check(Graph((x,), (EVERY[name](x, axes=axes, keepdims=keepdims),)), tolerance) == 2, (shape, axes)


@pytest.mark.usefixtures("eager_to_split")
def test_rows_and_places() -> None:
    (x,) = inputs((3, 1001))
    with made_from(None):
        outputs = (softmax(x), ops.argmax(x, axis=1, keepdims=False), ops.argmin(x, axis=0, keepdims=True))
    check(Graph((x,), outputs), 1e-11)


def test_nan_is_the_largest_of_all() -> None:
    (x,) = inputs((1 << 17,), dtype=dt.bfloat16)
    array = np.zeros(x.shape, ml_dtypes.bfloat16)
    array[77_777] = np.nan
    (found,) = run_plan(make_plan(Graph((x,), (ops.max(x, axes=(0,), keepdims=False),)), TARGETS["cuda"]), [array])
    assert np.isnan(float(found))
