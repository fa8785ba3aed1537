"""Tensors of a module that are computed from others: parameters under a constraint."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

from tracec.errors import ArgumentError, ArgumentTypeError, RecordError
from tracec.nn.containers import ModuleDict, ModuleList
from tracec.nn.module import Module
from tracec.nn.parameter import Parameter
from tracec.record.mode import no_grad
from tracec.record.state import STATE
from tracec.record.tensor import Tensor

#: Values computed within `cached`, by module and name; None outside of it.
_cache: dict[tuple[int, str], Any] | None = None
_depth = 0


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Compute each parametrised tensor once, when it is first read in this context.

    Compiled functions that are called in it run as they were written, so that they share what was computed.
    """
    global _cache, _depth
    _depth += 1
    if _cache is None:
        _cache = {}
    before, STATE.as_written = STATE.as_written, True
    try:
        yield
    finally:
        STATE.as_written = before
        _depth -= 1
        if not _depth:
            _cache = None


class ParametrizationList(ModuleList):
    """The parametrisations of one tensor, and what it is computed from.

    Args:
        modules: Parametrisations, called one after the other.
        original: The tensor as it was.
        unsafe: Whether dtype and shape may change.

    Attributes:
        original: What the tensor is computed from; ``original0``, ``original1``, … where those are several.
        is_tensor: Whether it is one.

    Raises:
        ArgumentError: a parametrisation changes dtype or shape, and that is not said to be wanted.
    """

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if not modules:
            raise ArgumentError("ParametrizationList: no parametrisations", hint="give one or more")
        super().__init__(modules)
        self.unsafe = unsafe
        with no_grad():
            value: Any = original
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    # One that says it cannot leaves the tensor as it is.
                    with contextlib.suppress(NotImplementedError, RecordError):
                        value = module.right_inverse(value)
        self.is_tensor = isinstance(value, Tensor)
        if self.is_tensor:
            self.ntensors = 1
            if not unsafe and value.dtype is not original.dtype:
                raise ArgumentError(
                    f"register_parametrization: right_inverse gives {value.dtype.name} of {original.dtype.name}",
                    hint="keep the dtype, or pass unsafe=True",
                )
            # The tensor itself goes on, so that an optimiser that has it sees what becomes of it.
            with no_grad():
                original.data = value.detach()
            _own(self, "original", original)
        else:
            if not isinstance(value, Sequence):
                raise ArgumentError(
                    f"register_parametrization: right_inverse gives {type(value).__name__}",
                    hint="it gives a tensor, or a sequence of tensors",
                )
            self.ntensors = len(value)
            for i, part in enumerate(value):
                made = Parameter(part, requires_grad=original.requires_grad)
                _own(self, f"original{i}", made if isinstance(original, Parameter) else part)
        if not unsafe:
            _check_same("register_parametrization", original, self.forward())

    def right_inverse(self, value: Tensor) -> None:
        """Set what the tensor is computed from so that it becomes this value.

        Raises:
            RecordError: a parametrisation has no ``right_inverse``.
        """
        with no_grad():
            found: Any = value
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RecordError(
                        f"parametrization {type(module).__name__} does not implement right_inverse",
                        hint="define it, or set what the tensor is computed from",
                    )
                found = module.right_inverse(found)
            if self.is_tensor:
                self.original.data = found
            else:
                for i, part in enumerate(found):
                    getattr(self, f"original{i}").data = part

    def forward(self) -> Tensor:
        """The tensor."""
        given = [self.original] if self.is_tensor else [getattr(self, f"original{i}") for i in range(self.ntensors)]
        first, *others = list(self)
        value: Tensor = first(*given)
        for module in others:
            value = module(value)
        return value


def _own(module: Module, name: str, tensor: Tensor) -> None:
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _check_same(what: str, before: Tensor, after: Any) -> None:
    if not isinstance(after, Tensor):
        raise ArgumentError(
            f"{what}: a parametrisation must give a tensor, {type(after).__name__} given", hint="fix it"
        )
    if after.dtype is not before.dtype or tuple(after.shape) != tuple(before.shape):
        raise ArgumentError(
            f"{what}: the parametrisation gives {after.dtype.name} of shape {tuple(after.shape)}, the tensor is "
            f"{before.dtype.name} of shape {tuple(before.shape)}",
            hint="keep both, or pass unsafe=True",
        )


