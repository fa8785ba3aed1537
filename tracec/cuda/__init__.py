"""CUDA devices, memory, streams and events under the names of ``torch.cuda``, over CuPy.

Memory is CuPy's pool, streams are CuPy's streams: arrays and streams of CuPy's own programs mix with these.
Without CuPy or a GPU, ``is_available()`` is False and ``device_count()`` is 0; what needs a device raises DeviceError.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tracec.cuda.places import Place, cupy_on, device_count, index_of
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
from tracec.errors import ArgumentError, OutOfMemoryError, name_missing
from tracec.ir.forks import imported
from tracec.record import backend
from tracec.record.backend import Device, forget_numbers, is_available, is_initialized
from tracec.record.check import settle
from tracec.record.deferred import settle_all
from tracec.record.legacy import tensor_types
from tracec.runtime.arena import release_arenas
from tracec.runtime.peaks import Peaks
from tracec.runtime.properties import DeviceProperties, properties_of

(
    FloatTensor, DoubleTensor, HalfTensor, BFloat16Tensor, LongTensor, IntTensor, ShortTensor, CharTensor, ByteTensor,
    BoolTensor,
) = tensor_types("cuda")  # fmt: skip

# Devices ----------------------------------------------------------------------------------------------


def current_device() -> int:
    """The number of the device that ``cuda`` names.

    Raises:
        DeviceError: there is no CUDA device.
    """
    cupy_on()
    return backend.current_index()


def set_device(device: Place) -> None:
    """Make ``cuda`` name this device."""
    backend.set_current(index_of(device))


class device:
    """Within, ``cuda`` names this device: ``with tracec.cuda.device(1): ...``.

    Args:
        device: Its name or number; None changes nothing.
    """

    def __init__(self, device: Place) -> None:
        self.idx = index_of(device)
        self._before = 0

    def __enter__(self) -> device:
        self._before = backend.current_index()
        backend.set_current(self.idx)
        return self

    def __exit__(self, *error: object) -> None:
        backend.set_current(self._before)


def synchronize(device: Place = None) -> None:
    """Wait for all work on a device.

    Raises:
        TracecError: an index or a class that was given before is out of range.
    """
    settle_all()
    with backend.on(f"cuda:{index_of(device)}"):
        cupy_on(device).cuda.runtime.deviceSynchronize()
    settle(wait=True)


def get_device_properties(device: Place = None) -> DeviceProperties:
    """What a device is: name, compute capability, memory, multiprocessors."""
    return properties_of(cupy_on(device), index_of(device))


def get_device_name(device: Place = None) -> str:
    """The maker's name of a device."""
    return get_device_properties(device).name


def get_device_capability(device: Place = None) -> tuple[int, int]:
    """The compute capability: ``(9, 0)`` for sm_90."""
    found = get_device_properties(device)
    return found.major, found.minor


def init() -> None:
    """Reach the current device, as its first use does.

    Raises:
        DeviceError: there is none.
    """
    cupy_on()


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether kernels of bfloat16 run on the current device; before sm_80 they compute in float32 in between."""
    return is_available() and (including_emulation or get_device_capability() >= (8, 0))


# Memory -----------------------------------------------------------------------------------------------

_peaks: list[Peaks] = []


def _started(place: Place) -> Peaks:
    if not _peaks:
        _peaks.append(Peaks(cupy_on(place)))
    return _peaks[0]


def _pool(place: Place, count: str) -> int:
    settle_all()
    with backend.on(f"cuda:{index_of(place)}"):
        return int(getattr(cupy_on(place).get_default_memory_pool(), count)())


def mem_get_info(device: Place = None) -> tuple[int, int]:
    """Free and total bytes of a device, as the driver tells them."""
    with backend.on(f"cuda:{index_of(device)}"):
        free, total = cupy_on(device).cuda.runtime.memGetInfo()
    return int(free), int(total)


def memory_allocated(device: Place = None) -> int:
    """Bytes that arrays have from CuPy's pool now, rounded up to the pool's blocks of 512."""
    return _pool(device, "used_bytes")


def memory_reserved(device: Place = None) -> int:
    """Bytes that CuPy's pool has from the driver, in use or kept for later."""
    return _pool(device, "total_bytes")


def max_memory_allocated(device: Place = None) -> int:
    """The most bytes in use at a time.

    CuPy's pool keeps no such number. It is counted by a hook on the pool from the first call of this function or of
    `reset_peak_memory_stats` on, which is also when a program starts to pay for the counting; before that nothing
    is known. Allocations of other threads than the one of that first call count when a number is asked for.
    """
    return _started(device).peak(index_of(device))


def reset_peak_memory_stats(device: Place = None) -> None:
    """Start to count `max_memory_allocated` from what is in use now."""
    _started(device).reset(index_of(device))


reset_max_memory_allocated = reset_peak_memory_stats


def memory_stats(device: Place = None) -> dict[str, int]:
    """Bytes in use, their peak (see `max_memory_allocated`) and bytes reserved, under PyTorch's names."""
    return {
        "allocated_bytes.all.current": memory_allocated(device),
        "allocated_bytes.all.peak": max_memory_allocated(device),
        "reserved_bytes.all.current": memory_reserved(device),
    }


def empty_cache() -> None:
    """Give memory that no array uses back to the driver, what tracec keeps for its own use included."""
    release_arenas()
    forget_numbers()
    cupy_on().get_default_memory_pool().free_all_blocks()


def set_per_process_memory_fraction(fraction: float, device: Place = None) -> None:
    """Take no more than this part of a device's memory; what needs more raises OutOfMemoryError.

    Raises:
        ArgumentError: the fraction is none.
    """
    if not 0 < fraction <= 1:
        raise ArgumentError(f"set_per_process_memory_fraction: fraction={fraction}", hint="give a number from 0 to 1")
    with backend.on(f"cuda:{index_of(device)}"):
        cupy_on(device).get_default_memory_pool().set_limit(fraction=fraction)


# Streams and events -----------------------------------------------------------------------------------


class Stream:
    """Work that runs in order.

    Args:
        device: The device that it runs on.
        priority: Lower numbers run first.
    """

    def __init__(self, device: Place = None, priority: int = 0, *, _stream: Any = None) -> None:
        self._index = index_of(device)
        with backend.on(f"cuda:{self._index}"):
            self._stream = _stream or cupy_on(device).cuda.Stream(non_blocking=True, priority=priority)
        self._entered: list[stream] = []

    @property
    def cuda_stream(self) -> int:
        """CUDA's handle."""
        return int(self._stream.ptr)

    @property
    def device(self) -> Device:
        """The device that it runs on."""
        return Device("cuda", self._index)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (self._index, self.cuda_stream) == (other._index, other.cuda_stream)

    def __hash__(self) -> int:
        return hash((self._index, self.cuda_stream))

    def __repr__(self) -> str:
        return f"<tracec.cuda.Stream device={self.device} cuda_stream={self.cuda_stream:#x}>"

    def query(self) -> bool:
        """Whether all of its work is done."""
        settle_all()
        return bool(self._stream.done)

    def synchronize(self) -> None:
        """Wait for its work."""
        settle_all()
        self._stream.synchronize()
        settle()

    def record_event(self, event: Event | None = None) -> Event:
        """Note what has been put into the stream so far."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let work that comes later wait for what an event noted."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """Let work that comes later wait for all that another stream has now."""
        self.wait_event(stream.record_event())

    def __enter__(self) -> Stream:
        entered = stream(self)
        entered.__enter__()
        self._entered.append(entered)
        return self

    def __exit__(self, *error: object) -> None:
        self._entered.pop().__exit__(*error)


class stream:
    """Within, work goes to this stream: ``with tracec.cuda.stream(s): ...``; with None, to where it went before.

    Args:
        stream: The stream.
    """

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> stream:
        if self.stream is not None:
            settle_all()
            self._device = device(self.stream._index)
            self._device.__enter__()
            self.stream._stream.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self.stream is not None:
            settle_all()
            self.stream._stream.__exit__(*error)
            self._device.__exit__()


def current_stream(device: Place = None) -> Stream:
    """The stream that work goes to now."""
    with backend.on(f"cuda:{index_of(device)}"):
        return Stream(device, _stream=cupy_on(device).cuda.get_current_stream())


def default_stream(device: Place = None) -> Stream:
    """The stream that work goes to where no other is chosen."""
    return Stream(device, _stream=cupy_on(device).cuda.Stream.null)


class Event:
    """A note in a stream of how far its work has come.

    Args:
        enable_timing: Whether it notes the time, for `elapsed_time`.
        blocking: Whether `synchronize` sleeps rather than spins.
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        self._timing, self._recorded = enable_timing, False
        self._event = cupy_on().cuda.Event(block=blocking, disable_timing=not enable_timing, interprocess=interprocess)

    def record(self, stream: Stream | None = None) -> None:
        """Note what the stream, or the current one, has been given so far."""
        settle_all()
        self._event.record((stream or current_stream())._stream)
        self._recorded = True

    def wait(self, stream: Stream | None = None) -> None:
        """Let later work of the stream, or of the current one, wait for this."""
        settle_all()
        (stream or current_stream())._stream.wait_event(self._event)

    def query(self) -> bool:
        """Whether what was noted is done."""
        return bool(self._event.done)

    def synchronize(self) -> None:
        """Wait until what was noted is done."""
        self._event.synchronize()
        settle()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to a later one.

        Raises:
            ArgumentError: one of the two does not time, or was not recorded.
        """
        if not (self._timing and end_event._timing):
            raise ArgumentError("elapsed_time: an event does not time", hint="make both with Event(enable_timing=True)")
        if not (self._recorded and end_event._recorded):
            raise ArgumentError("elapsed_time: an event was not recorded", hint="call record() on both first")
        return float(cupy_on().cuda.get_elapsed_time(self._event, end_event._event))


__all__ = [
    "DeviceProperties", "Event", "OutOfMemoryError", "Stream", "current_device", "current_stream", "default_stream",
    "device", "device_count", "empty_cache", "get_device_capability", "get_device_name", "get_device_properties",
    "get_rng_state", "get_rng_state_all", "init", "initial_seed", "is_available", "is_bf16_supported", "is_initialized",
    "manual_seed", "manual_seed_all", "max_memory_allocated", "mem_get_info",
    "memory_allocated", "memory_reserved", "memory_stats", "reset_peak_memory_stats", "set_device",
    "reset_max_memory_allocated", "seed", "seed_all", "set_per_process_memory_fraction", "set_rng_state",
    "set_rng_state_all", "stream", "synchronize",
]  # fmt: skip


if TYPE_CHECKING:
    from tracec.cuda import amp as amp
else:

    def __getattr__(name):
        if name == "amp":  # which imports functions that few programs use
            return imported("tracec.cuda.amp")
        raise name_missing(sys.modules[__name__], name)
