"""Launches one behind the other, queued by one call of C: what a launch costs the host is then the driver's own time.

The function is compiled by the host's C compiler, once for a machine, and calls the driver by its address. Where there
is no compiler, or no driver, launches are queued through CuPy, one by one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tracec.errors import CompileError, CompilerMissing
from tracec.runtime.compiler import find_compiler

#: Types of numbers among a function's parameters.
C_TYPES: Mapping[str, Any] = {"int": ctypes.c_int, "long long": ctypes.c_longlong, "double": ctypes.c_double}

_SOURCE = """
struct launch {
  void *function, **parameters;
  unsigned grid[3], block[3], shared;
};
typedef int (*launch_function)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,
                               void **, void **);

/* Queues launches until the driver refuses one: its status, which one in *failed. */
int tracec_queue(launch_function function, const struct launch *launches, long count, void *stream, long *failed) {
  for (long n = 0; n < count; ++n) {
    const struct launch *one = launches + n;
    const int status = function(one->function, one->grid[0], one->grid[1], one->grid[2], one->block[0], one->block[1],
                                one->block[2], one->shared, stream, one->parameters, 0);
    if (status) {
      *failed = n;
      return status;
    }
  }
  return 0;
}
"""


class _Launch(ctypes.Structure):
    _fields_ = [
        ("function", ctypes.c_void_p), ("parameters", ctypes.c_void_p), ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3), ("shared", ctypes.c_uint),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch, as the driver takes it.

    Attributes:
        function: Handle of the function.
        parameters: An array of the addresses of its parameters.
        grid: Blocks along x, y, z.
        block: Threads along x, y, z.
        shared_bytes: Dynamic shared memory.
    """

    function: int
    parameters: Any
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int


class Refused(Exception):
    """The driver did not take a launch.

    Args:
        number: Which one of those that were queued together.
        status: What the driver said.
    """

    def __init__(self, number: int, status: int) -> None:
        super().__init__(f"launch {number}: status {status}")
        self.number, self.status = number, status


class Batch:
    """Launches that are queued together, with the parameters that their arrays hold when they are.

    Args:
        launches: In order.
        queue: What `queue_function` found.
    """

    def __init__(self, launches: Sequence[Launch], queue: Any) -> None:
        self._kept = [x.parameters for x in launches]
        self._launches = (_Launch * len(launches))(
            *(_Launch(x.function, ctypes.addressof(x.parameters), x.grid, x.block, x.shared_bytes) for x in launches)
        )
        self._failed = ctypes.c_long()
        self._queue = queue
        self._driver = driver_address()
        self._count = len(launches)
        self._at, self._failed_at = ctypes.addressof(self._launches), ctypes.addressof(self._failed)

    def __call__(self, stream: int) -> None:
        """Queue all on a stream, given its handle.

        Raises:
            Refused: the driver did not take one; those before it are queued.
        """
        status = self._queue(self._driver, self._at, self._count, stream, self._failed_at)
        if status:
            raise Refused(self._failed.value, status)


@cache
def driver_address() -> int:
    """Where the driver's function for launches lies; 0 where there is no driver."""
    try:
        function = ctypes.CDLL("libcuda.so.1").cuLaunchKernel
    except (OSError, AttributeError):
        return 0
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def queue_function() -> Any:
    """The compiled function; None where there is no driver, or no C compiler that works."""
    return _compiled() if driver_address() else None


@cache
def _compiled() -> Any:
    try:
        library = ctypes.CDLL(str(find_compiler().shared_object([_SOURCE])))
    except (CompileError, CompilerMissing, OSError):
        return None
    library.tracec_queue.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    return library.tracec_queue
