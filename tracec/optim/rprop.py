"""Rprop: steps by the signs of gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracec import ops
from tracec.errors import ArgumentError
from tracec.functions import full_like
from tracec.optim.optimizer import Optimizer
from tracec.optim.options import check_no_differentiable, check_numbers, check_option, check_several
from tracec.optim.updates import Found, Group, Named, State, Update, count
from tracec.record.tensor import Tensor


class Rprop(Optimizer):
    """A step size for each element, that grows while its gradient keeps its sign and shrinks where it changes.

    Where the sign changes, the element rests for one step and its gradient counts as 0 in the next comparison.

    Args:
        params: Tensors to optimise, or dictionaries of groups.
        lr: First step size, a number or a tensor with no dimensions.
        etas: Factors by which sizes shrink and grow.
        step_sizes: Least and largest size.
        capturable: Taken as in PyTorch, with no effect: steps are always counted in tensors.
        foreach: Taken as in PyTorch, with no effect.
        maximize: Whether to go up instead of down.
        differentiable: Only False is supported.

    Raises:
        ArgumentError: an option is out of range.

    Source: Riedmiller, Braun, "A Direct Adaptive Method for Faster Backpropagation Learning: The RPROP Algorithm",
    1993; the variant iRprop- of Igel, Hüsken, 2000.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_option("Rprop", "lr", lr)
        for what, pair in (("etas", etas), ("step_sizes", step_sizes)):
            check_several("Rprop", what, pair, 2)
            check_numbers("Rprop", **{f"{what}[{k}]": value for k, value in enumerate(pair)})
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ArgumentError(
                f"Rprop: invalid eta values: {etas[0]}, {etas[1]}", hint="sizes shrink by less than 1 and grow by more"
            )
        check_no_differentiable("Rprop", differentiable)
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def needed(self, group: Group) -> Sequence[str]:
        """The count of steps, the gradient before, and the sizes."""
        return "step", "prev", "step_size"

    def init_state(self, p: Tensor, group: Group) -> State:
        """Sizes start from the learning rate, of both parts of complex parameters."""
        lr = float(group["lr"])
        size = full_like(p, complex(lr, lr) if p.is_complex() else lr)
        return {**super().init_state(p, group), "step_size": size}

    def update(self, group: Group, params: Found) -> None:
        """One step for each parameter."""
        count(params)
        (shrink, grow), (least, most) = group["etas"], group["step_sizes"]
        numbers = {"shrink": shrink, "grow": grow, "least": least, "most": most}
        _UPDATE(group, params, ("prev", "step_size"), numbers)


def _updated(p: Any, g: Any, state: Named, by: Named) -> tuple[Any, Named]:
    turned, size = g * state["prev"], state["step_size"]
    changes = ops.lt(turned, 0.0)
    size = ops.where(ops.gt(turned, 0.0), size * by["grow"], ops.where(changes, size * by["shrink"], size))
    size = ops.minimum(ops.maximum(size, by["least"]), by["most"])
    g = ops.where(changes, 0.0, g)
    return p - ops.sign(g) * size, {"prev": g, "step_size": size}


_UPDATE = Update(_updated)
