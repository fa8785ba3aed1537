"""Quotients of 16-bit rows by one of their values, and exponentials of 16 bits: as exact as is promised."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.codegen.emulated import emulate, needs_compiler
from tests.codegen.kernels import read_kernel
from tests.plan.test_planner import inputs, softmax
from tracec import ops
from tracec.codegen.cuda import render
from tracec.ir import dtype as dt
from tracec.ir.graph import Graph
from tracec.ir.kernel import Call, expressions, subexpressions, walk
from tracec.ir.node import made_from
from tracec.ir.plan import Plan
from tracec.plan import TARGETS, make_plan
from tracec.runtime.emulator import load
from tracec.runtime.interpreter import run_plan

HALVES = {dt.float16: np.dtype(np.float16), dt.bfloat16: np.dtype(ml_dtypes.bfloat16)}


def shares(dtype: dt.DType, rows: int, row: int) -> Graph:
    """Each row divided by the largest of another: any divisor, for each of its elements."""
    x, y = inputs((rows, row), (rows, row), dtype=dtype)
    with made_from(None):
        return Graph((x, y), (x / ops.max(y, axes=(1,), keepdims=True),))


def divisions(plan: Plan) -> list[bool]:
    """Whether each division of a plan's kernels is of the number 1."""
    parts = (e for k in plan.kernels for s in walk(k.body) for root in expressions(s) for e in subexpressions(root))
    found = [e for e in parts if isinstance(e, Call) and e.op == "div"]
    return [getattr(e.args[0], "value", None) == 1.0 for e in found]


def test_only_16_bit_rows_on_a_gpu_are_multiplied() -> None:
    for dtype in (dt.float16, dt.bfloat16, dt.float32, dt.float64):
        for target in ("cuda", "cpu"):
            (x,) = inputs((64, 100), dtype=dtype)
            plan = make_plan(Graph((x,), (softmax(x),)), TARGETS[target])
            assert divisions(plan) == [target == "cuda" and dtype in HALVES]
    x, y = inputs((64, 100), (64, 100), dtype=dt.bfloat16)
    with made_from(None):
        graph = Graph((x, y), (x / ops.sum(y, axes=(1,), keepdims=True) / (y * y),))
    assert sorted(divisions(make_plan(graph, TARGETS["cuda"]))) == [False, True]


def exponentials(dtype: dt.DType, target: str) -> set[str]:
    """The operations that plans have for exponentials: of a map, and of rows that are divided by their sums."""
    x, y = inputs((64, 100), (64, 100), dtype=dtype)
    with made_from(None):
        graph = Graph((x, y), (softmax(x), ops.exp(y)))
    parts = (
        e for k in make_plan(graph, TARGETS[target]).kernels for s in walk(k.body) for root in expressions(s)
        for e in subexpressions(root)
    )  # fmt: skip
    return {e.op for e in parts if isinstance(e, Call) and "exp" in e.op}


def test_only_16_bit_exponentials_on_a_gpu_are_short() -> None:
    for dtype in (dt.float16, dt.bfloat16, dt.float32, dt.float64):
        for target in ("cuda", "cpu"):
            assert exponentials(dtype, target) == {"short_exp" if target == "cuda" and dtype in HALVES else "exp"}
    (x,) = inputs((64, 100), dtype=dt.bfloat16)
    with made_from(None):  # whoever asks for float32 has it, whatever it is of and becomes
        graph = Graph((x,), (ops.cast(ops.exp(ops.cast(x, dtype=dt.float32)), dtype=dt.bfloat16),))
    assert " exp(" in str(make_plan(graph, TARGETS["cuda"]).kernels[0])


@needs_compiler
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_every_exponential_of_16_bits(dtype: dt.DType) -> None:
    """Of all 65,536 numbers: half a unit in the last place and 2⁻¹⁷ off at most; NaN and infinities are those."""
    (x,) = inputs((1 << 16,), dtype=dtype)
    with made_from(None):
        plan = make_plan(Graph((x,), (ops.exp(x),)), TARGETS["cuda"])
    every = np.arange(1 << 16, dtype=np.uint16).view(HALVES[dtype])
    (found,) = load(plan, render(plan, "sm_90"))([every])
    with np.errstate(all="ignore"):
        exact = np.exp(every.astype(np.float64))
        rounded = exact.astype(HALVES[dtype])
    same = found.view(np.uint16) == rounded.view(np.uint16)
    numbers = ~np.isnan(rounded)
    assert np.array_equal(np.isnan(found), ~numbers) and same[numbers].mean() > 0.999
    assert same[np.isinf(rounded)].all() and same[exact == 0].all()
    info = ml_dtypes.finfo(HALVES[dtype])
    rest = np.isfinite(rounded)
    size = exact[rest]
    unit = 2.0 ** (np.floor(np.log2(np.maximum(size, float(info.smallest_normal)))) - info.nmant)
    assert (np.abs(found[rest].astype(np.float64) - size) <= unit / 2 + size * 2.0**-17).all()


