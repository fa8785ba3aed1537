"""Adam for tables of which each step touches some rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracec.errors import ArgumentError
from tracec.functions import amax, sqrt, where
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_betas, check_option
from tracec.optim.updates import Found, Group, bias_correction, counts, log_of
from tracec.record.tensor import Tensor


class SparseAdam(Optimizer):
    """Adam that leaves alone what has no gradient: a row whose gradient is 0 keeps its values and its estimates.

    Gradients here are dense, those of ``Embedding(sparse=True)`` too. A row of them that is 0 everywhere counts as one
    that was not looked up; PyTorch, which is told of the rows, also steps on those that were and got a gradient of 0.

    Args:
        params: Tensors to optimise, or dictionaries of groups.
        lr: Learning rate, a number or a tensor with no dimensions.
        betas: β1 and β2.
        eps: Added to the denominator.
        maximize: Whether to go up instead of down.

    Raises:
        ArgumentError: an option is out of range.

    Source: `tracec.optim.Adam`'s, the "lazy" variant.
    """

    takes_complex = False

    def __init__(
        self, params: Iterable[Any], lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, maximize: bool = False,
    ) -> None:  # fmt: skip
        check_option("SparseAdam", "lr", lr)
        check_option("SparseAdam", "eps", eps)
        if not eps:
            raise ArgumentError("SparseAdam: Invalid epsilon value: 0", hint="a small positive number")
        check_betas("SparseAdam", betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})

    def needed(self, group: Group) -> Sequence[str]:
        """The count of steps and the running estimates."""
        return "step", "exp_avg", "exp_avg_sq"

    def update(self, group: Group, params: Found) -> None:
        """One step for each parameter."""
        beta1, beta2 = group["betas"]
        scales = [
            group["lr"] * sqrt(bias_correction(step, log_of(beta2))) / bias_correction(step, log_of(beta1))
            for step in counts(params)
        ]
        for (p, g, state), size in zip(params, scales, strict=True):
            touched = (g != 0) if g.ndim < 2 else amax(g != 0, tuple(range(1, g.ndim)), keepdim=True)
            g = -g if group["maximize"] else g
            mean, square = state["exp_avg"], state["exp_avg_sq"]
            new_mean = mean + (g - mean) * (1.0 - beta1)
            new_square = square + (g * g - square) * (1.0 - beta2)
            p.copy_(where(touched, p - new_mean / (sqrt(new_square) + group["eps"]) * size, p))
            mean.copy_(where(touched, new_mean, mean))
            square.copy_(where(touched, new_square, square))
