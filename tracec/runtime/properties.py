"""What a CUDA device is, as the driver tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DeviceProperties:
    """What a device is.

    Attributes:
        name: The maker's name for it.
        major: First number of the compute capability.
        minor: Second number.
        total_memory: Bytes.
        multi_processor_count: Multiprocessors.
        L2_cache_size: Bytes.
        warp_size: Threads.
        max_threads_per_multi_processor: Threads.
        regs_per_multiprocessor: Registers of 32 bits.
        shared_memory_per_block: Bytes without asking for more.
        shared_memory_per_multiprocessor: Bytes.
    """

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    L2_cache_size: int
    warp_size: int
    max_threads_per_multi_processor: int
    regs_per_multiprocessor: int
    shared_memory_per_block: int
    shared_memory_per_multiprocessor: int


#: Attribute → CUDA's name for it.
_PROPERTIES = {
    "major": "major",
    "minor": "minor",
    "total_memory": "totalGlobalMem",
    "multi_processor_count": "multiProcessorCount",
    "L2_cache_size": "l2CacheSize",
    "warp_size": "warpSize",
    "max_threads_per_multi_processor": "maxThreadsPerMultiProcessor",
    "regs_per_multiprocessor": "regsPerMultiprocessor",
    "shared_memory_per_block": "sharedMemPerBlock",
    "shared_memory_per_multiprocessor": "sharedMemPerMultiprocessor",
}


def properties_of(cupy: Any, index: int) -> DeviceProperties:
    """The properties of the device of that number."""
    found = cupy.cuda.runtime.getDeviceProperties(index)
    return DeviceProperties(found["name"].decode(), **{ours: int(found[name]) for ours, name in _PROPERTIES.items()})
