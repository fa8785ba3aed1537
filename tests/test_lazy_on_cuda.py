"""Functions that no program stands in for, on tensors of a pretended GPU: what they compute is compiled in parts."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracec
import tracec.nn.functional as F
from tests.codegen.emulated import needs_compiler
from tests.doubles import cupy as double
from tests.doubles.driver import Driver, pretended
from tests.footguns.harness import FOOTGUNS, ON_THE_CPU, Footgun, check_on_gpu
from tests.lazy import Step, compiled_parts, lazily, numbers, without_values
from tracec.record import deferred
from tracec.record.create import of_array

pytestmark = needs_compiler

for path in sorted((Path(__file__).parent / "footguns").glob("[!_]*.py")):
    if path.stem != "harness" and not path.stem.startswith("test_"):
        import_module(f"tests.footguns.{path.stem}")


@pytest.fixture(autouse=True)
def driver() -> Iterator[Driver]:
    with pretended() as made, without_values():
        yield made
        tracec.set_default_device(None)


def on_gpu(*shape: int, seed: int = 0) -> Any:
    return numbers(*shape, seed=seed).to("cuda")


def same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found.detach().cpu().numpy(), expected.detach().cpu().numpy(), rtol=1e-5, atol=1e-6)


ON_BOTH = [f for f in FOOTGUNS if f.name not in ON_THE_CPU]


@pytest.mark.parametrize("one", ON_BOTH[::12], ids=lambda f: f.name)
def test_footguns(one: Footgun) -> None:
    check_on_gpu(one, lazily)


@pytest.mark.slow
@pytest.mark.parametrize("one", ON_BOTH, ids=lambda f: f.name)
def test_all_footguns(one: Footgun) -> None:
    check_on_gpu(one, lazily)


def test_a_function_that_reads_the_clock_runs_compiled(driver: Driver) -> None:
    def function(x: Any) -> Any:
        assert time.time() > 0
        return (x @ x).relu().softmax(-1), x.t() + 1

    compiled, x = tracec.compile(function), on_gpu(7, 7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for k in range(8):
            driver.log.clear()
            for a, b in zip(compiled(x * k), function(x * k), strict=True):
                same(a, b)
                assert a.stride() == b.stride() and a.device == "cuda:0"
    assert compiled_parts(compiled) >= 4 and driver.log


@pytest.mark.parametrize("draws", [False, True])
def test_a_train_step(draws: bool) -> None:
    def made() -> Step:
        step = Step(draws)
        step.model.to("cuda")
        step.optimizer = tracec.optim.AdamW(step.model.parameters(), lr=0.01)
        return step

    eager, step = made(), made()
    compiled = lazily(step.__call__)
    for k in range(9):
        x, y = on_gpu(8, 5, seed=k), (tracec.arange(8) % 3).to("cuda")
        tracec.manual_seed(k)
        expected = eager(x, y)
        tracec.manual_seed(k)
        same(compiled(x, y), expected)
    for a, b in zip(step.model.state_dict().values(), eager.model.state_dict().values(), strict=True):
        np.testing.assert_allclose(a.cpu().numpy(), b.cpu().numpy(), rtol=1e-5, atol=1e-7)
    assert compiled_parts(compiled) >= 12


def test_both_devices_in_one_function() -> None:
    def function(x: Any, y: Any) -> Any:
        a, b = x * 2 + 1, y * 3 - 1
        c = (a.sum() * 2).cpu() + b  # a copy to the CPU has values
        d = x + tracec.tensor(2.0)  # a number on the CPU goes along
        x.mul_(0.5)
        y.add_(d.cpu())
        return a, b, c, d.copy_(y), x + 1

    compiled = lazily(function)
    for k in range(5):
        x, y = on_gpu(5, seed=k), numbers(5, seed=k + 9)
        given = x.clone(), y.clone()
        for a, b in zip((*compiled(x, y), x, y), (*function(*given), *given), strict=True):
            same(a, b)
            assert a.device == b.device
    assert compiled_parts(compiled) >= 6


def test_gradients_through_both_devices() -> None:
    def function(w: Any, x: Any) -> Any:
        loss = ((x * w).sum().cpu() * 2 + (w.cpu() ** 2).sum()).to("cuda") * 3
        loss.backward()
        return loss

    compiled = lazily(function)
    for k in range(4):
        w, v = (on_gpu(6, seed=2).requires_grad_() for _ in range(2))
        same(compiled(w, on_gpu(6, seed=k)), function(v, on_gpu(6, seed=k)))
        same(w.grad, v.grad)


# Streams, memory, and others that look at it ----------------------------------------------------------


def test_work_goes_to_the_stream_it_was_asked_for_in(driver: Driver) -> None:
    other = double.Stream(77)

    def function(x: Any) -> Any:
        a = (x * 2 + 1).relu()
        with other:  # CuPy's own: nothing tells of it
            b = (x.sigmoid() * 3).relu()
        return a, b, (x - 5).exp() * 2

    compiled, x = lazily(function), on_gpu(9)
    for _ in range(4):
        driver.streams.clear()
        for a, b in zip(compiled(x), function(x), strict=True):
            same(a, b)
    assert driver.streams == [0, 77, 0]


def test_a_copy_that_comes_first_goes_to_its_device_and_stream() -> None:
    with deferred.Deferred(lambda steps: None) as here:
        on_gpu(3, 4).t().reshape(-1)
        assert [step[0] for step in here.steps if step[0] != deferred.LOOK] == [deferred.COMPUTED]
        assert here._device == "cuda:0" and here._stream is not None


def test_an_event_is_recorded_behind_what_was_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def record(self: Any, stream: Any) -> None:
        seen.append(any(made._without for made in deferred.ACTIVE))

    monkeypatch.setattr("tests.doubles.driver.Event.record", record)

    def function(x: Any) -> Any:
        y = x * 2
        tracec.cuda.Event().record()
        return y + 1

    compiled, x = lazily(function), on_gpu(3)
    for _ in range(3):
        same(compiled(x), x * 2 + 1)
    assert seen == [False] * 3


def test_little_memory_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    settle = deferred.Deferred.settle

    def noted(self: Any, *args: Any, **kwargs: Any) -> None:
        held.append(self._taken)
        settle(self, *args, **kwargs)

    monkeypatch.setattr(deferred.Deferred, "settle", noted)
    monkeypatch.setattr(deferred, "_MOST_MEMORY", 8 * 400 / 2**40)  # the device has 2⁴⁰ bytes

    def function(x: Any) -> Any:
        for k in range(40):
            x = x * 1.5 - k
        return x

    compiled, x = lazily(function), on_gpu(100)
    for _ in range(4):
        same(compiled(x), function(x))
    assert max(held) == 8 * 400
    assert compiled_parts(compiled) >= 20


def test_memory_is_made_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    empty, left = deferred.empty, [3]

    def scarce(*args: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise MemoryError
        return empty(*args)

    monkeypatch.setattr(deferred, "empty", scarce)

    def function(x: Any) -> Any:
        return (x * 2 + 1).relu().exp()

    compiled, x = lazily(function), on_gpu(10)
    for _ in range(4):
        left[0] = 3
        same(compiled(x), function(x))


def test_memory_that_others_see() -> None:
    array = double.wrapped(np.arange(6, dtype=np.float32))
    x = of_array(array)

    def function() -> Any:
        y = x * 2
        array[...] = 7  # CuPy's own write, behind the multiplication
        z = x * 2
        x.add_(1)
        return y, z, float(array[0])

    compiled = lazily(function)
    for _ in range(4):
        array[...] = np.float32(3)
        y, z, first = compiled()
        assert y.tolist() == [6.0] * 6 and z.tolist() == [14.0] * 6 and first == 8.0


def test_memory_that_is_given_away() -> None:
    def function(x: Any) -> Any:
        y = x * 2
        array = y._array
        y.data_ptr()
        found = float(array.sum())
        y.mul_(2)
        return found, float(array.sum())

    compiled, x = lazily(function), on_gpu(4)
    for _ in range(3):
        assert compiled(x) == function(x)


def test_a_loss_on_the_device() -> None:
    tracec.manual_seed(0)
    w = on_gpu(4, 3).requires_grad_()

    def function(x: Any, y: Any) -> Any:
        w.grad = None
        loss = F.cross_entropy(x @ w, y, label_smoothing=0.1)
        loss.backward()
        return loss.item(), w.grad.norm().item(), w.grad.t()

    compiled = lazily(function)
    for k in range(5):
        x, y = on_gpu(6, 4, seed=k), (tracec.arange(6) % 3).to("cuda")
        (a, b, c), (d, e, f) = compiled(x, y), function(x, y)
        assert a == pytest.approx(d, rel=1e-5) and b == pytest.approx(e, rel=1e-5) and c.stride() == f.stride()
        same(c, f)


def test_a_part_of_an_expanded_tensor_that_is_written_to() -> None:
    """On a GPU such memory may be written to: the function runs as it is written."""
    shared = on_gpu(1)[0]
    given = shared.expand(3)
    given._array._a = np.lib.stride_tricks.as_strided(shared._array._a, (3,), (0,))  # CuPy's arrays are writable
    run = tracec.compile(lambda y, to: y[1].fill_(to))
    with pytest.warns(RuntimeWarning, match="a part of an expanded tensor"):
        found = [(run(given, to), float(shared))[1] for to in (2.0, 3.0, 4.0)]
    assert found == [2.0, 3.0, 4.0]
