"""Plans around single kernels, and the arrays to run them on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tracec.ir.kernel import Buffer, Kernel
from tracec.ir.plan import Launch, Memory, Plan, Value
from tracec.ir.types import TensorType

Array = np.ndarray[Any, Any]


def plan_of(kernels: Sequence[Kernel]) -> Plan:
    """A plan that launches each kernel once, on inputs and outputs of its own."""
    values: list[Value] = []
    inputs: list[int] = []
    outputs: list[int] = []
    steps: list[Launch] = []
    for number, kernel in enumerate(kernels):
        args = []
        for buffer in kernel.buffers:
            at = len(values)
            written = buffer.role == "out"
            place, index = ("output", len(outputs)) if written else ("input", len(inputs))
            values.append(Value(f"%{at}", TensorType(buffer.dtype, buffer.shape), place, index))
            if not written:
                inputs.append(at)
            if buffer.role != "in":
                outputs.append(at)
            args.append(at)
        steps.append(Launch(number, (tuple(args),)))
    named = tuple(replace(k, name=f"k{number}_{k.name}") for number, k in enumerate(kernels))
    return Plan(named, tuple(steps), tuple(values), tuple(inputs), tuple(outputs), Memory(0, 0, 0))


def arrays_for(kernel: Kernel, seed: int = 0) -> list[Array]:
    """An array for each buffer: values drawn where it is read, rubbish where it is written."""
    rng = np.random.default_rng(seed)
    sizes = [b.shape[0] for b in kernel.buffers if len(b.shape) > 1]
    return [_array(b, rng, min(sizes, default=1)) for b in kernel.buffers]


def _array(buffer: Buffer, rng: np.random.Generator, positions: int) -> Array:
    kind, numpy = buffer.dtype.kind, buffer.dtype.numpy
    if buffer.role == "out":
        return np.full(buffer.shape, 77).astype(numpy)
    if kind == "b":
        return rng.integers(0, 2, buffer.shape).astype(bool)
    if kind in "iu":
        low = 0 if buffer.name == "p" or kind == "u" else -9
        return rng.integers(low, positions if buffer.name == "p" else 9, buffer.shape).astype(numpy)
    return np.asarray(rng.normal(size=buffer.shape)).astype(numpy)


def assert_same(found: Array, expected: Array) -> None:
    """Equal up to the rounding of the dtype; integers exactly."""
    assert found.dtype == expected.dtype and found.shape == expected.shape
    if expected.dtype.kind in "biu":
        np.testing.assert_array_equal(found, expected)
        return
    tolerance = {2: 2e-2, 4: 2e-5, 8: 1e-11}[expected.dtype.itemsize]
    wide = expected.astype(float)
    largest = max(1.0, np.abs(wide).max(initial=0.0))
    np.testing.assert_allclose(found.astype(float), wide, rtol=tolerance, atol=tolerance * largest)
