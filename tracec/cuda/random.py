"""Random numbers on CUDA devices: each device has a generator of its own."""

from __future__ import annotations

from collections.abc import Iterable

from tracec.cuda.places import Place, cupy_on, device_count, index_of
from tracec.record import backend
from tracec.record.backend import is_available
from tracec.record.random import Generator, default_generator
from tracec.record.tensor import Tensor


def manual_seed(seed: int) -> None:
    """Start the current device's generator again from a seed; without a device, nothing happens."""
    if is_available():
        default_generator(f"cuda:{backend.current_index()}").manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Start every device's generator again from a seed; without a device, nothing happens."""
    for index in range(device_count()):
        default_generator(f"cuda:{index}").manual_seed(seed)


def _generator(device: Place) -> Generator:
    """The generator of a device.

    Raises:
        DeviceError: there is no such device.
    """
    cupy_on(device)
    return default_generator(f"cuda:{index_of(device)}")


def get_rng_state(device: Place = "cuda") -> Tensor:
    """A copy of the state of a device's generator."""
    return _generator(device).get_state()


def set_rng_state(new_state: Tensor, device: Place = "cuda") -> None:
    """Let a device's generator go on from a state that `get_rng_state` gave."""
    _generator(device).set_state(new_state)


def get_rng_state_all() -> list[Tensor]:
    """The states of all devices' generators."""
    return [get_rng_state(index) for index in range(device_count())]


def set_rng_state_all(new_states: Iterable[Tensor]) -> None:
    """Let all devices' generators go on from states that `get_rng_state_all` gave."""
    for index, state in enumerate(new_states):
        set_rng_state(state, index)


def initial_seed() -> int:
    """The seed of the current device's generator."""
    return _generator(None).initial_seed()


def seed() -> None:
    """Start the current device's generator again from a seed that the system draws; without one, nothing happens."""
    if is_available():
        _generator(None).seed()


def seed_all() -> None:
    """Start all devices' generators again from one seed that the system draws."""
    if is_available():
        manual_seed_all(_generator(None).seed())
