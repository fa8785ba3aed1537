"""What something that takes long is at: a line on the terminal that is gone when it is done, and seconds by stage."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

#: Seconds until the line is shown, and between its changes.
FIRST = 1.0
_AGAIN = 0.25
_CLEAR = "\r\x1b[2K"


class _Line:
    def __init__(self, what: str, stream: TextIO) -> None:
        self.what = what
        self.stage = ""
        self._stream = stream
        self._start = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._show, name="tracec-progress", daemon=True)
        self._thread.start()

    def _show(self) -> None:
        wait, shown = FIRST, False
        while not self._done.wait(wait):
            seconds = time.monotonic() - self._start
            stage = f" ({self.stage})" if self.stage else ""
            self._write(f"{_CLEAR}tracec: {self.what}{stage}, {seconds:.0f} s")
            wait, shown = _AGAIN, True
        if shown:
            self._write(_CLEAR)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone
            self._done.set()

    def end(self) -> None:
        self._done.set()
        self._thread.join()


class Clock:
    """Seconds by stage, of the stage that is going on up to now."""

    def __init__(self, first: str) -> None:
        self.seconds: dict[str, float] = {}
        self._stage, self._since = first, time.perf_counter()

    def begin(self, stage: str) -> None:
        """Begin the next stage."""
        now = time.perf_counter()
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now

    def read(self) -> dict[str, float]:
        """The seconds of each stage until now."""
        self.begin(self._stage)
        return dict(self.seconds)


class _Current(threading.local):
    line: _Line | None = None
    clock: Clock | None = None


_current = _Current()


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Within, a line on standard error says what takes so long, where that is a terminal.

    Args:
        what: What is done, as ``compiling step``.
    """
    stream = sys.stderr
    if _current.line is not None or stream is None or not _is_terminal(stream):
        yield
        return
    line = _current.line = _Line(what, stream)
    try:
        yield
    finally:
        _current.line = None
        line.end()


@contextmanager
def timing(first: str) -> Iterator[Clock]:
    """Within, seconds are counted by stage, in this thread.

    Args:
        first: The stage that it begins with.
    """
    before, clock = _current.clock, Clock(first)
    _current.clock = clock
    try:
        yield clock
    finally:
        _current.clock = before


def stage(name: str) -> None:
    """Say which part of it is done now."""
    if _current.clock is not None:
        _current.clock.begin(name)
    if _current.line is not None:
        _current.line.stage = name


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False
