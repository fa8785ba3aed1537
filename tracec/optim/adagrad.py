"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracec import ops
from tracec.functions import full_like
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_no_differentiable, check_option
from tracec.optim.updates import Found, Group, Named, Schedule, State, Update, counts
from tracec.record.tensor import Tensor


class Adagrad(Optimizer):
    """Steps scaled by the root of the sum of all squared gradients so far.

    With gradient g at step t: ``s = s + g²``, ``p = p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)``.

    Args:
        params: Tensors to optimise, or dictionaries of groups.
        lr: Learning rate, a number or a tensor with no dimensions.
        lr_decay: How fast the learning rate falls.
        weight_decay: Factor of an L2 penalty.
        initial_accumulator_value: What the sum of squares starts from.
        eps: Added to the denominator.
        foreach: Taken as in PyTorch, with no effect.
        maximize: Whether to go up instead of down.
        differentiable: Only False is supported.
        fused: Taken as in PyTorch, with no effect.

    Raises:
        ArgumentError: an option is negative.

    Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", 2011.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
        }
        for what, value in defaults.items():
            check_option("Adagrad", what, value)
        check_no_differentiable("Adagrad", differentiable)
        options = {"foreach": foreach, "maximize": maximize, "differentiable": differentiable, "fused": fused}
        super().__init__(params, {**defaults, **options})

    def needed(self, group: Group) -> Sequence[str]:
        """The count of steps and the sum of squares."""
        return "step", "sum"

    def init_state(self, p: Tensor, group: Group) -> State:
        """The sum of squares starts from the option."""
        return {**super().init_state(p, group), "sum": full_like(p, group["initial_accumulator_value"])}

    def update(self, group: Group, params: Found) -> None:
        """One step for each parameter."""
        sizes = _SIZES(counts(params), params, {"lr": group["lr"], "lr_decay": group["lr_decay"]})
        _UPDATE(group, params, ("sum",), {"eps": group["eps"]}, sizes)


def _size(step: Any, by: Named) -> Named:
    return {"size": by["lr"] / ((step - 1.0) * by["lr_decay"] + 1.0)}


def _updated(p: Any, g: Any, state: Named, by: Named) -> tuple[Any, Named]:
    total = state["sum"] + g * g
    return p - g / (ops.sqrt(total) + by["eps"]) * by["size"], {"sum": total}


_SIZES = Schedule(_size, gives=("size",))
_UPDATE = Update(_updated)
