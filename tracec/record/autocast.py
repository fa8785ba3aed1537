"""Mixed precision: which functions compute in 16 bits while `autocast` is on, and which do not.

A function that is marked casts its tensors before it runs: products to the 16-bit type, since they gain the most and
lose little; sums of many terms, exponentials and losses to float32; functions of several tensors to the widest of
theirs. All others take what they are given. The casts are operations as any other, so gradients come back in the
types of the parameters, and a recorded graph holds them.

Source: Micikevicius et al., "Mixed Precision Training", 2017; the lists of functions are PyTorch's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record.dispatch import cast
from tracec.record.public import WITHOUT_AUTOCAST
from tracec.record.state import STATE
from tracec.record.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])
#: Kind of device → the 16-bit type that is used there, for those where autocast is on.
Modes = tuple[tuple[str, DType], ...]

LOWER, FLOAT32, WIDEST = "lower", "float32", "widest"
_NARROW = (dt.float16, dt.bfloat16)


def under_autocast(policy: str) -> Callable[[F], F]:
    """Make a function cast its tensors while autocast is on.

    Args:
        policy: ``lower``, ``float32`` or ``widest``.
    """

    def mark(function: F) -> F:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            if STATE.autocast is None:
                return function(*args, **kwargs)
            return _run_cast(function, policy, STATE.autocast, args, kwargs)

        WITHOUT_AUTOCAST[run] = function
        return run  # type: ignore[return-value]

    return mark


def _run_cast(
    function: Callable[..., Any], policy: str, modes: Modes, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:  # fmt: skip
    floats = [t for t in _tensors((*args, *kwargs.values())) if t.dtype.kind == "f"]
    kinds = {_kind(t) for t in floats}
    narrow = next((d for kind, d in modes if kind in kinds), None)
    if narrow is None:
        return function(*args, **kwargs)
    widest = functools.reduce(dt.promote, (t.dtype for t in floats))

    def fitted(value: Any) -> Any:
        if isinstance(value, Tensor):
            return _cast_tensor(value, policy, narrow, widest)
        # What stands in for a list says that it is one.
        return value.__class__(map(fitted, value)) if value.__class__ in (list, tuple) else value

    try:
        STATE.autocast = None  # what the function calls takes its types from it
        return function(*map(fitted, args), **{k: fitted(v) for k, v in kwargs.items()})
    finally:
        STATE.autocast = modes


def _cast_tensor(x: Tensor, policy: str, narrow: DType, widest: DType) -> Tensor:
    if x.dtype.kind != "f":
        return x
    if policy == WIDEST:
        wanted = widest
    elif policy == LOWER:
        wanted = x.dtype if x.dtype is dt.float64 else narrow
    else:
        wanted = dt.float32 if x.dtype in _NARROW else x.dtype
    return x if x.dtype is wanted else cast(x, wanted)


def _kind(x: Tensor) -> str:
    return str(x.device).partition(":")[0]


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif value.__class__ in (list, tuple):
            yield from _tensors(value)
