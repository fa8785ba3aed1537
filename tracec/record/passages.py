"""Pullbacks of what happens to tensors and is no operator: they move, are written over, are one result of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tracec import ops
from tracec.record.backend import device_of, module, to_device
from tracec.record.deferred import settled

if TYPE_CHECKING:
    from tracec.record.tape import Operation


class Passage:
    """The pullback of something that happened to a tensor and that no operator did."""

    needs: tuple[int, ...] = ()
    #: None where there is one gradient for each operand.
    gives: tuple[int | None, ...] | None = None
    error = None

    def of_array(self, g: Any) -> Any:
        """The gradient of what was there before, given that of what is there now."""
        raise NotImplementedError

    def of_tensor(self, g: Any) -> Any:
        """The same where gradients are tensors."""
        raise NotImplementedError

    def arrays(self, operation: Operation, g: Any) -> Sequence[Any]:
        """The gradients of all that was there before."""
        return (self.of_array(g),)

    def tensors(self, operation: Operation, g: Any) -> Sequence[Any]:
        """The same where gradients are tensors."""
        return (self.of_tensor(g),)


class Moved(Passage):
    """A copy to another device: the gradient is moved back.

    Args:
        device: Where the original is.
    """

    def __init__(self, device: str) -> None:
        self.device = device

    def of_array(self, g: Any) -> Any:
        return to_device(settled(g), self.device)

    def of_tensor(self, g: Any) -> Any:
        return g.to(self.device)


class Overwritten(Passage):
    """A value of which a write left nothing: it still requires grad, as in PyTorch, and its gradient is zero."""

    def of_array(self, g: Any) -> Any:
        return module(device_of(g)).zeros_like(g)

    def of_tensor(self, g: Any) -> Any:
        return ops.zeros_like(g)


class Parts(dict[int, Any]):
    """The gradients of some results of an operation that has several, by their numbers."""


class Selected(Passage):
    """One of several results of an operation.

    Args:
        number: Which one.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def of_array(self, g: Any) -> Any:
        return Parts({self.number: g})

    of_tensor = of_array
