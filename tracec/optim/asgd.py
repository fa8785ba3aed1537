"""ASGD: stochastic gradient descent that averages its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracec import ops
from tracec.functions import ones_like, tensor
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_no_differentiable, check_numbers, check_option
from tracec.optim.updates import Found, Group, Named, Schedule, State, Update, counts, in_precision, keep
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
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_option("ASGD", "lr", lr)
        check_option("ASGD", "weight_decay", weight_decay)
        check_numbers("ASGD", lambd=lambd, alpha=alpha, t0=t0)
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

    def update(self, group: Group, params: Found) -> None:
        """One step for each parameter."""
        lr, lambd = group["lr"], group["lambd"]
        sizes = [{k: in_precision(state[k], p) for k in ("eta", "mu")} for p, _, state in params]
        _UPDATE(group, params, ("ax",), {"lambd": lambd}, sizes)
        numbers = {"lr": lr, "fall": lambd * lr, "alpha": group["alpha"], "t0": group["t0"]}
        keep(params, _NEXT_SIZES(counts(params), params, numbers), ("eta", "mu"))


def _updated(p: Any, g: Any, state: Named, by: Named) -> tuple[Any, Named]:
    new = p * (1.0 - by["eta"] * by["lambd"]) - g * by["eta"]
    return new, {"ax": state["ax"] + (new - state["ax"]) * by["mu"]}


def _next_sizes(step: Any, by: Named) -> Named:
    eta = by["lr"] / ops.pow(step * by["fall"] + 1.0, by["alpha"])
    return {"eta": eta, "mu": 1.0 / ops.maximum(step - by["t0"], 1.0)}


_UPDATE = Update(_updated)
_NEXT_SIZES = Schedule(_next_sizes, gives=("eta", "mu"))
