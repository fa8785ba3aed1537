"""Devices: which is the current one, what they are."""

from __future__ import annotations

from tracec.cuda.places import Place, cupy_on, index_of
from tracec.record import backend
from tracec.record.backend import is_available
from tracec.record.deferred import settle_all
from tracec.record.late import look, settle
from tracec.runtime.properties import DeviceProperties, properties_of


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
    look()
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


def can_device_access_peer(device: Place, peer_device: Place) -> bool:
    """Whether a device reads and writes the memory of another by itself."""
    given, peer = index_of(device), index_of(peer_device)
    return bool(cupy_on(device).cuda.runtime.deviceCanAccessPeer(given, peer)) if given != peer else True


def get_arch_list() -> list[str]:
    """Architectures that the NVRTC at hand compiles kernels for, as ``sm_90``; none without a device."""
    return [f"sm_{n}" for n in cupy_on().cuda.nvrtc.getSupportedArchs()] if is_available() else []


def init() -> None:
    """Reach the current device, as its first use does.

    Raises:
        DeviceError: there is none.
    """
    cupy_on()


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether kernels of bfloat16 run on the current device; before sm_80 they compute in float32 in between."""
    return is_available() and (including_emulation or get_device_capability() >= (8, 0))
