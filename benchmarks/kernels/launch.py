"""What the host pays: microseconds of a call that launches so many small kernels, with and without CUDA graphs.

The driver keeps about a thousand launches for the device, and then has the host wait: host time is that of fewer.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.kernels.measure import Measure, Row
from tracec.runtime import launcher, nvrtc
from tracec.runtime.cuda import arch_of

LENGTH = 1024
KERNELS = (1, 10, 100)
#: Launches that a driver takes without waiting for the device.
QUEUED = 500


def chain(count: int) -> Callable[[Any], Any]:
    """That many operations one after another."""

    def function(x: Any) -> Any:
        for _ in range(count):
            x = x * 0.999
        return x

    return function


def measure_launches(measure: Measure) -> list[Row]:
    """Calls that launch 1, 10 and 100 kernels: tracec's with and without graphs, tracec's eager calls, CuPy's."""
    xp, tracec = measure.device.xp, measure.subject.xp
    array = xp.asarray(np.ones(LENGTH, np.float32))
    tensor, rows = tracec.from_dlpack(array), []
    options = {"disable": ("fuse", "horizontal", "join"), **measure.device.options}
    for count in KERNELS:
        ways: dict[str, tuple[Callable[[Any], Any], Any]] = {
            "tracec, CUDA graph": (tracec.compile(chain(count), cuda_graph=True, **options), tensor),
            "tracec, launches": (tracec.compile(chain(count), cuda_graph=False, **options), tensor),
            "tracec, eager": (chain(count), tensor),
            xp.__name__: (chain(count), array),
        }
        if (alone := driver_alone(xp, count)) is not None:
            ways["the driver's own"] = alone, None
        for name, (function, given) in ways.items():
            row: Row = {"family": "launch", "name": name, "kernels": count, "title": f"{name}, {count} kernels"}
            try:
                row |= _microseconds(measure, function, given, count)
            except Exception as error:
                row["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
            rows.append(row)
    return rows


def driver_alone(xp: Any, count: int) -> Callable[[Any], Any] | None:
    """Queues so many launches of a kernel that does nothing from C: what no library can do without.

    None where there is no driver, or no C compiler.
    """
    queue = launcher.queue_function()
    if queue is None or xp is np:
        return None
    (cubin,) = nvrtc.compile_sources(['extern "C" __global__ void nothing(float *x) {}'], arch_of(0))
    module = xp.cuda.function.Module()
    module.load(cubin.image)
    address = (ctypes.c_uint64 * 1)(0)
    parameters = (ctypes.c_void_p * 1)(ctypes.addressof(address))
    one = launcher.Launch(module.get_function("nothing").ptr, parameters, (1, 1, 1), (256, 1, 1), 0)
    batch = launcher.Batch([one] * count, queue)

    def run(_: Any, keep: Any = (module, address)) -> None:
        batch(xp.cuda.get_current_stream().ptr)

    return run


def _microseconds(measure: Measure, function: Callable[[Any], Any], given: Any, kernels: int) -> Row:
    """Host time of a call while the driver's queue has room, and time from call to call in all."""
    for _ in range(5):
        function(given)
    measure.device.synchronize()
    launching, through, calls = [], [], measure.device.calls
    few = max(1, min(calls, QUEUED // kernels))
    for _ in range(9):
        start = time.perf_counter()
        for _ in range(few):
            function(given)
        launching.append((time.perf_counter() - start) / few * 1e6)
        measure.device.synchronize()
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(calls):
            function(given)
        measure.device.synchronize()
        through.append((time.perf_counter() - start) / calls * 1e6)
    return {"host_us": statistics.median(launching), "call_us": statistics.median(through)}
