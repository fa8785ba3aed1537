"""Operators on PyTorch's samples of every dtype that its database has beside float32 and int64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which PyTorch's test code imports

from tests.conformance.bridge import name_of  # noqa: E402
from tests.conformance.comparison import SINGLE, Tolerance, compare_sample  # noqa: E402
from tests.conformance.sweeps import Comparison, Sweep, check_list, samples_of  # noqa: E402

#: By how much results of each dtype may differ; 16-bit ones by some of their last bits.
TOLERANCES = {
    torch.float64: Tolerance(1e-7, 1e-9),
    torch.complex128: Tolerance(1e-7, 1e-9),
    torch.float16: Tolerance(4e-3, 2e-3),
    torch.bfloat16: Tolerance(3e-2, 2e-2),
}
#: Those that ``test_op_db`` has, and what NumPy has no arrays of.
OTHERS = {torch.float32, torch.int64, torch.complex32}
MOST = 5


def dtypes_of(info: Any) -> list[Any]:
    known = (d for d in info.supported_dtypes("cpu") if d not in OTHERS and "float8" not in name_of(d))
    return sorted(known, key=str)


def comparisons(info: Any, function: Any) -> Iterator[Comparison]:
    for dtype in dtypes_of(info):
        tolerance = TOLERANCES.get(dtype, SINGLE)
        for sample in _samples(info, dtype):
            yield name_of(dtype), lambda s=sample, t=tolerance: compare_sample(info, function, s, False, t)  # type: ignore[misc]


def _samples(info: Any, dtype: Any) -> list[Any]:
    try:
        return samples_of(info, dtype, MOST)
    except RuntimeError:
        return []  # PyTorch cannot make them


SWEEP = Sweep("dtypes", comparisons, lambda info: bool(dtypes_of(info)), every=20)


@pytest.mark.parametrize("name", SWEEP.parameters())
def test_agrees_with_pytorch(name: str) -> None:
    SWEEP.check(name)


def test_the_list_is_of_operators() -> None:
    check_list(SWEEP)
