"""Operators on operands that are strided in memory, and on such as have no elements; values and gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # which PyTorch's test code imports

from tests.conformance.comparison import ENTRIES, compare_sample  # noqa: E402
from tests.conformance.sweeps import Comparison, Sweep, check_list, samples_of  # noqa: E402

MOST = 3
#: PyTorch's gradient of nothing ends the process.
FATAL = {"nn.functional.pdist"}


def comparisons(info: Any, function: Any) -> Iterator[Comparison]:
    for dtype in [d for d in (torch.float32, torch.int64) if d in info.supported_dtypes("cpu")]:
        differentiable = dtype is torch.float32 and info.supports_autograd
        for sample in samples_of(info, dtype, MOST, requires_grad=differentiable):
            cases = {
                "strided": sample.noncontiguous,
                "first": lambda s=sample: without(s, 0),
                "last": lambda s=sample: without(s, -1),
            }  # type: ignore[misc]
            for case, made in cases.items():
                if info.name in FATAL and case != "strided":
                    continue
                yield case, lambda m=made, d=differentiable: compare_sample(info, function, m(), d)  # type: ignore[misc]


def without(sample: Any, axis: int) -> Any:
    """The sample with no elements along an axis of its tensors: of all that are as long there as the input."""
    first = next((t for t in (sample.input, *_inside(sample.input)) if isinstance(t, torch.Tensor) and t.ndim), None)

    def shortened(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.ndim or first is None:
            return value
        if value.shape[axis] != first.shape[axis]:
            return value
        return value.detach().narrow(axis, 0, 0).clone().requires_grad_(value.requires_grad)

    return sample.transform(shortened)


def _inside(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else ()


SWEEP = Sweep(
    "layouts", comparisons, lambda info: bool({torch.float32, torch.int64} & info.supported_dtypes("cpu")), 25
)


@pytest.mark.parametrize("name", SWEEP.parameters())
def test_agrees_with_pytorch(name: str) -> None:
    SWEEP.check(name)


def test_the_list_is_of_operators() -> None:
    check_list(SWEEP)


def test_a_function_that_reads_memory_in_order_is_found() -> None:
    def flat(x: Any) -> Any:
        return x.detach().as_strided(x.shape, x.contiguous().stride()).sin()

    _, compare = next(c for c in comparisons(ENTRIES["sin"], flat) if c[0] == "strided")
    with pytest.raises(AssertionError):
        compare()
