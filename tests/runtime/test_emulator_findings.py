"""Every kind of finding, in kernels written by hand; the wording is under test."""

from __future__ import annotations

import ctypes
import shutil
from functools import cache

import numpy as np
import pytest

from tracec.errors import EmulatorError
from tracec.runtime.emulator_findings import Buffer
from tracec.runtime.emulator_launch import ORDERS, launch
from tracec.runtime.emulator_library import Library, Source

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

#: Name → body; what a body does wrong is the name. `x` is read only, `y` is written.
WRONG = {
    "read_past_the_end": "  y[i] = x[i + 3];",
    "read_before_the_start": "  y[i] = x[(int)i - 2];",
    "read_of_a_wide_element_past_the_end": "  y[i] = reinterpret_cast<const float4 *>(x)[i].x;",
    "write_past_the_end": "  y[i + 1] = x[i];",
    "write_of_what_is_only_read": "  const_cast<float *>(x)[i] = 1.0f;",
    "read_of_nowhere": "  y[i] = reinterpret_cast<const float *>(16)[i];",
    "read_of_what_nothing_wrote": "  y[i] = i ? x[i] : y[64];",
    "update_of_what_nothing_wrote": "  atomicAdd(y + i, x[i]);",
    "read_past_a_shared_array": """
  __shared__ float tile[64];
  tile[i] = x[i];
  __syncthreads();
  const float *p = tile;
  y[i] = p[i + blockDim.x * 32 + 1];""",
    "index_of_a_shared_array": """
  __shared__ float tile[8][9];
  tile[i / 8][i % 8 + 2] = x[i];
  __syncthreads();
  y[i] = tile[i / 8][i % 8];""",
    "read_past_dynamic_shared_memory": """
  extern __shared__ float dynamic[];
  dynamic[i] = x[i];
  __syncthreads();
  y[i] = dynamic[i + 1];""",
    "index_of_a_local_array": """
  float own[4] = {};
  for (int k = 0; k < 4; ++k) own[k + i % 2] += x[i];
  y[i] = own[0];""",
    "read_of_shared_memory_not_written": """
  __shared__ float tile[65];
  tile[i] = x[i];
  __syncthreads();
  y[i] = tile[i + 1];""",
    "misaligned_read": "  y[i] = reinterpret_cast<const float4 *>(x + 1)[i / 8].y;",
    "misaligned_write": "  if (i < 32) *reinterpret_cast<float2 *>(y + 2 * i + 1) = float2{x[i], 0};",
    "misaligned_access_to_shared_memory": """
  __shared__ __align__(16) float tile[65];
  tile[i] = x[i];
  __syncthreads();
  y[i] = reinterpret_cast<const float4 *>(tile + i % 2)->z;""",
    "race_of_a_read": """
  __shared__ float tile[64];
  tile[i] = x[i];
  y[i] = tile[i % 32];""",
    "race_of_a_write": """
  __shared__ float tile[64];
  tile[i] = x[i];
  __syncthreads();
  const float other = tile[63 - i];
  tile[i] = other * 2;
  y[i] = other;""",
    "race_of_lanes": """
  __shared__ float tile[64];
  tile[i] = x[i];
  __shfl_xor_sync(0xffffffffu, x[i], 1);  // is no barrier
  y[i] = tile[i ^ 1];""",
    "race_in_global_memory": "  y[i / 2] = x[i];",
    "race_of_blocks": "  y[threadIdx.x] = x[i];",
    "race_of_an_atomic": "  if (i == 5) y[0] = 1; else atomicExch(y, 2.0f);",
    "barrier_after_a_return": """
  if (i >= 40) return;
  __syncthreads();
  y[i] = x[i];""",
    "barrier_in_a_branch": """
  if (i < 40) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  y[i] = x[i];""",
    "shuffle_in_a_branch": """
  if (i % 32 < 16) y[i] = __shfl_xor_sync(0xffffffffu, x[i], 1);
  __syncthreads();""",
    "shuffles_in_two_branches": """
  if (i % 32 < 16) {
    y[i] = __shfl_xor_sync(0xffffffffu, x[i], 1);
  } else {
    y[i] = __ballot_sync(0xffffffffu, x[i] > 0);
  }""",
    "shuffle_from_a_lane_that_has_ended": """
  if (i % 32 == 31) return;
  y[i] = __shfl_down_sync(0xffffffffu, x[i], 1);""",
    "mask_without_the_lane": "  y[i] = __shfl_sync(0x0000ffffu, x[i], 0);",
}


def source(name: str) -> Source:
    body = WRONG[name].strip("\n")
    head = 'extern "C" __global__ void __launch_bounds__(64)\n'
    text = f"{head}{name}(const float *__restrict__ x, float *__restrict__ y) {{\n"
    return Source(
        f"// by hand\n{text}  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;\n{body}\n}}\n", (name,)
    )


@cache
def library() -> Library:
    return Library([source(name) for name in WRONG], checks=True)


def run(name: str, order: str = "ascending") -> None:
    x = np.arange(64, dtype=np.float32)
    y = np.zeros(68, np.float32)
    y = y[-y.ctypes.data % 16 // 4 :][: 64 if name == "write_past_the_end" else 65]
    owners = np.zeros(y.nbytes, np.uint16)
    tracked = owners.ctypes.data if "nothing_wrote" in name else 0
    buffers = [
        Buffer("x", "float32", x.ctypes.data, x.nbytes, 4, False),
        Buffer("y", "float32", y.ctypes.data, y.nbytes, 4, True, tracked, 1),
    ]
    params = [ctypes.c_void_p(b.address) for b in buffers]
    block = 32 if name == "race_of_blocks" else 64
    launch(library(), name, (64 // block, 1, 1), (block, 1, 1), params, buffers, shared_bytes=256, order=order)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name, golden):
    with pytest.raises(EmulatorError) as caught:
        run(name)
    assert str(caught.value) == golden
    for order in ORDERS[1:]:  # another thread is the first to do it, or another one's fault
        with pytest.raises(EmulatorError):
            run(name, order)
