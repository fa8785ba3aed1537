"""What the host pays: microseconds of a call that launches so many small kernels, with and without CUDA graphs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.kernels.measure import Measure, Row

LENGTH = 1024
KERNELS = (1, 10, 100)


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
    options = {"disable": ("fuse", "horizontal"), **measure.device.options}
    for count in KERNELS:
        ways: dict[str, tuple[Callable[[Any], Any], Any]] = {
            "tracec, CUDA graph": (tracec.compile(chain(count), cuda_graph=True, **options), tensor),
            "tracec, launches": (tracec.compile(chain(count), cuda_graph=False, **options), tensor),
            "tracec, eager": (chain(count), tensor),
            xp.__name__: (chain(count), array),
        }
        for name, (function, given) in ways.items():
            row: Row = {"family": "launch", "name": name, "kernels": count, "title": f"{name}, {count} kernels"}
            try:
                row |= _microseconds(measure, function, given)
            except Exception as error:
                row["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
            rows.append(row)
    return rows


def _microseconds(measure: Measure, function: Callable[[Any], Any], given: Any) -> Row:
    """Host time of a call while the device keeps up, and time from call to call in all."""
    for _ in range(5):
        function(given)
    measure.device.synchronize()
    launching, through, calls = [], [], measure.device.calls
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(calls):
            function(given)
        launched = time.perf_counter()
        measure.device.synchronize()
        launching.append((launched - start) / calls * 1e6)
        through.append((time.perf_counter() - start) / calls * 1e6)
    return {"host_us": statistics.median(launching), "call_us": statistics.median(through)}
