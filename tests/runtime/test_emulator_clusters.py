"""Clusters of blocks in the emulator: their barrier, each other's shared memory, and every kind of finding."""

from __future__ import annotations

import ctypes
import shutil
from functools import cache
from typing import Any

import numpy as np
import pytest

from tracec.errors import EmulatorError
from tracec.runtime.emulator_findings import Buffer
from tracec.runtime.emulator_launch import ORDERS, launch
from tracec.runtime.emulator_library import Library, Source

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

BLOCKS, THREADS = 4, 48

#: Name → body of a kernel whose blocks exchange the sums of their first threads' elements, of all clusters' blocks.
RIGHT = {
    "pushed": """
  cluster_arrive();
  __shared__ float all[4];
  cluster_wait();
  if (t < 4) {
    *place_in(&all[rank], t) = x[i - t];
    cluster_fence();
  }
  cluster_arrive();
  cluster_wait();
  y[i] = all[0] + all[1] + all[2] + all[3];""",
    "pulled": """
  __shared__ float own;
  if (t == 0) own = x[i];
  cluster_fence();
  cluster_arrive();
  cluster_wait();
  float sum = 0;
  for (unsigned b = 0; b < 4; ++b) sum += *place_in(&own, b);
  cluster_arrive();
  cluster_wait();  // until all have read it, this block stays
  y[i] = sum;""",
    "copied": """
  __shared__ float own;
  if (t == 0) copy_ahead<4>(&own, x + i);
  await_copies();
  cluster_fence();
  cluster_arrive();
  cluster_wait();
  float sum = 0;
  for (unsigned b = 0; b < 4; ++b) sum += *place_in(&own, b);
  cluster_arrive();
  cluster_wait();
  y[i] = sum;""",
    "bytes_pulled_twice": """
  __shared__ unsigned char own[8];
  __shared__ float sums[2];
  for (int n = 0; n < 2; ++n) {
    if (t < 8) own[t] = (unsigned char)(x[i - t] + n);
    cluster_fence();
    cluster_arrive();
    cluster_wait();
    unsigned sum = 0;
    for (unsigned b = 0; b < 4; ++b) sum += place_in(own, b)[t % 8];
    if (t == 0) sums[n] = sum;
    cluster_fence();
    cluster_arrive();
    cluster_wait();
  }
  y[i] = sums[0];""",
    "through_global_memory": """
  if (t == 0) z[blockIdx.x] = x[i];
  cluster_fence();
  cluster_arrive();
  cluster_wait();
  const unsigned first = blockIdx.x - rank;
  y[i] = z[first] + z[first + 1] + z[first + 2] + z[first + 3];""",
    "threads_that_end": """
  __shared__ float all[4];
  if (t >= 40) {
    y[i] = 0;
    return;
  }
  cluster_arrive();
  cluster_wait();
  if (t < 4) *place_in(&all[rank], t) = x[i - t];
  cluster_fence();
  cluster_arrive();
  if (t % 2) __syncwarp(0xaaaaaaaau);
  cluster_wait();
  y[i] = all[0] + all[1] + all[2] + all[3];""",
}

#: What a body does wrong is the name.
WRONG = {
    "write_before_a_block_has_begun": """
  __shared__ float all[4];
  if (t < 4) *place_in(&all[rank], t) = x[i];
  cluster_fence();
  cluster_arrive();
  cluster_wait();
  y[i] = all[0];""",
    "no_barrier": """
  __shared__ float all[4];
  cluster_arrive();
  cluster_wait();
  if (t < 4) *place_in(&all[rank], t) = x[i];
  __syncthreads();
  y[i] = all[(rank + 1) % 4];""",
    "no_fence": """
  __shared__ float all[4];
  cluster_arrive();
  cluster_wait();
  if (t < 4) *place_in(&all[rank], t) = x[i];
  cluster_arrive();
  cluster_wait();
  y[i] = all[(rank + 1) % 4];""",
    "comes_before_it_writes": """
  __shared__ float all[4];
  cluster_arrive();
  cluster_wait();
  cluster_arrive();
  if (t < 4) *place_in(&all[rank], t) = x[i];
  cluster_fence();
  cluster_wait();
  y[i] = all[(rank + 1) % 4];""",
    "read_of_what_is_on_its_way": """
  __shared__ float own;
  if (t == 0) copy_ahead<4>(&own, x + i);
  cluster_fence();
  cluster_arrive();
  cluster_wait();
  y[i] = *place_in(&own, 3 - rank);
  cluster_arrive();
  await_copies();
  cluster_wait();""",
    "ends_while_it_is_read": """
  __shared__ float own;
  if (t == 0) own = x[i];
  cluster_fence();
  cluster_arrive();
  cluster_wait();
  y[i] = *place_in(&own, (rank + 1) % 4);""",
    "read_of_what_nothing_wrote": """
  __shared__ float own[2];
  if (t == 0) own[0] = x[i];
  cluster_fence();
  cluster_arrive();
  cluster_wait();
  y[i] = place_in(own, 3 - rank)[1];
  cluster_arrive();
  cluster_wait();""",
    "past_the_end": """
  __shared__ float own[2];
  if (t < 2) own[t] = x[i];
  cluster_fence();
  cluster_arrive();
  cluster_wait();
  y[i] = place_in(own, 3 - rank)[2 + rank];
  cluster_arrive();
  cluster_wait();""",
    "overwritten_while_it_is_read": """
  __shared__ float own;
  if (t == 0) own = x[i];
  cluster_fence();
  cluster_arrive();
  cluster_wait();
  y[i] = *place_in(&own, 3 - rank);
  __syncthreads();
  if (t == 0) own = 1;
  cluster_arrive();
  cluster_wait();""",
    "two_blocks_write": """
  __shared__ float one;
  cluster_arrive();
  cluster_wait();
  if (t == 0) *place_in(&one, 0) = x[i];
  cluster_fence();
  cluster_arrive();
  cluster_wait();
  y[i] = 0;""",
    "one_block_does_not_come": """
  cluster_arrive();
  cluster_wait();
  if (rank == 2) __syncthreads();
  if (rank != 2 || t > 0) {
    cluster_arrive();
    cluster_wait();
  }
  __syncthreads();
  y[i] = x[i];""",
    "waits_without_coming": """
  if (t == 7) cluster_wait();
  y[i] = x[i];""",
    "comes_twice": """
  cluster_arrive();
  cluster_arrive();
  cluster_wait();
  y[i] = x[i];""",
    "no_such_block": """
  __shared__ float own;
  y[i] = *place_in(&own, 4);""",
    "global_memory_without_a_barrier": """
  if (t == 0) z[blockIdx.x] = x[i];
  __syncthreads();
  y[i] = z[blockIdx.x - rank];""",
}

