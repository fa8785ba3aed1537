"""Random state: a counter-based generator whose state is an ordinary tensor.

The numbers are a function of seed, number of the draw and element. A draw advances the state in place like
any other write, so that a compiled function carries it on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.number import observe
from tracec.record.backend import CPU, Device, reached, to_device
from tracec.record.batching import Batching
from tracec.record.cell import new_tensor
from tracec.record.deferred import ACTIVE, settled
from tracec.record.mode import no_grad
from tracec.record.state import STATE

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor

_MASK = (1 << 64) - 1
#: Added to a state, the next draw's is what comes of it.
_NEXT = np.array([0, 1])


class Generator:
    """A source of random bits.

    Args:
        device: Where the bits are made; the same bits everywhere.
        seed: Where to start; by default 0.

    Attributes:
        state: The seed and the number of draws so far, int64, shape ``(2,)``.
    """

    def __init__(self, device: str | Device = "cpu", seed: int = 0) -> None:
        self.device = Device(device)
        self.state: Tensor = _tensor(seed, self.device)

    def manual_seed(self, seed: int) -> Generator:
        """Start again from a seed.

        Raises:
            ArgumentError: the seed is no integer of 64 bits, with a sign or without.
        """
        if not hasattr(seed, "__index__"):
            raise ArgumentError(f"manual_seed: seed is an integer, {type(seed).__name__} given", hint="e.g. 0")
        if not -(2**63) <= seed < 2**64:
            raise ArgumentError(f"manual_seed: {seed} does not fit into 64 bits", hint="e.g. 0")
        with no_grad():
            self.state.copy_(_tensor(seed, self.device))
        return self

    def seed(self) -> int:
        """Start again from a seed that the operating system draws; the seed."""
        observe("random bytes of the system, seed")
        drawn = _from_system()
        self.manual_seed(drawn)
        return drawn

    def initial_seed(self) -> int:
        """The seed that was last set."""
        observe("a seed, initial_seed")
        return self._seed()

    def _seed(self) -> int:
        return int(to_device(settled(self.state._array), "cpu")[0]) & _MASK

    def get_state(self) -> Tensor:
        """A copy of the state."""
        return self.state.clone()

    def set_state(self, state: Tensor) -> Generator:
        """Go on from a state that `get_state` gave.

        Raises:
            ArgumentTypeError: it is no such tensor.
            ShapeError: it is not of the shape ``(2,)``.
        """
        if getattr(state, "dtype", None) is not dt.int64 or not hasattr(state, "_storage"):
            what = type(state).__name__ if not hasattr(state, "_storage") else f"a tensor of {state.dtype.name}"
            raise ArgumentTypeError(
                f"set_state: the state is a tensor of int64, {what} given", hint="give what get_state() gave"
            )
        if tuple(state.shape) != (2,):
            raise ShapeError(f"set_state: the state has shape {tuple(state.shape)}, not (2,)", hint="use get_state()")
        with no_grad():
            self.state.copy_(state)
        return self

    def clone_state(self) -> Generator:
        """Another generator that goes on from the same state."""
        return Generator(self.device).set_state(self.state)

    def next_bits(self, shape: tuple[int, ...]) -> Tensor:
        """Fresh uniform bits, uint32."""
        if isinstance(STATE.recorder, Batching):
            return STATE.recorder.random_bits(self, tuple(shape))  # type: ignore[no-any-return]
        if (carry := getattr(STATE.recorder, "carry", None)) is not None:
            carry(self.state)  # of what a loop runs
        with no_grad():
            bits = ops.random_bits(self.state, shape=tuple(shape))
            if STATE.recorder is None and not ACTIVE and not STATE.duals and self.device == CPU:
                # What the operators do, in a fifth of their time.
                self.state._storage.about_to_change()
                np.add(self.state._array, _NEXT, out=self.state._array)
                return bits  # type: ignore[no-any-return]
            self.state.copy_(ops.add(self.state, ops.iota(shape=(2,), axis=0, dtype=dt.int64, device=str(self.device))))
        return bits  # type: ignore[no-any-return]


def _tensor(seed: int, device: str | Device) -> Any:
    made = new_tensor(to_device(np.array([seed & _MASK, 0], np.uint64).view(np.int64), device))
    made._storage.is_known = True
    return made


_DEFAULT: dict[str, Generator] = {}


class OwnGenerators:
    """Default generators of one thread alone.

    Attributes:
        by_device: Device → generator, of those used so far.
    """

    def __init__(self) -> None:
        self.by_device: dict[str, Generator] = {}


class OwnStream:
    """Gives the thread that makes it, and keeps it, default generators of its own, started from a seed.

    Threads that end leave theirs to others that begin: functions compiled in one need not be compiled again.
    """

    _left: ClassVar[list[OwnGenerators]] = []

    def __init__(self, seed: int) -> None:
        try:
            self._generators = self._left.pop()
        except IndexError:
            self._generators = OwnGenerators()
        STATE.generators = self._generators
        manual_seed(seed)

    def __del__(self) -> None:
        self._left.append(self._generators)


def _defaults() -> dict[str, Generator]:
    """The thread's default generators by device: its own, or those that all others share."""
    own = STATE.generators
    return _DEFAULT if own is None else own.by_device


