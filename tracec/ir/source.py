"""Where in the user's program a value was made."""

from __future__ import annotations

import linecache
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FrameType

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_FUNCTIONS = os.path.join(_PACKAGE, "functions", "")
_SHARED = os.path.join(_FUNCTIONS, "common.py")
_LIBRARY = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INTERNAL: dict[str, bool] = {}
#: The file of methods that dataclasses make.
_MADE = "<string>"


@dataclass(frozen=True, slots=True)
class Source:
    """A line of the user's program.

    Attributes:
        file: Full path.
        line: Line number, from 1.
    """

    file: str
    line: int

    @property
    def text(self) -> str:
        """The line itself, stripped; empty where the file cannot be read."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"


_KNOWN: dict[tuple[str, int], Source] = {}


def is_internal(file: str) -> bool:
    """Whether a file belongs to tracec, or to Python's own library, and not to the user."""
    known = _INTERNAL.get(file)
    if known is None:
        library = file.startswith(_LIBRARY) and "-packages" not in file
        known = _INTERNAL[file] = library or file.startswith((_PACKAGE, "<frozen "))
    return known


def _is_own(frame: FrameType) -> bool:
    """Whether a frame runs what belongs to tracec or to Python's library, the methods of dataclasses included."""
    file = frame.f_code.co_filename
    return is_internal(file) or (file == _MADE and frame.f_globals.get("__name__", "").startswith("tracec."))


def user_frame() -> FrameType | None:
    """The innermost frame on the stack that is not tracec's own; None where there is none."""
    frame: FrameType | None = sys._getframe(2)
    known = _INTERNAL.get  # what it knows is not asked again: all operations that gradients flow through come here
    while True:
        while frame is not None and known(frame.f_code.co_filename):
            frame = frame.f_back
        if frame is None or (known(frame.f_code.co_filename) is False and frame.f_code.co_filename != _MADE):
            return frame
        if not _is_own(frame):
            return frame
        frame = frame.f_back


def _at(file: str, line: int) -> Source:
    key = file, line
    source = _KNOWN.get(key)
    if source is None:
        source = _KNOWN[key] = Source(file, line)
    return source


def caller() -> Source | None:
    """The innermost line on the stack that is not tracec's own; None where there is none."""
    frame = user_frame()
    return None if frame is None else _at(frame.f_code.co_filename, frame.f_lineno)


#: A place in the user's program of which few ask in which line it is: code, and the offset of an instruction in it.
Place = tuple[CodeType, int]


def line_of(place: Place) -> Source:
    """The line of a place."""
    code, offset = place
    line = next((line for start, end, line in code.co_lines() if start <= offset < end and line is not None), None)
    return _at(code.co_filename, code.co_firstlineno if line is None else line)


class _Collected(threading.local):
    messages: list[str] | None = None


_collected = _Collected()


@contextmanager
def collecting() -> Iterator[list[str]]:
    """Within, what this thread warns of is put in a list, to be said at a line of the user's later."""
    before = _collected.messages
    try:
        _collected.messages = []
        yield _collected.messages
    finally:
        _collected.messages = before


def warn(message: str, category: type[Warning] = RuntimeWarning, now: bool = False) -> None:
    """Warn of something at the user's line.

    Args:
        message: What is wrong.
        category: Its class.
        now: At once, also where it would be collected: somebody may be waiting.
    """
    if _collected.messages is not None and not now:
        _collected.messages.append(message)
        return
    level, frame = 2, sys._getframe(1)
    while _is_own(frame) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def warn_at(source: Source | None, message: str) -> None:
    """Warn of something at a line that ran before, as from another thread."""
    warnings.warn_explicit(
        message, RuntimeWarning, source.file if source else "<unknown>", source.line if source else 1
    )


def entered() -> str | None:
    """The function of `tracec.functions` that the innermost line outside of tracec has called, if it has."""
    found = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_own(frame):
        code = frame.f_code
        file, name = code.co_filename, code.co_name
        if file.startswith(_FUNCTIONS) and file != _SHARED and not name.startswith(("_", "<")):
            found = name
        frame = frame.f_back
    return found
