"""Functions that are recorded again at each call, whatever they do, for tests to compare with eager ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from tracec.compiled import Compiled
from tracec.options import Options
from tracec.record.deferred import Deferred
from tracec.record.state import STATE


class _Again(Compiled):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fn(*args, **kwargs) if STATE.recorder is not None else self._again(args, kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else _Again(self.fn.__get__(instance, owner), self._options)


def again(fn: Any, **options: Any) -> Any:
    """A function that is recorded again at each call, as one is that no program can stand in for."""
    return _Again(fn, Options(**options))


@contextmanager
def without_values() -> Iterator[None]:
    """Within, arrays whose values are put off hold what would be seen, and the smallest segments become programs."""
    made = Deferred._made

    def spoilt(self: Any, kind: int, call: Any, arrays: list[Any], numbers: Any, out: Any) -> Any:
        if out.size and out.ndim:
            out.reshape(-1, order="A").view(np.uint8)[...] = 0x7F
        return made(self, kind, call, arrays, numbers, out)

    smallest = {"_FEWEST": 1, "_SMALLEST": 0, "_FRUITLESS": 1 << 30}
    with mock.patch.object(Deferred, "_made", spoilt), mock.patch.multiple("tracec.specialisations.again", **smallest):
        yield
