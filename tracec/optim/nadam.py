"""NAdam: Adam with Nesterov's momentum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracec import ops
from tracec.functions import tensor
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_betas, check_no_differentiable, check_option
from tracec.optim.updates import Found, Group, Named, Schedule, State, Update, bias_correction, counts, keep, log_of
from tracec.record.tensor import Tensor


class NAdam(Optimizer):
    """Adam that looks one step of momentum ahead, with momentum that grows with the steps.

    ``μ(t) = β1 (1 - 0.96^(t ψ) / 2)``, ``M`` the product of all μ so far, m and v as Adam's:
    ``p = p - lr (g (1 - μ(t)) / (1 - M) + m μ(t+1) / (1 - M μ(t+1))) / (sqrt(v / (1 - β2^t)) + eps)``.

    Args:
        params: Tensors to optimise, or dictionaries of groups.
        lr: Learning rate, a number or a tensor with no dimensions.
        betas: β1 and β2.
        eps: Added to the denominator.
        weight_decay: Factor of an L2 penalty; of the decay itself where it is decoupled.
        momentum_decay: ψ, how fast momentum grows.
        decoupled_weight_decay: Whether weights decay by ``1 - lr weight_decay`` apart from the gradient.
        foreach: Taken as in PyTorch, with no effect.
        maximize: Whether to go up instead of down.
        capturable: Taken as in PyTorch, with no effect: steps are always counted in tensors.
        differentiable: Only False is supported.

    Raises:
        ArgumentError: an option is out of range.

    Source: Dozat, "Incorporating Nesterov Momentum into Adam", 2016, algorithm 8 and its schedule of μ.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        given = {"lr": lr, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay}
        for what, value in given.items():
            check_option("NAdam", what, value)
        check_betas("NAdam", betas)
        check_no_differentiable("NAdam", differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def needed(self, group: Group) -> Sequence[str]:
        """The count of steps, the product of momenta, and the running estimates."""
        return "step", "mu_product", "exp_avg", "exp_avg_sq"

    def init_state(self, p: Tensor, group: Group) -> State:
        """The product of momenta starts from 1."""
        return {**super().init_state(p, group), "mu_product": tensor(1.0, device=p.device)}

    def update(self, group: Group, params: Found) -> None:
        """One step for each parameter."""
        beta1, beta2 = group["betas"]
        numbers = {"lr": group["lr"], "beta1": beta1, "log_beta2": log_of(beta2), "psi": group["momentum_decay"]}
        scales = _SCALES(counts(params), params, numbers)
        keep(params, scales, ("mu_product",))
        numbers = {"new": 1.0 - beta1, "beta2": beta2, "new2": 1.0 - beta2, "eps": group["eps"]}
        _UPDATE(group, params, ("exp_avg", "exp_avg_sq"), numbers, scales)


def _scales(step: Any, product: Any, by: Named) -> Named:
    """Factors of the gradient, the mean and the root of the mean square, and the product of momenta."""
    now, ahead = (by["beta1"] * (1.0 - 0.5 * ops.pow(0.96, t * by["psi"])) for t in (step, step + 1.0))
    product = product * now
    return {
        "of_gradient": by["lr"] * (1.0 - now) / (1.0 - product),
        "of_mean": by["lr"] * ahead / (1.0 - product * ahead),
        "root": ops.rsqrt(bias_correction(step, by["log_beta2"])),
        "mu_product": product,
    }


def _updated(p: Any, g: Any, state: Named, by: Named) -> tuple[Any, Named]:
    mean = state["exp_avg"] + (g - state["exp_avg"]) * by["new"]
    square = state["exp_avg_sq"] * by["beta2"] + g * g * by["new2"]
    denominator = ops.sqrt(square) * by["root"] + by["eps"]
    new = p - (g * by["of_gradient"] + mean * by["of_mean"]) / denominator
    return new, {"exp_avg": mean, "exp_avg_sq": square}


_SCALES = Schedule(_scales, gives=("of_gradient", "of_mean", "root", "mu_product"), reads=("mu_product",))
_UPDATE = Update(_updated)
