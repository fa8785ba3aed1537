"""Where the tests of this folder run: on the first CUDA device.

``TRACEC_GPU_TESTS`` rehearses them where there is no GPU, which says whether the tests themselves hold water:

    cpu         tensors on the CPU and generated C
    emulator    tensors on the CPU and generated CUDA, run by the emulator
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracec
from tests.conftest import REHEARSAL
from tracec.ir import dtype as dt

DEVICE = "cpu" if REHEARSAL else "cuda"
#: What `tracec.compile` is given so that it runs generated CUDA.
OPTIONS: dict[str, Any] = {"target": "cuda", "launcher": "emulator"} if REHEARSAL == "emulator" else {}

on_gpu = [pytest.mark.gpu]
#: Tests of what only a device has: memory of its own, streams, other libraries' arrays.
needs_device = [pytest.mark.gpu, pytest.mark.skipif(bool(REHEARSAL), reason="needs a GPU, not a rehearsal")]


def compiled(fn: Any, **options: Any) -> Any:
    """The function, compiled for the place of these tests."""
    return tracec.compile(fn, **OPTIONS, **options)


def put(array: Any) -> Any:
    """A copy of a NumPy array as a tensor there."""
    return tracec.tensor(array, device=DEVICE)


def fetch(tensor: Any) -> Any:
    """A tensor's elements as a NumPy array of its own."""
    return np.array(tensor.detach().cpu().numpy())


def runs_compiled(function: Any) -> bool:
    """Whether every recording of a compiled function is served by a program."""
    text = function.explain()
    return ", 0 hits" not in text and "compiled, " in text and "no program: " not in text


def epsilon(dtype: dt.DType) -> float:
    """The distance of 1 to the next larger number; 0 for integers."""
    return {dt.float16: 2.0**-10, dt.bfloat16: 2.0**-7, dt.float32: 2.0**-23, dt.float64: 2.0**-52}.get(
        dtype.to_real(), 0.0
    )