def default_generator(device: str | Device = "cpu") -> Generator:
    """The generator that is used where none is given; one for each device, all with one seed.

    Workers of a `DataLoader` have default generators of their own.
    """
    name, known = str(Device(device)), _defaults()
    found = known.get(name)
    if found is None:
        seed = known[CPU]._seed() if str(CPU) in known else 0
        found = known.setdefault(name, Generator(name, seed))  # of threads that come here at once all get one
    return found


def known_generators() -> list[Generator]:
    """The default generators of the CPU and of all GPUs that were reached: what may be drawn from next is there."""
    for device in (CPU, *reached()):
        default_generator(device)
    return list(_defaults().values())


class States:
    """The states of default generators.

    Args:
        devices: Of the CPU and these devices; by default of all, and one that is made later had that of a new one.
    """

    def __init__(self, devices: Iterable[str | Device] | None = None) -> None:
        self._all = devices is None
        every = known_generators() if devices is None else [default_generator(d) for d in (CPU, *devices)]
        with no_grad():
            self._kept = [(g, g.get_state()) for g in every]

    def restore(self) -> None:
        """Go on from them."""
        for generator, state in self._kept:
            generator.set_state(state)
        kept = [generator for generator, _ in self._kept]
        for generator in _defaults().values() if self._all else ():
            if generator not in kept:
                generator.manual_seed(default_generator()._seed())


def manual_seed(seed: int) -> Generator:
    """Start the default generators again from a seed.

    Args:
        seed: An integer of 64 bits, with a sign or without.

    Returns:
        The default generator of the CPU.

    Raises:
        ArgumentError: the seed is no integer.
    """
    if not isinstance(seed, (int, float, np.integer)) and not hasattr(seed, "__index__"):
        raise ArgumentError(f"manual_seed: seed is an integer, {type(seed).__name__} given", hint="e.g. 0")
    for generator in _defaults().values():
        generator.manual_seed(int(seed))
    return default_generator().manual_seed(int(seed))


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator().initial_seed()


def _from_system() -> int:
    """A seed that the operating system draws."""
    return int.from_bytes(os.urandom(8), "little") >> 1


def seed() -> int:
    """Start the default generators again from a seed that the operating system draws; the seed."""
    observe("random bytes of the system, seed")
    drawn = _from_system()
    manual_seed(drawn)
    return drawn


def get_rng_state() -> Tensor:
    """A copy of the default generator's state."""
    return default_generator().get_state()


def set_rng_state(state: Tensor) -> None:
    """Go on with the default generator from a state that `get_rng_state` gave."""
    default_generator().set_state(state)
