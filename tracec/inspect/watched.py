"""Programs of a script, watched while it runs: how often each is called, for how long, and with what."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tracec.build import WATCHERS, Built, Runner


class Watched:
    """A program that counts its calls.

    Args:
        built: The program.
        run: What runs it.

    Attributes:
        calls: How often it was called.
        seconds: How long all calls took; on a GPU, how long it took to queue them.
        arrays: Copies of what it was given at its first call; none before that.
    """

    #: There is no shorter way past the count.
    quick = None

    def __init__(self, built: Built, run: Runner) -> None:
        self.built = built
        self.calls = 0
        self.seconds = 0.0
        self.arrays: list[Any] = []
        self._run = run

    def __call__(self, arrays: Sequence[Any]) -> list[Any]:
        if not self.calls:
            self.arrays = [a.copy() for a in arrays]
        start = time.perf_counter()
        found = self._run(arrays)
        self.seconds += time.perf_counter() - start
        self.calls += 1
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)


@contextmanager
def watching() -> Iterator[list[Watched]]:
    """Within, all programs that are loaded are watched, and put in a list."""
    found: list[Watched] = []

    def watch(built: Built, run: Runner) -> Runner:
        found.append(Watched(built, run))
        return found[-1]

    WATCHERS.append(watch)
    try:
        yield found
    finally:
        WATCHERS.remove(watch)
