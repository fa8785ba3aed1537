"""CUDA devices, memory, streams and events under the names of ``torch.cuda``, over CuPy.

Memory is CuPy's pool, streams are CuPy's streams: arrays and streams of CuPy's own programs mix with these.
Without CuPy or a GPU, ``is_available()`` is False and ``device_count()`` is 0; what needs a device raises DeviceError.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tracec.cuda import memory as memory
from tracec.cuda.devices import (
    can_device_access_peer,
    current_device,
    device,
    get_arch_list,
    get_device_capability,
    get_device_name,
    get_device_properties,
    init,
    is_bf16_supported,
    set_device,
    synchronize,
)
from tracec.cuda.memory import (
    empty_cache,
    max_memory_allocated,
    max_memory_cached,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_cached,
    memory_reserved,
    memory_stats,
    memory_summary,
    reset_max_memory_allocated,
    reset_max_memory_cached,
    reset_peak_memory_stats,
    set_per_process_memory_fraction,
)
from tracec.cuda.places import device_count
from tracec.cuda.random import (
    get_rng_state,
    get_rng_state_all,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
    set_rng_state_all,
)
from tracec.cuda.streams import (
    Event,
    ExternalStream,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    is_current_stream_capturing,
    set_stream,
    stream,
)
from tracec.errors import OutOfMemoryError, name_missing
from tracec.ir.forks import imported
from tracec.record.backend import is_available, is_initialized
from tracec.record.legacy import tensor_types
from tracec.record.random import default_generator
from tracec.runtime.properties import DeviceProperties

(
    FloatTensor, DoubleTensor, HalfTensor, BFloat16Tensor, LongTensor, IntTensor, ShortTensor, CharTensor, ByteTensor,
    BoolTensor,
) = tensor_types("cuda")  # fmt: skip

__all__ = [
    "DeviceProperties", "Event", "ExternalStream", "OutOfMemoryError", "Stream", "StreamContext",
    "can_device_access_peer", "current_device", "current_stream", "default_stream", "device", "device_count",
    "empty_cache", "get_arch_list", "get_device_capability", "get_device_name", "get_device_properties",
    "get_rng_state", "get_rng_state_all", "init", "initial_seed", "is_available", "is_bf16_supported",
    "is_current_stream_capturing", "is_initialized", "manual_seed", "manual_seed_all", "max_memory_allocated",
    "max_memory_cached", "max_memory_reserved", "mem_get_info", "memory_allocated", "memory_cached",
    "memory_reserved", "memory_stats", "memory_summary", "reset_max_memory_allocated", "reset_max_memory_cached",
    "reset_peak_memory_stats", "seed", "seed_all", "set_device", "set_per_process_memory_fraction", "set_rng_state",
    "set_rng_state_all", "set_stream", "stream", "synchronize",
]  # fmt: skip


if TYPE_CHECKING:
    from tracec.cuda import amp as amp
else:

    def __getattr__(name):
        if name == "amp":  # which imports functions that few programs use
            return imported("tracec.cuda.amp")
        if name == "_initialized":  # what programs ask where they keep the states of generators
            return is_initialized()
        if name == "default_generators":  # each thread's may be others
            return tuple(default_generator(f"cuda:{k}") for k in range(device_count()))
        raise name_missing(sys.modules[__name__], name)
