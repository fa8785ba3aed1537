"""Modules for several devices, of which programs for one take the first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tracec.errors import ArgumentError
from tracec.nn.module import Module


class DataParallel(Module):
    """A module on one device, under ``module``, as programs written for several hold it.

    Args:
        module: The module, which is called as it is.
        device_ids: At most one device.
        output_device: Taken as in PyTorch, with no effect: results stay where they are computed.
        dim: The axis that several devices would share out.

    Raises:
        ArgumentError: several devices are named.
    """

    def __init__(
        self, module: Module, device_ids: Sequence[Any] | None = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        if device_ids is not None and len(device_ids) > 1:
            raise ArgumentError(f"DataParallel: device_ids={list(device_ids)}", hint="name one device: there is one")
        self.module, self.dim = module, dim
        self.device_ids, self.output_device = list(device_ids or ()), output_device

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        return self.module(*inputs, **kwargs)


class DistributedDataParallel(DataParallel):
    """A module in a group of one process, under ``module``: nobody else has gradients to add.

    Args:
        module: The module, which is called as it is.
        device_ids: At most one device.
        output_device: Taken as in PyTorch, with no effect.
        dim: Taken as in PyTorch, with no effect.
        **settings: Taken as in PyTorch, with no effect: they tell how gradients are sent.

    Raises:
        ArgumentError: several devices are named.
    """

    def __init__(
        self, module: Module, device_ids: Sequence[Any] | None = None, output_device: Any = None, dim: int = 0,
        **settings: Any,
    ) -> None:  # fmt: skip
        super().__init__(module, device_ids, output_device, dim)

    #: As some programs set it on the module itself, to add gradients up over several batches.
    require_backward_grad_sync = True

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Within, gradients are not sent, which they never are."""
        yield
