"""Adamax."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracec import ops
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_betas, check_no_differentiable, check_option
from tracec.optim.updates import Found, Group, Named, Schedule, Update, bias_correction, counts, log_of
from tracec.record.tensor import Tensor


class Adamax(Optimizer):
    """Adam with the largest absolute gradient, fading, in place of the root mean square.

    ``m = β1 m + (1 - β1) g``, ``u = max(β2 u, |g| + eps)``, ``p = p - lr / (1 - β1^t) m / u``.

    Args:
        params: Tensors to optimise, or dictionaries of groups.
        lr: Learning rate, a number or a tensor with no dimensions.
        betas: β1 and β2.
        eps: Added to the absolute gradient.
        weight_decay: Factor of an L2 penalty.
        foreach: Taken as in PyTorch, with no effect.
        maximize: Whether to go up instead of down.
        differentiable: Only False is supported.
        capturable: Taken as in PyTorch, with no effect: steps are always counted in tensors.

    Raises:
        ArgumentError: an option is out of range.

    Source: Kingma, Ba, "Adam: A Method for Stochastic Optimization", 2014, algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        for what, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            check_option("Adamax", what, value)
        check_betas("Adamax", betas)
        check_no_differentiable("Adamax", differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def needed(self, group: Group) -> Sequence[str]:
        """The count of steps, the mean, and the largest gradient."""
        return "step", "exp_avg", "exp_inf"

    def update(self, group: Group, params: Found) -> None:
        """One step for each parameter."""
        beta1, beta2 = group["betas"]
        sizes = _SIZES(counts(params), params, {"lr": group["lr"], "log_beta": log_of(beta1)})
        numbers = {"new": 1.0 - beta1, "beta2": beta2, "eps": group["eps"]}
        _UPDATE(group, params, ("exp_avg", "exp_inf"), numbers, sizes)


def _size(step: Any, by: Named) -> Named:
    return {"size": by["lr"] / bias_correction(step, by["log_beta"])}


def _updated(p: Any, g: Any, state: Named, by: Named) -> tuple[Any, Named]:
    mean = state["exp_avg"] + (g - state["exp_avg"]) * by["new"]
    largest = ops.maximum(state["exp_inf"] * by["beta2"], ops.abs(g) + by["eps"])
    return p - mean / largest * by["size"], {"exp_avg": mean, "exp_inf": largest}


_SIZES = Schedule(_size, gives=("size",))
_UPDATE = Update(_updated)
