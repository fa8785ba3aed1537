"""Selection in CUDA: by a block a row and by several, against the operator's eager rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen import positions
from tests.codegen.emulated import needs_compiler
from tests.codegen.positions import Array, Positions
from tests.codegen.test_cuda_plans import cuda_plan
from tests.codegen.test_cuda_sort import values_of
from tests.codegen.test_cuda_sorted import numbers
from tracec.codegen import cuda_select, cuda_sort_digits
from tracec.codegen.cuda import CudaLaunch, render
from tracec.ir import TensorType
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.plan import Plan
from tracec.runtime.emulator import load
from tracec.runtime.emulator_launch import ORDERS


@dataclass(frozen=True)
class Case:
    """A selection of a tensor's elements: how many are equal, and which ranks."""

    dtype: DType
    shape: tuple[int, ...]
    axis: int
    start: int
    count: int
    descending: bool = False
    what: str = "many alike"

    def values(self, seed: int = 0) -> Array:
        if self.what == "many alike":
            return values_of((self.dtype, self.shape, self.axis, self.descending), seed)
        random = np.random.default_rng(seed)
        x = np.full(self.shape, 3.0)
        if self.what == "apart":
            x = random.standard_normal(self.shape) * 30
        elif self.what == "close":  # they differ by their last bits alone
            x = 1 + random.integers(0, 1 << 16, self.shape) * 2.0 ** (-23 if self.dtype.itemsize == 4 else -52)
        elif self.what == "in turn":
            x = np.arange(x.size).reshape(self.shape) % 8.0
        elif self.what == "mostly close":
            x = 1 + random.integers(0, 1 << 16, self.shape) * 2.0**-23
            x[..., ::20] = random.standard_normal(x[..., ::20].shape)
        elif self.what == "mostly alike":
            x[..., ::50] = 2
        x = x if self.dtype.kind in "fi" else np.abs(x)
        return np.asarray(x).astype(self.dtype.numpy)

    @property
    def params(self) -> dict[str, Any]:
        return {"axis": self.axis, "start": self.start, "count": self.count, "descending": self.descending}


def call_of(case: Case) -> Positions:
    return Positions("ranked", TensorType(case.dtype, case.shape), case.params)


def plan_of(cases: Sequence[Case]) -> Plan:
    """A plan that selects of a tensor for each case."""
    return positions.plan_of([call_of(case) for case in cases])


def run(cases: Sequence[Case], orders: Sequence[str] = ORDERS) -> None:
    """Run a plan in the emulator and compare with the operator's eager rule."""
    positions.check([call_of(case) for case in cases], [case.values() for case in cases], orders)


WHAT = ("many alike", "apart", "close", "all alike")
#: A block a row: with few elements and with many.
ROWS = (
    *(Case(dt.float32, (2, 1100), 1, start, count, what != "close", what)
      for what in WHAT for start, count in ((0, 7), (0, 275), (550, 1), (1099, 1))),
    Case(dt.float32, (2, 4999), 1, 0, 1000, True),
    Case(dt.int64, (4801, 2), 0, 2000, 1, True),
    Case(dt.float64, (3, 1025, 2), 1, 0, 50, False, "close"),
    Case(dt.float32, (2, 1300), 1, 0, 275, False, "mostly close"),
    Case(dt.float32, (2, 1300), 1, 0, 275, False, "mostly alike"),
    Case(dt.uint8, (1, 4200), 1, 525, 1, False, "in turn"),
)  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("order", ORDERS)
def test_a_block_a_row(order: str) -> None:
    plan = plan_of(ROWS)
    assert len(render(plan, "sm_90").steps) == len(ROWS)
    run(ROWS, [order])


