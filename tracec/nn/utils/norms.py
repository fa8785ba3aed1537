"""What weight norms and spectral norms are computed with."""

from __future__ import annotations

from tracec.functions import abs, moveaxis, mv, norm, reshape, sqrt, sum, transpose
from tracec.nn import functional as F
from tracec.nn.convolution import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from tracec.nn.module import Module
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


def norm_except(v: Tensor, dim: int) -> Tensor:
    """The Euclidean norm over all axes but one, which stay with size 1; a scalar of all of them if that is -1."""
    if dim == -1:
        return norm(v)
    axes = [a for a in range(v.ndim) if a != dim % v.ndim]
    return sqrt(sum(v * v, axes, keepdim=True)) if axes else abs(v)


def matrix_of(weight: Tensor, dim: int) -> Tensor:
    """A weight as a matrix, with an axis of it for the rows."""
    front = moveaxis(weight, dim, 0) if dim else weight
    return reshape(front, (front.shape[0], -1))


def output_axis(module: Module) -> int:
    """The axis of the outputs in the weight of a module."""
    return 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0


def power_steps(matrix: Tensor, u: Tensor, v: Tensor, steps: int, eps: float, from_u: bool = False) -> None:
    """Move two vectors, in place, towards those of the largest singular value.

    Args:
        matrix: Shape ``(m, n)``.
        u: Shape ``(m,)``, of length 1.
        v: Shape ``(n,)``, of length 1.
        steps: How often.
        eps: What lengths count as at least.
        from_u: Whether v is computed of u first, and not u of v.
    """

    def move_u() -> None:
        u.copy_(F.normalize(mv(matrix, v), dim=0, eps=eps))

    def move_v() -> None:
        v.copy_(F.normalize(mv(transpose(matrix, 0, 1), u), dim=0, eps=eps))

    with no_grad():
        for _ in range(steps):
            for move in (move_v, move_u) if from_u else (move_u, move_v):
                move()
