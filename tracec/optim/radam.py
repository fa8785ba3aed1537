"""RAdam: Adam whose scaling waits until its variance is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracec.functions import clamp, sqrt, where
from tracec.functions import pow as power
from tracec.optim.adam import correction
from tracec.optim.optimizer import (
    Group,
    Optimizer,
    State,
    check_betas,
    check_no_differentiable,
    check_option,
    counted,
    decayed,
    gradient,
)
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
        weight_decay: float = 0.0,
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

    def update(self, group: Group, params: list[tuple[Tensor, Tensor, State]]) -> None:
        """One step for each parameter."""
        beta1, beta2 = group["betas"]
        longest = 2.0 / (1.0 - beta2) - 1.0
        scales = []
        for p, _, state in params:
            step = counted(p, state)
            bias = correction(beta2, step)
            length = longest - 2.0 * step * power(beta2, step) / bias
            # Below 5 the rectification may be the root of a negative number, which `where` would not keep out.
            safe = clamp(length, min=5.0)
            rectified = sqrt((safe - 4.0) * (safe - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * safe))
            scales.append((group["lr"] / correction(beta1, step), length > 5.0, rectified * sqrt(bias)))
        for (p, g, state), (size, known, scale) in zip(params, scales, strict=True):
            g = gradient(p, g, group, decay=not group["decoupled_weight_decay"])
            weight = decayed(p, group) if group["decoupled_weight_decay"] else p
            mean = state["exp_avg"] + (g - state["exp_avg"]) * (1.0 - beta1)
            square = state["exp_avg_sq"] * beta2 + g * g * (1.0 - beta2)
            direction = where(known, mean * (scale / (sqrt(square) + group["eps"])), mean)
            p.copy_(weight - direction * size)
            state["exp_avg"].copy_(mean)
            state["exp_avg_sq"].copy_(square)
