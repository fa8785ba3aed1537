"""Arrays: NumPy's on the CPU, CuPy's on a CUDA device, none at all on ``meta``.

CuPy is imported when a CUDA device is first asked for.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np

from tracec.errors import ArgumentTypeError, DeviceError
from tracec.ir.forks import imported
from tracec.record.cuda_release import check_age, cut_off, unreachable
from tracec.record.meta import MetaArray, MetaArrays, refuse_values
from tracec.record.state import STATE

_HINT = "install CuPy with: pip install 'tracec[cuda]', or 'tracec[cuda12]' for older drivers; the CPU is device 'cpu'"


class _Current:
    """The CUDA device that ``cuda`` names; `tracec.cuda.set_device` sets it, for all threads.

    Attributes:
        index: Its number.
        is_only: Whether the machine has no other: nobody need ask which one is CuPy's current one.
        is_asked: Whether this process has asked CUDA for devices, which starts it.
        is_cut_off: Whether this is a child that was forked after that: CUDA does not work there.
    """

    index = 0
    is_only = False
    is_asked = False
    is_cut_off = False


_KNOWN = "use 'cpu', 'cuda', 'cuda:N' or 'meta'"
#: PyTorch's other devices → what to do without them.
_ABSENT = {
    "mps": f"ask tracec.backends.mps.is_available() before, or {_KNOWN}",
    "xpu": f"ask tracec.accelerator.is_available() before, or {_KNOWN}",
}


class Device(str):
    """A device by name, ``cpu``, ``cuda:0`` or ``meta``; a string, so that it compares with one.

    Tensors on ``meta`` have types and no elements: what is computed of them takes neither memory nor time.

    Within ``with tracec.device("cuda"):`` it is where new tensors go that no device is named for.

    Args:
        device: A name, or the number of a CUDA device.
        index: The number, where the name does not have it.
        type: The name, given as a keyword.

    Attributes:
        type: ``cpu``, ``cuda`` or ``meta``.
        index: Number of the CUDA device; None for others, and where the name does not have one.
    """

    type: str
    index: int | None  # type: ignore[assignment]

    def __new__(cls, device: str | int | Device = "", index: int | None = None, *, type: str = "") -> Device:
        if isinstance(device, Device) and index is None:
            return device
        device = device if device != "" else type
        if isinstance(device, int) and not isinstance(device, bool):
            return cls("cuda", device)
        if not isinstance(device, str):
            given = device.__class__.__name__
            raise ArgumentTypeError(f"device: takes a name, {given} given", hint="'cpu' or 'cuda:0'")
        kind, _, number = device.partition(":")
        number = str(index) if index is not None else number
        if kind not in ("cpu", "cuda", "meta") or not (number.isdigit() or (not number and ":" not in device)):
            raise DeviceError(f"device: there is no device {device!r}", hint=_ABSENT.get(kind, _KNOWN))
        # "cuda" alone is the device that is the current one now.
        made = super().__new__(cls, kind if kind != "cuda" else f"cuda:{number or _Current.index}")
        made.type, made.index = kind, int(number) if number and kind == "cuda" else None
        return made

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        # "cuda" names the current CUDA device.
        named = isinstance(other, str) and str.__eq__(other, "cuda") is True
        return str.__eq__(self, f"cuda:{_Current.index}" if named else other) is True

    def __ne__(self, other: object) -> bool:
        return self is not other and not self == other

    __hash__ = str.__hash__

    def __repr__(self) -> str:
        return f"device(type={self.type!r}" + (f", index={self.index})" if self.index is not None else ")")

    def __reduce__(self) -> tuple[Any, ...]:
        return Device, (str(self),)

    def __enter__(self) -> Device:
        STATE.devices = (*STATE.devices, self)
        return self

    def __exit__(self, *error: object) -> None:
        STATE.devices = STATE.devices[:-1]


CPU = Device("cpu")
META = Device("meta")
_CUDA: dict[int, Device] = {}

#: Name of a CUDA device that was reached → cupy.
_REACHED: dict[str, Any] = {}


def module(device: str) -> Any:
    """The array module of a device: numpy, or cupy.

    Raises:
        DeviceError: CuPy is not installed, or sees no such device.
    """
    if device == "cpu":
        return np
    if device == "meta":
        return MetaArrays
    found = _REACHED.get(device)
    if found is None:
        found = _REACHED[str(device)] = _find(device)
    return found


def _find(device: str) -> Any:
    try:
        cupy = imported("cupy")
    except ImportError as error:
        raise DeviceError(f"device {device}: CuPy is not installed ({error})", hint=_HINT) from None
    if _Current.is_cut_off:
        raise cut_off(device)
    index = _index_of(device)
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        raise unreachable(cupy, device, error) from None
    _Current.is_asked = True
    if index >= count:
        raise DeviceError(
            f"device {device}: this machine has {count} CUDA devices",
            hint="devices count from cuda:0; the CPU is device 'cpu'",
        )
    check_age(cupy, device, index)
    _Current.is_only = count == 1
    return cupy


def _as_a_child() -> None:
    """What a forked child knows of devices."""
    if _Current.is_asked:
        _Current.is_cut_off = True
        _REACHED.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_as_a_child)


def is_available() -> bool:
    """Whether CUDA tensors can be made on this machine."""
    try:
        _find("cuda:0")
    except DeviceError:
        return False
    return True


def is_initialized() -> bool:
    """Whether this process has reached a CUDA device."""
    return bool(_REACHED)


def reached() -> tuple[str, ...]:
    """The CUDA devices that this process has reached, by name."""
    return tuple(_REACHED)


def current_index() -> int:
    """The number of the CUDA device that ``cuda`` names."""
    return _Current.index


def set_current(index: int) -> None:
    """Make ``cuda`` name the CUDA device of that number.

    Raises:
        DeviceError: there is none.
    """
    module(f"cuda:{index}").cuda.Device(index).use()
    _Current.index = index


def on(device: str) -> AbstractContextManager[Any]:
    """Within, new CuPy arrays live on that device."""
    return elsewhere(device) or _HERE


def elsewhere(device: str) -> AbstractContextManager[Any] | None:
    """Within which new CuPy arrays live on that device; None where they do so anyway."""
    if device in ("cpu", "meta"):
        return None
    cupy = module(device)
    if _Current.is_only or cupy.cuda.runtime.getDevice() == (index := _index_of(device)):
        return None
    found: AbstractContextManager[Any] = cupy.cuda.Device(index)
    return found


_HERE = nullcontext()


def named(device: str) -> Device:
    """The device of that name, one object for each."""
    if device == "cpu":
        return CPU
    return META if device == "meta" else _cuda(_index_of(device))


def _cuda(index: int) -> Device:
    return _CUDA.get(index) or _CUDA.setdefault(index, Device("cuda", index))


@cache
def _index_of(device: str) -> int:
    """The number in the name of a CUDA device; of any other 0."""
    return int(str(device).partition(":")[2] or 0)


def get_default_device() -> Device:
    """Where new tensors go that no device is named for."""
    return STATE.devices[-1] if STATE.devices else STATE.device or CPU


def set_default_device(device: str | int | Device | None) -> None:
    """Let new tensors of this thread go to a device where none is named; None is the CPU again."""
    STATE.device = None if device is None else Device(device)


def device_of(array: Any) -> Device:
    """The device that an array lives on."""
    if isinstance(array, np.ndarray):
        return CPU
    return META if type(array) is MetaArray else _cuda(array.device.id)


def is_array(array: Any) -> bool:
    """Whether it is an array of the kind that operations give: NumPy's or CuPy's own."""
    kind = type(array)
    return kind is np.ndarray or (kind.__name__ == "ndarray" and not issubclass(kind, np.ndarray))


def address_of(array: Any) -> int:
    """Where an array's first element lies."""
    if type(array) is MetaArray:
        return array.offset
    place: int = array.__array_interface__["data"][0] if isinstance(array, np.ndarray) else array.data.ptr
    return place