_HEAD = 'extern "C" __global__ void __cluster_dims__(4, 1, 1) __launch_bounds__(48)\n'


def source(name: str, body: str) -> Source:
    head = f"{_HEAD}{name}(const float *__restrict__ x, float *__restrict__ y, float *z) {{\n"
    head += "  const unsigned t = threadIdx.x, rank = blockIdx.x % 4, i = blockIdx.x * 48 + t;\n"
    body = body.strip("\n")
    return Source(f"// by hand\n{head}{body}\n}}\n", (name,))


@cache
def library(checks: bool = True) -> Library:
    return Library([source(*item) for item in {**RIGHT, **WRONG}.items()], checks)


def run(name: str, order: str, checks: bool = True, clusters: int = 3) -> tuple[Any, Any]:
    blocks = clusters * BLOCKS
    x = np.arange(1, blocks * THREADS + 1, dtype=np.float32) % 97
    y, z = np.zeros_like(x), np.zeros(blocks, np.float32)
    buffers = [Buffer(n, "float32", a.ctypes.data, a.nbytes, 4) for n, a in (("x", x), ("y", y), ("z", z))]
    params = [ctypes.c_void_p(b.address) for b in buffers]
    launch(library(checks), name, (blocks, 1, 1), (THREADS, 1, 1), params, buffers, order=order, seed=clusters)
    return x.reshape(clusters, BLOCKS, THREADS), y.reshape(clusters, BLOCKS, THREADS)


@pytest.mark.parametrize("checks", [True, False], ids=["checked", "unchecked"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", RIGHT)
def test_blocks_of_a_cluster_exchange(name: str, order: str, checks: bool) -> None:
    for clusters in (1, 5):
        x, y = run(name, order, checks, clusters)
        if name == "bytes_pulled_twice":
            first = x[:, :, :8].sum(1)
            expected = np.broadcast_to(first[:, None, :1], y.shape)
        else:
            expected = np.broadcast_to(x[:, :, :1].sum(1, keepdims=True), y.shape).copy()
            expected[:, :, 40:] *= name != "threads_that_end"
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name: str, golden: Any) -> None:
    with pytest.raises(EmulatorError) as caught:
        run(name, "ascending")
    assert str(caught.value) == golden
    for order in ORDERS[1:]:
        with pytest.raises(EmulatorError):
            run(name, order)


def test_after_a_finding_the_next_launch_begins_anew() -> None:
    with pytest.raises(EmulatorError):
        run("one_block_does_not_come", "random")
    x, y = run("pulled", "random")
    np.testing.assert_array_equal(y[:, 0, 0], x[:, :, 0].sum(1))


def test_launches_that_no_gpu_takes() -> None:
    with pytest.raises(EmulatorError, match="a launch with 6 blocks along x, in clusters of 4"):
        launch(library(), "pulled", (6, 1, 1), (THREADS, 1, 1), [], [])
    large = source("large", RIGHT["pulled"])
    large = Source(large.text.replace("dims__(4", "dims__(16"), large.entries)
    with pytest.raises(EmulatorError, match="clusters of 16 blocks, at most 8"):
        launch(Library([large], True), "large", (16, 1, 1), (THREADS, 1, 1), [], [])
