"""A loss that is a mean over the targets that count, with its gradient: the logits are read once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tracec.ir import parse
from tracec.ir.plan import LibraryCall, Plan
from tracec.nn import functional as F
from tracec.plan.early import find_early

LOSSES: dict[str, dict[str, Any]] = {
    "mean": {},
    "sum": {"reduction": "sum"},
    "smooth": {"label_smoothing": 0.1},
    "ignored": {"ignore_index": -7},
    "weight": {"weight": True},
}


def both(name: str) -> Callable[..., Any]:
    def function(x: Any, target: Any, weight: Any) -> Any:
        given = {**LOSSES[name], **({"weight": weight} if "weight" in LOSSES[name] else {})}
        loss = F.cross_entropy(x, target, **given)
        return loss, *tracec.autograd.grad(loss, (x,))

    return function


def given(*shape: int, ignored: int = -100) -> list[Any]:
    tracec.manual_seed(0)
    x = tracec.randn(shape).requires_grad_()
    target = tracec.randint(0, shape[1], (shape[0], *shape[2:]))
    if target.numel() > 1:
        target.reshape(-1)[::3] = ignored
    return [x, target, tracec.rand(shape[1])]


def ignored(name: str) -> dict[str, int]:
    return {"ignored": LOSSES[name].get("ignore_index", -100)}


def passes(plan: Plan, size: int) -> int:
    """How often a plan's steps read or write as many elements as there are logits."""
    touched = (
        v for s in plan.steps for v in ([*s.inputs, s.output] if isinstance(s, LibraryCall) else sum(s.args, ()))
    )
    return sum(plan.values[v].type.size >= size for v in touched)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(64, 1000), (8192, 64), (70_000, 10), (4, 10, 8, 8)])
def test_logits_are_read_once_and_their_gradient_written(name: str, shape: tuple[int, ...]) -> None:
    plan = tracec.compile(both(name)).lower(*given(*shape, **ignored(name)), target="cuda").plan
    # Weights of the classes of pixels lie along another axis than the reduced one's, and are gathered apart.
    assert passes(plan, int(np.prod(shape))) == 2 + (name == "weight" and len(shape) == 4)


def test_a_loss_without_its_gradient_is_as_it_was() -> None:
    def loss(x: Any, target: Any, weight: Any) -> Any:
        return F.cross_entropy(x, target)

    shapes = [k.shape for k in tracec.compile(loss).lower(*given(64, 100), target="cuda").plan.kernels]
    assert shapes == ["row", "full"]


@needs_compiler
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(17, 33), (3, 2500), (1, 3), (300, 7), (2, 5, 3, 3)])
def test_values(name: str, shape: tuple[int, ...]) -> None:
    args = given(*shape, **ignored(name))
    expected = both(name)(*args)
    for target in ("cpu", "cuda"):
        lowered = tracec.compile(both(name)).lower(*args, target=target)
        for found, want in zip(lowered.run(*args, launcher="emulator"), expected, strict=True):
            np.testing.assert_allclose(found.detach().numpy(), want.detach().numpy(), rtol=1e-4, atol=1e-6)


def early(text: str) -> tuple[list[str], list[str]]:
    found = find_early(parse(text))
    return sorted(n.op.name for n in found.nodes), sorted(n.op.name for n in found.inlined)


def test_what_hangs_on_integers_alone() -> None:
    count = """graph(%0: i64[9], %1: f32[9]) {
      %2: bool[9] = ne(%0, i64(-1))
      %3: f32[9] = where(%2, f32(1.0), f32(0.0))
      %4: f32[] = sum(%3, axes=(0,), keepdims=False)
      %5: f32[] = sqrt(%4)
      %6: f32[9] = mul(%1, %5)
      return %6
    }"""
    assert early(count) == (["sqrt", "sum"], ["ne", "where"])
    assert early(count.replace("where(%2, f32(1.0)", "where(%2, %1")) == ([], [])


def test_weights_of_classes_are_picked_by_integers() -> None:
    weights = """graph(%0: i64[9], %1: f32[5], %2: f32[9]) {
      %3: f32[9] = index(%1, %0, axes=(0,))
      %4: f32[] = sum(%3, axes=(0,), keepdims=False)
      %5: f32[9] = index(%2, %0, axes=(0,))
      %6: f32[9] = mul(%5, %4)
      return %6
    }"""
    assert early(weights) == (["sum"], ["index"])
