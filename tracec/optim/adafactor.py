"""Adafactor: adaptive steps with a row and a column in place of a matrix of mean squares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracec.errors import ArgumentError
from tracec.functions import clamp, maximum, mean, minimum, rsqrt, sqrt, zeros
from tracec.functions import pow as power
from tracec.functions import sum as total
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_numbers, check_option, check_several
from tracec.optim.updates import Found, Group, State, counted, decayed, gradient
from tracec.record.tensor import Tensor


class Adafactor(Optimizer):
    """Steps scaled by mean squares that, for matrices, are estimated from those of rows and columns.

    Args:
        params: Tensors to optimise, or dictionaries of groups.
        lr: Largest relative step size ρ, a number or a tensor with no dimensions.
        beta2_decay: Exponent γ of the weight ``t^γ`` of a new mean square.
        eps: Least mean square of a row, by default the smallest step of the element type, and least scale of steps.
        d: Root mean square from which on updates are clipped.
        weight_decay: Factor of the decay, apart from the gradient.
        foreach: Taken as in PyTorch, with no effect.
        maximize: Whether to go up instead of down.

    Raises:
        ArgumentError: an option is out of range.

    Source: Shazeer, Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018, algorithm 4.
    """

    takes_complex = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_option("Adafactor", "lr", lr)
        check_numbers("Adafactor", beta2_decay=beta2_decay, d=d)
        check_several("Adafactor", "eps", eps, 2)
        if beta2_decay > 0.0:
            raise ArgumentError(f"Adafactor: beta2_decay should be <= 0 but is: {beta2_decay}", hint="e.g. -0.8")
        check_option("Adafactor", "eps[0]", eps[0] or 0.0)
        check_option("Adafactor", "eps[1]", eps[1])
        if d < 1.0:
            raise ArgumentError(f"Adafactor: clipping threshold d should be >= 1 but is: {d}", hint="e.g. 1.0")
        check_option("Adafactor", "weight_decay", weight_decay)
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def init_state(self, p: Tensor, group: Group) -> State:
        """The count of steps, and mean squares: of rows and columns, or of elements where there are no rows."""
        state = {"step": zeros((), device=p.device)}
        if p.ndim < 2:
            return {**state, "variance": p * 0.0}
        rows, columns = (*p.shape[:-1], 1), (*p.shape[:-2], 1, p.shape[-1])
        return {**state, **{k: zeros(s, dtype=p.dtype, device=p.device) for k, s in
                            (("row_var", rows), ("col_var", columns))}}  # fmt: skip

    def needed(self, group: Group) -> Sequence[str]:
        """The count of steps; which mean squares depends on the parameter."""
        return ("step",)

    def update(self, group: Group, params: Found) -> None:
        """One step for each parameter."""
        steps = [counted(p, state) for p, _, state in params]
        for (p, g, state), step in zip(params, steps, strict=True):
            g = gradient(p, g, group, decay=False)
            new = power(step, group["beta2_decay"])
            least = group["eps"][0] if group["eps"][0] is not None else _smallest_step(p.dtype)
            relative = minimum(rsqrt(step), step * 0.0 + group["lr"])
            scale = clamp(_rms(p), min=group["eps"][1]) * relative
            update = g * rsqrt(clamp(self._variance(g, state, new, least), min=least * least))
            shrunk = maximum(_rms(update) / group["d"], step.to(p.dtype) * 0.0 + 1.0)
            p.copy_(decayed(p, group) - update * (scale / shrunk))

    def _variance(self, g: Tensor, state: State, new: Tensor, least: float) -> Tensor:
        """The mean squares after one more gradient."""
        if "variance" in state:
            variance: Tensor = state["variance"] + (g * g - state["variance"]) * new
            state["variance"].copy_(variance)
            return variance
        rows: Tensor = state["row_var"] + (mean(g * g, dim=-1, keepdim=True) - state["row_var"]) * new
        columns: Tensor = state["col_var"] + (mean(g * g, dim=-2, keepdim=True) - state["col_var"]) * new
        state["row_var"].copy_(rows)
        state["col_var"].copy_(columns)
        return rows * columns / clamp(mean(rows, dim=-2, keepdim=True), min=least)


def _rms(x: Tensor) -> Tensor:
    return sqrt(total(x * x) / x.numel())


def _smallest_step(dtype: DType) -> float:
    """The distance from 1 to the next number."""
    return {dt.float64: 2.0**-52, dt.float32: 2.0**-23, dt.float16: 2.0**-10}.get(dtype, 2.0**-7)
