"""The fast path itself: calls on it are counted, threads have their own modes on it, and errors leave it as it was."""

from __future__ import annotations

import shutil
import sys
import threading
from typing import Any

import numpy as np
import pytest

import tracec
from tests.fast_paths import compare, is_short, numbers, settled
from tracec import nn
from tracec.specialisations import fast_path

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def test_calls_are_counted_on_either_way() -> None:
    compiled = tracec.compile(lambda x: x * 2)
    for _ in range(6):
        compiled(numbers(3))
    (found,) = next(iter(compiled._known.values()))
    assert found.hits == 5


def test_calls_that_alternate() -> None:
    compiled = tracec.compile(lambda x, n: x * n)
    for k in range(12):
        compare(compiled, numbers(3 + k % 3), k % 2)
    compiled = tracec.compile(lambda x: x * 2)
    for k in range(3 * fast_path.MOST):
        compare(compiled, tracec.ones(3, dtype=(tracec.float32, tracec.int64, tracec.float64)[k % 3]))
    assert len(compiled._known.fast_paths) == 3
    for k in range(3 * fast_path.MOST):
        compare(compiled, tracec.ones(*([2] * (k % (fast_path.MOST + 2)))))
    assert len(compiled._known.fast_paths) == fast_path.MOST


def test_threads_have_modes_of_their_own() -> None:
    x = numbers(3).requires_grad_()
    y = numbers(3)
    compiled = tracec.compile(lambda y: y * x)
    found: list[bool] = []

    def work(enabled: bool) -> None:
        with tracec.set_grad_enabled(enabled):
            for _ in range(200):
                found.append(compiled(y).requires_grad is enabled)

    threads = [threading.Thread(target=work, args=(k % 2 == 0,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 800 and all(found)


def test_a_thread_that_has_set_no_mode_yet() -> None:
    x = numbers(3)
    compiled = settled(lambda x: x * 2, x)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append((is_short(compiled, x), compiled(x).tolist())))
    thread.start()
    thread.join()
    assert found == [(True, (x * 2).tolist())]


def test_attributes_that_each_thread_has_of_its_own() -> None:
    own, x = threading.local(), numbers(3)
    own.factor = 2.0
    compiled = tracec.compile(lambda x: x * own.factor)
    for _ in range(4):
        compare(compiled, x)
    found: list[Any] = []

    def work() -> None:
        own.factor = 3.0
        found.extend(compiled(x).tolist() for _ in range(3))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(x * 3).tolist()] * 3
    compare(compiled, x)


def test_a_thread_that_has_left_a_mode_as_it_is() -> None:
    x = numbers(3)
    with tracec.no_grad():
        compiled = settled(lambda x: x * 2, x)
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(is_short(compiled, x)))
    thread.start()
    thread.join()
    assert found == [False]


def test_no_short_way_without_the_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracec.runtime.call_guard.host", lambda: None)
    compiled = tracec.compile(lambda x: x * 2)
    for _ in range(4):
        compare(compiled, numbers(3))
    assert compiled._known.fast_paths == ()


def test_no_short_way_where_calls_are_verified() -> None:
    compiled = tracec.compile(lambda x: x * 2, verify=True)
    for _ in range(4):
        compiled(numbers(3))
    assert compiled._known.fast_paths == ()


def test_the_profiler_sees_programs_on_the_fast_path() -> None:
    x = numbers(3)
    compiled = settled(lambda x: x.sin() * 2, x)
    with tracec.profiler.profile() as profile:
        compiled(x)
    assert "compiled program" in [e.key for e in profile.key_averages()]


def test_an_error_in_a_call_leaves_the_next_one_right() -> None:
    x = numbers(3)
    compiled = settled(lambda x: x * 2, x)
    for wrong in ((), (x, x), (x, 1)):
        with pytest.raises(TypeError):
            compiled(*wrong)
    compare(compiled, x)


def test_names_of_classes_that_code_reads_leave_calls_short() -> None:
    class Settings:
        def __repr__(self) -> str:
            return type(self).__qualname__ + str(type(self).__doc__)

    settings = Settings()
    compiled = settled(lambda x: x * len(repr(settings)), numbers(3))
    Settings.__qualname__ = "Other"
    assert not is_short(compiled, numbers(3))
    compare(compiled, numbers(3))


def trainer(optimizer: str, compiled: bool) -> tuple[Any, Any, Any]:
    """A step of a small network's training, its parameters and its optimiser."""
    tracec.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    options: dict[str, Any] = {"momentum": 0.9} if optimizer == "SGD" else {}
    made = getattr(tracec.optim, optimizer)(model.parameters(), lr=1e-2, **options)

    def step(x: Any, y: Any) -> Any:
        made.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        made.step()
        return loss

    return tracec.compile(step) if compiled else step, list(model.parameters()), made


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_train_steps_take_the_short_way(optimizer: str) -> None:
    """An optimiser keeps its state by parameter: whether the tensors of a call are such keys is asked by itself."""
    run, parameters, _ = trainer(optimizer, compiled=True)
    eager, expected, _ = trainer(optimizer, compiled=False)
    for k in range(8):
        x, y = numbers(4, 6, seed=k), numbers(4, 3, seed=99 - k)
        assert np.allclose(run(x, y).item(), eager(x, y).item(), rtol=1e-5)
    assert is_short(run, x, y)
    for p, q in zip(parameters, expected, strict=True):
        assert np.allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-4, atol=1e-6)
        assert np.allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-4, atol=1e-6)
        assert p._version == q._version
    made = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal made
        made += event == "call"

    sys.setprofile(count)
    try:
        run(x, y)
    finally:
        sys.setprofile(None)
    assert made <= 30  # whatever the optimiser keeps; 57 by the slow path


def test_a_tensor_that_is_a_key_is_like_no_other() -> None:
    known, other = numbers(3), numbers(3, seed=1)
    factors = {known: 2.0}
    for first, second in ((known, other), (other, known)):
        compiled = settled(lambda x: x * factors.get(x, 3.0), first)
        for x in (first, second, first, second, second, first):
            compare(compiled, x)


def test_options_that_a_short_step_goes_by_may_change() -> None:
    run, parameters, made = trainer("AdamW", compiled=True)
    eager, expected, other = trainer("AdamW", compiled=False)
    for k in range(12):
        for of in (made, other):
            of.param_groups[0]["lr"] = 1e-2 if k < 5 else 1e-3 * k
        x, y = numbers(4, 6, seed=k), numbers(4, 3, seed=99 - k)
        run(x, y), eager(x, y)
    for p, q in zip(parameters, expected, strict=True):
        assert np.allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-4, atol=1e-6)
