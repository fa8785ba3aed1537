"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracec import ops
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_no_differentiable, check_option
from tracec.optim.updates import Found, Group, Named, Update, count
from tracec.record.tensor import Tensor


class RMSprop(Optimizer):
    """Steps scaled by a running root mean square of the gradient.

    With gradient g: ``v = α v + (1 - α) g²``, ``p = p - lr g / (sqrt(v) + eps)``. Centred, the square of the
    running mean is taken off v; with momentum μ, ``b = μ b + g / (sqrt(v) + eps)`` and ``p = p - lr b``.

    Args:
        params: Tensors to optimise, or dictionaries of groups.
        lr: Learning rate, a number or a tensor with no dimensions.
        alpha: Weight of the former mean square.
        eps: Added to the denominator.
        weight_decay: Factor of an L2 penalty.
        momentum: Factor of the former direction.
        centered: Whether to scale by the deviation from the mean.
        capturable: Taken as in PyTorch, with no effect: steps are always counted in tensors.
        foreach: Taken as in PyTorch, with no effect.
        maximize: Whether to go up instead of down.
        differentiable: Only False is supported.

    Raises:
        ArgumentError: an option is negative.

    Source: Tieleman, Hinton, "Neural Networks for Machine Learning", lecture 6.5, 2012; centred: Graves,
    "Generating Sequences With Recurrent Neural Networks", 2013, eq. 38-45.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum}
        for what, value in options.items():
            check_option("RMSprop", what, value)
        check_no_differentiable("RMSprop", differentiable)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def needed(self, group: Group) -> Sequence[str]:
        """The count of steps, the mean square, and what momentum and centring take."""
        names = ["step", "square_avg"]
        if group["momentum"] > 0:
            names.append("momentum_buffer")
        if group["centered"]:
            names.append("grad_avg")
        return names

    def update(self, group: Group, params: Found) -> None:
        """One step for each parameter."""
        count(params)
        alpha, kept = group["alpha"], [name for name in self.needed(group) if name != "step"]
        numbers = {"lr": group["lr"], "alpha": alpha, "new": 1.0 - alpha, "eps": group["eps"]}
        if "momentum_buffer" in kept:
            numbers["momentum"] = group["momentum"]
        _UPDATE(group, params, kept, numbers)


def _updated(p: Any, g: Any, state: Named, by: Named) -> tuple[Any, Named]:
    after = {"square_avg": state["square_avg"] * by["alpha"] + g * g * by["new"]}
    variance = after["square_avg"]
    if "grad_avg" in state:
        mean = after["grad_avg"] = state["grad_avg"] + (g - state["grad_avg"]) * by["new"]
        variance = variance - mean * mean
    direction = g / (ops.sqrt(variance) + by["eps"])
    if "momentum_buffer" in state:
        direction = after["momentum_buffer"] = state["momentum_buffer"] * by["momentum"] + direction
    return p - direction * by["lr"], after


_UPDATE = Update(_updated)
