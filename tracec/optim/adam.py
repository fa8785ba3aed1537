"""Adam, and AdamW with weight decay apart from the gradient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracec import ops
from tracec.ir.number import calculate
from tracec.optim.optimizer import (
    Group,
    Optimizer,
    State,
    check_betas,
    check_no_differentiable,
    check_option,
    counts,
    is_set,
    write,
)
from tracec.record.conversion import at_hand
from tracec.record.tensor import Tensor
from tracec.record.together import Together


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
        beta1, beta2 = group["betas"]
        decoupled, amsgrad = bool(group.get("decoupled_weight_decay", False)), bool(group["amsgrad"])
        decay, largest = group["weight_decay"], ["max_exp_avg_sq"] if amsgrad else []
        numbers = [1.0 - beta1, beta2, 1.0 - beta2, group["eps"]]
        if is_set(decay):
            numbers.append(1.0 - group["lr"] * decay if decoupled else decay)
        each = [
            ((p, state["exp_avg"], state["exp_avg_sq"], *map(state.__getitem__, largest)), (g, *scales))
            # All counts first: small kernels of one kind, which then run as one.
            for (p, g, state), scales in zip(params, _scales(group, params), strict=True)
        ]
        maximize = bool(group.get("maximize"))
        write(_MOVED, each, numbers, amsgrad=amsgrad, maximize=maximize, decoupled=decoupled)


def _moved(
    p: Any, mean: Any, square: Any, *more: Any, amsgrad: bool, maximize: bool, decoupled: bool
) -> tuple[Any, ...]:  # fmt: skip
    """A parameter and its state after a step."""
    *largest, g, size, root, keeps, beta2, keeps2, eps = more[: 7 + amsgrad]
    decay = more[7 + amsgrad :]
    g = ops.neg(g) if maximize else g
    weight = p
    for factor in decay:
        weight, g = (p * factor, g) if decoupled else (p, g + p * factor)
    new_mean = mean + (g - mean) * keeps
    new_square = square * beta2 + g * g * keeps2
    bound = ops.maximum(largest[0], new_square) if largest else new_square
    step = new_mean / (ops.sqrt(bound) * root + eps) * size
    return (weight - step, new_mean, new_square, *([bound] if largest else []))


_MOVED = Together(_moved)


def _scales(group: Group, params: list[tuple[Tensor, Tensor, State]]) -> list[tuple[Tensor, Tensor]]:
    """For each parameter the size of its step, and what corrects the root of its mean square.

    Parameters that are known to have done as many steps have the same.
    """
    beta1, beta2 = group["betas"]
    known: dict[Any, tuple[Tensor, Tensor]] = {}
    found = []
    for k, count in enumerate(counts(params)):
        steps = at_hand(count)
        key = k if steps is None else (steps, count.dtype)
        if key not in known:
            known[key] = _scale(group["lr"], beta1, beta2, count)
        found.append(known[key])
    return found


def _scale(lr: Any, beta1: float, beta2: float, count: Tensor) -> tuple[Tensor, Tensor]:
    logarithms = [0.0 if beta == 0 else calculate("math.log", beta) for beta in (beta1, beta2)]
    options = {"forgets": beta1 == 0, "forgets_squares": beta2 == 0}
    found = _SCALES.values([count], [lr, *logarithms], **options)
    size, root = _scales_of(count, lr, *logarithms, **options) if found is None else found
    return size, root


def _scales_of(
    count: Any, lr: Any, log1: Any, log2: Any, *, forgets: bool, forgets_squares: bool
) -> tuple[Any, ...]:  # fmt: skip
    """The size of a step, and what corrects the root of the mean square, behind so many steps."""
    return lr / _corrected(count, log1, forgets), ops.rsqrt(_corrected(count, log2, forgets_squares))


_SCALES = Together(_scales_of)


def _corrected(step: Any, logarithm: Any, forgets: bool) -> Any:
    return step * 0.0 + 1.0 if forgets else ops.neg(ops.expm1(step * logarithm))


def correction(beta: float, step: Tensor) -> Tensor:
    """``1 - beta ** step``.

    Written with expm1: in float32, ``1 - 0.999`` has but four good digits.
    """
    corrected: Tensor = _corrected(step, 0.0 if beta == 0 else calculate("math.log", beta), beta == 0)
    return corrected


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
