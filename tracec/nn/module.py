"""Module: parameters, buffers and other modules under one object, which is called like a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import tracec
from tracec.errors import ArgumentError, ArgumentTypeError, RuleMissingError
from tracec.functions import empty_like
from tracec.ir.dtype import DType
from tracec.nn.calls import call_with_hooks
from tracec.nn.hooks import EVERYWHERE
from tracec.nn.parameter import is_lazy
from tracec.nn.state import Stateful
from tracec.record.backend import Device
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor

M = TypeVar("M", bound="Module")

#: What makes a call of a module more than one of its ``forward``, among its attributes.
_AROUND = frozenset(
    ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_compiled_call_impl")
)


class Module(Stateful):
    """Base of all neural-network modules.

    A subclass calls ``super().__init__()``, sets parameters and other modules as attributes, and defines
    ``forward``. Calling the module calls ``forward``.

    Attributes:
        training: Whether it is in training mode, which dropout and batch norm, for instance, ask for.
    """

    training: bool

    def __init__(self) -> None:
        super().__init__()
        self.training = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the module computes; every subclass defines it."""
        raise RuleMissingError(
            f'Module [{type(self).__name__}] is missing the required "forward" function',
            hint="define forward(self, ...); of a ModuleList or ModuleDict call the modules within",
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if EVERYWHERE or not _AROUND.isdisjoint(self.__dict__):
            return self.__dict__.get("_compiled_call_impl", self._call_impl)(*args, **kwargs)
        return self.forward(*args, **kwargs)

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        """A call that runs as it is written, with its hooks."""
        return call_with_hooks(self, args, kwargs)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Let calls of this module run compiled from now on, in place.

        Args:
            *args: As for `tracec.compile`.
            **kwargs: As for `tracec.compile`.
        """
        self.__dict__["_compiled_call_impl"] = tracec.compile(self._call_impl, *args, **kwargs)

    # Modes and conversions ----------------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Set training mode, here and in all modules below, each of which may do more than that."""
        if not isinstance(mode, bool):
            raise ArgumentError(
                f"train: mode is a {type(mode).__name__}, True or False is expected",
                hint="train() and eval() set modes; a loop over batches is yours to write",
            )
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self: M) -> M:
        """Leave training mode, here and in all modules below."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Say whether all parameters are to get gradients."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        for p in self.parameters():
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                p.grad.detach_().zero_()

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call a function with every module below and then with this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def _apply(self: M, fn: Callable[[Tensor], Tensor]) -> M:
        """Replace every parameter's, gradient's and buffer's memory by that of what a function makes of it."""
        for child in self.children():
            child._apply(fn)
        with no_grad():
            for p in self._parameters.values():
                if p is not None:
                    p.data = fn(p.detach())
                    if (grad := p.grad) is not None:
                        p.grad = fn(grad)
            for name, buffer in self._buffers.items():
                if is_lazy(buffer):
                    buffer.data = fn(buffer.detach())
                elif buffer is not None:
                    self._buffers[name] = fn(buffer)
        return self

    def to(self: M, *args: Any, **kwargs: Any) -> M:
        """Move parameters and buffers to a device, and cast floating and complex ones to such a dtype, in place."""
        dtype, device = _target(args, kwargs)
        if dtype is not None and not dtype.is_differentiable:
            raise ArgumentTypeError(
                f"to: modules have floating or complex parameters, {dtype.name} is neither",
                hint="use float16, bfloat16, float32, float64, complex64 or complex128",
            )
        return self._apply(lambda t: t.to(dtype=dtype if t.dtype.is_differentiable else None, device=device))

    def type(self: M, dst_type: Any) -> M:
        """Cast all parameters and buffers, integer ones too; types are those that `Tensor.type` takes."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self: M) -> M:
        """Cast floating parameters and buffers to float32."""
        return self._cast("float")

    def double(self: M) -> M:
        """Cast floating parameters and buffers to float64."""
        return self._cast("double")

    def half(self: M) -> M:
        """Cast floating parameters and buffers to float16."""
        return self._cast("half")

    def bfloat16(self: M) -> M:
        """Cast floating parameters and buffers to bfloat16."""
        return self._cast("bfloat16")

    def _cast(self: M, name: str) -> M:
        return self._apply(lambda t: getattr(t, name)() if t.is_floating_point() else t)

    def to_empty(self: M, *, device: Any, recurse: bool = True) -> M:
        """Move parameters and buffers to a device without their values.

        Args:
            device: Where to.
            recurse: Whether those of modules below are moved too.
        """
        with no_grad():
            for module in self.modules() if recurse else [self]:
                for p in module._parameters.values():
                    if p is not None:
                        p.data = empty_like(p.detach(), device=device)
                for name, buffer in module._buffers.items():
                    if buffer is not None:
                        module._buffers[name] = empty_like(buffer, device=device)
        return self

    def cpu(self: M) -> M:
        """Move parameters and buffers to the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self: M, device: int | str | None = None) -> M:
        """Move parameters and buffers to a CUDA device."""
        # Not by `to`, which classes of programs override by a choice between these two.
        target = _target((), {"device": f"cuda:{device}" if isinstance(device, int) else device or "cuda"})[1]
        return self._apply(lambda t: t.to(device=target))

    def share_memory(self: M) -> M:
        """Move parameters and buffers into memory that processes forked from here on share."""
        for t in (*self.parameters(), *self.buffers()):
            t.share_memory_()
        return self

    # Text ---------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What is shown of the module's own options."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        lines = [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in self._modules.items()]
        extra = self.extra_repr().split("\n")
        if not lines and len(extra) == 1:
            return f"{self._get_name()}({extra[0]})"
        body = ([] if extra == [""] else extra) + lines
        return f"{self._get_name()}(\n  " + "\n  ".join(body) + "\n)"


def _target(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[DType | None, Device | None]:
    """The dtype and the device that arguments of `Module.to` name."""
    unknown = kwargs.keys() - {"dtype", "device", "non_blocking", "memory_format", "tensor"}
    if unknown:
        raise ArgumentTypeError(f"to: no argument named {', '.join(sorted(unknown))}", hint="dtype, device")
    dtype, device = kwargs.get("dtype"), kwargs.get("device")
    for a in (*args, kwargs.get("tensor")):
        if isinstance(a, Tensor):
            dtype, device = a.dtype, a.device
        elif isinstance(a, DType):
            dtype = a
        elif isinstance(a, str):
            device = a
        elif isinstance(a, int) and not isinstance(a, bool):
            device = f"cuda:{a}"
        elif a is not None and not isinstance(a, bool):
            raise ArgumentTypeError(
                f"to: {type(a).__name__} is neither a dtype nor a device", hint="e.g. tracec.float32, 'cuda'"
            )
    return dtype, None if device is None else Device(device)
