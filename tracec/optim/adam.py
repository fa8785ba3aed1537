"""Adam, and AdamW with weight decay apart from the gradient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracec.functions import expm1, maximum, rsqrt, sqrt
from tracec.ir.number import calculate
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
from tracec.record.conversion import at_hand
from tracec.record.tensor import Tensor


class Adam(Optimizer):
    """Steps scaled by running estimates of the gradient's mean and mean square.

    With gradient g at step t: ``m = β1 m + (1 - β1) g``, ``v = β2 v + (1 - β2) g²``,
    ``p = p - lr m / (1 - β1^t) / (sqrt(v / (1 - β2^t)) + eps)``; with AMSGrad, v's largest value so far stands for v.

    Args:
        params: Tensors to optimise, or dictionaries of groups.
        lr: Learning rate, a number or a tensor with no dimensions.
        betas: β1 and β2.
        eps: Added to the denominator.
        weight_decay: Factor of an L2 penalty; of the decay itself where it is decoupled.
        amsgrad: Whether the mean square may not shrink.
        foreach: Taken as in PyTorch, with no effect.
        maximize: Whether to go up instead of down.
        capturable: Taken as in PyTorch, with no effect: steps are always counted in tensors.
        differentiable: Only False is supported.
        fused: Taken as in PyTorch, with no effect.
        decoupled_weight_decay: Whether weights decay by ``1 - lr weight_decay`` apart from the gradient.

    Raises:
        ArgumentError: an option is out of range.

    Source: Kingma, Ba, "Adam: A Method for Stochastic Optimization", 2014, algorithm 1; Reddi, Kale, Kumar,
    "On the Convergence of Adam and Beyond", 2018 (AMSGrad); Loshchilov, Hutter, "Decoupled Weight Decay
    Regularization", 2017, algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        name = type(self).__name__
        check_option(name, "lr", lr)
        check_option(name, "eps", eps)
        check_betas(name, betas)
        check_option(name, "weight_decay", weight_decay)
        check_no_differentiable(name, differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def needed(self, group: Group) -> Sequence[str]:
        """The count of steps and the running estimates."""
        names = ("step", "exp_avg", "exp_avg_sq")
        return (*names, "max_exp_avg_sq") if group["amsgrad"] else names

    def update(self, group: Group, params: list[tuple[Tensor, Tensor, State]]) -> None:
        """One step for each parameter."""
        # All counts first: small kernels of one kind, which then run as one.
        for (p, g, state), (size, root) in zip(params, _scales(group, params), strict=True):
            self._update_one(group, p, g, state, size, root)

    def _update_one(self, group: Group, p: Tensor, g: Tensor, state: State, size: Tensor, root: Tensor) -> None:
        """One parameter's step, of ``size``; ``root`` corrects the root of the mean square."""
        beta1, beta2 = group["betas"]
        decoupled = group.get("decoupled_weight_decay", False)
        g = gradient(p, g, group, decay=not decoupled)
        weight = decayed(p, group) if decoupled else p
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        new_mean = mean + (g - mean) * (1.0 - beta1)
        new_square = square * beta2 + g * g * (1.0 - beta2)
        bound = new_square
        if group["amsgrad"]:
            bound = maximum(state["max_exp_avg_sq"], new_square)
        p.copy_(weight - new_mean / (sqrt(bound) * root + group["eps"]) * size)
        mean.copy_(new_mean)
        square.copy_(new_square)
        if group["amsgrad"]:
            state["max_exp_avg_sq"].copy_(bound)


def _scales(group: Group, params: list[tuple[Tensor, Tensor, State]]) -> list[tuple[Tensor, Tensor]]:
    """For each parameter the size of its step, and what corrects the root of its mean square.

    Parameters that are known to have done as many steps have the same.
    """
    beta1, beta2 = group["betas"]
    known: dict[Any, tuple[Tensor, Tensor]] = {}
    found = []
    for k, (p, _, state) in enumerate(params):
        count = counted(p, state)
        steps = at_hand(count)
        key = k if steps is None else (steps, count.dtype)
        if key not in known:
            known[key] = group["lr"] / correction(beta1, count), rsqrt(correction(beta2, count))
        found.append(known[key])
    return found


def correction(beta: float, step: Tensor) -> Tensor:
    """``1 - beta ** step``.

    Written with expm1: in float32, ``1 - 0.999`` has but four good digits.
    """
    if beta == 0:
        return step * 0.0 + 1.0
    return -expm1(step * calculate("math.log", beta))


class AdamW(Adam):
    """Adam with weights that decay by ``1 - lr weight_decay`` apart from the gradient.

    Args:
        params: Tensors to optimise, or dictionaries of groups.
        lr: Learning rate, a number or a tensor with no dimensions.
        betas: Weights of the former mean and mean square.
        eps: Added to the denominator.
        weight_decay: Factor of the decay.
        amsgrad: Whether the mean square may not shrink.
        maximize: Whether to go up instead of down.
        foreach: Taken as in PyTorch, with no effect.
        capturable: Taken as in PyTorch, with no effect: steps are always counted in tensors.
        differentiable: Only False is supported.
        fused: Taken as in PyTorch, with no effect.

    Raises:
        ArgumentError: an option is out of range.

    Source: Loshchilov, Hutter, "Decoupled Weight Decay Regularization", 2017, algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
