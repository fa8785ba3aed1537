"""Adadelta."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracec import ops
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_no_differentiable, check_option
from tracec.optim.updates import Found, Group, Named, Update, count
from tracec.record.tensor import Tensor


class Adadelta(Optimizer):
    """Steps whose size is the ratio of two running root mean squares, that of the steps and that of the gradients.

    ``v = ρ v + (1 - ρ) g²``, ``d = g sqrt(u + eps) / sqrt(v + eps)``, ``u = ρ u + (1 - ρ) d²``, ``p = p - lr d``.

    Args:
        params: Tensors to optimise, or dictionaries of groups.
        lr: Factor of the step, a number or a tensor with no dimensions.
        rho: Weight of the former mean squares.
        eps: Added under the roots.
        weight_decay: Factor of an L2 penalty.
        foreach: Taken as in PyTorch, with no effect.
        capturable: Taken as in PyTorch, with no effect: steps are always counted in tensors.
        maximize: Whether to go up instead of down.
        differentiable: Only False is supported.

    Raises:
        ArgumentError: an option is out of range.

    Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_option("Adadelta", "lr", lr)
        check_option("Adadelta", "rho", rho, most=1.0)
        check_option("Adadelta", "eps", eps)
        check_option("Adadelta", "weight_decay", weight_decay)
        check_no_differentiable("Adadelta", differentiable)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def needed(self, group: Group) -> Sequence[str]:
        """The count of steps and the two mean squares."""
        return "step", "square_avg", "acc_delta"

    def update(self, group: Group, params: Found) -> None:
        """One step for each parameter."""
        count(params)
        rho = group["rho"]
        numbers = {"lr": group["lr"], "rho": rho, "new": 1.0 - rho, "eps": group["eps"]}
        _UPDATE(group, params, ("square_avg", "acc_delta"), numbers)


def _updated(p: Any, g: Any, state: Named, by: Named) -> tuple[Any, Named]:
    square = state["square_avg"] * by["rho"] + g * g * by["new"]
    delta = ops.sqrt(state["acc_delta"] + by["eps"]) / ops.sqrt(square + by["eps"]) * g
    of_deltas = state["acc_delta"] * by["rho"] + delta * delta * by["new"]
    return p - delta * by["lr"], {"square_avg": square, "acc_delta": of_deltas}


_UPDATE = Update(_updated)
