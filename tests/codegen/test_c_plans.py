"""Whole plans in C: library calls, one kernel over many buffers, memory that is shared."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen import kernels as k
from tests.codegen.plans import Array, plan_of
from tracec import ops
from tracec.codegen import c_library
from tracec.codegen.c import render
from tracec.codegen.c_library import tiles
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.kernel import Kernel
from tracec.ir.plan import Launch, LibraryCall, Memory, Plan, Value
from tracec.ir.types import TensorType
from tracec.runtime.cpu import load

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def library_plan(routine: str, given: list[Array], output: TensorType, **params: Any) -> Plan:
    values = [Value(f"%{i}", TensorType(dt.of_numpy(a.dtype), a.shape), "input", i) for i, a in enumerate(given)]
    values.append(Value("%out", output, "output", 0))
    inputs = tuple(range(len(given)))
    call = LibraryCall(routine, inputs, len(given), tuple(params.items()))
    return Plan((), (call,), tuple(values), inputs, (len(given),), Memory(0, 0, 0))


def run(plan: Plan, *arrays: Array) -> list[Array]:
    return load(plan, render(plan))(list(arrays))


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64], ids=str)
@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("trans_b", [False, True])
@pytest.mark.parametrize(
    "batch, m, n, k", [((), 5, 7, 3), ((), 200, 130, 90), ((2, 3), 33, 17, 40), ((20,), 40, 50, 30), ((), 1, 300, 200)]
)
def test_gemm(dtype: DType, trans_a: bool, trans_b: bool, batch: tuple[int, ...], m: int, n: int, k: int) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(*batch, *((k, m) if trans_a else (m, k)))).astype(dtype.numpy)
    b = rng.normal(size=((k, n)[::-1] if trans_b else (k, n))).astype(dtype.numpy)
    strides = np.cumprod((m * k, *batch[:0:-1]))[::-1].tolist() if batch else []
    plan = library_plan(
        "gemm", [a, b], TensorType(dtype, (*batch, m, n)),
        batch=batch, m=m, n=n, k=k, a_batch=tuple(strides), b_batch=(0,) * len(batch), trans_a=trans_a,
        trans_b=trans_b, lda=m if trans_a else k, ldb=k if trans_b else n, a_offset=0, b_offset=0, dtype=dtype,
    )  # fmt: skip
    (found,) = run(plan, a, b)
    expected = (np.swapaxes(a, -1, -2) if trans_a else a) @ (b.T if trans_b else b)
    tolerance = 1e-4 if dtype is dt.float32 else 1e-10
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("cores", [1, 2, 3, 16, 256])
@pytest.mark.parametrize("m, n, k", [(2048, 2048, 2048), (256, 784, 128), (8, 100_000, 64), (100_000, 8, 64)])
def test_tiles_cover_the_product_in_a_moderate_number(
    monkeypatch: pytest.MonkeyPatch, m: int, n: int, k: int, cores: int
) -> None:
    monkeypatch.setattr(c_library, "CORES", cores)
    tile_m, tile_n = tiles(m, n, k)
    count = -(-m // tile_m) * -(-n // tile_n)
    assert 2 <= count <= 64


@pytest.mark.parametrize(
    "cores, m, n, k, expected",
    [
        (2, 256, 1024, 1024, (256, 512)), (2, 1024, 784, 256, (512, 784)), (2, 784, 256, 128, (400, 256)),
        (4, 256, 1024, 1024, (256, 256)), (64, 2048, 2048, 2048, (256, 256)),
    ],
)  # fmt: skip
def test_tiles_are_as_square_as_they_can_be(
    monkeypatch: pytest.MonkeyPatch, cores: int, m: int, n: int, k: int, expected: tuple[int, int]
) -> None:
    monkeypatch.setattr(c_library, "CORES", cores)
    assert tiles(m, n, k) == expected


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", [dt.float32, dt.float16, dt.bfloat16, dt.int64, dt.uint8, dt.bool_], ids=str)
@pytest.mark.parametrize("shape, axis", [((7,), 0), ((3, 1000), 1), ((50, 4, 3), 0), ((2, 65, 3), 1), ((4, 1), 1)])
def test_argsort(shape: tuple[int, ...], axis: int, dtype: DType, descending: bool) -> None:
    x = np.random.default_rng(0).integers(0, 9, shape).astype(dtype.numpy)
    if dtype.kind == "f":
        x.reshape(-1)[::5] = np.nan
    plan = library_plan("argsort", [x], TensorType(dt.int64, shape), axis=axis, descending=descending)
    (found,) = run(plan, x)
    expected = ops.argsort.eager(np, x, axis=axis, descending=descending)
    np.testing.assert_array_equal(found, expected)


def test_one_kernel_over_many_buffers() -> None:
    rng = np.random.default_rng(0)
    sizes = (1, 0, 17, 8192, 8193, 30_000)
    weights = [rng.normal(size=n).astype(np.float32) for n in sizes]
    steps = [rng.normal(size=n).astype(np.float32) for n in sizes]
    arrays = [*weights, *steps, np.array(0.25, np.float32)]
    values = tuple(Value(f"%{i}", TensorType(dt.float32, a.shape), "input", i) for i, a in enumerate(arrays))
    rate = len(arrays) - 1
    args = tuple((i, i + len(sizes), rate) for i in range(len(sizes)))
    launch = Launch(0, args, sizes)
    every = tuple(range(len(arrays)))
    plan = Plan((k.sized(),), (launch,), values, every, every[: len(sizes)], Memory(0, 0, 0))
    expected = [w - s * np.float32(0.25) for w, s in zip(weights, steps, strict=True)]
    found = run(plan, *arrays)
    for f, e, w in zip(found, expected, weights, strict=True):
        assert f is w
        np.testing.assert_allclose(f, e, rtol=1e-6)


def test_a_value_may_take_over_the_memory_of_the_one_it_is_made_of() -> None:
    def arena(name: str, first: int) -> Value:
        return Value(name, TensorType(dt.float32, (50_000,)), "arena", -1, 64, first, first + 1)

    chain = k.chain(50_000)
    t = TensorType(dt.float32, (50_000,))
    values = (Value("%0", t, "input", 0), arena("%1", 0), arena("%2", 1), Value("%3", t, "output", 0))
    steps = (Launch(0, ((0, 0, 1),)), Launch(0, ((1, 0, 2),)), Launch(0, ((2, 0, 3),)))
    plan = Plan((chain,), steps, values, (0,), (3,), Memory(200_064, 400_000, 200_000))
    assert "restrict" not in render(plan).kernels["chain"]
    x = np.random.default_rng(0).normal(size=50_000).astype(np.float32)
    expected = x
    for _ in range(3):
        expected = np.maximum(expected * 3 + x, expected)
    np.testing.assert_allclose(run(plan, x)[0], expected, rtol=1e-5)


def different(count: int) -> list[Kernel]:
    """Kernels as long as each other, none of which is alike to another."""
    return [k.softmax(100, 100 + n) for n in range(count)]


def test_large_plans_become_several_units() -> None:
    program = render(plan_of(different(60)))
    assert len(program.units) == 3
    assert "tracec_run" in program.units[0]
    assert not any("void tracec_run" in unit for unit in program.units[1:])
    assert len(program.kernels) == 60
    assert [len(render(plan_of(different(count))).units) for count in (1, 40, 300)] == [1, 2, 8]


def test_kernels_are_shared_out_evenly() -> None:
    entry, *others = render(plan_of(different(160))).units
    assert [unit.count("u / s_") for unit in (entry, *others)] == [20] * 8


def test_tiny_kernels_start_no_threads() -> None:
    assert "parallel" not in "".join(render(plan_of([k.gelu(500)])).kernels.values())
    assert "parallel" in "".join(render(plan_of([k.gelu(500_000)])).kernels.values())


def test_what_follows_a_sum_does_not_turn_its_loops() -> None:
    # What an optimiser stores of a gradient lies side by side; the sum that it takes longest for reads rows.
    x, g = tracec.randn(2, 16, 32, 32), tracec.randn(2, 2, 32, 32)
    weight = tracec.nn.Parameter(tracec.randn(2, 16, 1, 1))
    optimizer = tracec.optim.Adam([weight])

    def step(x: tracec.Tensor, g: tracec.Tensor) -> None:
        optimizer.zero_grad()
        (tracec.nn.functional.conv2d(x, weight) * g).sum().backward()
        optimizer.step()

    step(x, g)
    compiled = tracec.compile(step)
    source = compiled.lower(x, g).stages["source"]
    kernel = next(k for k in source.split("HIDDEN") if "conv_weight_grad" in k.split("(")[0])
    assert "reduction(+ : acc)" in kernel and "acc[" not in kernel
