"""The graph of operations that gradients go back through, and hooks on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, NoReturn

from tracec.errors import ArgumentError, GradientError
from tracec.functions.common import fail
from tracec.record.backend import Device
from tracec.record.passages import Selected
from tracec.record.state import STATE
from tracec.record.tape import AccumulateGrad, Handle, edge_of
from tracec.record.tape import Operation as Node
from tracec.record.tensor import Tensor

Hook = Callable[[Any], Any]


class saved_tensors_hooks:
    """Within, tensors that gradients need are kept in another form.

    Args:
        pack_hook: From the tensor, cut off its history, to what is kept of it.
        unpack_hook: From what is kept to a tensor of the same values again, when going back.
    """

    def __init__(self, pack_hook: Hook, unpack_hook: Hook) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook
        self._before: list[Any] = []

    def __enter__(self) -> None:
        self._before.append(STATE.packing)
        STATE.packing = self.pack_hook, self.unpack_hook

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        STATE.packing = self._before.pop()


class save_on_cpu(saved_tensors_hooks):
    """Within, tensors that gradients need are kept on the CPU, and moved back when going back.

    Args:
        pin_memory: PyTorch's argument for faster copies; here copies are as fast as they are.
        device_type: What kind of device to take tensors from.
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def pack(x: Tensor) -> tuple[Device, Tensor]:
            kept = x.cpu() if x.device.type == device_type else x.clone()
            return x.device, kept

        def unpack(kept: tuple[Device, Tensor]) -> Tensor:
            return kept[1].to(kept[0])

        super().__init__(pack, unpack)


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Within, keeping tensors in another form is an error with that message."""

    def refuse(x: Any) -> NoReturn:
        fail(GradientError, error_message, "leave saved_tensors_hooks out here")

    before = STATE.packing
    if before is not None:
        refuse(None)
    try:
        yield
        if STATE.packing is not None:
            refuse(None)
    finally:
        STATE.packing = before


class GradientEdge(NamedTuple):
    """A place in the graph.

    Attributes:
        node: The operation, or what stands for a leaf.
        output_nr: Which of its results.
    """

    node: Node | AccumulateGrad
    output_nr: int


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Where gradients of a tensor go.

    Raises:
        GradientError: it has none.
    """
    edge = edge_of(tensor)
    if edge is None:
        fail(
            GradientError,
            "get_gradient_edge: It is not possible to get the gradient edge for a Tensor that does not require "
            "gradients",
            "set requires_grad=True on a tensor that it is computed from",
        )
    if edge is tensor:
        return GradientEdge(AccumulateGrad(tensor), 0)
    if isinstance(edge.pullback, Selected):
        return GradientEdge(edge.edges[0], edge.pullback.number)
    return GradientEdge(edge, 0)


class _Handles:
    """Several hooks that are removed together."""

    def __init__(self, handles: Sequence[Handle]) -> None:
        self._handles = handles

    def remove(self) -> None:
        """Call the hooks no more."""
        for handle in self._handles:
            handle.remove()


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable[..., Any], *, mode: str = "all") -> _Handles:
    """Call a function when gradients of some tensors have been computed.

    Args:
        tensors: The tensors.
        fn: With mode ``all``, a function of a list of their gradients, called when the last of them is there;
            with ``any``, a function of the first one.
        mode: ``all`` or ``any``.

    Raises:
        ArgumentError: the mode is another.
    """
    if mode not in ("all", "any"):
        fail(ArgumentError, f"register_multi_grad_hook: Expects mode to be one of ('all', 'any') but got {mode}", "all")
    found: dict[int, Tensor] = {}

    def at(k: int) -> Callable[[Tensor], None]:
        def hook(g: Tensor) -> None:
            if mode == "any":
                if not found:
                    fn(g)
                found[k] = g
                if len(found) == len(tensors):
                    found.clear()
                return
            found[k] = g
            if len(found) == len(tensors):
                grads = [found[i] for i in range(len(tensors))]
                found.clear()
                fn(grads)

        return hook

    return _Handles([x.register_hook(at(k)) for k, x in enumerate(tensors)])


__all__ = [
    "GradientEdge", "Node", "disable_saved_tensors_hooks", "get_gradient_edge", "register_multi_grad_hook",
    "save_on_cpu", "saved_tensors_hooks",
]  # fmt: skip
