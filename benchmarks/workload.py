"""What is measured: a workload is a name, inputs, and the computation written for each family of engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Arrays = tuple[np.ndarray, ...]
Function = Callable[..., Any]


@dataclass(frozen=True)
class Context:
    """What a PyTorch-style workload is built for.

    Attributes:
        xp: The module with PyTorch's names: ``torch`` or ``tracec``.
        device: Where its tensors live, ``"cpu"`` or ``"cuda"``.
        double: Whether parameters are float64; the reference is computed so.
    """

    xp: Any
    device: str = "cpu"
    double: bool = False


@dataclass(frozen=True)
class Workload:
    """One computation that every engine runs.

    Attributes:
        name: What ``--workloads`` takes.
        title: One line for tables.
        kind: ``"forward"`` (the output is checked) or ``"train"`` (the losses of the first steps are).
        inputs: Makes the inputs, the same ones at each call.
        build: Makes the computation in PyTorch's style; a train step brings its own model and optimiser.
        array: Makes the computation in NumPy's style from an array module and its ``erf``. It serves ``jax`` with
            float32 inputs and the reference, NumPy, with float64 inputs. None where there is none.
        jax: Makes a train step for ``jax``, which needs more than an array module. None where there is none.
        tolerance: Largest error against the float64 reference, relative to the reference's largest value.
        small: The inputs of a rehearsal; without them the first rows of the others.
        large: The title and the inputs on a GPU, where those for the CPU would only show what launching costs.
    """

    name: str
    title: str
    kind: str
    inputs: Callable[[], Arrays]
    build: Callable[[Context], Function]
    array: Callable[[Any, Function], Function] | None = None
    jax: Callable[[], Function] | None = None
    tolerance: float = 1e-5
    large: tuple[str, Callable[[], Arrays]] | None = None
    small: Callable[[], Arrays] | None = None

    def on(self, device: str) -> Workload:
        """The workload at its size for a device."""
        if device == "emulator":
            return replace(self, title=f"{self.name}, a few", inputs=self.small or (lambda: few(self.inputs())))
        if device == "cpu" or self.large is None:
            return self
        title, inputs = self.large
        return replace(self, title=title, inputs=inputs)


def normal(*shapes: tuple[int, ...], seed: int = 0) -> Arrays:
    """Return float32 arrays of standard normal numbers, one for each shape."""
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(shape, dtype=np.float32) for shape in shapes)


def few(inputs: Arrays) -> Arrays:
    """Return the first rows of inputs, or elements where there are no rows, for a rehearsal."""
    lead = inputs[0].shape[0]
    most = 1024 if inputs[0].ndim == 1 else 4
    return tuple(x[:most] if x.shape[0] == lead else x for x in inputs)