def to_device(array: Any, device: str) -> Any:
    """The array on a device: itself where it is there already, else a copy."""
    if device_of(array) == device:
        return array
    if type(array) is MetaArray:
        refuse_values()
    if device == "cpu":
        return array.get()
    xp = module(device)
    with on(device):
        return xp.asarray(array)


def aside(array: Any) -> Any:
    """A copy, to put back later; on the host where a GPU has no room for it."""
    try:
        return array.copy()
    except MemoryError:
        if isinstance(array, np.ndarray):
            raise
        return array.get()


def put_back(into: Any, values: Any) -> None:
    """Write what `aside` gave into an array."""
    if isinstance(values, np.ndarray) and not isinstance(into, np.ndarray):
        into.set(values)
    else:
        into[...] = values


def pinned(array: Any) -> Any:
    """A copy of a NumPy array in memory that the system does not move, from which copies to a GPU are fast.

    Raises:
        DeviceError: there is no CUDA device to pin memory for.
    """
    cupy = module(f"cuda:{_Current.index}")
    memory = cupy.cuda.alloc_pinned_memory(max(array.nbytes, 1))
    copy = np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
    copy[...] = array
    return copy


def is_pinned(array: Any) -> bool:
    """Whether an array lies in memory that `pinned` gave."""
    return type(memory_owner(array)).__name__ == "PinnedMemoryPointer"


