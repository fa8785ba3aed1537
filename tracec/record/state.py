"""What each thread is doing: whether gradients are recorded, who is recording a graph, where new tensors go."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracec.record.backend import Device
    from tracec.record.recorder import Recorder


class State(threading.local):
    """State of a thread.

    Attributes:
        grad: Whether operations remember what their gradients need.
        recorder: Who writes down every operation as a node, if anyone.
        device: Where new tensors go that no device is named for; None for the CPU.
        devices: The devices whose ``with`` blocks the thread is in; the last one comes before `device`.
    """

    grad: bool = True
    recorder: Recorder | None = None
    device: Device | None = None
    devices: tuple[Device, ...] = ()


STATE = State()
