"""The state of random numbers, under the names of ``torch.random``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tracec.record.random import (
    default_generator,
    get_rng_state,
    initial_seed,
    known_generators,
    manual_seed,
    seed,
    set_rng_state,
)


@contextmanager
def fork_rng(devices: Iterable[Any] | None = None, enabled: bool = True, device_type: str = "cuda") -> Iterator[None]:
    """Within, random numbers are drawn as before, and afterwards as if none had been.

    Args:
        devices: CUDA devices whose generators to restore, by name or number; by default all that were used.
        enabled: Whether to do so at all.
        device_type: Kind of the devices.
    """
    if not enabled:
        yield
        return
    if devices is None:
        generators = known_generators()
    else:
        names = [f"{device_type}:{d}" if isinstance(d, int) else d for d in devices]
        generators = [default_generator(d) for d in ("cpu", *names)]
    before = [(g, g.get_state()) for g in generators]
    try:
        yield
    finally:
        for generator, state in before:
            generator.set_state(state)


__all__ = ["default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]
