"""Functions that are recorded again at each call, whatever they do, for tests to compare with eager ones."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

import tracec
import tracec.nn.functional as F
from tracec import nn
from tracec.compiled import Compiled
from tracec.options import Options
from tracec.record.deferred import Deferred
from tracec.record.state import STATE


class _Again(Compiled):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fn(*args, **kwargs) if STATE.recorder is not None else self._lazy(args, kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else _Again(self.fn.__get__(instance, owner), self._options)


def lazily(fn: Any, **options: Any) -> Any:
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
    with mock.patch.object(Deferred, "_made", spoilt), mock.patch.multiple("tracec.specialisations.lazy", **smallest):
        yield


def numbers(*shape: int, seed: int = 0) -> Any:
    """Normal numbers."""
    return tracec.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def compiled_parts(function: Any) -> int:
    """How many parts of the calls of a function from `again` ran as programs."""
    return int(function._lazy.compiled)


class Step:
    """Training of a small model with a step that draws from Python's generator, or reads the clock."""

    def __init__(self, draws: bool) -> None:
        tracec.manual_seed(0)
        self.model = nn.Sequential(
            nn.Linear(5, 9, bias=False), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.3), nn.Linear(9, 3)
        )
        self.optimizer = tracec.optim.AdamW(self.model.parameters(), lr=0.01)
        self.draw = random.Random(3).random if draws else time.time
        self.losses: list[float] = []

    def __call__(self, x: Any, y: Any) -> Any:
        self.optimizer.zero_grad()
        scale = self.draw() if self.draw is not time.time else self.draw() * 0 + 1
        loss = F.cross_entropy(self.model(x) * scale, y)
        loss.backward()
        self.losses.append(float(loss))
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss
