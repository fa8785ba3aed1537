"""A line on the terminal while something takes long, and is gone when it is done."""

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


class _Current(threading.local):
    line: _Line | None = None


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


def stage(name: str) -> None:
    """Say which part of it is done now."""
    if _current.line is not None:
        _current.line.stage = name


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False
