"""What a recorded function prints, so that its program prints it as well.

While a function is recorded, text that its thread writes to standard output and error is noted, and so are messages
to loggers. A tensor that is handed to ``print`` is noted as a tensor: the program prints its value of the day. Text
that was made of values otherwise (``f"{loss:.3f}"``) depends on them: those values were asked for.
"""

from __future__ import annotations

import builtins
import logging
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from tracec.ir.forks import free_in_children, undone
from tracec.record.cell import Cell
from tracec.record.opaque import Opaque
from tracec.record.recorder import Recorder
from tracec.record.recording import Counted, Looked, is_number
from tracec.record.state import STATE
from tracec.record.tensor import Tensor
from tracec.specialisations.effects import plain_number


def _varies(x: Any) -> bool:
    """Whether this is a number, or a size, that may be another one at the next call."""
    return is_number(x) or isinstance(x, Opaque)


class _Named:
    """Stands for the operation that made a tensor."""

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        """The operation's name."""
        return self._name


#: Held while standard streams and ``print`` are those below: they are the process's.
_LOCK = threading.RLock()
free_in_children(_LOCK)


class Written(NamedTuple):
    """Text to a standard stream.

    Attributes:
        stream: ``stdout`` or ``stderr``, or the stream itself where the function held on to it.
        text: The text.
    """

    stream: Any
    text: str

    def again(self, tensors: Sequence[Tensor], numbers: Sequence[Any]) -> None:
        """Do it again."""
        (getattr(sys, self.stream) if isinstance(self.stream, str) else self.stream).write(self.text)


class Shown(NamedTuple):
    """A call of ``print`` with tensors among what it was given.

    Attributes:
        args: What it was given; a `Looked` for each tensor, a `Counted` for each number that may be another one, and
            text for what is neither.
        options: Its ``sep``, ``end`` and ``flush``.
        stream: ``stdout`` or ``stderr``.
    """

    args: tuple[Any, ...]
    options: dict[str, Any]
    stream: str

    def again(self, tensors: Sequence[Tensor], numbers: Sequence[Any]) -> None:
        """Do it again, with the tensors and numbers of another call."""
        args: list[Any] = []
        for a in self.args:
            if isinstance(a, Looked):
                args.append(_as_it_was(tensors[a.position], a))
            else:
                args.append(numbers[a.position] if isinstance(a, Counted) else a)
        print(*args, **self.options, file=getattr(sys, self.stream))


def _as_it_was(made: Tensor, looked: Looked) -> Tensor:
    """A tensor that shows the same history as the one that was printed."""
    made._requires_grad = looked.is_leaf
    made._history = _Named(looked.history) if looked.history else None  # type: ignore[assignment]
    return made


class Logged(NamedTuple):
    """A message to a logger.

    Attributes:
        logger: The logger.
        record: What it was given.
    """

    logger: logging.Logger
    record: logging.LogRecord

    def again(self, tensors: Sequence[Tensor], numbers: Sequence[Any]) -> None:
        """Do it again, now."""
        record = logging.makeLogRecord(self.record.__dict__)
        record.created = now = time.time()
        record.msecs = (now - int(now)) * 1000
        self.logger.handle(record)


class Warned(NamedTuple):
    """A warning.

    Attributes:
        message: What it says, or the warning itself.
        category: Its class.
        filename: The file that it is about.
        line: The line there.
        module: The name of the module.
        variables: The module's, among which is what was warned of before.
    """

    message: Any
    category: Any
    filename: str
    line: int
    module: str
    variables: dict[str, Any]

    def again(self, tensors: Sequence[Tensor] = (), numbers: Sequence[Any] = ()) -> None:
        """Do it again, as filters say now."""
        registry = self.variables.setdefault("__warningregistry__", {})
        warnings.warn_explicit(self.message, self.category, self.filename, self.line, self.module, registry)


class _Around:
    """Stands for a standard stream."""

    def __init__(self, original: Any) -> None:
        self.original = original

    def write(self, text: str) -> int:
        """Write."""
        raise NotImplementedError

    def writelines(self, lines: Any) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


class Stream(_Around):
    """Notes what is written.

    Args:
        name: ``stdout`` or ``stderr``, or the stream itself.
        original: The stream.
        note: Is given what is written, as `Written`.
        hear: Is given name and text, also of what is noted otherwise.
    """

    def __init__(self, name: Any, original: Any, note: Callable[[Any], None], hear: Callable[[Any, str], None]) -> None:
        super().__init__(original)
        self._name, self._note, self._hear = name, note, hear

    def kept(self) -> Stream:
        """What notes text to the stream for whoever held on to it before."""
        return Stream(self.original, self.original, self._note, self._hear)

    def write(self, text: str) -> int:
        """Write, and note it."""
        self._note(Written(self._name, text))
        self._hear(self._name, text)
        return self.original.write(text)  # type: ignore[no-any-return]


class _Once(_Around):
    """Leaves out what one thread has written before, as long as it writes the same again."""

    def __init__(self, stream: Any, written: str) -> None:
        super().__init__(stream)
        self._left, self._thread = written, threading.get_ident()

    def write(self, text: str) -> int:
        """Write what is new."""
        new = text
        if self._left and threading.get_ident() == self._thread:
            new = "" if self._left.startswith(text) else text.removeprefix(self._left)
            self._left = self._left.removeprefix(text) if not new else ""
        if new:
            self.original.write(new)
        return len(text)


def can_run_again(printed: Sequence[Any]) -> bool:
    """Whether all that was shown would be left out by `printed_before`: all but messages and text to kept streams."""
    return not any(
        isinstance(p, (Logged, Warned)) or (isinstance(p, Written) and not isinstance(p.stream, str)) for p in printed
    )


