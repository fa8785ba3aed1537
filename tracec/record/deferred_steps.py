"""The steps of deferred operations: what each is, the arrays that stand for their results, and computing them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec.ir.lower import HostCall
from tracec.ir.source import Source
from tracec.record.backend import module, number_on, on

if TYPE_CHECKING:
    from tracec.ir.types import TensorType
    from tracec.record.call import Call

#: An operation whose result is memory of its own; a view of an operand; a write; a copy; a number as an array.
COMPUTED, LOOK, WRITE, COPY, NUMBER = range(5)
#: Those that leave memory without values, or with old ones, until they are computed.
WRITING = (COMPUTED, COPY, WRITE)

#: What was put off: which of the above, the operator's call, operands, positions of those that are Python's numbers,
#: the array that is looked at, written or made, and the user's line where it was asked for.
Step = tuple[int, Any, Sequence[Any], tuple[int, ...], Any, "Source | None"]

#: How the elements of a result lie: strides in bytes, and whether it is a view of other memory that nobody has; or the
#: position of the operand that it is.
Layout = tuple[tuple[int, ...], bool] | int


def eager_now(call: Call, arrays: Sequence[Any], numbers: Sequence[int]) -> Any:
    """What an operation gives of arrays, computed now."""
    device = call.type.device
    if device == "cpu":
        return np.asarray(call.op.eager(np, *arrays, **call.keywords))
    xp = module(device)
    with on(device):
        given = [number_on(a, device) if k in numbers else a for k, a in enumerate(arrays)]
        return xp.asarray(call.op.eager(xp, *given, **call.keywords))


def can_wait(call: Call) -> bool:
    """Whether an operation computes something of any values."""
    return not isinstance(call.op.lower, HostCall)


def places_of(arrays: Sequence[Any]) -> tuple[Any, ...]:
    """Where the elements of operands of known shapes lie."""
    return tuple([a.strides for a in arrays])


def empty(type_: TensorType, layout: Layout | None) -> Any:
    """An array without values."""
    shape, dtype, xp = type_.shape, type_.dtype.numpy, module(type_.device)
    if layout is None:
        return xp.empty(shape, dtype)
    assert type(layout) is tuple
    strides, is_look = layout
    if not is_look and xp is np:
        return np.ndarray(shape, dtype, strides=strides)
    made = xp.empty(shape, dtype)
    if not type_.size or made.strides == strides:
        return made[...] if is_look else made
    reach = [(n - 1) * step for n, step in zip(shape, strides, strict=True)]
    before = -sum(r for r in reach if r < 0)
    memory = xp.empty(before + sum(r for r in reach if r > 0) + type_.dtype.itemsize, np.uint8)
    if xp is np:
        return np.ndarray(shape, dtype, memory, before, strides)
    made = xp.ndarray(shape, dtype, memory.data + before, strides)
    return made[...] if is_look else made


def held(looks: list[Step]) -> list[Step]:
    """Looks at memory that somebody still has, and those that they lead through."""
    kept: list[Step] = []
    while looks:
        step = looks.pop()
        # One for the step, one for the call; a look through it holds it, too.
        if sys.getrefcount(step[4]) > _OWN_REFERENCES:
            kept.append(step)
    kept.reverse()
    return kept


def _count_references() -> int:
    step = (LOOK, np.empty(1))
    return sys.getrefcount(step[1])


_OWN_REFERENCES = _count_references()


def run(steps: list[Step]) -> None:
    """Compute steps one by one; those are left over that could not be computed."""
    steps.reverse()
    try:
        while steps:  # what nobody else holds is gone when it was used
            kind, call, arrays, numbers, out, _ = steps[-1]
            if kind == COMPUTED:
                out[...] = eager_now(call, arrays, numbers)
            elif kind in (WRITE, COPY):
                out[...] = arrays[0]
            steps.pop()
    finally:
        steps.reverse()
