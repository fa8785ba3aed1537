"""State of each thread (gradient mode, recorder, levels of forward mode, default device), and of the process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracec.record.autocast import Modes
    from tracec.record.backend import Device
    from tracec.record.batching import Batching
    from tracec.record.deferred import Deferred
    from tracec.record.dual import DualLevel
    from tracec.record.random import OwnGenerators
    from tracec.record.recorder import Recorder


class State(threading.local):
    """State of a thread.

    Attributes:
        grad: Whether operations remember what their gradients need.
        recorder: Who is told of every operation, if anyone: it writes down nodes, or computes a whole batch.
        deferred: Who puts operations off, if anyone.
        duals: The levels of forward mode that are open, outermost first.
        packing: How values that gradients need are kept: functions that pack and unpack them; None for as they are.
        anomaly: Whether errors on the way back tell of the operation that went forward.
        check_nan: Whether gradients are searched for NaN then.
        inference: Whether new tensors are for inference only.
        as_written: Whether compiled functions run as they were written, since their gradients will be differentiated.
        gathering: Whether the thread is going back for ``grad`` of every leaf.
        device: Where new tensors go that no device is named for; None for the CPU.
        autocast: The 16-bit type for each kind of device where mixed precision is on; None where it is on for none.
        as_tensors: Whether objects of classes with a ``__torch_function__`` of their own are taken as what they are.
        asked: The functions that objects are being asked about by ``__torch_function__``, with the objects.
        generators: The thread's own default generators; None for those that all threads share.
        devices: The devices whose ``with`` blocks the thread is in; the last one comes before `device`.
    """

    grad: bool = True
    recorder: Recorder | Batching | None = None
    deferred: Deferred | None = None
    duals: tuple[DualLevel, ...] = ()
    packing: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None
    anomaly: bool = False
    check_nan: bool = True
    inference: bool = False
    as_written: bool = False
    gathering: bool = False
    device: Device | None = None
    generators: OwnGenerators | None = None
    devices: tuple[Device, ...] = ()
    autocast: Modes | None = None
    as_tensors: bool = False
    asked: tuple[tuple[int, ...], ...] = ()

    def modes(self) -> dict[str, Any]:
        """All of it, by name."""
        return {name: getattr(self, name) for name in State.__annotations__}


class Process:
    """State of all threads.

    Attributes:
        replaced: Functions of the library that a program has replaced; see `tracec.record.patches`.
        any_order: Whether compiled programs may add up in another order at each run, where that is faster on a GPU.
    """

    def __init__(self) -> None:
        self.any_order = False
        self.replaced: tuple[Any, ...] = ()


STATE = State()
PROCESS = Process()
