"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from tracec.errors import ShapeError
from tracec.functions import cat, reshape
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters in one row.

    Args:
        parameters: Tensors of one device.

    Returns:
        Shape ``(n,)``; gradients flow through.
    """
    return cat([reshape(p, (-1,)) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the elements of a vector into parameters, in order.

    Args:
        vec: Shape ``(n,)``, with as many elements as the parameters together.
        parameters: Tensors that are written in place.

    Raises:
        ShapeError: the vector has another number of elements.
    """
    targets = list(parameters)
    total = 0
    for p in targets:
        total += p.numel()
    if tuple(vec.shape) != (total,):
        raise ShapeError(
            f"vector_to_parameters: a vector of shape {tuple(vec.shape)} for {total} elements",
            hint="give what parameters_to_vector gave",
        )
    start = 0
    with no_grad():
        for p in targets:
            end = start + p.numel()
            p.copy_(reshape(vec[start:end], tuple(p.shape)))
            start = end