def _new_class(module: Module) -> None:
    """Give the module a class of its own, that computes tensors when they are read."""
    cls = type(module)

    def getstate(self: Module) -> Any:
        raise RecordError(
            "Serialization of parametrized modules is only supported through state_dict()",
            hint="save state_dict(), or remove the parametrisations first",
        )

    def deepcopy(self: Module, memo: dict[int, Any]) -> Module:
        # A class of its own again: what is removed from one of both stays in the other.
        own = type(self)
        kept = {n: v for n, v in vars(own).items() if n not in ("__dict__", "__weakref__")}
        made: Module = object.__new__(type(own.__name__, own.__bases__, kept))
        memo[id(self)] = made
        made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return made

    members: dict[str, Any] = {"__getstate__": getstate}
    if not hasattr(cls, "__deepcopy__"):
        members["__deepcopy__"] = deepcopy
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), members)


def _new_property(module: Module, name: str) -> None:
    def read(self: Module) -> Any:
        computed = self.parametrizations[name]
        if _cache is None:
            return computed()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = computed()
        return _cache[key]

    def write(self: Module, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(read, write))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Have a parameter or buffer of a module computed.

    Reading it calls ``parametrization(original)``; writing it calls ``parametrization.right_inverse(value)``, if
    there is one, and writes the result to ``original``. A second parametrisation computes on what the first gives.

    Args:
        module: The module, whose class becomes one of its own.
        tensor_name: The name of the tensor.
        parametrization: A module from tensor to tensor.
        unsafe: Whether dtype and shape may change.

    Returns:
        The module.

    Raises:
        ArgumentError: there is no such tensor, or dtype or shape change and that is not said to be wanted.
    """
    if not isinstance(parametrization, Module):
        raise ArgumentTypeError(
            f"register_parametrization: {type(parametrization).__name__} is no module", hint="derive it of nn.Module"
        )
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        known: ParametrizationList = module.parametrizations[tensor_name]
        if not unsafe:
            value = getattr(module, tensor_name)
            _check_same("register_parametrization", value, parametrization(value))
        if hasattr(parametrization, "right_inverse"):
            with no_grad():
                known.right_inverse(parametrization.right_inverse(getattr(module, tensor_name)))
        known.append(parametrization)
        known.unsafe = known.unsafe or unsafe
        return module
    if tensor_name not in module._parameters and tensor_name not in module._buffers:
        raise ArgumentError(
            f"register_parametrization: {type(module).__name__} does not have a parameter, a buffer, or a "
            f"parametrized element with name '{tensor_name}'",
            hint="name one of its own tensors",
        )
    original = getattr(module, tensor_name)
    made = ParametrizationList([parametrization], original, unsafe=unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        _new_class(module)
        module.parametrizations = ModuleDict()
    _new_property(module, tensor_name)
    module.parametrizations[tensor_name] = made
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a tensor of a module is parametrised; with no name, whether any is."""
    found = module._modules.get("parametrizations")
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make a parametrised tensor a parameter or buffer again.

    Args:
        module: The module.
        tensor_name: The name of the tensor.
        leave_parametrized: Whether it keeps its computed value, instead of what that was computed from.

    Returns:
        The module.

    Raises:
        ArgumentError: it is not parametrised, or was computed from several tensors that are to be left.
    """
    if not is_parametrized(module, tensor_name):
        raise ArgumentError(
            f"remove_parametrizations: {type(module).__name__} does not have a parametrization on {tensor_name}",
            hint="name one that register_parametrization was called with",
        )
    known: ParametrizationList = module.parametrizations[tensor_name]
    if not known.is_tensor and not leave_parametrized:
        raise ArgumentError(
            f"remove_parametrizations: {tensor_name} is computed from {known.ntensors} tensors",
            hint="leave_parametrized=False is only for those computed from one",
        )
    if known.is_tensor:
        left: Tensor = known.original
        if leave_parametrized:
            with no_grad():
                left.data = getattr(module, tensor_name).detach()
    else:
        value = getattr(module, tensor_name)
        left = Parameter(value) if value.requires_grad else value.detach()
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    _own(module, tensor_name, left)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that a module had before it was parametrised."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)
