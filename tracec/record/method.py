"""The mark that makes a function a Tensor method too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from tracec.record.inplace_views import turns_into
from tracec.record.public import public
from tracec.record.tensor import Tensor
from tracec.record.write import writes_into

F = TypeVar("F", bound=Callable[..., Any])

_NAMES = """
    abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr arccos arccosh arcsin arcsinh arctan arctan2
    arctanh asin asinh atan atan2 atanh baddbmm bitwise_and bitwise_left_shift bitwise_not bitwise_or
    bitwise_right_shift bitwise_xor ceil clamp clamp_max clamp_min clip conj_physical copysign cos cosh cumprod cumsum
    deg2rad digamma div divide eq erf erfc erfinv exp exp2 expm1 fix float_power floor floor_divide fmod frac gcd ge
    greater greater_equal gt heaviside hypot i0 igamma igammac index_add index_copy index_fill index_put index_reduce
    lcm ldexp le lerp less less_equal lgamma log log10 log1p log2 logical_and logical_not logical_or logical_xor logit
    lt masked_fill masked_scatter mul multiply mvlgamma nan_to_num ne neg negative nextafter not_equal polygamma pow
    put rad2deg reciprocal relu remainder renorm round rsqrt scatter scatter_add scatter_reduce sgn sigmoid sign sin
    sinc sinh sqrt square sub subtract tan tanh tril triu true_divide trunc xlogy
"""

#: Functions that PyTorch also has as methods that write their result into the tensor, ``name_``.
IN_PLACE = frozenset(_NAMES.split())

#: Functions that PyTorch also has as methods by which the tensor itself becomes the view, ``name_``.
TURNING = frozenset(["as_strided", "squeeze", "swapaxes", "swapdims", "t", "transpose", "unsqueeze"])

#: Every marked function by name.
METHODS: dict[str, Callable[..., Any]] = {}
#: Those that are no methods yet, by module.
_MARKED: dict[str, list[tuple[str, Callable[..., Any], bool]]] = {}


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
    """Mark a function as a method of Tensor, which it is once `enter` is called for its module."""
    METHODS[name] = function
    _MARKED.setdefault(function.__module__, []).append((name, function, inplace))


def enter(module: str) -> None:
    """Enter what a module has marked among the methods of Tensor.

    That is when the module is whole: another thread would find a method at once, and call it while the functions that
    it calls in its turn are still missing.

    Args:
        module: The module's whole name; it has been imported.
    """
    for name, function, inplace in tuple(_MARKED.get(module, ())):  # two threads may do so: it is the same
        if not is_there(name):
            setattr(Tensor, name, public(function, name=name))
        if (inplace or name in TURNING) and not is_there(name + "_"):
            setattr(Tensor, name + "_", public((turns_into if name in TURNING else writes_into)(name, function)))
    _MARKED.pop(module, None)


def is_there(name: str) -> bool:
    """Whether the Tensor class has a method, without a look for modules that make it."""
    return any(name in c.__dict__ for c in Tensor.__mro__[:-1])
