"""PyTorch's inner functions that programs use: assertions for tracers, and tensors in one row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tracec.functions import cat

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor


def _flatten_dense_tensors(tensors: Sequence[Tensor]) -> Tensor:
    """The elements of several tensors of one dtype, one tensor after the other."""
    return cat([t.contiguous().view(-1) for t in tensors])


def _unflatten_dense_tensors(flat: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Parts of a tensor of one axis that have the shapes of others, one after the other: views of it."""
    sizes = [t.numel() for t in tensors]
    return tuple(part.view(t.shape) for part, t in zip(flat.split(sizes), tensors, strict=True))


def _assert(condition: Any, message: str) -> None:
    """Python's ``assert`` as a function, which programs call so that tracers keep it; a tensor is asked for its value.

    Raises:
        AssertionError: the condition does not hold.
    """
    if not condition:
        raise AssertionError(message)


__all__ = ["_assert", "_flatten_dense_tensors", "_unflatten_dense_tensors"]