def memory_owner(array: Any) -> Any:
    """What holds the memory that an array looks at: an array, or what an array was made over."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


#: Numbers that programs use again and again, on their devices: a copy to a GPU takes as long as an operation.
_NUMBERS: dict[tuple[bytes, str, str, int], Any] = {}
_MOST_NUMBERS = 4096


def current_stream(device: str) -> int:
    """The address of CuPy's current stream."""
    address: int = module(device).cuda.get_current_stream().ptr
    return address


def number_on(array: Any, device: str, stream: int | None = None) -> Any:
    """A number on a device, to be read only.

    Args:
        array: A NumPy array of no dimensions.
        device: A CUDA device.
        stream: The address of the current stream, where it is known.
    """
    # A copy is queued in one stream: another one must not read it before it has come.
    stream = current_stream(device) if stream is None else stream
    key = (array.tobytes(), array.dtype.str, device, stream)
    found = _NUMBERS.get(key)
    if found is None:
        if len(_NUMBERS) >= _MOST_NUMBERS:
            _NUMBERS.clear()
        found = _NUMBERS[key] = to_device(array, device)
    return found


def forget_numbers() -> None:
    """Let go of the numbers that are kept on devices."""
    _NUMBERS.clear()


def is_capturing() -> bool:
    """Whether what the current stream is given becomes a CUDA graph, which a caller makes, rather than running."""
    cupy = module(f"cuda:{current_index()}")
    stream = cupy.cuda.get_current_stream().ptr
    return bool(stream and cupy.cuda.runtime.streamIsCapturing(stream))


class Readback:
    """A copy of a CuPy array on its way to the host, behind what is queued in the current stream.

    Args:
        array: A contiguous array.
    """

    def __init__(self, array: Any) -> None:
        cupy = module(device_of(array))
        self._shape, self._dtype = array.shape, array.dtype
        self._memory = cupy.cuda.alloc_pinned_memory(max(array.nbytes, 1))
        with array.device:
            stream = cupy.cuda.get_current_stream()
            array.data.copy_to_host_async(self._memory.ptr, array.nbytes, stream)
            self._event = cupy.cuda.Event(disable_timing=True)
            self._event.record(stream)

    @property
    def done(self) -> bool:
        """Whether the values have come."""
        return bool(self._event.done)

    def values(self) -> Any:
        """The values, waited for, as a NumPy array."""
        self._event.synchronize()
        size = int(np.prod(self._shape))
        return np.frombuffer(self._memory, self._dtype, size).reshape(self._shape).copy()


#: DLPack's numbers of devices whose memory NumPy and CuPy can look at: the CPU, CUDA, pinned and managed memory.
_DLPACK = {1: "cpu", 2: "cuda", 3: "cpu", 13: "cuda"}


def array_over(source: Any) -> Any:
    """An array over the memory of another library's array, which offers DLPack or CUDA's array interface.

    Raises:
        DeviceError: the memory is on a device that tracec does not know.
    """
    if type(source).__module__.split(".")[0] in ("numpy", "cupy"):
        return source
    if not hasattr(source, "__dlpack_device__"):
        return module("cuda:0").asarray(source)
    kind, index = source.__dlpack_device__()
    if int(kind) not in _DLPACK:
        raise DeviceError(
            f"from_dlpack: memory of DLPack device type {int(kind)} cannot be looked at",
            hint="copy it to the CPU first",
        )
    place = Device(_DLPACK[int(kind)])
    device = place if place == "cpu" else Device("cuda", index)
    xp = module(device)
    with on(device):
        return xp.from_dlpack(source)


def share_memory(a: Any, b: Any) -> bool:
    """Whether two arrays may have bytes in common."""
    if isinstance(a, np.ndarray) != isinstance(b, np.ndarray) or (type(a) is MetaArray) != (type(b) is MetaArray):
        return False
    if isinstance(a, np.ndarray):
        return np.may_share_memory(a, b)
    return bool(module(device_of(a)).may_share_memory(a, b))
