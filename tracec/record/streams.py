"""Memory that other streams than its own still work on."""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any

from tracec.errors import ArgumentTypeError, UnsupportedError
from tracec.record.backend import module, on
from tracec.record.cell import Cell

#: Memory whose tensors are gone, and what their streams had then been given.
_HELD: deque[tuple[Any, Any]] = deque()


def record_stream(x: Cell, stream: Any) -> None:
    """Note that a stream works on a tensor's memory: freed, it is not given away until that work is done.

    CuPy's pool goes by the stream that memory was made in, and knows of no other.

    Args:
        x: A tensor on a CUDA device.
        stream: A `tracec.cuda.Stream`.

    Raises:
        UnsupportedError: the tensor is on the CPU.
        ArgumentTypeError: it is no stream.
    """
    if x._device == "cpu":
        raise UnsupportedError(
            "record_stream: the tensor is on the CPU, where there are no streams", hint="only CUDA tensors have them"
        )
    queue = getattr(stream, "_stream", None)
    if queue is None:
        raise ArgumentTypeError(
            f"record_stream: takes a stream, {type(stream).__name__} given", hint="e.g. tracec.cuda.current_stream()"
        )
    _let_go()
    weakref.finalize(x._storage, _hold, x._storage.array.data, queue, str(x._device)).atexit = False


def _hold(memory: Any, queue: Any, device: str) -> None:
    """Keep memory until a stream is done with what it has been given."""
    _let_go()
    with on(device):
        event = module(device).cuda.Event(disable_timing=True)
        event.record(queue)
    _HELD.append((event, memory))


def _let_go() -> None:
    """Free what is held and no longer worked on."""
    for _ in range(len(_HELD)):
        try:
            one = _HELD.popleft()
        except IndexError:  # other threads, and finalisers within this one, do the same meanwhile
            return
        if not one[0].done:
            _HELD.append(one)
