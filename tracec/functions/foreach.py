"""PyTorch's functions of lists of tensors, by which optimisers write one line for all parameters: ``_foreach_add_``, ….

Each does to every tensor what the function of one does; what follows the list (another list, a tensor, numbers) goes
with it. A compiled function makes few kernels of them, as of a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.functions import amax, pow
from tracec.functions.norms import vector_norm
from tracec.record.tensor import Tensor

#: Names of functions of one tensor that both give results and, with ``_`` behind, write into their operand.
_NAMES = """
    abs acos add addcdiv addcmul asin atan ceil clamp_max clamp_min cos cosh div erf erfc exp expm1 floor frac lerp
    lgamma log log10 log1p log2 mul neg pow reciprocal round rsqrt sigmoid sign sin sinh sqrt sub tan tanh trunc
"""
#: Those of which another name is that of tensors alone, where numbers serve here.
_ALSO = {"maximum": "clamp_min", "minimum": "clamp_max"}


def _tensors(name: str, given: Any) -> list[Tensor]:
    """A list of tensors as it was given."""
    if not isinstance(given, (list, tuple)) or not all(isinstance(x, Tensor) for x in given):
        what = (
            next((x for x in given if not isinstance(x, Tensor)), given) if isinstance(given, (list, tuple)) else given
        )
        raise ArgumentTypeError(
            f"{name}: takes a list or a tuple of tensors, {type(what).__name__} given", hint="put tensors into a list"
        )
    if not given:
        raise ArgumentError(
            f"{name}: Tensor list must have at least one tensor", hint="leave the call out of no tensors"
        )
    return list(given)


def _each(name: str, values: Any, count: int) -> Sequence[Any]:
    """What goes with each of so many tensors: a list's elements, those of a tensor of numbers, or the one there is."""
    if not isinstance(values, (list, tuple)):
        return [values] * count
    if len(values) != count:
        raise ArgumentError(
            f"{name}: Tensor lists must have the same number of tensors, got {count} and {len(values)}",
            hint="give one for each tensor, or one for all",
        )
    return values


def _numbers(values: Any) -> Any:
    """A tensor with a number for each tensor as a list of them, as `addcmul` and `addcdiv` take it."""
    return list(values.unbind()) if isinstance(values, Tensor) and values.ndim == 1 else values


def _applied(
    name: str, one: Callable[..., Any], tensors: Any, args: Sequence[Any], options: dict[str, Any]
) -> list[Any]:
    first = _tensors(name, tensors)
    columns = [_each(name, a, len(first)) for a in args]
    return [one(x, *(column[k] for column in columns), **options) for k, x in enumerate(first)]


def _scaled(method: str, inplace: bool) -> Callable[..., Any]:
    """``addcmul`` or ``addcdiv`` of one tensor, whose factor is not a keyword but the third of those that follow."""
    found = getattr(Tensor, method + "_" * inplace)

    def one(x: Tensor, first: Tensor, second: Tensor, value: Any = 1) -> Any:
        return found(x, first, second, value=value)

    return one


def _made(name: str, method: str, inplace: bool) -> Callable[..., Any]:
    """The function of lists of that name."""
    one = _scaled(method, inplace) if method in ("addcmul", "addcdiv") else getattr(Tensor, method + "_" * inplace)

    def over(self: Any, *args: Any, **options: Any) -> Any:
        named = [options.pop(key) for key in ("other", "tensor1", "tensors1", "tensor2", "weights") if key in options]
        last = [options.pop(key) for key in ("scalar", "scalars", "weight", "exponent", "value") if key in options]
        given = [*args, *named, *last]
        if method in ("addcmul", "addcdiv"):
            given = [*given[:2], *(_numbers(value) for value in given[2:])]
        if method == "pow" and not isinstance(self, (list, tuple)) and given:
            return [pow(self, x) for x in _tensors(name, given[0])]
        done = _applied(name, one, self, given, options)
        return self if inplace else tuple(done)

    over.__name__ = over.__qualname__ = name
    over.__doc__ = f"``{method}{'_' * inplace}`` of each tensor of a list" + (", which comes back." if inplace else ".")
    return over


def _foreach_norm(self: Any, ord: float = 2, dtype: Any = None) -> tuple[Tensor, ...]:
    """The norm of all elements of each tensor of a list."""
    return tuple(vector_norm(x, ord, dtype=dtype) for x in _tensors("_foreach_norm", self))


def _foreach_powsum(self: Any, ord: float = 2, dtype: Any = None) -> tuple[Tensor, ...]:
    """The sum of powers of all elements' magnitudes of each tensor of a list."""
    return tuple(x.abs().pow(ord).sum(dtype=dtype) for x in _tensors("_foreach_powsum", self))


def _foreach_max(self: Any) -> tuple[Tensor, ...]:
    """The largest element of each tensor of a list."""
    return tuple(amax(x) for x in _tensors("_foreach_max", self))


def _foreach_mm(self: Any, mat2: Any) -> tuple[Tensor, ...]:
    """The product of each matrix of a list with that of another."""
    return tuple(_applied("_foreach_mm", Tensor.mm, self, [mat2], {}))


def _foreach_clone(self: Any, *, memory_format: Any = None) -> tuple[Tensor, ...]:
    """A copy of each tensor of a list."""
    return tuple(x.clone() for x in _tensors("_foreach_clone", self))


def _foreach_copy_(self: Any, src: Any, non_blocking: bool = False) -> Any:
    """Write each tensor of a list into that of another, which comes back."""
    _applied("_foreach_copy_", Tensor.copy_, self, [src], {})
    return self


def _foreach_zero_(self: Any) -> Any:
    """Write zeros into each tensor of a list, which comes back."""
    _applied("_foreach_zero_", Tensor.zero_, self, [], {})
    return self


_TABLE: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        _foreach_norm, _foreach_powsum, _foreach_max, _foreach_mm, _foreach_clone, _foreach_copy_, _foreach_zero_,
    )
}  # fmt: skip
for _name, _method in [*((n, n) for n in _NAMES.split()), *_ALSO.items()]:
    for _inplace in (False, True):
        _full = f"_foreach_{_name}" + "_" * _inplace
        _TABLE[_full] = _made(_full, _method, _inplace)
globals().update(_TABLE)

__all__ = [*_TABLE]