def written(printed: Sequence[Any]) -> list[str]:
    """The text that is the same whenever it is written again."""
    found: list[str] = []
    for p in printed:
        if isinstance(p, Written):
            found.append(p.text)
        elif isinstance(p, Shown):
            found += [a for a in p.args if type(a) is str]
        elif isinstance(p, Logged):
            with suppress(Exception):  # the logger said so
                found.append(p.record.getMessage())
        elif isinstance(p, Warned):
            found.append(str(p.message))
    return found


@contextmanager
def printed_before(text: dict[str, str]) -> Iterator[None]:
    """Within, a function that was undone runs again: what it has printed is not printed twice.

    Args:
        text: Of ``stdout`` and ``stderr``, what it has printed.
    """
    with _LOCK:
        saved = {name: getattr(sys, name) for name in text}
        streams = {name: _Once(saved[name], written) for name, written in text.items()}
        for name, stream in streams.items():
            setattr(sys, name, stream)
        try:
            yield
        finally:
            for name, stream in streams.items():
                if getattr(sys, name) is stream:
                    setattr(sys, name, saved[name])


class _Listener:
    """Notes with a recorder what its thread prints, unless that is part of what was noted already."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.thread = threading.get_ident()
        self.quiet = False

    def note(self, effect: Any) -> None:
        """Note what is to be done again."""
        if threading.get_ident() == self.thread and not self.quiet:
            self.recorder.printed.append(effect)

    def hear(self, stream: Any, text: str) -> None:
        """Note the text that reaches a standard stream."""
        if threading.get_ident() == self.thread and isinstance(stream, str):
            self.recorder.text[stream] = self.recorder.text.get(stream, "") + text

    def keep(self, x: Any) -> Any:
        """What stands for something that is printed, see `Shown`."""
        if type(x) is Tensor:
            return self.recorder.look_at(x)
        return self.recorder.count(x) if _varies(x) else str(x)

    @property
    def listens(self) -> bool:
        """Whether tensors that are printed now are noted as such."""
        return threading.get_ident() == self.thread and STATE.recorder is self.recorder and not self.quiet


# What takes the place of functions of Python's is a function too, as they may be handed on.


def _print_for(listener: _Listener, streams: dict[str, Stream], before: Callable[..., None]) -> Callable[..., None]:
    """A ``print`` that notes tensors, and numbers that may be others, as what they are."""

    def show(*args: Any, file: Any = None, **options: Any) -> None:
        to = sys.stdout if file is None else file  # which the function may have put another in place of
        stream = next((name for name, s in streams.items() if to is s), None)
        if not listener.listens or stream is None or not any(type(a) is Tensor or _varies(a) for a in args):
            before(*args, file=file, **options)
            return
        kept = tuple(map(listener.keep, args))
        listener.note(Shown(kept, options, stream))
        plain = (k if type(k) is str else plain_number(a) for a, k in zip(args, kept, strict=True))
        listener.quiet, STATE.recorder = True, None
        try:
            before(*plain, file=file, **options)
        finally:
            listener.quiet, STATE.recorder = False, listener.recorder

    return show


def _handle_for(listener: _Listener, handled: Callable[..., Any]) -> Callable[..., None]:
    """A ``Logger.handle`` that notes messages; the text that handlers write is no other effect."""

    def handle(self: logging.Logger, record: logging.LogRecord) -> None:
        if any(isinstance(a, Cell) for a in (record.msg, *(record.args if isinstance(record.args, tuple) else ()))):
            record.msg, record.args = record.getMessage(), ()  # the values are asked for
        listener.note(Logged(self, record))
        was, listener.quiet = listener.quiet, True
        try:
            handled(self, record)
        finally:
            listener.quiet = was

    return handle


def _warn_for(listener: _Listener, warned: Callable[..., None]) -> Callable[..., None]:
    """A ``warnings.warn`` that notes warnings, and what they are about."""

    def warn(message: Any, category: Any = None, stacklevel: int = 1, source: Any = None, **options: Any) -> None:
        if options or stacklevel < 1:
            warned(message, category, stacklevel + 1, source, **options)
            return
        frame: Any = sys._getframe(1)
        for _ in range(stacklevel - 1):
            frame = frame.f_back or frame
        name = frame.f_globals.get("__name__", "<string>")
        kind = category or (type(message) if isinstance(message, Warning) else UserWarning)
        made = Warned(message, kind, frame.f_code.co_filename, frame.f_lineno, name, frame.f_globals)
        listener.note(made)
        was, listener.quiet = listener.quiet, True  # the text that it may write is no other effect
        try:
            made.again()
        finally:
            listener.quiet = was

    return warn


@contextmanager
def printing(recorder: Recorder) -> Iterator[None]:
    """Within, what this thread prints is noted with the recorder."""
    with _LOCK:
        before, handled, warned = builtins.print, logging.Logger.handle, warnings.warn
        listener = _Listener(recorder)
        saved = {name: getattr(sys, name) for name in ("stdout", "stderr")}
        streams = {name: Stream(name, stream, listener.note, listener.hear) for name, stream in saved.items()}

        def put_back() -> None:
            builtins.print, logging.Logger.handle = before, handled  # type: ignore[method-assign]
            warnings.warn = warned
            for name, stream in streams.items():
                if getattr(sys, name) is stream:
                    setattr(sys, name, saved[name])

        with undone(put_back):
            builtins.print = _print_for(listener, streams, before)
            logging.Logger.handle = _handle_for(listener, handled)  # type: ignore[method-assign]
            warnings.warn = _warn_for(listener, warned)
            for name, stream in streams.items():
                setattr(sys, name, stream)
            yield
