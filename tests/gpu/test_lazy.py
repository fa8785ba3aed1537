"""Functions that no program stands in for: what they compute on the device is compiled in parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracec
from tests.gpu.place import DEVICE, OPTIONS, fetch, put
from tests.lazy import Step, lazily, without_values
from tracec.errors import OutOfMemoryError


@pytest.fixture(autouse=True)
def _seen():
    with without_values():
        yield


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.gpu
@pytest.mark.parametrize("draws", [False, True])
def test_a_train_step(draws: bool) -> None:
    def made() -> Step:
        step = Step(draws)
        step.model.to(DEVICE)
        step.optimizer = tracec.optim.AdamW(step.model.parameters(), lr=0.01)
        return step

    eager, step = made(), made()
    compiled = lazily(step.__call__, **OPTIONS)
    for k in range(9):
        x, y = put(numbers(8, 5, seed=k)), put(np.arange(8) % 3)
        tracec.manual_seed(k)
        expected = eager(x, y)
        tracec.manual_seed(k)
        np.testing.assert_allclose(fetch(compiled(x, y)), fetch(expected), rtol=1e-4)
    for a, b in zip(step.model.state_dict().values(), eager.model.state_dict().values(), strict=True):
        np.testing.assert_allclose(fetch(a), fetch(b), rtol=1e-4, atol=1e-6)
    assert compiled._lazy.compiled >= 12


@pytest.mark.gpu
def test_views_writes_and_values() -> None:
    def function(x: Any, w: Any) -> Any:
        y = (x @ w).relu()
        y[1:, ::2] += 1
        total = float(y.sum())
        z = y.t() * total
        x.mul_(0.5)
        return z, y[0], total

    compiled = lazily(function, **OPTIONS)
    for k in range(6):
        x, w = numbers(5, 7, seed=k), numbers(7, 6, seed=9)
        given, kept = put(x), put(x)
        (a, b, c), (d, e, f) = compiled(given, put(w)), function(kept, put(w))
        assert a.stride() == d.stride() and b.stride() == e.stride()
        for found, expected in ((a, d), (b, e), (given, kept)):
            np.testing.assert_allclose(fetch(found), fetch(expected), rtol=1e-4, atol=1e-5)
        assert c == pytest.approx(f, rel=1e-4)
    assert compiled._lazy.compiled >= 6


@pytest.mark.gpu
@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU, not a rehearsal")
def test_streams_and_others_arrays() -> None:
    import cupy

    array = cupy.arange(1 << 20, dtype=cupy.float32)
    x, other = tracec.as_tensor(array, device="cuda"), tracec.cuda.Stream()
    seen = tracec.from_dlpack(array)

    def function() -> Any:
        a = (x * 2 + 1).relu()
        other.wait_stream(tracec.cuda.current_stream())
        with tracec.cuda.stream(other):
            b = (a.sigmoid() * 3).relu()
        tracec.cuda.current_stream().wait_stream(other)
        c = seen * 2
        array[...] = 7
        return a, b, (b - 5).exp(), c, seen + 1

    compiled = lazily(function)
    for _ in range(4):
        array[...] = cupy.arange(1 << 20, dtype=cupy.float32)
        found = [fetch(t) for t in compiled()]
        array[...] = cupy.arange(1 << 20, dtype=cupy.float32)
        for a, b in zip(found, function(), strict=True):
            np.testing.assert_allclose(a, fetch(b), rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU, not a rehearsal")
def test_little_memory_is_held() -> None:
    total = tracec.cuda.mem_get_info()[1]
    size = total // 40 // 4

    def function(x: Any) -> Any:
        for _ in range(60):  # one and a half times the device's memory
            x = x * 1.0
        return x

    compiled, x = lazily(function), tracec.ones(size, device=DEVICE)
    for _ in range(3):
        assert float(compiled(x).sum(dtype=tracec.float64)) == size
    with pytest.raises(OutOfMemoryError):
        lazily(lambda x: x.reshape(-1, 1) * x)(x)
    assert float(compiled(x)[:5].sum()) == 5
    del x
    tracec.cuda.empty_cache()
