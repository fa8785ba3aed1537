"""What a call leaves besides tensors' values: attributes, items of lists and dictionaries, and text that it prints."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from tracec.record.cell import Cell
from tracec.record.recording import find_tensors, is_number
from tracec.record.structure import children, is_data
from tracec.specialisations.effects import plain_number
from tracec.specialisations.environment import Environment
from tracec.specialisations.guards import Contents, Guard
from tracec.specialisations.keys import PLAIN
from tracec.specialisations.places import MISSING


class Held(NamedTuple):
    """What a place holds.

    Attributes:
        text: It in words, where tensors are no more than that.
        tensors: The tensors in it, and copies of their values.
    """

    text: str
    tensors: list[tuple[Any, Any]]


def plain(value: Any) -> Any:
    """A value without what tensors in it hold."""
    if is_number(value):
        return plain_number(value)
    if isinstance(value, PLAIN):
        return value
    if value is MISSING:
        return "missing"
    if isinstance(value, dict):
        return {k if isinstance(k, PLAIN) else type(k).__name__: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(plain(v)) for v in value)
    if is_data(value) and not isinstance(value, Cell):
        return [type(value).__name__, *(plain(v) for v in children(value))]
    return type(value).__name__


class State:
    """The Python state that a function can reach, in comparison with what it was.

    Args:
        around: What the function reads, as it was.
    """

    def __init__(self, around: Environment) -> None:
        self._guards = [*around.guards, *(contents for _, contents in around.held)]

    def changed(self) -> dict[int, dict[str, Held]]:
        """What is in places that hold something else than they did, by number and by name."""
        return {k: _now(guard) for k, guard in enumerate(self._guards) if guard.changed()}

    def both(self, eager: dict[int, dict[str, Held]]) -> Iterator[tuple[str, Held, Held]]:
        """Names of places, what an eager run left there, and what is there now.

        Args:
            eager: What `changed` gave then.
        """
        for k in dict.fromkeys((*eager, *self.changed())):
            then, now = eager.get(k) or _before(self._guards[k]), _now(self._guards[k])
            for name in dict.fromkeys((*then, *now)):
                yield name, then.get(name, _NOTHING), now.get(name, _NOTHING)


_NOTHING = Held("missing", [])


def _held(value: Any) -> Held:
    return Held(repr(plain(value)), [(t, t._array.copy()) for t in find_tensors(value)])


def _now(guard: Guard | Contents) -> dict[str, Held]:
    if isinstance(guard, Guard):
        return {guard.name: _held(guard.now())}
    keys = range(len(guard.holder)) if guard.keys is None else list(guard.holder)
    return _items(guard, keys, list(guard.now))


def _before(guard: Guard | Contents) -> dict[str, Held]:
    if isinstance(guard, Guard):
        return {guard.name: _held(guard.value)}
    return _items(guard, range(len(guard.values)) if guard.keys is None else guard.keys, guard.values)


def _items(guard: Contents, keys: Any, values: Any) -> dict[str, Held]:
    if isinstance(guard.holder, (set, frozenset)):
        return {guard.name: _held(set(values))}
    found = {guard.item(k): _held(v) for k, v in zip(keys, values, strict=True)}
    return {**found, f"order of {guard.name}": Held(repr(list(found)), [])}


# Text ------------------------------------------------------------------------------------------------------


class _Stream:
    def __init__(self, stream: Any, text: list[str], through: bool) -> None:
        self._stream, self._text, self._through = stream, text, through

    def write(self, text: str) -> int:
        """Note text."""
        self._text.append(text)
        return self._stream.write(text) if self._through else len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def text_of(through: bool) -> Iterator[list[str]]:
    """Within, what is printed and logged is noted.

    Args:
        through: Whether it is also seen.
    """
    text: list[str] = []
    streams, handle = (sys.stdout, sys.stderr), logging.Logger.handle

    def note(self: logging.Logger, record: logging.LogRecord) -> None:
        text.append(f"{record.getMessage()}\n")
        if through:
            handle(self, record)

    stdout, stderr = (_Stream(stream, text, through) for stream in streams)
    sys.stdout, sys.stderr, logging.Logger.handle = stdout, stderr, note  # type: ignore[method-assign]
    try:
        yield text
    finally:
        sys.stdout, sys.stderr = streams
        logging.Logger.handle = handle  # type: ignore[method-assign]


_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?")


def same_text(a: str, b: str) -> bool:
    """Whether two texts are the same, but for how the numbers in them were rounded."""
    if a == b:
        return True
    if _NUMBER.split(a) != _NUMBER.split(b):
        return False
    first, second = ([float(n) for n in _NUMBER.findall(text)] for text in (a, b))
    return bool(np.allclose(first, second, rtol=1e-3, atol=1e-3))
