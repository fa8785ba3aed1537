"""Copies to shared memory that go on meanwhile: what is right, every kind of finding, and mistakes in what is right."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.runtime.emulated_source import run, source
from tracec.errors import EmulatorError
from tracec.runtime.emulator_launch import ORDERS
from tracec.runtime.emulator_library import Library, Source

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

THREADS, TILES = 64, 6
_PARAMETERS = "const float *__restrict__ x, float *y, float *z"
_HEAD = "#include <cuda_pipeline_primitives.h>"

#: Name → body of a kernel of one block, which sums up what each element of a tile and the one that mirrors it come to.
RIGHT = {
    "one_at_a_time": """
  __shared__ __align__(16) float tile[64];
  float sum = 0;
  for (int n = 0; n < 6; ++n) {
    __pipeline_memcpy_async(tile + t, x + n * 64 + t, 4);
    __pipeline_commit();
    __pipeline_wait_prior(0);
    __syncthreads();  // they are there
    sum += tile[t] + tile[63 - t];
    __syncthreads();  // they have been read
  }
  y[t] = sum;""",
    "two_buffers": """
  __shared__ __align__(16) float tile[2][64];
  float sum = 0;
  if (t < 16) __pipeline_memcpy_async(tile[0] + 4 * t, x + 4 * t, 16);
  __pipeline_commit();
  for (int n = 0; n < 6; ++n) {
    if (t < 16 && n < 5) __pipeline_memcpy_async(tile[(n + 1) % 2] + 4 * t, x + (n + 1) * 64 + 4 * t, 16);
    __pipeline_commit();
    __pipeline_wait_prior(1);
    __syncthreads();  // they are there
    sum += tile[n % 2][t] + tile[n % 2][63 - t];
    __syncthreads();  // they have been read
  }
  y[t] = sum;""",
    "three_buffers": """
  __shared__ __align__(16) float tile[3][64];
  float sum = 0;
  for (int n = 0; n < 2; ++n) {
    if (t < 32) __pipeline_memcpy_async(tile[n] + 2 * t, x + n * 64 + 2 * t, 8);
    __pipeline_commit();
  }
  for (int n = 0; n < 6; ++n) {
    __pipeline_wait_prior(1);
    __syncthreads();  // they are there, and those before have been read
    if (t < 32 && n < 4) __pipeline_memcpy_async(tile[(n + 2) % 3] + 2 * t, x + (n + 2) * 64 + 2 * t, 8);
    __pipeline_commit();
    sum += tile[n % 3][t] + tile[n % 3][63 - t];
  }
  y[t] = sum;""",
}

#: The same with zeros past an end, without a barrier, and of what was written before: other sums.
ALSO_RIGHT = {
    "zeros": """
  __shared__ __align__(16) float tile[64];
  if (t < 16) __pipeline_memcpy_async(tile + 4 * t, x + 4 * t, 16, t < 12 ? 0 : t > 12 ? 16 : 8);
  __pipeline_commit();
  __pipeline_wait_prior(0);
  __syncthreads();
  y[t] = tile[t];""",
    "for_the_thread_alone": """
  __shared__ __align__(16) float tile[64];
  __pipeline_memcpy_async(tile + t, x + t, 4);
  await_copies();
  y[t] = tile[t];""",
    "of_what_it_wrote": """
  __shared__ __align__(16) float tile[64];
  z[t] = x[t];
  copy_ahead<4>(tile + t, z + t);
  await_copies();
  z[t] = 0;
  y[t] = tile[t];""",
    "of_what_a_warp_wrote": """
  __shared__ __align__(16) float tile[64];
  z[t ^ 1] = x[t ^ 1];
  __syncwarp();
  copy_ahead<4>(tile + t, z + t);
  await_copies();
  __syncwarp();
  y[t] = tile[t ^ 1 ^ 1];
  z[t ^ 1] = 1;""",
}

#: What a body does wrong is the name.
WRONG = {
    "read_of_what_is_on_its_way": """
  __shared__ float tile[64];
  __pipeline_memcpy_async(tile + t, x + t, 4);
  __pipeline_commit();
  y[t] = tile[t];
  __pipeline_wait_prior(0);""",
    "read_of_what_another_waits_for_later": """
  __shared__ float tile[64];
  __pipeline_memcpy_async(tile + t, x + t, 4);
  __pipeline_commit();
  __syncthreads();
  y[t] = tile[63 - t];
  __pipeline_wait_prior(0);""",
    "a_group_too_few": """
  __shared__ float tile[128];
  __pipeline_memcpy_async(tile + t, x + t, 4);
  __pipeline_commit();
  __pipeline_memcpy_async(tile + 64 + t, x + 64 + t, 4);
  __pipeline_commit();
  __pipeline_wait_prior(1);
  y[t] = tile[64 + t];
  __pipeline_wait_prior(0);""",
    "wait_for_what_is_in_no_group": """
  __shared__ float tile[64];
  __pipeline_memcpy_async(tile + t, x + t, 4);
  __pipeline_wait_prior(0);
  y[t] = tile[t];
  await_copies();""",
    "write_to_what_is_on_its_way": """
  __shared__ float tile[64];
  __pipeline_memcpy_async(tile + t, x + t, 4);
  tile[t] = 1;
  await_copies();
  y[t] = tile[t];""",
    "copies_of_two_tiles_to_one": """
  __shared__ float tile[64];
  for (int n = 0; n < 2; ++n) __pipeline_memcpy_async(tile + t, x + n * 64 + t, 4);
  await_copies();
  y[t] = tile[t];""",
    "copy_to_what_is_being_read": """
  __shared__ float tile[64];
  tile[t] = x[t];
  __syncthreads();
  y[t] = tile[63 - t];
  __pipeline_memcpy_async(tile + t, x + 64 + t, 4);
  await_copies();""",
    "no_barrier_behind_the_wait": """
  __shared__ float tile[64];
  __pipeline_memcpy_async(tile + t, x + t, 4);
  await_copies();
  y[t] = tile[t / 2];""",
    "the_barrier_before_the_wait": """
  __shared__ float tile[64];
  __pipeline_memcpy_async(tile + t, x + t, 4);
  __syncthreads();
  await_copies();
  y[t] = tile[63 - t];""",
    "source_written_by_the_thread": """
  __shared__ float tile[64];
  z[t] = x[t];
  __pipeline_memcpy_async(tile + t, z + t, 4);
  z[t] = 1;
  await_copies();
  y[t] = tile[t];""",
    "source_written_behind_a_barrier": """
  __shared__ float tile[64];
  z[t] = x[t];
  __pipeline_memcpy_async(tile + t, z + t, 4);
  __syncthreads();
  z[63 - t] = 1;
  __syncthreads();
  await_copies();
  y[t] = tile[t];""",
    "source_written_behind_the_wait": """
  __shared__ float tile[64];
  __pipeline_memcpy_async(tile + t, z + t, 4);
  await_copies();
  y[t] = tile[t];
  z[63 - t] = 1;""",
    "source_that_others_write": """
  __shared__ float tile[64];
  z[t] = x[t];
  __pipeline_memcpy_async(tile + t, z + 63 - t, 4);
  await_copies();
  y[t] = tile[t];""",
    "ends_without_waiting": """
  __shared__ float tile[64];
  __pipeline_memcpy_async(tile + t, x + t, 4);
  __pipeline_commit();
  y[t] = 0;""",
    "ends_without_a_group": """
  __shared__ float tile[64];
  if (t == 40) __pipeline_memcpy_async(tile + t, x + t, 4);
  __pipeline_wait_prior(0);
  y[t] = 0;""",
    "misaligned_source": """
  __shared__ __align__(16) float tile[256];
  __pipeline_memcpy_async(tile + 4 * t, x + t, 16);
  await_copies();
  y[t] = tile[4 * t];""",
    "misaligned_destination": """
  __shared__ __align__(16) float tile[256];
  __pipeline_memcpy_async(tile + 2 * t, x + 4 * (t / 2), 16);
  await_copies();
  y[t] = tile[2 * t];""",
    "size_of_twelve": """
  __shared__ __align__(16) float tile[256];
  __pipeline_memcpy_async(tile + 4 * t, x + 4 * t, 12);
  await_copies();
  y[t] = tile[4 * t];""",
    "more_zeros_than_bytes": """
  __shared__ __align__(16) float tile[256];
  __pipeline_memcpy_async(tile + 4 * t, x + 4 * t, 8, 12);
  await_copies();
  y[t] = tile[4 * t];""",
    "past_the_end_of_the_source": """
  __shared__ __align__(16) float tile[64];
  __pipeline_memcpy_async(tile + t, x + 384 + t, 4);
  await_copies();
  y[t] = tile[t];""",
    "past_the_end_of_the_array": """
  __shared__ __align__(16) float tile[64];
  if (t < 17) __pipeline_memcpy_async(tile + 4 * t, x + 4 * t, 16);
  await_copies();
  y[t] = 0;""",
    "to_global_memory": """
  __pipeline_memcpy_async(y + t, x + t, 4);
  await_copies();""",
    "from_shared_memory": """
  __shared__ float tile[64], other[64];
  other[t] = x[t];
  __pipeline_memcpy_async(tile + t, other + t, 4);
  await_copies();
  y[t] = tile[t];""",
    "from_a_local_array": """
  __shared__ float tile[64];
  float own[1] = {x[t]};
  __pipeline_memcpy_async(tile + t, own, 4);
  await_copies();
  y[t] = tile[t];""",
}

_WAIT = re.compile(r"__pipeline_wait_prior\((\d)\);")
_ONCE = re.compile(r"__pipeline_commit\(\);|__syncthreads\(\);")


def mistakes() -> Iterator[tuple[str, str]]:
    """A wait, a group or a barrier taken away, and waits for a group too few: what, and the body."""
    for name, body in RIGHT.items():
        for found in _ONCE.finditer(body):
            yield f"{name}_without_{found.start()}", body[: found.start()] + body[found.end() :]
        for found in _WAIT.finditer(body):
            yield f"{name}_no_wait_{found.start()}", body[: found.start()] + body[found.end() :]
            more = f"__pipeline_wait_prior({int(found[1]) + 1});"
            yield f"{name}_less_{found.start()}", body[: found.start()] + more + body[found.end() :]


def harmless() -> Iterator[tuple[str, str]]:
    """Waits for all groups, and for nothing more behind them."""
    for name, body in RIGHT.items():
        yield f"{name}_all", _WAIT.sub("await_copies();", body)
        yield f"{name}_more", _WAIT.sub("__pipeline_wait_prior(0);", body)
        yield f"{name}_twice", _WAIT.sub(lambda found: found[0] + " " + found[0], body)


def of(name: str, body: str) -> Source:
    return source(name, _PARAMETERS, "  const unsigned t = threadIdx.x;\n" + body.strip("\n"), _HEAD)


BODIES = {**RIGHT, **ALSO_RIGHT, **WRONG, **dict(mistakes()), **dict(harmless())}


@cache
def library(checks: bool = True) -> Library:
    return Library([of(*item) for item in BODIES.items()], checks)


def launched(name: str, order: str, checks: bool = True) -> tuple[Any, Any]:
    raw = np.zeros(THREADS * TILES + 8, np.float32)
    start = -raw.ctypes.data % 16 // 4
    x = raw[start : start + THREADS * TILES]
    x[:] = np.arange(x.size) % 97
    y, z = np.zeros(THREADS, np.float32), np.zeros(THREADS, np.float32)
    run(library(checks), name, [x, y, z], block=THREADS, order=order)
    return x.reshape(TILES, THREADS), y


def expected(name: str, x: Any) -> Any:
    if name not in ALSO_RIGHT:
        return (x + x[:, ::-1]).sum(0)
    return np.where(np.arange(THREADS) < 50, x[0], 0) if name == "zeros" else x[0]


@pytest.mark.parametrize("order", ORDERS)
def test_copies(order: str) -> None:
    for name in (*RIGHT, *ALSO_RIGHT, *dict(harmless())):
        for checks in (True, False):
            x, y = launched(name, order, checks)
            np.testing.assert_array_equal(y, expected(name, x), err_msg=name)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name: str, golden: Any) -> None:
    with pytest.raises(EmulatorError) as caught:
        launched(name, "ascending")
    assert str(caught.value) == golden
    for order in ORDERS[1:]:
        with pytest.raises(EmulatorError):
            launched(name, order)


def is_found(name: str, order: str) -> bool:
    try:
        launched(name, order)
    except EmulatorError:
        return True
    return False


def test_every_mistake_is_found_in_every_order() -> None:
    made = dict(mistakes())
    assert len(made) == 16
    assert not [f"{name}, {order}: {made[name]}" for name in made for order in ORDERS if not is_found(name, order)]


def test_after_a_finding_the_next_launch_begins_anew() -> None:
    with pytest.raises(EmulatorError):
        launched("ends_without_waiting", "descending")
    x, y = launched("two_buffers", "random")
    np.testing.assert_array_equal(y, expected("two_buffers", x))
