"""Tensors that a module owns."""

from __future__ import annotations

from typing import Any

from tracec.functions import zeros
from tracec.record.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module registers as its parameter when it becomes an attribute.

    Args:
        data: The first value, whose memory it shares; nothing makes an empty tensor.
        requires_grad: Whether gradients are computed for it.
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        made: Parameter = Tensor._make_subclass(cls, zeros(0) if data is None else data.detach(), requires_grad)
        return made

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        # All was done when it was made: Tensor's own would copy the data.
        pass

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Buffer(Tensor):
    """A tensor that a module registers as its buffer when it becomes an attribute.

    Args:
        data: The value, whose memory it shares; nothing makes an empty tensor.
        persistent: Whether it is part of the module's state.
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        made: Buffer = Tensor._make_subclass(cls, zeros(0) if data is None else data.detach(), False)
        made.persistent = persistent
        return made

    def __init__(self, data: Any = None, *, persistent: bool = True) -> None:
        pass
