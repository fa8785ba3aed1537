"""Module: parameters, buffers and other modules under one object, which is called like a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tracec.errors import ArgumentTypeError
from tracec.ir.dtype import DType
from tracec.nn.hooks import RemovableHandle, call_with_hooks
from tracec.nn.parameter import is_lazy
from tracec.nn.state import IncompatibleKeys, load_state, new_state, state_of
from tracec.nn.tree import Tree
from tracec.record.backend import Device
from tracec.record.tape import no_grad
from tracec.record.tensor import Tensor

M = TypeVar("M", bound="Module")


class Module(Tree):
    """Base of all neural-network modules.

    A subclass calls ``super().__init__()``, sets parameters and other modules as attributes, and defines
    ``forward``. Calling the module calls ``forward``.

    Attributes:
        training: Whether it is in training mode, which dropout and batch norm, for instance, ask for.
    """

    training: bool
    _forward_hooks: dict[int, Any]
    _forward_pre_hooks: dict[int, Any]

    def __init__(self) -> None:
        super().__init__()
        self.training = True
        self._forward_hooks, self._forward_pre_hooks = {}, {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the module computes; every subclass defines it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_hooks or self._forward_pre_hooks:
            return call_with_hooks(self, args, kwargs)
        return self.forward(*args, **kwargs)

    # Modes and conversions ----------------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Set training mode, here and in all modules below."""
        for module in self.modules():
            module.training = mode
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
                p.grad = p.grad.detach() * 0

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call a function with every module below and then with this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def _apply(self: M, fn: Callable[[Tensor], Tensor]) -> M:
        """Replace every parameter's, gradient's and buffer's memory by that of what a function makes of it."""
        with no_grad():
            for module in self.modules():
                for p in module._parameters.values():
                    if p is not None:
                        p.data = fn(p.detach())
                        if p._grad is not None:
                            p.grad = fn(p._grad)
                for name, buffer in module._buffers.items():
                    if is_lazy(buffer):
                        buffer.data = fn(buffer.detach())
                    elif buffer is not None:
                        module._buffers[name] = fn(buffer)
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

    def type(self: M, dst_type: DType) -> M:
        """Cast floating parameters and buffers."""
        return self.to(dst_type)

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

    def cpu(self: M) -> M:
        """Move parameters and buffers to the CPU."""
        return self.to("cpu")

    def cuda(self: M, device: int | str | None = None) -> M:
        """Move parameters and buffers to a CUDA device."""
        return self.to(f"cuda:{device}" if isinstance(device, int) else device or "cuda")

    # State --------------------------------------------------------------------------------------------

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """All parameters and persistent buffers by path; they share the module's memory.

        Args:
            destination: The dictionary to enter them into.
            prefix: Put in front of all names.
            keep_vars: Give the parameters themselves, not detached.
        """
        found = new_state() if destination is None else destination
        state_of(self, found, prefix, keep_vars)
        return found

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Write a state that `state_dict` gave into parameters and buffers.

        Args:
            state_dict: Tensors by path.
            strict: Whether the names must be the same.
            assign: Take the tensors themselves instead of their values.

        Returns:
            Names that only one side has.

        Raises:
            StateError: names differ, if strict, or shapes; nothing is written then.
        """
        return load_state(self, state_dict, strict, assign)

    def get_extra_state(self) -> Any:
        """Further state to keep in `state_dict`; None for none."""
        return None

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` gave."""

    # Hooks --------------------------------------------------------------------------------------------

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args, result)`` after forward; what it returns, if not None, is the result."""
        return RemovableHandle(self._forward_hooks, (hook, with_kwargs), prepend)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before forward; what it returns, if not None, are the arguments."""
        return RemovableHandle(self._forward_pre_hooks, (hook, with_kwargs), prepend)

    # Text ---------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What is shown of the module's own options."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        lines = [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in self._modules.items()]
        extra = self.extra_repr()
        if not lines:
            return f"{self._get_name()}({extra})"
        body = ([extra] if extra else []) + lines
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
        elif a is not None and not isinstance(a, bool):
            raise ArgumentTypeError(
                f"to: {type(a).__name__} is neither a dtype nor a device", hint="e.g. tracec.float32, 'cuda'"
            )
    return dtype, None if device is None else Device(device)
