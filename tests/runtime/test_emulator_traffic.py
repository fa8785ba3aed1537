"""What the emulator counts of the bytes that launches read from memory and write to it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.runtime.emulated_source import run, source
from tracec.runtime.emulator_launch import Traffic, counting
from tracec.runtime.emulator_library import Library

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

POINTERS = "const float *x, float *y"
TWICE = """
  float sum = 0;
  for (int i = threadIdx.x; i < 4096; i += blockDim.x) sum += x[i];
  __syncthreads();
  for (int i = threadIdx.x; i < 4096; i += blockDim.x) y[i] = x[i] - sum;
"""
LIBRARY = [
    source("copy", POINTERS, "const int i = blockIdx.x * 64 + threadIdx.x; y[i] = x[i];"),
    source("strided", POINTERS, "const int i = blockIdx.x * 64 + threadIdx.x; y[i] = x[8 * i];"),
    source("side_by_side", POINTERS, "for (int i = 0; i < 64; ++i) y[64 * threadIdx.x + i] = x[64 * threadIdx.x + i];"),
    source("twice", POINTERS, TWICE),
    source("same", POINTERS, "y[blockIdx.x * 64 + threadIdx.x] = x[threadIdx.x];"),
    source(
        "in_place",
        "float *y",
        "for (int i = threadIdx.x; i < 4096; i += 64) y[i] += 1; __syncthreads(); if (!threadIdx.x) y[0] = 2;",
    ),
]


def counted(name: str, cache: int, *sizes: int, grid: int = 1) -> Traffic:
    arrays = []
    for n in sizes:  # at the start of a sector
        raw = np.zeros(n + 8, np.float32)
        arrays.append(raw[-raw.ctypes.data % 32 // 4 :][:n])
    library = Library(LIBRARY, checks=True)
    with counting(cache) as found:
        run(library, name, arrays, grid=grid, block=64)
    run(library, name, arrays, grid=grid, block=64)  # is not counted any more
    (launch,) = found.launches
    assert found.moved == launch.read + launch.written and launch.entry == name
    return launch


@pytest.mark.parametrize(
    ("name", "cache", "sizes", "grid", "read", "written"),
    [
        ("copy", 192, (4096, 4096), 64, 16384, 16384),
        ("strided", 192, (8 * 4096, 4096), 64, 8 * 16384, 16384),  # whole sectors are moved
        ("side_by_side", 1, (4096, 4096), 1, 16384, 16384),  # threads between two barriers go side by side
        ("twice", 1024, (4096, 4096), 1, 16384, 16384),
        ("twice", 192, (4096, 4096), 1, 32768, 16384),  # 12 KB of 16 are in the cache, the last ones
        ("same", 192, (64, 4096), 64, 256, 16384),
        ("in_place", 192, (4096,), 1, 16384, 16384 + 32),
    ],
)
def test_bytes(name: str, cache: int, sizes: tuple[int, ...], grid: int, read: int, written: int) -> None:
    assert counted(name, cache, *sizes, grid=grid) == Traffic(name, read, written)
