"""Streams and events of CUDA devices, over CuPy's."""

from __future__ import annotations

from typing import Any

from tracec.cuda.devices import device
from tracec.cuda.places import Place, cupy_on, index_of
from tracec.errors import ArgumentError
from tracec.record import backend
from tracec.record.backend import Device, is_available
from tracec.record.deferred import settle_all
from tracec.record.late import look, settle


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
        look()
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


class ExternalStream(Stream):
    """A stream that another library made, and that has to outlive this object.

    Args:
        stream_ptr: CUDA's handle, such as `Stream.cuda_stream` gives it.
        device: The device that it runs on.
    """

    def __init__(self, stream_ptr: int, device: Place = None) -> None:
        with backend.on(f"cuda:{index_of(device)}"):
            super().__init__(device, _stream=cupy_on(device).cuda.ExternalStream(stream_ptr))


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


StreamContext = stream


def set_stream(stream: Stream) -> None:
    """Let work go to this stream from now on; ``with tracec.cuda.stream(s):`` does so for a while."""
    settle_all()
    backend.set_current(stream._index)
    stream._stream.use()


def is_current_stream_capturing() -> bool:
    """Whether what is given to the current stream becomes a CUDA graph rather than running."""
    return is_available() and backend.is_capturing()


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
        look()  # before what is waited for
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
