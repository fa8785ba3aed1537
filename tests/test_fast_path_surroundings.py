"""The fast path of a call is taken while all around it is as it was: globals, modes, modules, memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracec
from tests.fast_paths import compare, facts, is_short, numbers, settled
from tracec import amp, func, nn
from tracec.autograd import forward_ad, graph
from tracec.record import promote
from tracec.record.state import PROCESS, STATE

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def in_a_level(call: Callable[[Any], Any], x: Any) -> Any:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(call(forward_ad.make_dual(x, tracec.ones(4)))).tangent


def in_hooks(call: Callable[[Any], Any], x: Any) -> Any:
    w = tracec.ones(4, requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: t * 2, lambda t: t):
        call(w * x).sum().backward()
    return w.grad


def within(mode: Any) -> Callable[[Callable[[Any], Any], Any], Any]:
    def run(call: Callable[[Any], Any], x: Any) -> Any:
        with mode():
            return call(x)

    return run


def of_default_dtype(call: Callable[[Any], Any], x: Any) -> Any:
    tracec.set_default_dtype(tracec.float64)
    try:
        return call(x)
    finally:
        tracec.set_default_dtype(tracec.float32)


AROUND: dict[str, Callable[[Callable[[Any], Any], Any], Any]] = {
    "no_grad": within(tracec.no_grad),
    "inference_mode": within(tracec.inference_mode),
    "autocast": within(lambda: amp.autocast("cpu", dtype=tracec.bfloat16)),
    "device": within(lambda: tracec.device("cpu")),
    "default dtype": of_default_dtype,
    "compiled": lambda call, x: tracec.compile(lambda x: call(x) * 2)(x),
    "vmap": lambda call, x: func.vmap(call)(tracec.stack([x, x * 2])),
    "grad": lambda call, x: func.grad(lambda x: call(x).sum())(x),
    "hessian": lambda call, x: func.hessian(lambda x: call(x).sum())(x),
    "jvp": lambda call, x: func.jvp(call, (x,), (tracec.ones(4),))[1],
    "dual level": in_a_level,
    "hooks of what is saved": in_hooks,
}


@pytest.mark.parametrize("around", AROUND)
def test_modes_around(around: str) -> None:
    def fn(x: Any) -> Any:
        return x.reshape(2, 2) @ x.reshape(2, 2) + tracec.zeros(2, 2) if x.ndim == 1 and x.shape[0] == 4 else x * x

    x = numbers(4)
    compiled = settled(fn, x)
    run = AROUND[around]
    for _ in range(3):
        expected, found = run(fn, x), run(compiled, x)
        assert facts(found) == facts(expected)
        assert np.allclose(
            found.detach().numpy(), expected.detach().numpy(), rtol=1e-2 if around == "autocast" else 1e-6
        )
        compare(compiled, x)


@pytest.mark.parametrize("around", ["no_grad", "device", "default dtype", "autocast"])
def test_modes_that_a_program_hangs_on(around: str) -> None:
    x = numbers(4)
    compiled = settled(lambda x: x * 2, x)
    seen = []
    AROUND[around](lambda x: seen.append(is_short(compiled, x)), x)
    assert seen == [False] and is_short(compiled, x)


@pytest.mark.parametrize("mode", ["recorder", "duals", "packing", "as_written", "device", "devices"])
def test_modes_that_let_a_function_run_otherwise(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = numbers(4)
    compiled = settled(lambda x: x * 2, x)
    monkeypatch.setattr(STATE, mode, object())
    assert not is_short(compiled, x)


def test_every_mode_in_the_key_of_a_call_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    x, seen = numbers(4), []
    compiled = settled(lambda x: x * 2, x)
    key = compiled._call((x,), {}).whole
    for holder, names in ((STATE, STATE.modes()), (PROCESS, vars(PROCESS)), (promote, {"DEFAULT_FLOAT": 0})):
        for name in names:
            with monkeypatch.context() as patch:
                patch.setattr(holder, name, (object(),))
                if compiled._call((x,), {}).whole != key:
                    seen.append(name)
                    assert not is_short(compiled, x)
    assert {"grad", "autocast", "device", "devices", "generators", "any_order", "DEFAULT_FLOAT"} <= {*seen}


def test_sums_in_any_order() -> None:
    x = numbers(4)
    compiled = settled(lambda x: x.sum(), x)
    before = tracec.get_deterministic_debug_mode()
    tracec.use_deterministic_algorithms(False)
    try:
        assert PROCESS.any_order and not is_short(compiled, x)
        compare(compiled, x)
    finally:
        tracec.set_deterministic_debug_mode(before)
        PROCESS.any_order = False
    assert not PROCESS.any_order and is_short(compiled, x)


GLOBAL = 2.0


@pytest.mark.parametrize("value", [3.0, 2, "missing"])
def test_a_global(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = numbers(3)
    compiled = settled(lambda x: x * GLOBAL, x)
    if value == "missing":
        monkeypatch.delitem(globals(), "GLOBAL")
        with pytest.raises(NameError):
            compiled(x)
        return
    monkeypatch.setitem(globals(), "GLOBAL", value)
    assert not is_short(compiled, x)
    for _ in range(3):
        compare(compiled, x)
    monkeypatch.undo()
    compare(compiled, x)


def test_a_cell() -> None:
    factor, x = 2.0, numbers(3)
    compiled = settled(lambda x: x * factor, x)
    factor = 3.0
    assert not is_short(compiled, x)
    compare(compiled, x)
    factor = 5.0
    for _ in range(3):
        compare(compiled, x)


def test_a_module() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    model.eval()
    x = numbers(2, 3)
    compiled = settled(lambda x: model(x).detach(), x)
    with tracec.no_grad():
        model[0].weight.fill_(1.0)
    assert is_short(compiled, x)
    compare(compiled, x)
    model[0].weight.data = tracec.zeros(3, 3)
    compare(compiled, x)
    model[0].weight = nn.Parameter(tracec.ones(3, 3))
    assert not is_short(compiled, x)
    compare(compiled, x)
    model.train()
    assert not is_short(compiled, x)
    model.eval()
    compare(compiled, x)


def test_a_tensor_from_around_that_is_another_each_time() -> None:
    w, x = numbers(4), numbers(4)
    compiled = tracec.compile(lambda x: x * w)
    for k in range(6):
        w = numbers(4, seed=k)
        compare(compiled, x)
    assert compiled._known.count < 4


class Slotted:
    __slots__ = ("factor",)


class Mapped(dict):  # type: ignore[type-arg]
    pass


def test_what_cannot_be_looked_at_quickly() -> None:
    slotted, mapped, x = Slotted(), Mapped(factor=2.0), numbers(4)
    slotted.factor = 2.0
    for f in (lambda x: x * slotted.factor, lambda x: x * mapped["factor"]):
        compiled = tracec.compile(f)
        for factor in (2.0, 2.0, 2.0, 3.0, 2.0):
            slotted.factor = mapped["factor"] = factor
            compare(compiled, x)


def test_a_tensor_from_around_that_is_an_argument_too() -> None:
    w = numbers(4)

    def fn(x: Any) -> Any:
        x += 1
        return x * w

    compiled = settled(fn, numbers(4))
    assert compiled(w).tolist() == ((numbers(4) + 1) * (numbers(4) + 1)).tolist()
    assert compiled(numbers(4)).tolist() == ((numbers(4) + 1) * w).tolist()


def test_a_value_that_is_asked_for() -> None:
    compiled = tracec.compile(lambda x: x * 2 if x.sum().item() > 0 else x - 1)
    for sign in (1, 1, 1, -1, -1, 1, -1):
        compare(compiled, tracec.ones(3) * sign)


def test_random_numbers_go_on() -> None:
    x = numbers(3)
    compiled = tracec.compile(lambda x: x + tracec.rand(3))
    tracec.manual_seed(0)
    found = [compiled(x).tolist() for _ in range(5)]
    tracec.manual_seed(0)
    assert found == [compiled.fn(x).tolist() for _ in range(5)]