@needs_compiler
def test_what_a_short_exponential_is_off_in_float32() -> None:
    """What is told, less twice the 2⁻²² that a GPU's own power of two may be off, whose square is taken."""
    kernel = read_kernel("kernel short(x: in f32[4096], y: out f32[4096]) map {\n"
                         "  for i in 4096 parallel {\n    store y[i] = short_exp(x[i])\n  }\n}")  # fmt: skip
    emulated = emulate([kernel])[0]
    for low, high, most in ((-20.0, 20.0, 2.0**-18), (-87.0, 88.0, 2.0**-17)):
        x = np.random.default_rng(3).uniform(low, high, 4096).astype(np.float32)
        exact = np.exp(x.astype(np.float64))
        found = emulated.run([x, np.zeros_like(x)])[1]
        assert (np.abs(found - exact) <= (most - 2.0**-21) * exact).all()
    x = np.array([-104.5, -103.0, -88.0, 89.0, np.inf, -np.inf, np.nan, 1e-40] * 512, np.float32)
    found = emulated.run([x, np.zeros_like(x)])[1][:8]
    assert found[1] == np.float32(2.0**-149) and 0 < found[2] < np.finfo(np.float32).tiny  # nothing is flushed to zero
    np.testing.assert_array_equal(found[[0, 3, 4, 5, 6, 7]], [0, np.inf, np.inf, 0, np.nan, 1])


def exactly(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(a.astype(np.float64) / b.astype(np.float64))


def off(found: np.ndarray, exact: np.ndarray, dtype: np.dtype) -> float:
    """How far the worst result is from its quotient, in what is allowed: half a unit in the last place and 2⁻²²."""
    info = ml_dtypes.finfo(dtype)
    with np.errstate(all="ignore"):
        rounded = exact.astype(dtype)
        assert np.array_equal(np.isnan(found), np.isnan(rounded))
        # Next to the largest number it may be the one or the other.
        edge = np.abs(exact) > float(info.max) * (1 - 2.0**-20)
        assert np.array_equal(np.isinf(found) & ~edge, np.isinf(rounded) & ~edge)
        rest = np.isfinite(exact) & ~edge & ~np.isnan(rounded)
        size = np.abs(exact[rest])
        unit = 2.0 ** (np.floor(np.log2(np.maximum(size, float(info.smallest_normal)))) - info.nmant)
        assert np.array_equal(np.signbit(found[rest]), np.signbit(exact[rest]))
        return float((np.abs(found[rest].astype(np.float64) - exact[rest]) / (unit / 2 + size * 2.0**-22)).max())


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_every_number_by_many(dtype: dt.DType) -> None:
    """All 65,536 numbers, subnormal ones, infinities and NaN among them, by numbers of every size."""
    numpy = HALVES[dtype]
    every = np.arange(1 << 16, dtype=np.uint16).view(numpy)
    divisors = np.random.default_rng(0).integers(0, 1 << 16, 60).astype(np.uint16)
    divisors = np.concatenate((divisors, [0x0000, 0x8000, 0x0001, 0x8001, 0x7F80, 0x0080, 0x7C00, 0x3F80])).astype(
        np.uint16
    )
    by = divisors.view(numpy)
    plan = make_plan(shares(dtype, len(by), every.size), TARGETS["cuda"])
    assert divisions(plan) == [True]
    x = np.ascontiguousarray(np.broadcast_to(every, (len(by), every.size)))
    y = np.ascontiguousarray(np.broadcast_to(by[:, None], x.shape))
    (found,) = run_plan(plan, [x, y])
    assert off(found, exactly(x, y), numpy) <= 1


@needs_compiler
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize(("rows", "row"), [(70, 33), (5, 1000), (3, 4099)])
def test_on_a_gpu(dtype: dt.DType, rows: int, row: int) -> None:
    random = np.random.default_rng(1)
    x, y = (random.integers(0, 1 << 16, (rows, row)).astype(np.uint16).view(HALVES[dtype]) for _ in range(2))
    y = np.ascontiguousarray(np.broadcast_to(y[:, :1], y.shape))
    plan = make_plan(shares(dtype, rows, row), TARGETS["cuda"])
    (found,) = load(plan, render(plan, "sm_90"), "random", checks=True)([x.copy(), y.copy()])
    assert off(found, exactly(x, y), HALVES[dtype]) <= 1


@needs_compiler
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_softmax_against_float64(dtype: dt.DType) -> None:
    (x,) = inputs((40, 515), dtype=dtype)
    array = (8 * np.random.default_rng(2).standard_normal(x.shape)).astype(HALVES[dtype])
    plan = make_plan(Graph((x,), (softmax(x),)), TARGETS["cuda"])
    (found,) = load(plan, render(plan, "sm_90"))([array])
    wide = array.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    exact = powers / powers.sum(axis=1, keepdims=True)
    unit = {dt.float16: 2.0**-11, dt.bfloat16: 2.0**-8}[dtype]
    assert (np.abs(found.astype(np.float64) - exact) <= 1.01 * unit * exact + 2.0**-25).all()
