"""Kernels written by hand, run by the emulator on NumPy arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from tracec.runtime.emulator_findings import Buffer
from tracec.runtime.emulator_launch import launch
from tracec.runtime.emulator_library import Library, Source

Array = np.ndarray[Any, Any]


def source(name: str, parameters: str, body: str, before: str = "") -> Source:
    """A source with one function."""
    head = f'extern "C" __global__ void __launch_bounds__(1024) {name}({parameters})'
    return Source(f"// by hand\n{before}\n{head} {{\n{body}\n}}\n", (name,))


def run(
    library: Library, name: str, arrays: Sequence[Array], grid: int = 1, block: int = 32, order: str = "ascending",
    shared_bytes: int = 0,
) -> None:  # fmt: skip
    """Launch a function whose parameters are pointers to the arrays' first elements."""
    buffers = [Buffer("xyzuvw"[n], str(a.dtype), a.ctypes.data, a.nbytes, a.itemsize) for n, a in enumerate(arrays)]
    params = [ctypes.c_void_p(b.address) for b in buffers]
    launch(library, name, (grid, 1, 1), (block, 1, 1), params, buffers, shared_bytes=shared_bytes, order=order)
