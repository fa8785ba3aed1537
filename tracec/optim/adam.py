"""Adam, and AdamW with weight decay apart from the gradient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracec import ops
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_betas, check_no_differentiable, check_option
from tracec.optim.updates import Found, Group, Named, Schedule, Update, bias_correction, counts, log_of
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
        weight_decay: float = 0,
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

    def update(self, group: Group, params: Found) -> None:
        """One step for each parameter."""
        beta1, beta2 = group["betas"]
        numbers = {"lr": group["lr"], "log_beta1": log_of(beta1), "log_beta2": log_of(beta2)}
        scales = _SCALES(counts(params), params, numbers)
        numbers = {"new": 1.0 - beta1, "beta2": beta2, "new2": 1.0 - beta2, "eps": group["eps"]}
        _UPDATE(group, params, self.needed(group)[1:], numbers, scales)


def _scales(step: Any, by: Named) -> Named:
    """The size of a step, and what corrects the root of the mean square."""
    size = by["lr"] / bias_correction(step, by["log_beta1"])
    return {"size": size, "root": ops.rsqrt(bias_correction(step, by["log_beta2"]))}


def _updated(p: Any, g: Any, state: Named, by: Named) -> tuple[Any, Named]:
    mean = state["exp_avg"] + (g - state["exp_avg"]) * by["new"]
    square = state["exp_avg_sq"] * by["beta2"] + g * g * by["new2"]
    after = {"exp_avg": mean, "exp_avg_sq": square}
    if "max_exp_avg_sq" in state:
        square = after["max_exp_avg_sq"] = ops.maximum(state["max_exp_avg_sq"], square)
    return p - mean / (ops.sqrt(square) * by["root"] + by["eps"]) * by["size"], after


_SCALES = Schedule(_scales, gives=("size", "root"))
_UPDATE = Update(_updated)


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
