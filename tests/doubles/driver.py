"""Stands in for CUDA's driver behind the double of CuPy: kernels run in the emulator, in the order they are queued.

As on a GPU, parameters are read when a launch is queued or captured, not when it runs, and a captured graph holds them.
"""

from __future__ import annotations

import ctypes
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from tests.doubles import cupy as double
from tracec import build, program_builder
from tracec.runtime import arena, cublas, cuda
from tracec.runtime.cuda_executable import CudaExecutable
from tracec.runtime.emulator import compile_kernels
from tracec.runtime.emulator_launch import launch
from tracec.runtime.launcher import C_TYPES

Work = Callable[[], None]


class OutOfMemoryError(MemoryError):
    """CuPy's."""


class Memory:
    """What ``alloc`` gives: a block at an address as CuPy's pool has them."""

    def __init__(self, nbytes: int) -> None:
        self.block = np.full(nbytes + 512, 0xFF, np.uint8)  # NaN: what nothing writes shows
        self.ptr = -(-self.block.ctypes.data // 512) * 512

    @property
    def mem(self) -> double.Memory:
        """The block, behind a pointer to it."""
        return double.Memory(self.block)

    def copy_to_host_async(self, address: int, nbytes: int, stream: Any) -> None:
        ctypes.memmove(address, self.ptr, nbytes)

    def memset_async(self, value: int, nbytes: int, stream: Any = None) -> None:
        ctypes.memset(self.ptr, value, nbytes)


class Pointer(double.Pointer):
    """An array's place, which can be copied from."""

    copy_to_host_async = Memory.copy_to_host_async


class UnownedMemory(double.Memory):
    """Memory that others have."""

    def __init__(self, address: int, nbytes: int, owner: Any, device: int) -> None:
        super().__init__(np.frombuffer((ctypes.c_char * nbytes).from_address(address), np.uint8))


class Pinned(bytearray):
    """Memory of the host."""

    @property
    def ptr(self) -> int:
        return ctypes.addressof((ctypes.c_char * len(self)).from_buffer(self))


class Event:
    """All work is done when it is queued."""

    done = True
    #: How often one was recorded.
    recorded = 0

    def __init__(self, **_: Any) -> None:
        self.at = 0

    def record(self, stream: Any = None) -> None:
        Event.recorded += 1
        self.at = Event.recorded

    def synchronize(self) -> None:
        pass


class Driver:
    """Queues and graphs of one pretended device.

    Attributes:
        log: What was queued: names of functions, ``graph`` for the launch of one.
        streams: Where it was queued.
        memory_left: Bytes that ``alloc`` still gives.
        clusters: Whether there is a place for clusters of blocks.
    """

    def __init__(self) -> None:
        self.log: list[str] = []
        self.streams: list[int] = []
        self.memory_left = 1 << 40
        self.clusters = True
        self._bound = {threading.current_thread()}
        self._functions: dict[int, tuple[Any, str, list[int]]] = {}
        self._captured: dict[int, list[Work]] = {}
        self._graphs: dict[int, list[Work]] = {}

    def load(
        self, plan: Any, program: Any, *, graphs: bool = True, seconds: list[float] | None = None
    ) -> CudaExecutable:
        """What `tracec.runtime.cuda.load` does, for the emulator."""
        library = compile_kernels(program.kernels, checks=False) if program.kernels else None
        handles = []
        for kernel in program.kernels:
            handles.append([])
            for entry in kernel.entries:
                handle = len(self._functions) + 1
                self._functions[handle] = (library, entry.name, [])
                handles[-1].append(types.SimpleNamespace(ptr=handle))
        for step in program.steps:
            if hasattr(step, "kernel"):
                entry = program.kernels[step.kernel].entries[step.entry]
                sizes = [8] * len(step.args[0]) if entry.table is None else [entry.table.nbytes]
                sizes += [ctypes.sizeof(C_TYPES[n.type]) for n in step.numbers]
                self._functions[handles[step.kernel][step.entry].ptr][2][:] = sizes
        return CudaExecutable(self.cupy, 0, plan, program, handles, graphs, seconds)

    def install(self, cupy: Any) -> None:
        """Give the double of CuPy what launching takes."""
        self.cupy = cupy
        cuda = cupy.cuda
        cuda.driver = types.SimpleNamespace(launchKernel=self._launch, CUDADriverError=OSError)
        cuda.memory = types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
        cuda.alloc, cuda.Event, cuda.Stream = self._alloc, Event, self._stream
        cuda.get_elapsed_time = lambda a, b: float(b.at - a.at)
        cuda.runtime.deviceSynchronize = lambda: None
        cuda.alloc_pinned_memory = Pinned
        cuda.UnownedMemory = UnownedMemory
        cuda.MemoryPointer = lambda memory, offset: Pointer(memory.ptr + offset, memory)
        cuda.runtime.memcpyAsync = self._copy
        cuda.runtime.graphLaunch = self._replay
        cuda.runtime.streamIsCapturing = lambda stream: stream in self._captured
        cuda.runtime.memGetInfo = self._memory
        double.ndarray.data = property(  # type: ignore[assignment]
            lambda array: Pointer(array._a.ctypes.data, array._memory)
        )

    def _alloc(self, nbytes: int) -> Memory:
        if nbytes > self.memory_left:
            raise OutOfMemoryError
        return Memory(nbytes)

    def _memory(self) -> tuple[int, int]:
        """As most functions of the runtime, binds the device's context to the thread."""
        self._bound.add(threading.current_thread())
        return self.memory_left, 1 << 40

    def _queue(self, stream: int, work: Work, name: str) -> None:
        if stream in self._captured:
            self._captured[stream].append(work)
            return
        self.log.append(name)
        self.streams.append(stream)
        work()

    def _launch(
        self, handle: int, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, stream: int, table: int,
        extra: int,
    ) -> None:  # fmt: skip
        if threading.current_thread() not in self._bound:
            raise OSError("CUDA_ERROR_INVALID_CONTEXT: invalid device context")
        library, name, sizes = self._functions[handle]
        values = [ctypes.string_at(ctypes.c_void_p.from_address(table + 8 * k).value, n) for k, n in enumerate(sizes)]

        def work() -> None:
            params = [ctypes.create_string_buffer(v, len(v)) for v in values]
            launch(library, name, (gx, gy, gz), (bx, by, bz), params, [], shared)

        self._queue(stream, work, name)

    def _copy(self, to: int, source: int, nbytes: int, kind: int, stream: int) -> None:
        self._queue(stream, lambda: ctypes.memmove(to, source, nbytes) and None, "copy")

    def _stream(self, non_blocking: bool = False) -> Any:
        driver = self

        class Stream:
            ptr = 1000 + id(object()) % 1000

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                pass

            def begin_capture(self) -> None:
                driver._captured[self.ptr] = []

            def end_capture(self) -> Any:
                handle = len(driver._graphs) + 1
                driver._graphs[handle] = driver._captured.pop(self.ptr)
                return types.SimpleNamespace(graphExec=handle)

        return Stream()

    def _replay(self, graph: int, stream: int) -> None:
        self.log.append("graph")
        for work in self._graphs[graph]:
            work()


@contextmanager
def pretended() -> Iterator[Driver]:
    """Within, there is a CUDA device, whose kernels the emulator runs."""
    made = Driver()
    with (
        mock.patch.object(cuda, "load", made.load),
        mock.patch.object(build, "settled", lambda built: built),
        mock.patch.object(cuda, "arch_of", return_value="sm_90"),
        mock.patch.object(program_builder, "arch_of", return_value="sm_90"),
        mock.patch.object(program_builder, "takes_clusters", side_effect=lambda device: made.clusters),
        mock.patch.object(cublas, "available", return_value=False),
        mock.patch.object(arena, "_arenas", {}),
        mock.patch.object(double.ndarray, "data", double.ndarray.data),
        double.installed() as cupy,
    ):
        made.install(cupy)
        yield made


class Cublas:
    """cuBLAS's functions on memory of the host; each returns a status, as cuBLAS does.

    Attributes:
        captured: Whether it lets itself be captured.
    """

    captured = True

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.streams: dict[int, int] = {}

    def cublasCreate_v2(self, handle: Any) -> int:
        handle._obj.value = len(self.streams) + 1
        self.streams[handle._obj.value] = 0
        return 0

    def cublasSetStream_v2(self, handle: Any, stream: int) -> int:
        self.streams[handle.value] = stream
        return 0

    def cublasSetWorkspace_v2(self, handle: Any, address: int, nbytes: int) -> int:
        return 0 if address and nbytes else 7

    def cublasSetMathMode(self, handle: Any, mode: int) -> int:
        return 0

    def cublasGemmEx(self, handle: int, ta: int, tb: int, m: int, n: int, k: int, *rest: Any) -> int:
        alpha, a, at, lda, b, bt, ldb, beta, c, ct, ldc, compute, _ = rest
        strided = alpha, a, at, lda, 0, b, bt, ldb, 0, beta, c, ct, ldc, 0, 1, compute, 0
        return self.cublasGemmStridedBatchedEx(handle, ta, tb, m, n, k, *strided)

    def cublasGemmStridedBatchedEx(self, handle: int, ta: int, tb: int, m: int, n: int, k: int, *rest: Any) -> int:
        _alpha, a, kind, lda, step_a, b, _, ldb, step_b, _beta, c, _, ldc, step_c, count, compute, _ = rest
        dtype = {0: np.float32, 1: np.float64, 2: np.float16}[kind]
        assert compute == (70 if kind == 1 else 68)

        def work() -> None:
            for i in range(count):
                x = _column_major(a, i * step_a, (k, m) if ta else (m, k), lda, dtype)
                y = _column_major(b, i * step_b, (n, k) if tb else (k, n), ldb, dtype)
                result = (x.T if ta else x).astype(float) @ (y.T if tb else y).astype(float)
                _column_major(c, i * step_c, (m, n), ldc, dtype)[...] = result

        stream = self.streams[handle]
        if stream in self.driver._captured and not self.captured:
            return 15
        self.driver._queue(stream, work, "gemm")
        return 0


def _column_major(address: int, offset: int, shape: tuple[int, int], leading: int, dtype: Any) -> Any:
    assert leading >= shape[0]
    size = leading * (shape[1] - 1) + shape[0]
    item = np.dtype(dtype).itemsize
    flat = np.frombuffer((ctypes.c_char * (size * item)).from_address(address + offset * item), dtype)
    return np.lib.stride_tricks.as_strided(flat, shape, (item, leading * item))


def runs_of(log: Sequence[str]) -> str:
    """A log in short: ``3 launches, graph``."""
    launches = sum(name not in ("graph", "copy") for name in log)
    rest = [name for name in log if name in ("graph", "copy")]
    return ", ".join([*([f"{launches} launches"] if launches else []), *rest])
