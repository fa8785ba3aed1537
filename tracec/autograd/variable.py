"""PyTorch's name for tensors from before it had one class for both."""

from __future__ import annotations

from typing import Any

from tracec.errors import ArgumentTypeError
from tracec.functions.common import fail
from tracec.record.tensor import Tensor


class _Tensors(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_Tensors):
    """``Variable(x, requires_grad)`` is a tensor over x's memory, a leaf; every tensor is a Variable.

    Args:
        data: A tensor.
        requires_grad: Whether gradients are computed for it.
        volatile: Taken as in PyTorch, with no effect: `tracec.no_grad` does what it did.
    """

    def __new__(cls, data: Any = None, requires_grad: bool | None = None, volatile: bool | None = None) -> Any:
        if data is None:
            data = Tensor()
        if not isinstance(data, Tensor):
            fail(
                ArgumentTypeError,
                f"Variable: Variable data has to be a tensor, but got {type(data).__name__}",
                "make one with tracec.tensor(...)",
            )
        made = data.detach()
        return made.requires_grad_() if requires_grad else made
