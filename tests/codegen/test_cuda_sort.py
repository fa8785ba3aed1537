"""Stable sorting in CUDA: in shared memory and digit by digit, against the operator's eager rule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen import positions
from tests.codegen.emulated import needs_compiler
from tests.codegen.positions import Array, Positions
from tests.codegen.test_cuda_plans import cuda_plan
from tracec.codegen import cuda_sort, cuda_sort_digits
from tracec.codegen.cuda import CudaLaunch, render
from tracec.ir import TensorType
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.plan import LibraryCall, Plan
from tracec.runtime.emulator_launch import ORDERS

Case = tuple[DType, tuple[int, ...], int, bool]


def call_of(case: Case) -> Positions:
    dtype, shape, axis, descending = case
    return Positions("argsort", TensorType(dtype, shape), {"axis": axis, "descending": descending})


def plan_of(cases: Sequence[Case]) -> Plan:
    """A plan that sorts a tensor for each case."""
    return positions.plan_of([call_of(case) for case in cases])


def values_of(case: Case, seed: int = 0) -> Array:
    """Elements with many ties; infinities, NaN of both signs and both zeros among floats."""
    dtype, shape, _, _ = case
    random = np.random.default_rng(seed)
    if dtype.kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if dtype.kind == "f":
        x = np.asarray(random.standard_normal(shape) * 10 ** random.uniform(-6, 4, shape))
        special = np.array([np.nan, np.copysign(np.nan, -1.0), np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 6e-8])
        x = np.where(random.random(shape) < 0.4, random.choice(special, shape), x)
        with np.errstate(over="ignore"):
            return x.astype(dtype.numpy)
    info = np.iinfo(dtype.numpy)
    wide = random.integers(info.min, info.max, shape, dtype.numpy, endpoint=True)
    return np.where(random.random(shape) < 0.5, wide % dtype.numpy.type(5), wide).astype(dtype.numpy)


def expected(case: Case, x: Array) -> Array:
    return call_of(case).expected(x)


def run(cases: Sequence[Case], orders: Sequence[str] = ORDERS) -> None:
    """Run a plan in the emulator and compare with the operator's eager rule."""
    positions.check([call_of(case) for case in cases], [values_of(case) for case in cases], orders)


LENGTHS = (1, 2, 3, 31, 32, 33, 64, 65, 127, 129, 1000, 1025, 4096)
DTYPES = (*dt.IN_KERNELS,)


@needs_compiler
def test_short_rows() -> None:
    lengths: list[Case] = [(dt.float32, (3, n), 1, n % 2 == 0) for n in LENGTHS]
    dtypes: list[Case] = [(d, (5, 37, 2), 1, descending) for d in DTYPES for descending in (False, True)]
    run([*lengths, *dtypes, (dt.int64, (4000, 3), 0, False)])


