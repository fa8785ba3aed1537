"""Which CUDA device is meant, and CuPy for it."""

from __future__ import annotations

from typing import Any

from tracec.errors import ArgumentTypeError, DeviceError
from tracec.record import backend
from tracec.record.backend import Device, is_available

#: A device by name or number; None for the current one.
Place = str | int | Device | None


def index_of(place: Place) -> int:
    """The number of a CUDA device.

    Raises:
        DeviceError: it is the CPU, or there is no such device.
    """
    if place is None:
        return backend.current_index()
    if isinstance(place, int) and not isinstance(place, bool):
        if place < 0:
            raise DeviceError(f"device: there is no CUDA device {place}", hint="devices count from 0")
        return place
    if not isinstance(place, str):
        raise ArgumentTypeError(f"device: takes a name or a number, {type(place).__name__} given", hint="'cuda:0' or 0")
    found = Device(place)
    if found.type == "cpu":
        raise DeviceError(f"device: {place!r} is no CUDA device", hint="use 'cuda' or 'cuda:N'")
    return backend.current_index() if found.index is None else found.index


def cupy_on(place: Place = None) -> Any:
    """CuPy, once the device is known to be there."""
    return backend.module(f"cuda:{index_of(place)}")


def device_count() -> int:
    """How many CUDA devices there are; 0 where none can be reached."""
    return int(cupy_on(0).cuda.runtime.getDeviceCount()) if is_available() else 0
