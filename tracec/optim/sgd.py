"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tracec import ops
from tracec.errors import ArgumentError
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_no_differentiable, check_option
from tracec.optim.updates import Found, Group, Named, Schedule, Update, counts
from tracec.record.tensor import Tensor


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum where asked for.

    With gradient g, momentum μ, dampening τ: ``b = μ b + (1 - τ) g`` (at the first step ``b = g``), then
    ``p = p - lr b``, or with Nesterov's momentum ``p = p - lr (g + μ b)``.

    Args:
        params: Tensors to optimise, or dictionaries of groups.
        lr: Learning rate, a number or a tensor with no dimensions.
        momentum: Factor of the former direction.
        dampening: What is taken off the gradient's weight in the direction.
        weight_decay: Factor of an L2 penalty.
        nesterov: Whether to look ahead along the momentum.
        maximize: Whether to go up instead of down.
        foreach: Taken as in PyTorch, with no effect.
        differentiable: Only False is supported.
        fused: Taken as in PyTorch, with no effect.

    Raises:
        ArgumentError: an option is negative, or Nesterov's momentum is asked for without momentum or with dampening.

    Source: Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep
    learning", 2013, with PyTorch's place for the learning rate.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_option("SGD", "lr", lr)
        check_option("SGD", "momentum", momentum)
        check_option("SGD", "weight_decay", weight_decay)
        check_no_differentiable("SGD", differentiable)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ArgumentError(
                f"SGD: nesterov momentum with momentum={momentum:g}, dampening={dampening:g}",
                hint="it requires a momentum and zero dampening",
            )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def needed(self, group: Group) -> Sequence[str]:
        """The direction; and the count of steps where the first one differs from the others."""
        if group["momentum"] == 0:
            return ()
        return ("momentum_buffer", "step") if group["dampening"] != 0 else ("momentum_buffer",)

    def _load(self, p: Tensor, group: Group, values: Mapping[str, Any]) -> None:
        # PyTorch keeps no count: where it has a direction, the first step is done.
        if values.get("momentum_buffer") is not None and "step" in self.needed(group):
            values = {"step": 1.0, **values}
        super()._load(p, group, values)

    def update(self, group: Group, params: Found) -> None:
        """One step for each parameter."""
        numbers, weights = {"lr": group["lr"]}, None
        kept = ("momentum_buffer",) if group["momentum"] != 0 else ()
        if kept:
            numbers["momentum"] = group["momentum"]
        if "step" in self.needed(group):
            weights = _WEIGHTS(counts(params), params, {"new": 1.0 - group["dampening"]})
        _UPDATE(group, params, kept, numbers, weights, nesterov=bool(group["nesterov"]))


def _weight(step: Any, by: Named) -> Named:
    """That of a gradient in the direction."""
    return {"weight": ops.where(ops.eq(step, 1.0), 1.0, step * 0.0 + by["new"])}


def _updated(p: Any, g: Any, state: Named, by: Named, *, nesterov: bool) -> tuple[Any, Named]:
    if "momentum" not in by:
        return p - g * by["lr"], {}
    buffer = state["momentum_buffer"] * by["momentum"] + (g * by["weight"] if "weight" in by else g)
    direction = g + buffer * by["momentum"] if nesterov else buffer
    return p - direction * by["lr"], {"momentum_buffer": buffer}


_WEIGHTS = Schedule(_weight, gives=("weight",))
_UPDATE = Update(_updated)
