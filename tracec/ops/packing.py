"""Several results in one array: where each lies in it, and views that take it apart.

All parts are in one element type, that of the widest floating or complex one among them, or else of the widest
integer. A part of another type is cast to it where it holds each of its values; wide integers among floats are cut
into limbs of 16 bits, which every float from float32 on holds. Limbs lie along a last axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from tracec.ir import dtype as dt
from tracec.ir.body import cached
from tracec.ir.dtype import DType
from tracec.ir.operator import OPERATORS
from tracec.ir.types import Shape, TensorType
from tracec.ops.view import pad, reshape, slice

_LIMB = 16


@dataclass(frozen=True, slots=True)
class Part:
    """One result.

    Attributes:
        type: What it is.
        start: Where it begins, in elements of the packed array.
        limbs: How many elements of the packed array hold one of its own.
        dtype: Element type of the packed array.
    """

    type: TensorType
    start: int
    limbs: int
    dtype: DType

    @property
    def shape(self) -> Shape:
        """Its shape in the packed array."""
        return self.type.shape if self.limbs == 1 else (*self.type.shape, self.limbs)

    @property
    def size(self) -> int:
        return self.type.size * self.limbs

    @property
    def stop(self) -> int:
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Layout:
    """Where several results lie in one array, one behind the other.

    Attributes:
        type: Type of the array, of one dimension.
        parts: The results.
    """

    type: TensorType
    parts: tuple[Part, ...]


@cached
def layout(types: tuple[TensorType, ...]) -> Layout:
    """Where results of these types lie in one array."""
    dtype = packed_dtype(tuple(t.dtype for t in types))
    parts, at = [], 0
    for t in types:
        parts.append(Part(t, at, _limbs(t.dtype, dtype), dtype))
        at = parts[-1].stop
    return Layout(TensorType(dtype, (at,), types[0].device if types else "cpu"), tuple(parts))


def packed_dtype(dtypes: Sequence[DType]) -> DType:
    """The element type that holds all of these."""
    distinct = set(dtypes)
    if len(distinct) == 1:
        return dtypes[0]
    inexact = [d for d in distinct if d.is_differentiable]
    if not inexact:
        return dt.int64
    wide = dt.of_numpy(reduce(np.promote_types, (_plain(d) for d in inexact)))
    return wide if wide.itemsize > 2 or len(inexact) == len(distinct) else dt.float32


def _plain(dtype: DType) -> Any:
    """NumPy's type of the same kind; of bfloat16, which it does not know, with others the next that holds it."""
    return np.dtype(np.float32) if dtype is dt.bfloat16 else dtype.numpy


def _limbs(dtype: DType, into: DType) -> int:
    if dtype.is_differentiable or not into.is_differentiable or dtype.kind == "b":
        return 1
    return 1 if dtype.itemsize <= 2 else dtype.itemsize // 2


def take(packed: Any, part: Part) -> Any:
    """A part, as what it is: a node of a node, a tensor of a tensor."""
    x = packed
    if packed.shape != (part.size,):
        x = slice(packed, starts=(part.start,), stops=(part.stop,), steps=(1,))
    return decoded(reshape(x, shape=part.shape), part)


def put(value: Any, part: Part) -> Any:
    """A result as a part: an array of one dimension."""
    return reshape(encoded(value, part), shape=(part.size,))


def alone(value: Any, part: Part, all_: Layout) -> Any:
    """A packed array that is zero but for one part."""
    return pad(put(value, part), low=(part.start,), high=(all_.type.shape[0] - part.stop,), value=0)


def encoded(x: Any, part: Part) -> Any:
    """A result, or a slice of it along leading axes, in the packed type."""
    if x.dtype is part.dtype:
        return x
    if part.limbs == 1:
        return _cast(x, part.dtype)
    wide = x.dtype
    limbs = [OPERATORS["bitwise_and"](OPERATORS["shift_right"](x, _LIMB * k), 0xFFFF) for k in range(part.limbs)]
    limbs = [reshape(_cast(limb, part.dtype), shape=(*x.shape, 1)) for limb in limbs]
    assert wide.kind in "iu"
    return OPERATORS["concatenate"](*limbs, axis=len(x.shape))


def decoded(x: Any, part: Part) -> Any:
    """The inverse of `encoded`."""
    if part.type.dtype is part.dtype:
        return x
    if part.limbs == 1:
        return _cast(x, part.type.dtype)
    n = len(x.shape) - 1
    whole: Any = None
    for k in range(part.limbs):
        starts, stops = (0,) * n + (k,), (*x.shape[:-1], k + 1)
        limb = reshape(slice(x, starts=starts, stops=stops, steps=(1,) * (n + 1)), shape=x.shape[:-1])
        limb = OPERATORS["shift_left"](_cast(limb, part.type.dtype), _LIMB * k)
        whole = limb if whole is None else OPERATORS["bitwise_or"](whole, limb)
    return whole


def _cast(x: Any, dtype: DType) -> Any:
    return OPERATORS["cast"](x, dtype=dtype)


def write(xp: Any, out: Any, value: Any, part: Part) -> None:
    """Write a result, or a slice of it along leading axes, as an array into its place."""
    if part.limbs == 1:
        out[...] = value
        return
    for k in range(part.limbs):
        out[..., k] = xp.bitwise_and(xp.right_shift(value, xp.asarray(_LIMB * k, value.dtype)), 0xFFFF)