def crowded(case: Case, many: bool, seed: int = 0) -> Array:
    """Rows of elements that differ by their last bits alone, and two that are far apart: four by four, or many."""
    dtype, shape, _, _ = case
    random = np.random.default_rng(seed)
    step = np.finfo(dtype.numpy).eps if dtype.kind == "f" else 1
    x = np.asarray(random.integers(0, 1 << 10, shape) * step + 1, dtype.numpy)
    if not many:
        ones = random.integers(1, 1 << 20, (shape[0], -(-shape[1] // 4)))
        near = np.tile(ones, 4)[:, : shape[1]] * (1 + step * random.integers(0, 4, shape))
        x = np.asarray(random.permuted(near, axis=1), dtype.numpy)
    elif dtype.itemsize == 8:  # the bits between differ, too
        x += (random.integers(0, 3, shape) * step * 2.0**20).astype(dtype.numpy)
    info = np.finfo(dtype.numpy) if dtype.kind == "f" else np.iinfo(dtype.numpy)
    x[:, shape[1] // 2], x[:, 5] = info.min, info.max
    return x


#: A warp and several for a row, whole and not.
CROWDED: tuple[Case, ...] = (
    *((dt.float32, (3, n), 1, n % 2 == 0) for n in (31, 33, 300, 1024, 1025)),
    *((d, (2, n), 1, n % 2 == 0) for d in (dt.int64, dt.float64) for n in (65, 1000, 2500)),
    (dt.int32, (5, 1000), 1, False),
)


@needs_compiler
@pytest.mark.parametrize("many", [False, True])
def test_keys_that_differ_by_their_last_bits(many: bool) -> None:
    positions.check([call_of(case) for case in CROWDED], [crowded(case, many) for case in CROWDED])


LONG: tuple[Case, ...] = (
    (dt.float32, (4097,), 0, False),
    (dt.int16, (9000, 2), 0, True),
    (dt.uint8, (33000,), 0, False),
    (dt.int64, (2, 5120), 1, True),
    (dt.float16, (3, 4611), 1, False),
)


@needs_compiler
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("marked", [2**30, 1])
def test_long_rows(order: str, marked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that no block holds: tiles that wait for others, the last of them short, and several chunks to count."""
    monkeypatch.setattr(cuda_sort_digits, "COUNTING", 6)
    monkeypatch.setattr(cuda_sort_digits, "MARKED", marked)
    run(LONG, [order])


@needs_compiler
def test_digits_of_every_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_sort, "SHORT_ROW", 0)
    cases: list[Case] = [(d, (2, 300, 2), 1, descending) for d in DTYPES for descending in (False, True)]
    run([*cases, (dt.float32, (1,), 0, False), (dt.float64, (3, 255), 1, True)], [ORDERS[1]])


def test_nothing_to_sort() -> None:
    program = render(plan_of([(dt.float32, (0,), 0, False), (dt.float32, (3, 0), 1, False)]), "sm_90")
    assert program.steps == ()


def test_equal_calls_share_a_kernel() -> None:
    case: Case = (dt.float32, (3, 9), 1, False)
    program = render(plan_of([case, case, (dt.float32, (3, 9), 0, False)]), "sm_90")
    assert [s.kernel for s in program.steps if isinstance(s, CudaLaunch)] == [0, 0, 1]


def test_steps_share_one_workspace() -> None:
    program = render(plan_of([(dt.float32, (10000,), 0, False), (dt.float32, (20000,), 0, False)]), "sm_90")
    alone = render(plan_of([(dt.float32, (20000,), 0, False)]), "sm_90")
    assert program.workspace_bytes == alone.workspace_bytes > 4 * 20000 * 4


def test_a_plan_that_sorts_is_all_launches() -> None:
    x = tracec.tensor(np.zeros((4, 7), np.float32))
    plan = cuda_plan(tracec.trace(lambda x: (x * 2).argsort(dim=1, descending=True), x))
    assert any(isinstance(s, LibraryCall) for s in plan.steps)
    assert all(isinstance(s, CudaLaunch) for s in render(plan, "sm_90").steps)


SOURCES: dict[str, Case] = {
    "warp": (dt.float32, (6, 100), 1, False),
    "exact": (dt.float16, (6, 256), 1, True),
    "block": (dt.float64, (6, 3000), 1, False),
    "digits": (dt.float32, (100000,), 0, False),
}


@pytest.mark.parametrize("what", SOURCES)
def test_source(golden: Any, what: str) -> None:
    (kernel,) = render(plan_of([SOURCES[what]]), "sm_90").kernels
    assert kernel.source.removesuffix("\n") == golden


@pytest.mark.parametrize(
    "arch", ["sm_90", pytest.param("sm_80", marks=pytest.mark.slow), pytest.param("sm_100", marks=pytest.mark.slow)]
)
def test_no_spills(arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cupy")
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    cases: list[Case] = [
        (dt.float32, (1 << 20,), 0, False), (dt.int64, (1 << 20, 3), 0, True), (dt.float16, (64, 1000), 1, False),
        (dt.float64, (8, 4096), 1, False), (dt.float32, (8, 4096), 1, True), (dt.int32, (99, 200), 0, False),
        (dt.uint8, (1 << 32 - 1,), 0, False),
    ]  # fmt: skip
    assert not positions.spilling([call_of(case) for case in cases], arch)
