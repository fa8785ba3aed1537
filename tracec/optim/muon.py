"""Muon: momentum whose matrix is made orthogonal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from tracec.errors import ArgumentError
from tracec.functions import clamp, matmul, sqrt
from tracec.functions import sum as total
from tracec.functions.common import one_integer
from tracec.ir import dtype as dt
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_option, check_several
from tracec.optim.updates import Found, Group, decayed
from tracec.record.tensor import Tensor

Coefficients = tuple[float, float, float]


class Muon(Optimizer):
    """Steps along the momentum with its singular values brought near 1; for the matrices of hidden layers.

    Args:
        params: Matrices to optimise, or dictionaries of groups.
        lr: Learning rate.
        weight_decay: Factor of the decay, apart from the gradient.
        momentum: Weight of the former momentum.
        nesterov: Whether to look one step of momentum ahead.
        ns_coefficients: Coefficients of the odd polynomial of degree five that is iterated.
        eps: Least norm to divide by.
        ns_steps: Number of iterations, whose products are in bfloat16.
        adjust_lr_fn: How the rate goes with the shape: ``original`` (or None), by ``sqrt(max(1, rows / columns))``, or
            ``match_rms_adamw``, by ``0.2 sqrt(max(rows, columns))``.

    Raises:
        ArgumentError: an option is out of range, or a parameter is no matrix.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; Liu et al., "Muon is
    Scalable for LLM Training", 2025 (``match_rms_adamw``).
    """

    takes_complex = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: Coefficients = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        for what, value in (("lr", lr), ("weight_decay", weight_decay), ("momentum", momentum)):
            check_option("Muon", what, value)
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ArgumentError(
                f"Muon: adjust_lr_fn={adjust_lr_fn!r} is not supported", hint="use 'original' or 'match_rms_adamw'"
            )
        check_several("Muon", "ns_coefficients", ns_coefficients, 3)
        ns_steps = one_integer("Muon", ns_steps, "ns_steps")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        """Optimise more matrices.

        Raises:
            ArgumentError: a parameter is no matrix.
        """
        params = param_group.get("params", []) if isinstance(param_group, dict) else []
        given = [params] if isinstance(params, Tensor) else list(params)
        for p in given:
            if isinstance(p, Tensor) and p.ndim != 2:
                raise ArgumentError(
                    f"Muon: takes matrices, a parameter of shape {tuple(p.shape)} given",
                    hint="give biases, norms and embeddings to AdamW",
                )
        super().add_param_group({**param_group, "params": given} if isinstance(param_group, dict) else param_group)

    def needed(self, group: Group) -> Sequence[str]:
        """The momentum."""
        return ("momentum_buffer",)

    def update(self, group: Group, params: Found) -> None:
        """One step for each parameter."""
        keep = group["momentum"]
        for p, g, state in params:
            momentum = state["momentum_buffer"] + (g - state["momentum_buffer"]) * (1.0 - keep)
            direction = g + (momentum - g) * keep if group["nesterov"] else momentum
            step = orthogonalised(direction, group["ns_coefficients"], group["ns_steps"], group["eps"])
            p.copy_(decayed(p, group) - step.to(p.dtype) * (group["lr"] * _factor(p, group["adjust_lr_fn"])))
            state["momentum_buffer"].copy_(momentum)


def orthogonalised(x: Tensor, coefficients: Coefficients, steps: int, eps: float) -> Tensor:
    """A matrix with about the same singular vectors and singular values near 1.

    Newton-Schulz iteration of ``a X + b (X Xᵀ) X + c (X Xᵀ)² X``, along the shorter side. Products are of bfloat16,
    sums in float32.
    """
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    y = (x.t() if tall else x).to(dt.float32)
    y = y / clamp(sqrt(total(y * y)), min=eps)
    for _ in range(steps):
        gram = _product(y, y.t())
        y = a * y + _product(b * gram + c * _product(gram, gram), y)
    return y.t() if tall else y


def _product(x: Tensor, y: Tensor) -> Tensor:
    return matmul(x.to(dt.bfloat16), y.to(dt.bfloat16)).to(dt.float32)


def _factor(p: Tensor, how: str | None) -> float:
    rows, columns = p.shape
    if how == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))
