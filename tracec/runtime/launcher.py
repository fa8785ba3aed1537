"""Launches one behind the other, queued by one call of C: what a launch costs the host is then the driver's own time.

The function is compiled by the host's C compiler, once for a machine, and calls the driver by its address. Python calls
it as it calls its own functions, a batch's stream the only argument. Where there is no compiler, or no driver, launches
are queued through CuPy, one by one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tracec.errors import CompileError, CompilerMissing
from tracec.runtime.compiler import find_compiler

#: Types of numbers among a function's parameters.
C_TYPES: Mapping[str, Any] = {"int": ctypes.c_int, "long long": ctypes.c_longlong, "double": ctypes.c_double}

_SOURCE = """
/* Declares what it takes from Python by itself, so that Python's headers need not be installed. */
typedef struct object object;
extern void *PyLong_AsVoidPtr(object *);
extern object *PyLong_FromLong(long);
extern void *PyEval_SaveThread(void);
extern void PyEval_RestoreThread(void *state);
struct method { const char *name; object *(*call)(object *, object *); int flags; const char *doc; };
extern object *PyCFunction_NewEx(const struct method *, object *self, object *module);

/* As the driver declares them; the one attribute says that a launch may begin before the one in front has ended. */
struct attribute { int id, unused; int value[16]; };
struct config { unsigned grid[3], block[3], shared; void *stream; struct attribute *attributes; unsigned count; };
typedef int (*overlapping_function)(const struct config *, void *, void **, void **);

struct launch {
  void *function, **parameters;
  unsigned grid[3], block[3], shared;
};
typedef int (*launch_function)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,
                               void **, void **);

struct batch {
  launch_function driver;
  overlapping_function overlapping; /* instead, if there is one */
  const struct launch *launches;
  long count, failed;
};

/* Queues launches until the driver refuses one, without Python's lock: its status, which one in the batch. */
static object *queue(object *self, object *stream) {
  struct batch *batch = PyLong_AsVoidPtr(self);
  void *on = PyLong_AsVoidPtr(stream), *state = PyEval_SaveThread();
  int status = 0;
  for (long n = 0; n < batch->count && !status; ++n) {
    const struct launch *one = batch->launches + n;
    if (batch->overlapping) {
      struct attribute may_begin = {6, 0, {1}};
      struct config how = {{one->grid[0], one->grid[1], one->grid[2]}, {one->block[0], one->block[1], one->block[2]},
                           one->shared, on, &may_begin, 1};
      status = batch->overlapping(&how, one->function, one->parameters, 0);
    } else
      status = batch->driver(one->function, one->grid[0], one->grid[1], one->grid[2], one->block[0], one->block[1],
                             one->block[2], one->shared, on, one->parameters, 0);
    batch->failed = n;
  }
  PyEval_RestoreThread(state);
  return PyLong_FromLong(status);
}

static const struct method methods[] = {{"queue", queue, 8, 0}}; /* of one argument */

/* What queues the batch at an address on the stream that it is given. */
object *tracec_queue(object *address) { return PyCFunction_NewEx(methods, address, 0); }
"""


class _Launch(ctypes.Structure):
    _fields_ = [
        ("function", ctypes.c_void_p), ("parameters", ctypes.c_void_p), ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3), ("shared", ctypes.c_uint),
    ]  # fmt: skip


class _Batch(ctypes.Structure):
    _fields_ = [
        ("driver", ctypes.c_void_p), ("overlapping", ctypes.c_void_p), ("launches", ctypes.c_void_p),
        ("count", ctypes.c_long), ("failed", ctypes.c_long),
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
        overlaps: Whether each may begin before the one in front of it has ended, for which it waits by itself.
    """

    def __init__(self, launches: Sequence[Launch], queue: Any, overlaps: bool = False) -> None:
        self._kept = [x.parameters for x in launches]
        self._launches = (_Launch * len(launches))(
            *(_Launch(x.function, ctypes.addressof(x.parameters), x.grid, x.block, x.shared_bytes) for x in launches)
        )
        overlapping = driver_address("cuLaunchKernelEx") if overlaps else 0
        self._batch = _Batch(driver_address(), overlapping, ctypes.addressof(self._launches), len(launches), 0)
        #: Queues all on a stream, given its handle: 0, or what the driver said when it refused one.
        self.queue: Callable[[int], int] = queue(ctypes.addressof(self._batch))

    def __call__(self, stream: int) -> None:
        """Queue all on a stream, given its handle.

        Raises:
            Refused: the driver did not take one; those before it are queued.
        """
        status = self.queue(stream)
        if status:
            raise self.refused(status)

    def refused(self, status: int) -> Refused:
        """The error of the launch that the driver refused last."""
        return Refused(self._batch.failed, status)


@cache
def driver_address(name: str = "cuLaunchKernel") -> int:
    """Where one of the driver's functions lies, that for launches; 0 where there is none."""
    try:
        function = getattr(ctypes.CDLL("libcuda.so.1"), name)
    except (OSError, AttributeError):
        return 0
    return ctypes.cast(function, ctypes.c_void_p).value or 0


class _Config(ctypes.Structure):
    """``CUlaunchConfig``."""

    _fields_ = [
        ("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3), ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p), ("attributes", ctypes.c_void_p), ("count", ctypes.c_uint),
    ]  # fmt: skip


#: ``CUDA_ERROR_INVALID_CLUSTER_SIZE``.
_INVALID_CLUSTER = 912


def active_clusters(function: int, blocks: int, threads: int, shared_bytes: int) -> int | None:
    """How many clusters of a function can be at work at a time; None where the driver does not tell.

    Args:
        function: Its handle; the size of its clusters is its own.
        blocks: Blocks of a cluster.
        threads: Threads of a block.
        shared_bytes: Dynamic shared memory of a block.
    """
    address = driver_address("cuOccupancyMaxActiveClusters")
    if not address:
        return None
    ask = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(address)
    found, config = ctypes.c_int(), _Config((blocks, 1, 1), (threads, 1, 1), shared_bytes, None, None, 0)
    status = ask(ctypes.addressof(found), function, ctypes.addressof(config))
    if status:
        return 0 if status == _INVALID_CLUSTER else None
    return found.value


def queue_function() -> Any:
    """The compiled function; None where there is no driver, or no C compiler that works."""
    return _compiled() if driver_address() else None


@cache
def _compiled() -> Any:
    try:
        library = ctypes.PyDLL(str(find_compiler().shared_object([_SOURCE])))
    except (CompileError, CompilerMissing, OSError):
        return None
    library.tracec_queue.argtypes, library.tracec_queue.restype = (ctypes.py_object,), ctypes.py_object
    return library.tracec_queue
