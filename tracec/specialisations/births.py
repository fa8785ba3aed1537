"""Which objects a function made while it was recorded: its program makes such ones anew."""

from __future__ import annotations

import gc
from typing import Any


class Births:
    """Tells which objects came to be meanwhile; only the young are looked at, since none grows old meanwhile.

    What the function itself has collected garbage after counts as older than the call.
    """

    def __init__(self) -> None:
        self._young: frozenset[int] | None = frozenset()
        self._enabled = False

    def begin(self) -> None:
        """From here on."""
        self._young, self._enabled = None, gc.isenabled()
        gc.disable()  # it would let them grow old
        gc.collect(0)

    def end(self) -> None:
        """Up to here."""
        self._young = frozenset()
        if self._enabled:
            gc.enable()

    def has(self, value: Any) -> bool:
        """Whether an object came to be meanwhile; asked when the function has run."""
        if self._young is None:
            self._young = frozenset(map(id, gc.get_objects(0)))
        return id(value) in self._young
