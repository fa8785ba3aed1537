"""``saved_tensors_hooks`` see the operands of activations that are compositions, and nothing of what is between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tracec
import tracec.nn.functional as F

ACTIVATIONS: list[Callable[[Any], Any]] = [
    F.mish, F.silu, F.gelu, F.softplus, F.elu, F.selu, F.hardswish, F.leaky_relu, F.hardtanh,
    lambda x: F.gelu(x, approximate="tanh"), lambda x: F.elu(x, 2.0), lambda x: F.softplus(x, 2.0, 5.0),
]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_only_the_operand_is_kept(activation: Callable[[Any], Any]) -> None:
    x = tracec.tensor([1.0, -2.0, 3.0, 0.5], requires_grad=True)
    kept: list[Any] = []

    def pack(t: Any) -> Any:
        kept.append(t)
        return t.tolist()

    with tracec.autograd.graph.saved_tensors_hooks(pack, tracec.tensor):
        activation(x).sum().backward()
    assert [t.tolist() for t in kept] == [x.tolist()]
    (wanted,) = tracec.autograd.grad(activation(x).sum(), x)
    assert x.grad.tolist() == pytest.approx(wanted.tolist(), rel=1e-6)  # type: ignore[union-attr]


def test_what_a_hook_gives_back_is_what_counts() -> None:
    x = tracec.tensor([1.0, -2.0], requires_grad=True)
    with tracec.autograd.graph.saved_tensors_hooks(lambda t: t * 2, lambda t: t):
        F.mish(x).sum().backward()
    twice = (x.detach() * 2).requires_grad_()
    F.mish(twice).sum().backward()
    assert x.grad.tolist() == pytest.approx(twice.grad.tolist(), rel=1e-6)  # type: ignore[union-attr]


def test_mish_under_autocast_is_of_single_precision() -> None:
    x = tracec.randn(5, dtype=tracec.bfloat16)
    with tracec.autocast("cpu"):
        found, y = F.mish(x), x.clone()
        F.mish(y, inplace=True)
    assert found.dtype is tracec.float32 and found.tolist() == F.mish(x.float()).tolist()
    assert y.tolist() == found.bfloat16().tolist()
