"""What the emulator stands in for: functions of CUDA, patterns across threads and blocks, 16-bit floats."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from functools import cache

import ml_dtypes
import numpy as np
import pytest

from tests.runtime.emulated_source import run, source
from tracec.errors import CompileError, EmulatorError
from tracec.runtime.emulator_launch import ORDERS
from tracec.runtime.emulator_library import Library, Source

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

LANES = np.arange(32)
FULL = "0xffffffffu"

#: Expression for a lane → what each of the 32 lanes gets, whose own value is its number times three.
WARP: dict[str, Callable[[], np.ndarray]] = {
    f"__shfl_sync({FULL}, v, 5)": lambda: np.full(32, 15),
    f"__shfl_sync({FULL}, v, 1, 8)": lambda: 3 * (LANES // 8 * 8 + 1),
    f"__shfl_xor_sync({FULL}, v, 6)": lambda: 3 * (LANES ^ 6),
    f"__shfl_up_sync({FULL}, v, 3)": lambda: 3 * np.where(LANES < 3, LANES, LANES - 3),
    f"__shfl_up_sync({FULL}, v, 1, 4)": lambda: 3 * np.where(LANES % 4 < 1, LANES, LANES - 1),
    f"__shfl_down_sync({FULL}, v, 30)": lambda: 3 * np.where(LANES + 30 > 31, LANES, LANES + 30),
    f"__shfl_down_sync({FULL}, v, 2, 16)": lambda: 3 * np.where(LANES % 16 + 2 > 15, LANES, LANES + 2),
    f"(int)__ballot_sync({FULL}, v % 2)": lambda: np.full(32, -0x55555556),
    f"__any_sync({FULL}, v == 93)": lambda: np.ones(32),
    f"__any_sync({FULL}, v == 94)": lambda: np.zeros(32),
    f"__all_sync({FULL}, v < 94)": lambda: np.ones(32),
    f"__all_sync({FULL}, v < 93)": lambda: np.zeros(32),
    f"(int)__match_any_sync({FULL}, v % 2 ? 1.5 : 2.5)": lambda: np.where(LANES % 2, -0x55555556, 0x55555555),
    f"__reduce_add_sync({FULL}, v)": lambda: np.full(32, 3 * 31 * 16),
    f"(int)__reduce_max_sync({FULL}, (unsigned)v)": lambda: np.full(32, 93),
    "v < 48 ? __shfl_xor_sync(0x0000ffffu, v, 15) : __shfl_xor_sync(0xffff0000u, v, 1)": lambda: (
        3 * np.where(LANES < 16, LANES ^ 15, LANES ^ 1)
    ),
    "(int)__activemask()": lambda: np.full(32, -1),
    "__popc(v) + __clz(v) + __ffs(v)": lambda: np.array(
        [v.bit_count() + 32 - v.bit_length() + (v & -v).bit_length() for v in (3 * LANES).tolist()]
    ),
    "(int)__brev(v)": lambda: (
        np.array([int(f"{v:032b}"[::-1], 2) for v in (3 * LANES).tolist()]).astype(np.uint32).view(np.int32)
    ),
    "(int)__umulhi(v << 24, 0x12345678u)": lambda: (3 * LANES << 24) * 0x12345678 >> 32,
    "(int)__funnelshift_l(0x80000000u, v, 1)": lambda: 6 * LANES + 1,
    "__float_as_int((float)v)": lambda: (3 * LANES).astype(np.float32).view(np.int32),
    "min(v, 40) + max(v, 40)": lambda: 3 * LANES + 40,
    "(int)make_uint4(v, 1, 2, 3).x + float4{0, 1, 2, 3}.w": lambda: 3 * LANES + 3,
}


@cache
def warp_library() -> Library:
    body = "  const int v = 3 * (int)threadIdx.x;\n" + "\n".join(
        f"  y[{32 * n} + threadIdx.x] = {e};" for n, e in enumerate(WARP)
    )
    return Library([source("warp", "int *y", body)], checks=True)


@pytest.mark.parametrize("order", ORDERS)
def test_functions_of_a_warp(order):
    found = np.zeros((len(WARP), 32), np.int32)
    run(warp_library(), "warp", [found], order=order)
    for expression, row in zip(WARP, found, strict=True):
        np.testing.assert_array_equal(row, WARP[expression](), err_msg=expression)


HAND = {
    "votes": (
        "int *y",
        """
  y[threadIdx.x] = __syncthreads_count(threadIdx.x % 3 == 0);
  y[96 + threadIdx.x] = __syncthreads_or(threadIdx.x == 95);
  y[192 + threadIdx.x] = __syncthreads_and(threadIdx.x < 95);""",
    ),
    "atomics": (
        "int *y, unsigned *u, unsigned long long *l, float *f, double *d",
        """
  const int t = threadIdx.x;
  atomicAdd(y, t), atomicMax(y + 1, t), atomicMin(y + 2, -t), atomicOr(y + 3, 1 << t % 8), atomicSub(y + 4, 2);
  atomicAdd(u, 3u), atomicMax(u + 1, (unsigned)t), atomicInc(u + 2, 10), atomicXor(u + 3, 1u << t % 32);
  atomicAdd(l, 1ull << 33), atomicMax(l + 1, (unsigned long long)t), atomicExch(l + 2, 7ull);
  atomicAdd(f, 0.5f), atomicExch(f + 1, 2.5f), atomicAdd(d, 0.25);
  for (unsigned long long seen = __ldcg(l + 3), next;; seen = next) {  // as a float's maximum is made
    next = atomicCAS(l + 3, seen, seen + 2);
    if (next == seen) break;
  }""",
    ),
    "last_block": (
        "const float *x, float *y, float *partial, unsigned *count",
        """
  __shared__ bool last;
  const float s = x[blockIdx.x * blockDim.x + threadIdx.x];
  if (threadIdx.x == 5) partial[blockIdx.x] = s;
  if (threadIdx.x == 5) {
    __threadfence();
    last = atomicAdd(count, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  if (last && threadIdx.x == 0) {
    float total = 0;
    for (unsigned b = 0; b < gridDim.x; ++b) total += partial[b];
    y[0] = total;
    count[0] = 0;
  }""",
    ),
    "look_back": (
        "const int *x, int *y, unsigned *ticket, volatile unsigned long long *state",
        """
  __shared__ unsigned tile;
  __shared__ int before;
  if (threadIdx.x == 0) tile = atomicAdd(ticket, 1u);
  __syncthreads();
  int a = x[tile * 32 + threadIdx.x];
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, a, step);
    if (threadIdx.x >= step) a += other;
  }
  if (threadIdx.x == 31) {
    int sum = 0;
    if (tile) {
      unsigned long long seen;
      while (!((seen = state[tile - 1]) >> 32)) {}
      sum = (int)seen;
    }
    state[tile] = 1ull << 32 | (unsigned)(sum + a);
    before = sum;
  }
  __syncthreads();
  y[tile * 32 + threadIdx.x] = before + a;""",
    ),
    "look_back_too_soon": (
        "const int *x, int *y, unsigned *ticket, volatile unsigned long long *state",
        """
  __shared__ unsigned tile;
  if (threadIdx.x == 0) tile = atomicAdd(ticket, 1u);
  __syncthreads();
  if (threadIdx.x == 0) {
    const int sum = tile ? (int)state[tile - 1] : 0;
    state[tile] = 1ull << 32 | (unsigned)(sum + x[tile]);
    y[tile] = sum + x[tile];
  }""",
    ),
    "in_order_of_blocks": (
        "const int *x, int *y, volatile int *ready",
        """
  while (blockIdx.x && !ready[blockIdx.x - 1]) {}
  y[blockIdx.x * 32 + threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  if (threadIdx.x == 0) ready[blockIdx.x] = 1;""",
    ),
    "hand_over": (
        "int *y, volatile int *ready, unsigned *ticket",
        """
  __shared__ unsigned turn;
  if (threadIdx.x == 0) turn = atomicAdd(ticket, 1u);
  __syncthreads();
  if (threadIdx.x == 0) {
    while (turn && !ready[turn - 1]) {}
    AFTER
    y[turn] = turn ? y[turn - 1] + 1 : 0;
    BEFORE
    ready[turn] = 1;
  }""",
    ),
    "wait_for_a_warp": (
        "int *y, int *flag",
        """
  if (threadIdx.x < 32) {
    while (atomicAdd(flag, 0) == 0) __nanosleep(10);
  } else if (threadIdx.x == 40) {
    atomicExch(flag, 1);
  }
  y[threadIdx.x] = 1;""",
    ),
    "wait_for_nobody": ("int *y, volatile int *flag", "\n  while (!flag[0]) {}\n  y[threadIdx.x] = 1;"),
    "dynamic": (
        "const float *x, float *y",
        """
  extern __shared__ __align__(16) unsigned char scratch[];
  float4 *packs = reinterpret_cast<float4 *>(scratch);
  packs[threadIdx.x] = reinterpret_cast<const float4 *>(x)[threadIdx.x];
  __syncthreads();
  const float4 p = packs[blockDim.x - 1 - threadIdx.x];
  reinterpret_cast<float4 *>(y)[threadIdx.x] = make_float4(p.w, p.z, p.y, p.x);""",
    ),
    "dynamic_of_another_type": (
        "const double *x, double *y",
        """
  extern __shared__ double scratch_of_doubles[];
  scratch_of_doubles[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = scratch_of_doubles[threadIdx.x ^ 1];""",
    ),
    "indices": (
        "unsigned *y",
        """
  const unsigned n = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned t = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  y[n * blockDim.x * blockDim.y * blockDim.z + t] += 1 + n;""",
    ),
    "constants": (
        "float *y",
        """
  const float table[4] = {1, 2, 4, 8};
  float turned[4];
  for (int i = 0; i < 4; ++i) turned[(i + threadIdx.x) % 4] = table[i] * weights[i];
  y[threadIdx.x] = turned[0] + helper(turned);""",
    ),
}
BEFORE = {
    "constants": "__device__ const float weights[4] = {1, 10, 100, 1000};\n"
    "__device__ __noinline__ float helper(const float *of) { return of[1]; }"
}


@cache
def library(checks: bool) -> Library:
    sources = [
        source(n, p, b.replace("BEFORE", "").replace("AFTER", ""), BEFORE.get(n, "")) for n, (p, b) in HAND.items()
    ]
    return Library(sources, checks)


every_way = pytest.mark.parametrize("order", ORDERS)
both = pytest.mark.parametrize("checks", [True, False], ids=["checked", "plain"])


@both
@every_way
def test_votes_of_a_block(order, checks):
    y = np.zeros(288, np.int32)
    run(library(checks), "votes", [y], block=96, order=order)
    assert y[:96].tolist() == [32] * 96 and y[96:192].tolist() == [1] * 96 and y[192:].tolist() == [0] * 96


@both
@every_way
def test_atomics(order, checks):
    y, u, wide = np.zeros(5, np.int32), np.zeros(4, np.uint32), np.zeros(4, np.uint64)
    f, d = np.zeros(2, np.float32), np.zeros(1, np.float64)
    run(library(checks), "atomics", [y, u, wide, f, d], block=64, order=order)
    assert y.tolist() == [2016, 63, -63, 255, -128]
    assert u.tolist() == [192, 63, 64 % 11, 0]
    assert wide.tolist() == [64 << 33, 63, 7, 128]
    assert f.tolist() == [32, 2.5] and d.tolist() == [16]


@both
@every_way
def test_the_last_block_adds_up(order, checks):
    x, y, partial = np.arange(640, dtype=np.float32), np.zeros(1, np.float32), np.zeros(10, np.float32)
    count = np.zeros(1, np.uint32)
    run(library(checks), "last_block", [x, y, partial, count], grid=10, block=64, order=order)
    assert y[0] == x[5::64].sum() and count[0] == 0


@both
@every_way
def test_a_scan_that_looks_back(order, checks):
    x = np.arange(32 * 20, dtype=np.int32) % 17
    y, ticket, state = np.zeros_like(x), np.zeros(1, np.uint32), np.zeros(20, np.uint64)
    run(library(checks), "look_back", [x, y, ticket, state], grid=20, order=order)
    np.testing.assert_array_equal(y, x.cumsum())


def test_blocks_that_do_not_wait_for_others():
    """Blocks that talk to each other run at the same time, and one that does not wait comes too soon."""
    x = np.arange(20, dtype=np.int32)
    right = []
    for order in ORDERS:
        y, ticket, state = np.zeros_like(x), np.zeros(1, np.uint32), np.zeros(20, np.uint64)
        run(library(True), "look_back_too_soon", [x, y, ticket, state], grid=20, order=order)
        right.append(y.tolist() == x.cumsum().tolist())
    assert right[0] and not right[1]


def test_blocks_that_count_on_their_order():
    x, y, ready = np.arange(32, dtype=np.int32), np.zeros(640, np.int32), np.zeros(20, np.int32)
    run(library(True), "in_order_of_blocks", [x, y, ready], grid=20)
    ready[:] = 0
    with pytest.raises(EmulatorError, match="waits in a loop for what no other thread does"):
        run(library(True), "in_order_of_blocks", [x, y, ready], grid=20, order="descending")


@pytest.mark.parametrize("order", ORDERS)
def test_blocks_hand_over_with_a_fence(order):
    parameters, body = HAND["hand_over"]
    y, ready, ticket = (np.zeros(n, np.int32) for n in (9, 9, 1))
    for before, after in ((True, True), (False, True), (True, False)):
        text = body.replace("BEFORE", "__threadfence();" * before).replace("AFTER", "__threadfence();" * after)
        given = Library([source("hand_over", parameters, text)], True), "hand_over", [y, 0 * ready, 0 * ticket]
        if before and after:
            run(*given, grid=9, order=order)
            assert y.tolist() == list(range(9))
        else:
            with pytest.raises(EmulatorError, match="race: read of 4 bytes at element"):
                run(*given, grid=9, order=order)


@both
@every_way
def test_a_warp_waits_for_another(order, checks):
    y, flag = np.zeros(64, np.int32), np.zeros(1, np.int32)
    run(library(checks), "wait_for_a_warp", [y, flag], block=64, order=order)
    assert y.all()


def test_waiting_for_what_never_comes(golden):
    with pytest.raises(EmulatorError) as caught:
        run(library(True), "wait_for_nobody", [np.zeros(32, np.int32), np.zeros(1, np.int32)])
    assert str(caught.value) == golden


@both
@every_way
def test_dynamic_shared_memory(order, checks):
    raw = np.arange(136, dtype=np.float32)
    x = raw[-raw.ctypes.data % 16 // 4 :][:128]
    raw = np.zeros(136, np.float32)
    y = raw[-raw.ctypes.data % 16 // 4 :][:128]
    run(library(checks), "dynamic", [x, y], shared_bytes=512, order=order)
    np.testing.assert_array_equal(y, x[::-1])
    z, w = np.arange(32.0), np.zeros(32)
    run(library(checks), "dynamic_of_another_type", [z, w], shared_bytes=256, order=order)
    np.testing.assert_array_equal(w, z.reshape(-1, 2)[:, ::-1].reshape(-1))


@both
def test_constants_and_functions_that_are_called(checks):
    y = np.zeros(32, np.float32)
    run(library(checks), "constants", [y])
    values = np.array([1, 20, 400, 8000])
    np.testing.assert_array_equal(y, [values[-t % 4] + values[(1 - t) % 4] for t in range(32)])


CONVERSIONS = {
    "half": ("cuda_fp16.h", np.float16),
    "bfloat16": ("cuda_bf16.h", ml_dtypes.bfloat16),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_16_bit_floats(name):
    header, dtype = CONVERSIONS[name]
    kind = {"half": "__half", "bfloat16": "__nv_bfloat16"}[name]
    text = source(
        "convert",
        f"const {kind} *x, float *y, const float *z, {kind} *u",
        f"""
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = __{name}2float(x[i]);
  u[i] = __float2{name}_rn(z[i]);""",
        f"#include <{header}>",
    )
    with np.errstate(all="ignore"):
        x = np.arange(65536, dtype=np.uint16).view(dtype)
        rng = np.random.default_rng(0)
        z = rng.integers(0, 1 << 32, 65536, dtype=np.uint32).view(np.float32)
        middle = (x[:60000].astype(np.float32) + x[1:60001].astype(np.float32)) / 2  # ties go to even
        z[:60000:2] = middle[::2]
        y, u = np.zeros(65536, np.float32), np.zeros(65536, dtype)
        run(Library([text], checks=True), "convert", [x.view(np.uint16), y, z, u.view(np.uint16)], 64, 1024)
        np.testing.assert_array_equal(y, x.astype(np.float32))
        expected = z.astype(dtype)
        np.testing.assert_array_equal(np.isnan(u), np.isnan(expected))
        np.testing.assert_array_equal(u[~np.isnan(u)].view(np.uint16), expected[~np.isnan(u)].view(np.uint16))


def test_threads_of_the_host_take_turns():
    """Shared memory is thread-local underneath: each thread of the host has arrays of its own."""
    found, errors = [], []

    def work():
        try:
            for order in ORDERS:
                z, w = np.arange(32.0), np.zeros(32)
                run(library(True), "dynamic_of_another_type", [z, w], shared_bytes=256, order=order)
                found.append(w.tolist() == z.reshape(-1, 2)[:, ::-1].reshape(-1).tolist())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors and found == [True] * 12


def test_launches_that_no_gpu_takes(golden):
    bounded = Source(
        'extern "C" __global__ void __launch_bounds__(64, 2)\nbounded(int *y) { y[0] = 1; }\n', ("bounded",)
    )
    greedy = source("greedy", "int *y", "  __shared__ int tile[13000];\n  tile[threadIdx.x] = y[0];\n  y[0] = tile[0];")
    large = source("large", "int *y", "  extern __shared__ int all[];\n  all[threadIdx.x] = 1;\n  y[0] = all[0];")
    made = Library([bounded, greedy, large], checks=True)
    y = [np.zeros(1, np.int32)]
    wrong = [
        lambda: run(made, "bounded", y, block=65),
        lambda: run(made, "large", y, block=1025),
        lambda: run(made, "greedy", y),
        lambda: run(made, "large", y, shared_bytes=240000),
    ]
    found = []
    for launch in wrong:
        with pytest.raises(EmulatorError) as caught:
            launch()
        found.append(str(caught.value))
    assert "\n".join(found) == golden


def test_source_that_does_not_compile():
    with pytest.raises(CompileError, match=r"(?s)rejects the source.*source0.cu:4:.*no_such_name") as caught:
        Library([source("broken", "float *y", "  y[0] = no_such_name;")], checks=True)
    assert caught.value.hint.startswith("this is a bug in tracec")


def test_a_compiler_that_is_not_gcc(monkeypatch, tmp_path):
    other = tmp_path / "c++"
    other.write_text(
        '#!/bin/sh\ncase "$*" in *-fno-tree-sra*) echo unknown argument >&2; exit 1;; esac\nexec g++ "$@"\n'
    )
    other.chmod(0o755)
    monkeypatch.setenv("TRACEC_CXX", str(other))
    with pytest.raises(CompileError, match="unknown argument") as caught:
        Library([source("one_more", "float *y", "  y[0] = 1.0f;")], checks=True)
    assert caught.value.hint == "the emulator needs g++; let TRACEC_CXX name one"


def test_sources_are_compiled_once(monkeypatch):
    first = library(True)
    monkeypatch.setattr("tracec.runtime.emulator_library._build", None)
    again = Library(first.sources, checks=True)
    assert again.path == first.path
    changed = Source(first.sources[0].text + "\n", first.sources[0].entries)
    with pytest.raises(TypeError):
        Library([changed], checks=True)
