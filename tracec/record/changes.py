"""Changes of tensors that leave no trace in memory (other memory, other flags, new views), counted for programs."""

from __future__ import annotations

import sys
from typing import Any


class Changes:
    """Counts what compiled functions do not see in memory: tensors given other memory or other flags, new views.

    Attributes:
        count: Number of such changes so far.
    """

    count = 0


class ViewMark:
    """Held by each tensor that views memory which programs write because nobody else views it."""

    __slots__ = ()


#: Numbers of the arrays that have such memory.
ALONE: set[int] = set()


def holders_of_mark(x: Any) -> int:
    """How many tensors hold the same `ViewMark`, counted by references: what `ONE` is for one of them."""
    return sys.getrefcount(x._view_mark)


def holders_of_storage(x: Any) -> int:
    """The same of a tensor's storage."""
    return sys.getrefcount(x._storage)


class _Example:
    def __init__(self) -> None:
        self._view_mark, self._storage = ViewMark(), ViewMark()


ONE = holders_of_mark(_Example())
ONE_STORAGE = holders_of_storage(_Example())
