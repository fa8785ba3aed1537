"""A loss for classes of which most elements are background."""

from __future__ import annotations

import tracec.nn.functional as F
from tracec import Tensor
from tracec.errors import ArgumentError


def sigmoid_focal_loss(
    inputs: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2, reduction: str = "none"
) -> Tensor:
    """Binary cross entropy in which elements count little that are told apart well already.

    Args:
        inputs: Scores before the sigmoid, of any shape.
        targets: 0 or 1 for each of them, floating.
        alpha: Weight of ones, from 0 to 1, that of zeros being the rest; negative for none.
        gamma: The power of what is missing to the right answer.
        reduction: ``none``, ``mean`` or ``sum``.

    Returns:
        The loss of each element, or one number.

    Raises:
        ArgumentError: alpha is above 1, or the reduction is not known.

    Source: Lin et al., "Focal Loss for Dense Object Detection", 2017, eq. 5.
    """
    if alpha > 1:
        raise ArgumentError(f"sigmoid_focal_loss: alpha={alpha}", hint="a weight from 0 to 1, or negative for none")
    if reduction not in ("none", "mean", "sum"):
        raise ArgumentError(f"sigmoid_focal_loss: reduction={reduction!r}", hint="give 'none', 'mean' or 'sum'")
    p = inputs.sigmoid()
    loss = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    loss = loss * (1 - (p * targets + (1 - p) * (1 - targets))) ** gamma
    if alpha >= 0:
        loss = (alpha * targets + (1 - alpha) * (1 - targets)) * loss
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


__all__ = ["sigmoid_focal_loss"]
