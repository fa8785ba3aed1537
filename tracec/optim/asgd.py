"""ASGD: stochastic gradient descent that averages its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracec.functions import clamp, ones_like, tensor
from tracec.functions import pow as power
from tracec.optim.optimizer import Group, Optimizer, State, check_no_differentiable, check_option, counted, gradient
from tracec.record.tensor import Tensor


class ASGD(Optimizer):
    """Gradient steps of falling size, and the average of the parameters from step ``t0`` on in the state's ``ax``.

    ``p = p (1 - λ η) - η g``; then ``ax = ax + (p - ax) μ``, ``η = lr / (1 + λ lr t)^α``, ``μ = 1 / max(1, t - t0)``.

    Args:
        params: Tensors to optimise, or dictionaries of groups.
        lr: Learning rate, a number or a tensor with no dimensions.
        lambd: λ, decay of the parameters and of the step size.
        alpha: Exponent of the step size.
        t0: Step from which parameters are averaged.
        weight_decay: Factor of an L2 penalty.
        foreach: Taken as in PyTorch, with no effect.
        maximize: Whether to go up instead of down.
        differentiable: Only False is supported.
        capturable: Taken as in PyTorch, with no effect: steps are always counted in tensors.

    Raises:
        ArgumentError: an option is out of range.

    Source: Polyak, Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; step sizes of Bottou,
    "Stochastic Gradient Descent Tricks", 2012.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_option("ASGD", "lr", lr)
        check_option("ASGD", "weight_decay", weight_decay)
        check_no_differentiable("ASGD", differentiable)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def needed(self, group: Group) -> Sequence[str]:
        """The count of steps, the present size, the weight of the average, and the average."""
        return "step", "eta", "mu", "ax"

    def init_state(self, p: Tensor, group: Group) -> State:
        """The size starts from the learning rate, the weight from 1."""
        state = super().init_state(p, group)
        first = tensor(float(group["lr"]), device=p.device)
        return {**state, "eta": first, "mu": ones_like(first)}

    def update(self, group: Group, params: list[tuple[Tensor, Tensor, State]]) -> None:
        """One step for each parameter."""
        lr, lambd = group["lr"], group["lambd"]
        steps = [counted(p, state) for p, _, state in params]
        for (p, g, state), step in zip(params, steps, strict=True):
            eta, mu = state["eta"], state["mu"]
            new = p * (1.0 - lambd * eta) - gradient(p, g, group) * eta
            state["ax"].copy_(state["ax"] + (new - state["ax"]) * mu)
            p.copy_(new)
            eta.copy_(lr / power(1.0 + lambd * lr * step, group["alpha"]))
            mu.copy_(1.0 / clamp(step - group["t0"], min=1.0))
