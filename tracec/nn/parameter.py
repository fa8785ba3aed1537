"""Tensors that a module owns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.functions import empty, zeros
from tracec.ir.dtype import DType, of_numpy
from tracec.record.cell import new_tensor
from tracec.record.overriding import disabled
from tracec.record.refusal import refuse
from tracec.record.state import STATE
from tracec.record.tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module registers as its parameter when it becomes an attribute.

    Args:
        data: The first value, whose memory it shares; nothing makes an empty tensor.
        requires_grad: Whether gradients are computed for it.
    """

    __torch_function__ = staticmethod(disabled)

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        made: Parameter = Tensor._make_subclass(cls, _first(cls, data), requires_grad)
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

    __torch_function__ = staticmethod(disabled)

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        made: Buffer = Tensor._make_subclass(cls, _first(cls, data), False)
        made.persistent = persistent
        return made

    def __init__(self, data: Any = None, *, persistent: bool = True) -> None:
        pass


def _first(cls: type, data: Any) -> Tensor:
    """The first value of a parameter or buffer."""
    if data is None:
        return zeros(0)
    if not isinstance(data, Tensor):
        raise ArgumentTypeError(
            f"{cls.__name__}: data must be a tensor, {type(data).__name__} given",
            hint="make one with tracec.tensor(...)",
        )
    return data.detach()


class _Uninitialized:
    """What tensors share whose shape is not known yet: nothing but dtype and device can be asked of them."""

    def _made(self, requires_grad: bool, device: Any, dtype: Any) -> None:
        made: Any = self
        made.__dict__.update(empty(0, device=device, dtype=dtype).__dict__)
        made._requires_grad = requires_grad

    @property
    def _array(self) -> Any:
        raise ArgumentError(
            "a parameter or buffer of a lazy module was used before its shape is known",
            hint="call the module once, so that it sees the shape of its input",
        )

    @_array.setter
    def _array(self, array: Any) -> None:
        self.__dict__["_array"] = array

    @property
    def dtype(self) -> DType:
        """The element type that it will have."""
        return of_numpy(self.__dict__["_array"].dtype)

    def detach(self) -> Tensor:
        """An empty tensor of the dtype and device."""
        return new_tensor(self.__dict__["_array"])

    def materialize(self, shape: Sequence[int], device: Any = None, dtype: DType | None = None) -> None:
        """Become a tensor of a shape, with values that mean nothing yet.

        Args:
            shape: The sizes.
            device: Where it lives; where it was by default.
            dtype: Its element type; what it was by default.

        Raises:
            RecordError: it is done in a compiled function.
        """
        if STATE.recorder is not None:
            refuse(
                "a lazy module was called for the first time in a compiled function",
                hint="call it once before, so that its parameters exist",
            )
        made: Any = self
        device = made.device if device is None else device
        made.data = empty(tuple(shape), device=device, dtype=self.dtype if dtype is None else dtype)
        made.__class__ = Parameter if isinstance(self, Parameter) else Tensor

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            own: Any = self
            memo[id(self)] = type(own)(own.requires_grad, str(own.device), own.dtype)
        return memo[id(self)]


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter whose shape is not known yet; `materialize` makes it one.

    Args:
        requires_grad: Whether gradients are computed for it.
        device: Where it will live.
        dtype: Its element type.
    """

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: DType | None = None) -> Any:
        made = object.__new__(cls)
        made._made(requires_grad, device, dtype)
        return made

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: DType | None = None) -> None:
        pass

    def __reduce_ex__(self, protocol: Any) -> Any:
        return UninitializedParameter, (self.requires_grad, str(self.device), self.dtype)

    def __repr__(self) -> str:
        return "<UninitializedParameter>"


class UninitializedBuffer(_Uninitialized, Tensor):
    """A buffer whose shape is not known yet; `materialize` makes it a tensor.

    Args:
        requires_grad: Whether gradients are computed for it.
        device: Where it will live.
        dtype: Its element type.
    """

    __torch_function__ = staticmethod(disabled)

    def __new__(cls, requires_grad: bool = False, device: Any = None, dtype: DType | None = None) -> Any:
        made = object.__new__(cls)
        made._made(requires_grad, device, dtype)
        return made

    def __init__(self, requires_grad: bool = False, device: Any = None, dtype: DType | None = None) -> None:
        pass

    def __reduce_ex__(self, protocol: Any) -> Any:
        return UninitializedBuffer, (self.requires_grad, str(self.device), self.dtype)

    def __repr__(self) -> str:
        return "<UninitializedBuffer>"


def is_lazy(x: Any) -> TypeGuard[Any]:
    """Whether it is a parameter or a buffer whose shape is not known yet."""
    return isinstance(x, _Uninitialized)