@needs_compiler
def test_every_dtype() -> None:
    run([Case(d, (2, 1031), 1, s, c, d.kind != "f") for d in dt.IN_KERNELS for s, c in ((0, 9), (500, 1))], ["random"])


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of several blocks that are not long: chunks and tiles enough, the last of them short."""
    monkeypatch.setattr(cuda_select, "LONG_ROW", 1024)
    monkeypatch.setattr(cuda_select, "COUNTED", 4)
    monkeypatch.setattr(cuda_select, "ITEMS", 4)
    monkeypatch.setattr(cuda_select, "LONG_ITEMS", 2)
    monkeypatch.setattr(cuda_sort_digits, "COUNTING", 6)


PARTS = (
    *(Case(dt.float32, (2, 2500), 1, start, count, what != "close", what)
      for what in WHAT for start, count in ((0, 7), (0, 601), (1250, 1))),
    Case(dt.int64, (2, 1301, 2), 1, 0, 50, True),
    Case(dt.float16, (2049,), 0, 0, 1, True),
    Case(dt.uint8, (1500, 2), 0, 700, 1),
)  # fmt: skip


@needs_compiler
@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("order", ORDERS)
def test_several_blocks_a_row(order: str) -> None:
    run(PARTS, [order])


@needs_compiler
@pytest.mark.usefixtures("short")
def test_more_than_a_block_sorts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_select, "MARKED", 1)
    monkeypatch.setattr("tracec.codegen.cuda_sort.SHORT_ROW", 256)
    run([Case(dt.float32, (2, 4097), 1, 0, 1000, True), Case(dt.bfloat16, (3000,), 0, 0, 300)], ["random"])


@needs_compiler
@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("dtype", dt.IN_KERNELS, ids=str)
def test_several_blocks_of_every_dtype(dtype: DType) -> None:
    run([Case(dtype, (2, 1300), 1, s, c, dtype.kind == "f") for s, c in ((0, 9), (500, 1))], ["descending"])


def launches(case: Case) -> list[str]:
    program = render(plan_of([case]), "sm_90")
    return [k.entries[s.entry].name for k in program.kernels for s in program.steps if isinstance(s, CudaLaunch)]


@pytest.mark.parametrize(
    "case, count, selected",
    [
        (Case(dt.float32, (8, 50257), 1, 0, 50, True), 1, False),
        (Case(dt.float32, (8, 50257), 1, 0, 4096, True), 6, True),
        (Case(dt.float32, (8, 50257), 1, 0, 5000, True), 6, False),
        (Case(dt.float32, (1 << 22,), 0, 0, 5000, True), 11, True),
        (Case(dt.float32, (1, 1 << 20), 1, 0, 50, True), 6, True),
        (Case(dt.float32, (1, 1 << 20), 1, 500, 1), 5, True),
        (Case(dt.bfloat16, (1, 1 << 20), 1, 0, 50, True), 5, True),
        (Case(dt.float32, (500, 1 << 20), 1, 0, 50, True), 1, False),
        (Case(dt.float32, (8, 1000), 1, 0, 10), 1, False),
        (Case(dt.float32, (8, 50257), 1, 0, 40000), 6, False),
        (Case(dt.float32, (8, 50257), 1, 7, 20), 6, False),
        (Case(dt.float32, (8, 50257), 1, 7, 0), 0, False),
    ],
    ids=str,
)
def test_launches(case: Case, count: int, selected: bool) -> None:
    found = launches(case)
    assert len(found) == count
    assert any("count0" in name for name in found) == selected


def program_of(f: Any, x: tracec.Tensor) -> Any:
    plan = cuda_plan(tracec.trace(f, x))
    return plan, render(plan, "sm_90")


FOLLOWED = {
    "topk": (lambda x: x.topk(9, dim=1), (3, 1500)),
    "topk of columns": (lambda x: x.topk(9, dim=0, largest=False), (1500, 3)),
    "threshold": (lambda x: x.topk(9, dim=1).values[:, -1:] * 2, (3, 1500)),
    "kth": (lambda x: x.kthvalue(700, dim=1), (3, 1500)),
    "topk of short rows": (lambda x: x.topk(9, dim=1), (3, 70)),
    "topk of the second of three": (lambda x: x.topk(4, dim=1), (2, 1100, 3)),
    "kth of the second of three": (lambda x: x.kthvalue(4, dim=1), (2, 1100, 3)),
}


@needs_compiler
@pytest.mark.parametrize("what", FOLLOWED)
@pytest.mark.parametrize("parts", [False, True])
def test_a_selection_does_what_follows(what: str, parts: bool, request: pytest.FixtureRequest) -> None:
    if parts:
        request.getfixturevalue("short")
    f, shape = FOLLOWED[what]
    x = tracec.tensor(values_of((dt.float32, shape, 0, False)))
    plan, program = program_of(f, x)
    assert len(program.kernels) == 1
    wanted = f(x)
    wanted = list(wanted) if isinstance(wanted, tuple) else [wanted]
    for want, have in zip(wanted, load(plan, program, "random")([x.numpy()]), strict=True):
        np.testing.assert_array_equal(numbers(have), numbers(want.numpy()))


SOURCES = {
    "row": Case(dt.float32, (8, 50257), 1, 0, 50, True),
    "one": Case(dt.int64, (8, 2000), 1, 999, 1),
    "parts": Case(dt.float32, (1, 1 << 20), 1, 0, 50, True),
}


@pytest.mark.parametrize("what", SOURCES)
def test_source(golden: Any, what: str) -> None:
    (kernel,) = render(plan_of([SOURCES[what]]), "sm_90").kernels
    assert kernel.source.removesuffix("\n") == golden


@pytest.mark.parametrize(
    "arch", ["sm_90", pytest.param("sm_80", marks=pytest.mark.slow), pytest.param("sm_100", marks=pytest.mark.slow)]
)
def test_no_spills(arch: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cupy")
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    cases = [
        *SOURCES.values(), Case(dt.float64, (500, 50257), 1, 0, 1000), Case(dt.int64, (1 << 20,), 0, 0, 50),
        Case(dt.bfloat16, (1, 1 << 20), 1, 77, 1), Case(dt.float64, (1, 1 << 20), 1, 77, 1),
        Case(dt.float32, (1 << 18, 1 << 15), 0, 0, 50), Case(dt.uint8, (3000,), 0, 0, 50),
    ]  # fmt: skip
    assert not positions.spilling([call_of(case) for case in cases], arch)
