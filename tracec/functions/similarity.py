"""How alike vectors are."""

from __future__ import annotations

from tracec import ops
from tracec.functions.common import check_floating, check_tensor, one_axis
from tracec.functions.norms import norm
from tracec.functions.shape import broadcast_tensors
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.tensor import Tensor


@under_autocast(FLOAT32)
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors along an axis.

    Args:
        x1: Vectors, floating.
        x2: Vectors; the shapes broadcast.
        dim: Their axis in the broadcast shape.
        eps: What lengths count as at least; gradients pass as if there were no bound.
    """
    check_tensor("cosine_similarity", x1, "x1")
    check_tensor("cosine_similarity", x2, "x2")
    unit = []
    for x in broadcast_tensors(x1, x2):
        check_floating("cosine_similarity", x)
        length = norm(x, 2, dim, keepdim=True)
        bounded = ops.add(length, ops.sub(ops.maximum(length.detach(), eps), length.detach()))
        unit.append(ops.div(x, bounded))
    axis = one_axis("cosine_similarity", dim, unit[0].ndim)
    return ops.sum(ops.mul(*unit), axes=(axis,) if unit[0].ndim else ())
