"""RAdam: Adam whose scaling waits until its variance is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracec import ops
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_betas, check_no_differentiable, check_option
from tracec.optim.updates import Found, Group, Named, Schedule, Update, bias_correction, counts, log_of
from tracec.record.tensor import Tensor


class RAdam(Optimizer):
    """Adam with its adaptive learning rate rectified, and left out in the first steps.

    With ``ρ∞ = 2 / (1 - β2) - 1`` and ``ρ = ρ∞ - 2 t β2^t / (1 - β2^t)``: where ``ρ > 5``, Adam's step times
    ``sqrt((ρ - 4) (ρ - 2) ρ∞ / ((ρ∞ - 4) (ρ∞ - 2) ρ))``; before that, a step along the mean gradient.

    Args:
        params: Tensors to optimise, or dictionaries of groups.
        lr: Learning rate, a number or a tensor with no dimensions.
        betas: β1 and β2.
        eps: Added to the denominator.
        weight_decay: Factor of an L2 penalty; of the decay itself where it is decoupled.
        decoupled_weight_decay: Whether weights decay by ``1 - lr weight_decay`` apart from the gradient.
        foreach: Taken as in PyTorch, with no effect.
        maximize: Whether to go up instead of down.
        capturable: Taken as in PyTorch, with no effect: steps are always counted in tensors.
        differentiable: Only False is supported.

    Raises:
        ArgumentError: an option is out of range.

    Source: Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2019, algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        for what, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            check_option("RAdam", what, value)
        check_betas("RAdam", betas)
        check_no_differentiable("RAdam", differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def needed(self, group: Group) -> Sequence[str]:
        """The count of steps and the running estimates."""
        return "step", "exp_avg", "exp_avg_sq"

    def update(self, group: Group, params: Found) -> None:
        """One step for each parameter."""
        beta1, beta2 = group["betas"]
        longest = 2.0 / (1.0 - beta2) - 1.0
        numbers = {
            "lr": group["lr"], "log_beta1": log_of(beta1), "log_beta2": log_of(beta2), "beta2": beta2,
            "longest": longest, "bound": (longest - 4.0) * (longest - 2.0),
        }  # fmt: skip
        scales = _SCALES(counts(params), params, numbers)
        numbers = {"new": 1.0 - beta1, "beta2": beta2, "new2": 1.0 - beta2, "eps": group["eps"]}
        _UPDATE(group, params, ("exp_avg", "exp_avg_sq"), numbers, scales)


def _scales(step: Any, by: Named) -> Named:
    """The size of a step along the mean, and what it is scaled by, where it is: 0 elsewhere."""
    bias = bias_correction(step, by["log_beta2"])
    length = by["longest"] - 2.0 * step * ops.pow(by["beta2"], step) / bias
    # Below 5 the rectification may be the root of a negative number, which `where` would not keep out.
    safe = ops.maximum(length, 5.0)
    rectified = ops.sqrt((safe - 4.0) * (safe - 2.0) * by["longest"] / (safe * by["bound"])) * ops.sqrt(bias)
    return {
        "size": by["lr"] / bias_correction(step, by["log_beta1"]),
        "scale": ops.where(ops.gt(length, 5.0), rectified, 0.0),
    }


def _updated(p: Any, g: Any, state: Named, by: Named) -> tuple[Any, Named]:
    mean = state["exp_avg"] + (g - state["exp_avg"]) * by["new"]
    square = state["exp_avg_sq"] * by["beta2"] + g * g * by["new2"]
    scaled = mean * (by["scale"] / (ops.sqrt(square) + by["eps"]))
    direction = ops.where(ops.gt(by["scale"], 0.0), scaled, mean)
    return p - direction * by["size"], {"exp_avg": mean, "exp_avg_sq": square}


_SCALES = Schedule(_scales, gives=("size", "scale"))
_UPDATE = Update(_updated)
