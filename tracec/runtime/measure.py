"""Times of loaded programs and of the library's routines on a GPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from tracec.ir.plan import Plan
from tracec.runtime import cublas
from tracec.runtime import cuda as cuda_runtime

_ROUNDS = 7
#: Calls between two events, queued one behind the other.
_CALLS = 8
#: What the device does first, for so long that all calls are queued when it begins with them: filling so many bytes,
#: which takes it ten microseconds or more, so many times. Otherwise small products would take the host's time.
_BUSY_BYTES, _BUSY_TIMES = 32 << 20, 48


def product_times(plan: Plan, program: Any, params: Mapping[str, Any], device: int) -> tuple[float, float, float]:
    """Microseconds of a matrix product on a device.

    Args:
        plan: The product of two operands that lie by themselves, as a generated kernel.
        program: The kernel.
        params: The same for cuBLAS; see `tracec.runtime.cublas.gemm`.
        device: Number of the device.

    Returns:
        The kernel's time, cuBLAS's, and that of a copy of the result.
    """
    cupy = importlib.import_module("cupy")
    with cupy.cuda.Device(device):
        given = [plan.values[v].type for v in plan.inputs]
        # No random ones: CuPy's are a library's, which need not be there.
        arrays = [cupy.sin(cupy.arange(t.size, dtype=t.dtype.numpy)).reshape(t.shape) for t in given]
        kernel = cuda_runtime.load(plan, program, graphs=False)
        (out,) = kernel(arrays)
        other = cupy.empty_like(out)
        library = cublas.gemm(params, 0, 1, 2, [*(x.data.ptr for x in arrays), other.data.ptr], device)
        copy, stream = cupy.cuda.runtime.memcpyAsync, cupy.cuda.get_current_stream().ptr
        return (
            _time(cupy, lambda: kernel(arrays)),
            _time(cupy, lambda: library(stream)),
            _time(cupy, lambda: copy(other.data.ptr, out.data.ptr, out.nbytes, 3, stream)),
        )


def _time(cupy: Any, run: Callable[[], object]) -> float:
    """Microseconds of one call on the device, the median of some rounds."""
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    fill, stream = cupy.cuda.runtime.memsetAsync, cupy.cuda.get_current_stream().ptr
    busy = cupy.cuda.alloc(_BUSY_BYTES)
    run()
    times = []
    for _ in range(_ROUNDS):
        for _ in range(_BUSY_TIMES):
            fill(busy.ptr, 0, _BUSY_BYTES, stream)
        start.record()
        for _ in range(_CALLS):
            run()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, end) * 1000 / _CALLS)
    return float(sorted(times)[_ROUNDS // 2])


@cache
def device_name(device: int) -> str:
    """The name of a device, as ``NVIDIA H200``."""
    name = importlib.import_module("cupy").cuda.runtime.getDeviceProperties(device)["name"]
    return str(name.decode() if isinstance(name, bytes) else name)
