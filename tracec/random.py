"""The state of random numbers, under the names of ``torch.random``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tracec.errors import name_missing
from tracec.record import random as state
from tracec.record.random import (
    Generator,
    States,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)


@contextmanager
def fork_rng(devices: Iterable[Any] | None = None, enabled: bool = True, device_type: str = "cuda") -> Iterator[None]:
    """Within, random numbers are drawn as before, and afterwards as if none had been.

    Args:
        devices: CUDA devices whose generators to restore, by name or number; by default all that were reached.
        enabled: Whether to do so at all.
        device_type: Kind of the devices.
    """
    if not enabled:
        yield
        return
    names = None if devices is None else [f"{device_type}:{d}" if isinstance(d, int) else d for d in devices]
    before = States(names)
    try:
        yield
    finally:
        before.restore()


#: The generator of the CPU that the thread draws from where none is given.
default_generator: Generator


def __getattr__(name: str) -> Any:
    if name == "default_generator":
        return state.default_generator()
    raise name_missing(sys.modules[__name__], name)


__all__ = ["default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]
