"""The accelerator of this machine, under the names of ``torch.accelerator``: CUDA, where there is a device."""

from __future__ import annotations

from tracec import cuda
from tracec.record.backend import Device, is_available

Place = str | int | Device | None


def device_count() -> int:
    """How many devices there are; 0 where none can be reached."""
    return cuda.device_count()


def current_accelerator(check_available: bool = False) -> Device | None:
    """The accelerator's kind as a device; None where there is none."""
    return Device("cuda") if is_available() else None


def current_device_index() -> int:
    """Number of the device that ``cuda`` names."""
    return cuda.current_device()


def current_device_idx() -> int:
    """The same, under its former name."""
    return cuda.current_device()


def set_device_index(device: Place) -> None:
    """Make ``cuda`` name this device."""
    cuda.set_device(device)


def set_device_idx(device: Place) -> None:
    """The same, under its former name."""
    cuda.set_device(device)


def synchronize(device: Place = None) -> None:
    """Wait for all work on a device."""
    cuda.synchronize(device)


def empty_cache() -> None:
    """Give memory that no tensor is in back to the device."""
    cuda.empty_cache()


def memory_allocated(device_index: Place = None) -> int:
    """Bytes of tensors on a device."""
    return cuda.memory_allocated(device_index)


def memory_reserved(device_index: Place = None) -> int:
    """Bytes that are kept for tensors on a device."""
    return cuda.memory_reserved(device_index)


def max_memory_allocated(device_index: Place = None) -> int:
    """The most bytes that tensors on a device have taken at a time."""
    return cuda.max_memory_allocated(device_index)


def reset_peak_memory_stats(device_index: Place = None) -> None:
    """Count `max_memory_allocated` from here on."""
    cuda.reset_peak_memory_stats(device_index)


__all__ = [
    "current_accelerator",
    "current_device_idx",
    "current_device_index",
    "device_count",
    "empty_cache",
    "is_available",
    "max_memory_allocated",
    "memory_allocated",
    "memory_reserved",
    "reset_peak_memory_stats",
    "set_device_idx",
    "set_device_index",
    "synchronize",
]
