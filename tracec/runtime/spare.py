"""Output buffers are reused once nobody references them: no allocation, and CUDA graphs find memory where it was."""

from __future__ import annotations

import sys
from typing import Any

#: Larger arrays come from CuPy's pool each time: keeping them would keep that memory from others.
LARGEST = 1 << 20
#: Arrays of one output that are watched: the one in use, the one before, which the caller may hold still, and another.
WATCHED = 3


def _references_when_free() -> int:
    """References to an object that a list holds and nobody else, counted in a loop over it as `Spare.array` does.

    How many the loop and the call add to the list's own depends on the interpreter.
    """
    for one, _ in [(object(), 0)]:
        return sys.getrefcount(one)
    raise AssertionError


_FREE = _references_when_free()


class Spare:
    """Makes the arrays of one output.

    Args:
        cupy: The module.
        shape: Their shape.
        dtype: Their dtype.
        nbytes: Their size.
    """

    def __init__(self, cupy: Any, shape: tuple[int, ...], dtype: Any, nbytes: int) -> None:
        self._make, self._shape, self._dtype = cupy.ndarray, shape, dtype
        #: Arrays, and where they lie.
        self._watched: list[tuple[Any, int]] | None = [] if nbytes <= LARGEST else None
        self._stream = 0

    def array(self, stream: int) -> tuple[Any, int]:
        """An array that nobody else holds, of undefined contents, and where it lies.

        Args:
            stream: The number of the stream that it is to be written in; memory of another one may be in use there.
        """
        watched = self._watched
        if watched is None:
            made = self._make(self._shape, self._dtype)
            return made, made.data.ptr
        if stream != self._stream:
            watched.clear()
            self._stream = stream
        for array, place in watched:
            if sys.getrefcount(array) <= _FREE:
                return array, place
        made = self._make(self._shape, self._dtype)
        if len(watched) == WATCHED:
            del watched[0]
        place = made.data.ptr
        watched.append((made, place))
        return made, place

    def clear(self) -> None:
        """Let go of all arrays."""
        if self._watched:
            self._watched.clear()
