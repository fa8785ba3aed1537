"""Rendered CUDA, compiled, cached and loaded onto a device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

from tracec.errors import CompileError, DeviceError
from tracec.ir.forks import imported
from tracec.ir.launch import CudaStep
from tracec.ir.plan import Plan
from tracec.ir.room import cluster_blocks, shared_bytes
from tracec.runtime.cuda_executable import CudaExecutable
from tracec.runtime.launcher import active_clusters
from tracec.runtime.nvrtc import compile_cuda, compile_sources, nearest_arch

#: ``CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES``; blocks get more than this only when it is raised.
_MAX_DYNAMIC_SHARED = 8
_PLAIN_SHARED = 48 * 1024
#: Takes as much of each multiprocessor as any kernel with clusters does, whose blocks have all of it at most.
_THREADS = 1024
_LARGEST = """
extern "C" __global__ void __cluster_dims__(%d, 1, 1) __launch_bounds__(%d, 1) largest_cluster(float *x) {
  extern __shared__ float row[];
  row[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = row[blockDim.x - 1 - threadIdx.x];
}
"""


class Entry(Protocol):
    """A ``__global__`` function, as `tracec.codegen.cuda_entry` describes it."""

    @property
    def name(self) -> str: ...
    @property
    def shared_bytes(self) -> int: ...


class CudaKernel(Protocol):
    """A source and its functions."""

    @property
    def source(self) -> str: ...
    @property
    def entries(self) -> Sequence[Any]: ...


class Program(Protocol):
    """What `tracec.codegen.cuda` renders."""

    @property
    def kernels(self) -> Sequence[Any]: ...
    @property
    def steps(self) -> Sequence[CudaStep]: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def overlaps(self) -> bool: ...


def load(plan: Plan, program: Program, *, graphs: bool = True, seconds: list[float] | None = None) -> CudaExecutable:
    """Compile a rendered plan (or find it in the disk cache) and load it onto the plan's device.

    Args:
        plan: The plan.
        program: Its kernels and launches.
        graphs: Whether launches may be captured as one CUDA graph and replayed.
        seconds: Where a call, which then waits for its end, is to put the time that each step takes.

    Raises:
        CompileError: NVRTC is missing or rejects the source.
        DeviceError: there is no such device, or the plan's values are on several.
    """
    cupy = _cupy()
    device = _device_of(plan)
    with cupy.cuda.Device(device):
        cubins = compile_sources([k.source for k in program.kernels], arch_of(device))
        modules: dict[bytes, Any] = {}
        functions: list[list[Any]] = []
        for kernel, cubin in zip(program.kernels, cubins, strict=True):
            module = modules.get(cubin.image)
            if module is None:
                module = modules[cubin.image] = cupy.cuda.function.Module()
                module.load(cubin.image)
            functions.append([_function(cupy, module, e) for e in kernel.entries])
        return CudaExecutable(cupy, device, plan, program, functions, graphs, seconds)


def _function(cupy: Any, module: Any, entry: Entry) -> Any:
    found = module.get_function(entry.name)
    if entry.shared_bytes > _PLAIN_SHARED:
        cupy.cuda.driver.funcSetAttribute(found.ptr, _MAX_DYNAMIC_SHARED, entry.shared_bytes)
    return found


def _device_of(plan: Plan) -> int:
    """The one device that a plan's values are on; numbers on the CPU go along."""
    names = {v.type.device for v in plan.values if v.type.device != "cpu"}
    if len(names) > 1:
        raise DeviceError(
            f"compile: a function works on one CUDA device, here on {', '.join(sorted(names))}",
            hint="move the tensors to one device, or compile a function for each",
        )
    if not names:
        given = ", ".join(dict.fromkeys(str(plan.values[v].type) for v in plan.inputs)) or "none"
        raise DeviceError(
            f"compile: target 'cuda' runs on a GPU, but no tensor is on one (given: {given})",
            hint="move the tensors with .to('cuda'), or run the kernels on the CPU with launcher='emulator'",
        )
    return int(names.pop().partition(":")[2] or 0)


@cache
def arch_of(device: int) -> str:
    """The architecture to compile for, for a device, ``sm_90``.

    Raises:
        DeviceError: CuPy is missing, or there is no such device.
    """
    cupy = _cupy()
    try:
        own = f"sm_{cupy.cuda.Device(device).compute_capability}"
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise DeviceError(
            f"cuda:{device}: no CUDA device can be reached ({reason})",
            hint="check the NVIDIA driver with nvidia-smi, or run the kernels with launcher='emulator'",
        ) from None
    return nearest_arch(own)


@cache
def takes_clusters(device: int) -> bool:
    """Whether a device has a place for clusters of blocks, the largest that kernels may have; asked once.

    A part of a GPU, or a GPU whose multiprocessors are shared among processes, may have none, though others of its
    architecture do: launches would fail. Where the driver does not tell, it is taken to have one.

    Args:
        device: Its number.
    """
    arch = arch_of(device)
    blocks = cluster_blocks(arch)
    if blocks == 1:
        return True
    cupy = _cupy()
    try:
        cubin = compile_cuda(_LARGEST % (blocks, _THREADS), arch)
    except CompileError:  # what is to run on the device will say so
        return True
    with cupy.cuda.Device(device):
        module = cupy.cuda.function.Module()
        module.load(cubin.image)
        function = module.get_function("largest_cluster")
        cupy.cuda.driver.funcSetAttribute(function.ptr, _MAX_DYNAMIC_SHARED, shared_bytes(arch))
        return active_clusters(function.ptr, blocks, _THREADS, shared_bytes(arch)) != 0


def _cupy() -> Any:
    try:
        return imported("cupy")
    except ImportError as error:
        raise CompileError(
            f"launch: CuPy cannot be imported ({error})",
            hint="pip install \"tracec[cuda]\", or run the kernels with launcher='emulator'",
        ) from None
