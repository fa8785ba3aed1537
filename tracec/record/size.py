"""Shapes as users see them: tuples that print as PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from tracec.errors import ArgumentTypeError
from tracec.record.opaque import SIZED


class Size(tuple[int, ...]):
    """A shape; a tuple that prints as PyTorch's."""

    __slots__ = ()

    def __new__(cls, sizes: Iterable[int] = ()) -> Size:
        found = tuple(sizes)
        if not all(hasattr(s, "__index__") for s in found):
            raise ArgumentTypeError(f"Size: takes integers, {found} given", hint="e.g. tracec.Size([2, 3])")
        return tuple.__new__(cls, [s if SIZED and isinstance(s, int) else s.__index__() for s in found])

    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self)

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return tuple.__new__(Size, found) if isinstance(key, slice) else found

    def __add__(self, other: Any) -> Any:
        return tuple.__new__(Size, super().__add__(other)) if isinstance(other, tuple) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return tuple.__new__(Size, other + tuple(self)) if isinstance(other, tuple) else NotImplemented

    def __mul__(self, times: Any) -> Any:
        return tuple.__new__(Size, super().__mul__(times))

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"tracec.Size({list(self)})"
