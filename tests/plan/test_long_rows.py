"""Statistics of long rows from those of their pieces: which rows, what is read, and that values stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from tests.codegen.emulated import needs_compiler
from tests.plan.test_planner import inputs, layer_norm, softmax
from tracec import ops
from tracec.codegen.cuda import render
from tracec.ir import dtype as dt
from tracec.ir.graph import Graph
from tracec.ir.node import Node, made_from
from tracec.ir.plan import Launch, Plan
from tracec.ir.verify_kernel import verify_kernel
from tracec.ir.verify_plan import verify_plan
from tracec.plan import TARGETS, long_rows, make_plan
from tracec.plan.planner import traffic
from tracec.plan.target import target_for
from tracec.runtime.emulator import load
from tracec.runtime.interpreter import run_plan


def log_sum(x: Node) -> Node:
    """log Σ exp, where an infinite maximum is not taken off."""
    top = ops.max(x, axes=(x.ndim - 1,), keepdims=True)
    top = ops.where(ops.eq(ops.abs(top), float("inf")), 0.0, top)
    return ops.log(ops.sum(ops.exp(x - top), axes=(x.ndim - 1,), keepdims=True)) + top


def log_softmax(x: Node) -> Node:
    off = x - ops.max(x, axes=(x.ndim - 1,), keepdims=True)
    return off - ops.log(ops.sum(ops.exp(off), axes=(x.ndim - 1,), keepdims=True))


FUNCTIONS: dict[str, Callable[[Node], Node]] = {
    "softmax": softmax, "log softmax": log_softmax, "log sum": log_sum, "norm": layer_norm,
}  # fmt: skip


#: A GPU whose blocks form no clusters.
ALONE = target_for("cuda", "sm_80")


def graph_of(name: str, shape: tuple[int, ...], dtype: dt.DType = dt.float32) -> Graph:
    (x,) = inputs(shape, dtype=dtype)
    with made_from(None):
        return Graph((x,), (FUNCTIONS[name](x),))


def shapes(plan: Plan) -> list[str]:
    return [plan.kernels[s.kernel].shape for s in plan.steps if isinstance(s, Launch)]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of more than 128 bytes are long, and pieces have some 16 elements."""
    monkeypatch.setitem(TARGETS, "cuda", replace(ALONE, row_bytes=128))
    monkeypatch.setattr(long_rows, "PIECE", 16)
    monkeypatch.setattr(long_rows, "LONGEST_PIECE", 64)


def exact(name: str, array: np.ndarray) -> np.ndarray:
    wide = array.astype(np.float64)
    with np.errstate(all="ignore"):
        if name == "norm":
            return np.asarray((wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5))
        top = wide.max(-1, keepdims=True)
        if name == "log sum":
            top = np.where(np.isinf(top), 0, top)
            return np.asarray(np.log(np.exp(wide - top).sum(-1, keepdims=True)) + top)
        off = wide - top
        total = np.exp(off).sum(-1, keepdims=True)
        return np.asarray(np.exp(off) / total if name == "softmax" else off - np.log(total))


@pytest.mark.parametrize("shape", [(2048, 65536), (16, 1 << 17), (1, 1 << 22), (3, 5, 40000)], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_are_read_twice_and_written_once(name: str, shape: tuple[int, ...]) -> None:
    graph = graph_of(name, shape)
    plan = make_plan(graph, ALONE)
    verify_plan(plan)
    for kernel in plan.kernels:
        verify_kernel(kernel)
    size = graph.inputs[0].type.nbytes
    assert traffic(plan) <= (1 if name == "log sum" else 3) * 1.01 * size + 1024
    assert len(shapes(plan)) == (2 if name == "log sum" else 3)
    assert shapes(plan)[0] == "row"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_that_are_kept_are_one_kernel(name: str) -> None:
    assert shapes(make_plan(graph_of(name, (2048, 1 << 15)), TARGETS["cuda"])) == ["row"]


def test_a_norm_of_rows_that_nothing_divides_is_left() -> None:
    assert shapes(make_plan(graph_of("norm", (2048, 65537)), ALONE)) == ["row"]
    assert len(shapes(make_plan(graph_of("softmax", (2048, 65537)), ALONE))) == 3


CASES = [(3, 64), (1, 33), (5, 47), (2, 3, 80), (2, 200), (4, 128)]


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", CASES, ids=str)
def test_values(name: str, shape: tuple[int, ...]) -> None:
    for offset in (0.0, 1e4, -1e4):
        graph = graph_of(name, shape)
        array = (offset + 5 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
        (found,) = run_plan(make_plan(graph, TARGETS["cuda"]), [array])
        tolerance = 1e-3 if name == "norm" and offset else 1e-5  # float32 has 3 digits behind the point there
        np.testing.assert_allclose(found, exact(name, array), rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("name", ["softmax", "log softmax", "log sum"])
def test_infinities(name: str) -> None:
    """A piece of infinities, a row of them, one element that is infinite, NaN: what NumPy makes of the whole row."""
    inf = np.inf
    array = np.random.default_rng(1).standard_normal((8, 64)).astype(np.float32)
    array[0, :16] = -inf
    array[1, :] = -inf
    array[2, 7] = inf
    array[3, 50] = np.nan
    array[4, :] = 3e38
    array[5, :32] = -3e38
    array[6, :48] = -inf
    array[6, 48:] = -200
    (found,) = run_plan(make_plan(graph_of(name, array.shape), TARGETS["cuda"]), [array])
    np.testing.assert_allclose(found, exact(name, array), rtol=1e-5, atol=1e-6)


TYPES = {dt.float32: (np.float32, 1e-5), dt.float64: (np.float64, 1e-12), dt.bfloat16: (ml_dtypes.bfloat16, 2e-2)}


@needs_compiler
@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_on_a_gpu(name: str, dtype: dt.DType) -> None:
    numpy, tolerance = TYPES[dtype]
    for shape in CASES[1:4]:
        array = np.random.default_rng(2).standard_normal(shape).astype(numpy)
        plan = make_plan(graph_of(name, shape, dtype), TARGETS["cuda"])
        (found,) = load(plan, render(plan, "sm_90"), "random", checks=True)([array.copy()])
        np.testing.assert_allclose(found.astype(np.float64), exact(name, array), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("shape", "dtype", "whole"),
    [
        ((128, 50304), dt.bfloat16, True),  # a block holds them as they are in memory
        ((128, 53256), dt.bfloat16, False),
        ((127, 50304), dt.bfloat16, False),  # rows are few
        ((128, 50257), dt.float16, False),  # no packs divide them
        ((128, 50304), dt.float32, False),
    ],
)
def test_rows_of_16_bits_are_left_whole(shape: tuple[int, ...], dtype: dt.DType, whole: bool) -> None:
    plan = make_plan(graph_of("softmax", shape, dtype), ALONE)
    assert (shapes(plan) == ["row"]) is whole
