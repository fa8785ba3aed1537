"""Forward and backward parts that meet in one function share a kernel, and compute what they did apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracec
from tracec.build import PLANNING
from tracec.nn import functional as F
from tracec.plan import planner
from tracec.plan.planner import traffic

FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "softmax": (lambda x, w, b: F.softmax(x, dim=-1), 1),
    "log_softmax": (lambda x, w, b: F.log_softmax(x, dim=-1), 1),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (x.shape[-1],), w, b), 3),
    "rms_norm": (lambda x, w, b: F.rms_norm(x, (x.shape[-1],), w), 2),
    "gelu": (lambda x, w, b: F.gelu(x * w + b), 3),
    "attention": (lambda x, w, b: F.softmax(x @ x.t(), dim=-1) @ x, 1),
}


def both(name: str) -> Callable[..., Any]:
    f, count = FUNCTIONS[name]
    return lambda x, w, b, grad: tracec.autograd.grad(f(x, w, b), (x, w, b)[:count], grad)


def given(rows: int = 64, width: int = 33) -> list[Any]:
    tracec.manual_seed(0)
    x, w, b, grad = (tracec.randn(s) for s in ((rows, width), (width,), (width,), (rows, width)))
    return [x.requires_grad_(), w.requires_grad_(), b.requires_grad_(), grad]


def kernels(name: str, *args: Any, target: str = "cuda") -> list[str]:
    lowered = tracec.compile(both(name)).lower(*args, target=target)
    return [k.shape for k in lowered.plan.kernels]


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_softmax_and_its_gradient_are_one_kernel(target: str) -> None:
    assert kernels("softmax", *given(), target=target) == ["row"]
    assert kernels("log_softmax", *given(), target=target) == ["row"]


def test_a_norm_and_its_gradient_are_one_kernel_of_rows() -> None:
    # Sums along columns, for the gradients of weights, compute anew what they need of the rows.
    for name in ("layer_norm", "rms_norm"):
        assert kernels(name, *given()).count("row") == 1
        assert set(kernels(name, *given())) == {"row", "column"}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_nothing_more_is_read_or_written(name: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    args = given()
    plan = tracec.compile(both(name)).lower(*args, target=target).plan
    monkeypatch.setattr(planner, "undo_remat", lambda graph, partition, given: graph)
    apart = tracec.compile(both(name)).lower(*args, target=target).plan
    assert traffic(plan) <= traffic(apart)
    assert plan.memory.peak_bytes <= apart.memory.peak_bytes


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(64, 33), (1, 1), (5, 128), (257, 7)])
def test_values(name: str, shape: tuple[int, int]) -> None:
    args = given(*shape)
    expected = both(name)(*args)
    lowered = tracec.compile(both(name)).lower(*args)
    for found, want in zip(lowered.run(*args), expected, strict=True):
        np.testing.assert_allclose(found.numpy(), want.numpy(), rtol=2e-4, atol=2e-5)


def test_it_goes_with_fusion() -> None:
    assert "fuse" in PLANNING
    lowered = tracec.compile(both("softmax"), disable=["fuse"]).lower(*given())
    assert len(lowered.plan.kernels) > 1
