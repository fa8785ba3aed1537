"""Eager steps that run at once: to the last bit what the same operators give one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracec
from tests.record.test_compositions import one_by_one, python_calls
from tracec import nn

SHAPES = [(3, 4), (7,), (), (1, 1), (0, 3), (300, 200)]
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.0, "maximize": True}),
    ("AdamW", {"amsgrad": True}),
    ("AdamW", {"betas": (0.0, 0.9)}),
    ("Adam", {"betas": (0.9, 0.0), "lr": 1}),
    ("Adam", {"weight_decay": 0.1, "amsgrad": True}),
    ("SGD", {"weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "maximize": True}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "dampening": 0.2}),
    ("SGD", {"dampening": 0.2}),
    ("RMSprop", {"weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "maximize": True}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.1}),
    ("NAdam", {"weight_decay": 0.1}),
    ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {"betas": (0.9, 0.7)}),  # scaled from the second step on
    ("RAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"betas": (0.9, 0.6)}),  # whose longest average is of 4 steps, where its formula divides by 0
    ("Adamax", {"weight_decay": 0.1, "maximize": True}),
    ("Adadelta", {"lr": 1, "weight_decay": 0.1}),
    ("Rprop", {"maximize": True}),
    ("ASGD", {"t0": 1.0, "lambd": 0.1, "weight_decay": 0.1}),
]


def trained(name: str, options: dict[str, Any], dtype: Any) -> tuple[list[bytes], list[int]]:
    """Bytes and versions of parameters and their state after some steps."""
    rng = np.random.default_rng(0)
    parameters = [nn.Parameter(tracec.tensor(rng.standard_normal(s).astype(dtype))) for s in SHAPES]
    optimizer = getattr(tracec.optim, name)(parameters, **{"lr": 0.01, **options})
    for k in range(4):
        for p in parameters:
            p.grad = tracec.tensor(rng.standard_normal(p.shape).astype(dtype)) if k != 2 or p.ndim else None
        if k:
            optimizer.param_groups[0]["lr"] = 0.01 / k
        optimizer.step()
    kept = [*parameters, *(x for p in parameters for x in optimizer.state[p].values())]
    return [x.detach().numpy().tobytes() for x in kept], [x._version for x in kept]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_the_same_to_the_last_bit(
    name: str, options: dict[str, Any], dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = trained(name, options, dtype)
    one_by_one(monkeypatch)
    assert found == trained(name, options, dtype)


def one(name: str = "AdamW", **options: Any) -> tuple[Any, Any]:
    p = nn.Parameter(tracec.linspace(-1, 1, 6))
    return p, getattr(tracec.optim, name)([p], **{"lr": 0.1, **options})


@pytest.mark.parametrize("name", sorted({name for name, _ in OPTIONS}))
def test_memory_that_is_shared(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> list[Any]:
        p, optimizer = one(name=name)
        p.grad = p.detach()
        optimizer.step()
        whole = tracec.linspace(-1, 1, 8)
        a, b = nn.Parameter(whole[:5]), nn.Parameter(whole[3:])
        other = getattr(tracec.optim, name)([a, b], lr=0.1)
        a.grad, b.grad = tracec.ones(5), whole[:5]
        other.step()
        return [p.tolist(), whole.tolist()]

    at_once = found()
    one_by_one(monkeypatch)
    assert at_once == found()


@pytest.mark.parametrize("name", sorted({name for name, _ in OPTIONS}))
def test_learning_rates_that_are_tensors(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> list[Any]:
        lr = tracec.tensor(0.1)
        p, optimizer = one(name, lr=lr)
        for _ in range(3):
            p.grad = tracec.linspace(1, -1, 6)
            optimizer.step()
            lr.mul_(0.5)
        return p.tolist()  # type: ignore[no-any-return]

    at_once = found()
    one_by_one(monkeypatch)
    assert at_once == found()


def test_values_that_gradients_still_need_are_kept() -> None:
    p, optimizer = one(name="SGD")
    before = p.detach().clone()
    loss = (p * p).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    p.grad = None
    loss.backward()
    assert np.allclose(p.grad.numpy(), 2 * before.numpy())


def test_steps_in_inference_mode_are_refused_as_ever() -> None:
    with tracec.inference_mode():
        p = nn.Parameter(tracec.ones(3))
    optimizer = tracec.optim.SGD([p], lr=0.1)
    p.grad = tracec.ones(3)
    with pytest.raises(tracec.errors.GradientError, match="inference tensor outside InferenceMode"):
        optimizer.step()


def test_a_step_calls_no_operator_for_each_parameter() -> None:
    tracec.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(8)])
    # From 70 of SGD to 410 of NAdam operator by operator.
    for name, most in (
        ("AdamW", 26), ("SGD", 13), ("RMSprop", 22), ("Adagrad", 28), ("NAdam", 42), ("RAdam", 28), ("Adamax", 28),
        ("Adadelta", 22), ("Rprop", 26), ("ASGD", 42),
    ):  # fmt: skip
        optimizer = getattr(tracec.optim, name)(model.parameters(), lr=0.1)
        model(tracec.ones(2, 4)).sum().backward()
        optimizer.step()
        optimizer.step()
        assert python_calls(optimizer.step) <= most * 16
