"""Functions that objects of other classes override, under the names of ``torch.overrides``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tracec.errors import name_missing
from tracec.record.overriding import dispatch, name_of, overrides, overriding
from tracec.record.tensor import Tensor


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether any of the arguments brings functions of its own."""
    return any(map(overrides, relevant_args))


def has_torch_function_unary(argument: Any) -> bool:
    """Whether the argument brings functions of its own."""
    return overrides(argument)


def has_torch_function_variadic(*arguments: Any) -> bool:
    """Whether any of the arguments brings functions of its own."""
    return any(map(overrides, arguments))


def handle_torch_function(
    public_api: Callable[..., Any], relevant_args: Iterable[Any], *args: Any, **kwargs: Any
) -> Any:
    """What the arguments' classes make of a function.

    Args:
        public_api: The function that the user has called.
        relevant_args: The arguments that may have a say.
        *args: Its arguments.
        **kwargs: Those by name.

    Raises:
        ArgumentTypeError: none of them knows what to do.
    """
    return dispatch(public_api, overriding(relevant_args, {}), args, kwargs)


def is_tensor_like(inp: Any) -> bool:
    """Whether it is a tensor, or an object with functions of its own."""
    return isinstance(inp, Tensor) or overrides(inp)


def resolve_name(f: Callable[..., Any]) -> str:
    """The name of a function, as the user writes it."""
    name = name_of(f)
    return f"tracec.Tensor.{name}" if getattr(Tensor, name, None) is f else f"tracec.{name}"


__all__ = [
    "handle_torch_function", "has_torch_function", "has_torch_function_unary", "has_torch_function_variadic",
    "is_tensor_like", "resolve_name",
]  # fmt: skip


if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
