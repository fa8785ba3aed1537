"""What each thread is doing: whether gradients are recorded, and who is recording a graph."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracec.record.recorder import Recorder


class State(threading.local):
    """State of a thread.

    Attributes:
        grad: Whether operations remember what their gradients need.
        recorder: Who writes down every operation as a node, if anyone.
    """

    grad: bool = True
    recorder: Recorder | None = None


STATE = State()
