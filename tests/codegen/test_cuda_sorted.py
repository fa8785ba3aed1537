"""Sorts that do what is computed of the positions they find: in one kernel with it, and the same values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tests.codegen.test_cuda_plans import cuda_plan
from tracec.codegen import cuda_sorted
from tracec.codegen.cuda import CudaLaunch, CudaProgram, render
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.plan import Plan
from tracec.runtime.emulator import load
from tracec.runtime.emulator_launch import ORDERS


@dataclass(frozen=True)
class Case:
    """A function of one tensor, and what becomes of it.

    Attributes:
        of: The function.
        shape: Its operand's shape,
        dtype: and type.
        launches: Launches, all of them a sort's.
        stored: Whether positions are written.
    """

    of: Callable[[Any], Any]
    shape: tuple[int, ...] = (5, 70)
    dtype: DType = dt.float32
    launches: int = 1
    stored: bool = True


FOLLOWED = {
    "sort": Case(lambda x: x.sort(dim=1)),
    **{
        f"sort of long rows of {d.name}": Case(lambda x: x.sort(dim=1), (2, 4100), d, 2 + passes)
        for d, passes in (
            (dt.int64, 8),
            (dt.float64, 8),
            (dt.int8, 1),
            (dt.bfloat16, 2),
            (dt.float16, 3),
            (dt.bool_, 1),
        )
    },
    "sort of long columns": Case(lambda x: x.sort(dim=0, descending=True), (4100, 3), launches=6),
    "sort of long columns of integers": Case(lambda x: x.sort(dim=0, descending=True), (4100,), dt.int16, 4),
    "values": Case(lambda x: x.sort(dim=1, descending=True).values, stored=False),
    "values of half": Case(lambda x: x.sort(dim=1).values, dtype=dt.float16, stored=False),
    "values of rows that no shared memory holds": Case(lambda x: x.sort(dim=1).values, (2, 2100), dt.float64, 1, False),
    "arithmetic": Case(lambda x: x.sort(dim=1).values * 2 + x, stored=False),
    "arithmetic before": Case(lambda x: (x * 2).gather(1, x.argsort(dim=1)), stored=False),
    "along the first axis": Case(lambda x: x.sort(dim=0), (70, 5)),
    "along the second of three": Case(lambda x: x.sort(dim=1), (3, 40, 5)),
    "the largest": Case(lambda x: x.topk(6, dim=1)),
    "one": Case(lambda x: x.kthvalue(7, dim=1).values, stored=False),
    "some in the middle": Case(lambda x: x.sort(dim=0).values[3:9], (70, 5), stored=False),
}
ALONE = {
    "backwards": Case(lambda x: x.sort(dim=1).values.flip(1), launches=2),
    "elements of what is not sorted": Case(lambda x: x.gather(1, (x * 2).argsort(dim=1)), launches=3),
    "sums": Case(lambda x: x.sort(dim=1).values.sum(1), launches=2),
    "places alone": Case(lambda x: x.argsort(dim=1) + 1, launches=2),
    "one element": Case(lambda x: x.sort(dim=1), (5, 1), launches=2),
}


def given(case: Case) -> tracec.Tensor:
    """Elements with many ties, zeros of both signs and NaN among floats."""
    random = np.random.default_rng(1)
    x = random.integers(-9, 9, case.shape).astype(case.dtype.numpy)
    if case.dtype.kind == "f":
        x = np.where(random.random(case.shape) < 0.2, random.choice([np.nan, -0.0, np.inf], case.shape), x)
    return tracec.tensor(x.astype(case.dtype.numpy))


def programs(case: Case) -> tuple[Plan, CudaProgram]:
    plan = cuda_plan(tracec.trace(case.of, given(case)))
    return plan, render(plan, "sm_90")


def numbers(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Integers, and floats that NumPy knows, whose NaN are one."""
    if array.dtype.kind in "iub":
        return array.astype(np.int64)
    wide = array.astype(np.float64)
    return np.where(np.isnan(wide), np.nan, wide)


def check(case: Case, order: str) -> None:
    x = given(case)
    plan, program = programs(case)
    wanted = case.of(x)
    wanted = list(wanted) if isinstance(wanted, tuple) else [wanted]
    for want, have in zip(wanted, load(plan, program, order)([x.numpy()]), strict=True):
        np.testing.assert_array_equal(numbers(have), numbers(want.numpy()))
        np.testing.assert_array_equal(np.signbit(numbers(have)), np.signbit(numbers(want.numpy())))


@needs_compiler
@pytest.mark.parametrize("what", FOLLOWED)
def test_values(what: str) -> None:
    check(FOLLOWED[what], ORDERS[len(what) % 3])


@needs_compiler
@pytest.mark.parametrize("what", ALONE)
def test_values_of_what_follows_alone(what: str) -> None:
    check(ALONE[what], ORDERS[len(what) % 3])


@pytest.mark.parametrize("what", FOLLOWED)
def test_a_sort_does_what_follows(what: str) -> None:
    case = FOLLOWED[what]
    plan, program = programs(case)
    assert len(program.steps) == case.launches
    assert all(s.steps == (0, 1) for s in program.steps if isinstance(s, CudaLaunch))
    (kernel,) = program.kernels
    assert kernel.ir.shape == "sort" and len(plan.steps) == 2
    assert ("long long" in kernel.source.split("__global__")[-1].split("{")[0].replace("unsigned long long", "")) == (
        case.stored or case.dtype is dt.int64
    )


@pytest.mark.parametrize("what", ALONE)
def test_what_is_not_element_by_element_follows_alone(what: str) -> None:
    _, program = programs(ALONE[what])
    assert len(program.steps) == ALONE[what].launches


def test_much_that_follows_leaves_a_sort_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_sorted, "MOST_STATEMENTS", 2)
    _, program = programs(FOLLOWED["arithmetic"])
    assert len(program.steps) == 2


def test_source(golden: Any) -> None:
    _, program = programs(Case(FOLLOWED["sort"].of, (4, 128)))
    (kernel,) = program.kernels
    source = "\n".join(line for line in kernel.source.splitlines() if "test_cuda_sorted.py:" not in line)
    assert source == golden
