"""The mark that makes a function a Tensor method too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from tracec.record.tensor import Tensor
from tracec.record.write import writes_into

F = TypeVar("F", bound=Callable[..., Any])

_NAMES = """
    abs absolute acos acosh add addcdiv addcmul arccos arcsin arctan arctan2 asin asinh atan atan2 atanh
    bitwise_and bitwise_not bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift ceil clamp clamp_max
    clamp_min clip cos cosh cumprod cumsum div divide eq erf erfc exp exp2 expm1 fix float_power floor floor_divide
    fmod frac ge greater greater_equal gt hypot index_add index_copy index_fill index_put le lerp less less_equal
    log log10 log1p log2 logical_and logical_not logical_or logical_xor logit lt masked_fill masked_scatter mul
    multiply nan_to_num ne neg negative not_equal pow put reciprocal relu remainder round rsqrt scatter scatter_add
    scatter_reduce sgn sigmoid sign sin sinh sqrt square sub subtract tan tanh tril triu true_divide trunc xlogy
"""

#: Functions that PyTorch also has as methods that write their result into the tensor, ``name_``.
IN_PLACE = frozenset(_NAMES.split())

#: Every marked function by name.
METHODS: dict[str, Callable[..., Any]] = {}


@overload
def tensor_method(function: F) -> F: ...
@overload
def tensor_method(
    function: None = None, *, name: str | None = None, inplace: bool | None = None
) -> Callable[[F], F]: ...


def tensor_method(function: F | None = None, *, name: str | None = None, inplace: bool | None = None) -> Any:
    """Make a function whose first argument is a tensor a method of Tensor as well.

    A method that the Tensor class itself defines stays. Where PyTorch has the function in place (see
    `IN_PLACE`), a method ``name_`` is made of it that writes the result into the tensor.

    Args:
        function: The function. Left out, the result is the decorator.
        name: The method's name, where it is not the function's.
        inplace: Whether there is ``name_`` too; by default what `IN_PLACE` says.
    """

    def mark(f: F) -> F:
        attach(name or f.__name__, f, (name or f.__name__) in IN_PLACE if inplace is None else inplace)
        return f

    return mark(function) if function is not None else mark


def attach(name: str, function: Callable[..., Any], inplace: bool) -> None:
    """Enter a function among the methods of Tensor."""
    METHODS[name] = function
    if not any(name in c.__dict__ for c in Tensor.__mro__[:-1]):
        setattr(Tensor, name, function)
    if inplace and not hasattr(Tensor, name + "_"):
        setattr(Tensor, name + "_", writes_into(name, function))
