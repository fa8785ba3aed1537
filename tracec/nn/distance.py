"""How alike vectors are, as modules."""

from __future__ import annotations

from tracec.nn import functional as F
from tracec.nn.module import Module
from tracec.record.tensor import Tensor


class PairwiseDistance(Module):
    """The p-norm of the difference of vectors, along their last axis.

    Args:
        p: The p of the norm.
        eps: Added to differences.
        keepdim: Keep the axis, with size 1.
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Two tensors ``(..., D)`` whose shapes broadcast, to ``(...)``."""
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class CosineSimilarity(Module):
    """The cosine of the angle between vectors.

    Args:
        dim: The axis of the vectors.
        eps: What lengths count as at least.
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Two tensors whose shapes broadcast to that shape, without the axis."""
        return F.cosine_similarity(x1, x2, self.dim, self.eps)
