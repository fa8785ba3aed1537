"""Small sums that nothing waits for are one kernel on a GPU, whatever they read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen.emulated import needs_compiler


def lowered(function: Any, *sizes: int, target: str = "cuda") -> Any:
    rng = np.random.default_rng(0)
    x = tracec.from_numpy(rng.standard_normal(sizes[0]).astype(np.float32))
    others = [tracec.from_numpy(rng.integers(0, 9, n)) for n in sizes[1:]]
    return tracec.compile(function).lower(x, *others, target=target), (x, *others)


def sums(found: Any) -> int:
    """Kernels that sum anything up, or look for the largest."""
    return sum(k.shape in ("row", "full") for k in found.plan.kernels)


def separate(x: Any, i: Any) -> tuple[Any, ...]:
    return x.exp().sum(), i.min(), i.max()


@needs_compiler
@pytest.mark.parametrize("size", [1, 300, 70_001])
def test_they_are_joined(size: int) -> None:
    found, given = lowered(separate, size, size)
    assert sums(found) == sums(lowered(lambda x, i: x.exp().sum(), size, size)[0])
    total, low, high = found.run(*given, launcher="emulator")
    x, i = (t.numpy() for t in given)
    np.testing.assert_allclose(total, np.exp(x.astype(np.float64)).sum(), rtol=1e-5)
    assert (low, high) == (i.min(), i.max())


def test_on_the_cpu_they_are_not() -> None:
    assert sums(lowered(separate, 300, 300, target="cpu")[0]) == 2


def test_others_are_not() -> None:
    """What differs in size, is large, or is waited for has a kernel of its own."""
    assert sums(lowered(separate, 300, 301)[0]) == 2
    large = 1 << 19
    assert sums(lowered(separate, large, large)[0]) > sums(lowered(lambda x, i: x.exp().sum(), large, large)[0])

    def waited(x: Any, i: Any) -> tuple[Any, ...]:
        return x[:, None].expand(-1, 4000) / x.exp().sum(), i.max()

    assert sums(lowered(waited, 300, 300)[0]) == 2
