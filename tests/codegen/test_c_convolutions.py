"""Convolutions and their gradients as blocked products, of sizes that do not fill tiles, against float64."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen.kernels.products import conv
from tracec.codegen.c import render_kernel
from tracec.codegen.c_pieces import alone
from tracec.nn import functional as F

#: Images, channels, output channels, sizes, kernel, and what `conv2d` takes.
CASES: list[tuple[int, int, int, tuple[int, int], tuple[int, int], dict[str, Any]]] = [
    (8, 96, 67, (3, 3), (3, 3), {"padding": 1}),  # sums in parts; 72 lanes are two panels and a quarter
    (5, 130, 33, (4, 4), (3, 3), {"padding": 1}),  # 80: and a half
    (3, 17, 31, (5, 5), (3, 3), {"padding": 1}),  # 75: one more than a half
    (2, 3, 64, (33, 31), (7, 7), {"padding": 3, "stride": 2}),
    (1, 1, 5, (48, 48), (3, 3), {"padding": 1}),
    (7, 13, 3, (17, 16), (1, 1), {}),
    (4, 127, 129, (6, 6), (1, 1), {"stride": 2}),
    (2, 65, 63, (15, 9), (3, 5), {"padding": (0, 2), "stride": (2, 1), "dilation": (1, 2)}),
    (2, 24, 40, (11, 13), (2, 4), {"padding": (1, 3), "stride": (3, 2)}),
    (1, 8, 16, (65, 3), (5, 1), {"padding": (4, 0), "dilation": (2, 1)}),
    (2, 12, 20, (9, 9), (3, 3), {"padding": 1, "groups": 4, "stride": 2}),
    (2, 3, 8, (20, 97), (7, 7), {"padding": 3, "stride": 2}),  # windows that slide over a line, of 49
    (1, 2, 5, (9, 131), (3, 5), {"padding": (1, 3), "stride": (1, 2), "dilation": (1, 2)}),  # of 65
    (1, 7, 6, (5, 200), (1, 3), {"padding": (0, 1), "stride": (1, 3)}),  # of 67
    (1, 9, 6, (3, 400), (1, 2), {"padding": (0, 1), "stride": (2, 7)}),  # of 58, with gaps between
]


def made(case: Any, dtype: Any, turned: bool) -> list[Any]:
    images, channels, outputs, sizes, kernel, more = case
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((images, channels, *sizes))
    w = rng.standard_normal((outputs, channels // more.get("groups", 1), *kernel))
    if turned:  # the same elements behind each other in another order
        x, w = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (x, w))
    return [tracec.tensor(a, dtype=dtype, requires_grad=True) for a in (x, w)]


@pytest.mark.parametrize("turned", [False, True], ids=["plain", "channels_last"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_are_those_of_float64(case: Any, turned: bool) -> None:
    def f(x: Any, w: Any) -> Any:
        a, b = (t.permute(0, 3, 1, 2) if turned else t for t in (x, w))
        y = F.conv2d(a, b, **case[5])
        weights = tracec.arange(y.numel(), dtype=y.dtype).sin().reshape(y.shape)
        return (y, *tracec.autograd.grad(y, (x, w), weights))

    got = tracec.compile(f)(*made(case, tracec.float32, turned))
    for g, want in zip(got, f(*made(case, tracec.float64, turned)), strict=True):
        scale = float(want.abs().max())
        assert np.allclose(g.detach().numpy(), want.detach().numpy(), rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("dtype", [tracec.float32, tracec.float64], ids=str)
@pytest.mark.parametrize("rows", [3, 7, 8, 9, 25])
@pytest.mark.parametrize("depth", [(200, 1), (300, 3), (1023, 1), (40, 9), (64, 16), (37, 5)], ids=str)
def test_rows_in_memory(dtype: Any, rows: int, depth: tuple[int, int]) -> None:
    """Up to the last element of the last row, behind which nothing may be read."""
    outer, run = depth
    rng = np.random.default_rng(rows)
    together, apart = rng.standard_normal((rows, outer * run)), rng.standard_normal((outer, rows, run))
    b = rng.standard_normal((outer * run, 40))

    @tracec.compile
    def f(x: Any, y: Any, b: Any) -> Any:
        columns = b.T.reshape(40, 1, outer * run)
        taps = columns.reshape(40, 1, outer, run).permute(0, 2, 1, 3).reshape(40, outer, run)
        one = F.conv1d(columns, x.reshape(rows, 1, outer * run)).squeeze(2)
        return one, F.conv1d(taps, y.permute(1, 0, 2)).squeeze(2)

    one, other = f(*(tracec.tensor(a, dtype=dtype) for a in (together, apart, b)))
    tolerance = 1e-4 if dtype == tracec.float32 else 1e-12
    np.testing.assert_allclose(one.numpy(), (together @ b).T, rtol=tolerance, atol=tolerance * 10)
    want = np.einsum("ork,okl->lr", apart, b.reshape(outer, run, 40))
    np.testing.assert_allclose(other.numpy(), want, rtol=tolerance, atol=tolerance * 10)


def test_blocks_go_on_over_the_loop_whose_parts_are_added_up() -> None:
    """Of few places in many channels a block has many channels, not one: sums stay in registers."""
    source = alone(render_kernel(conv(8, 512, 512, 3)))
    assert ".parts = 16, .cut = 512, .cut_around = 0" in source
    assert re.search(r"\.around = 1, \.extent = 512, \.step = 28, \.unit = 9", source)


@pytest.mark.parametrize("step", [2, 3])
def test_windows_slide_over_a_line_of_what_is_computed(step: int) -> None:
    """Padding and what is fused are computed once for each element of the line; strides have vectors."""

    def f(x: Any, w: Any) -> Any:
        return F.conv2d(F.relu(x) * 2.0, w, stride=step, padding=2)

    rng = np.random.default_rng(step)
    given = rng.standard_normal((2, 3, 13, 50 * step)), rng.standard_normal((9, 3, 5, 5))
    compiled = tracec.compile(f)
    got = compiled(*(tracec.tensor(a, dtype=tracec.float32) for a in given)).numpy()
    want = f(*(tracec.tensor(a, dtype=tracec.float64) for a in given)).numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())
    source = compiled.lower(*(tracec.tensor(a, dtype=tracec.float32) for a in given)).stages["source"]
    assert f"next[t] = line[0x{step} * t + 0x1 * r2]" in source


def test_pooling_of_what_a_mask_zeroes_is_written_out() -> None:
    """What the largest element of a window is found by, twice nine tests, are statements of one vectorised loop."""

    def f(x: Any) -> Any:
        y = F.max_pool2d(F.relu(x), 3, 2, 1)
        return y, tracec.autograd.grad(y, x, y.detach())[0]

    x = tracec.randn(2, 5, 30, 33, requires_grad=True)
    compiled = tracec.compile(f)
    for got, want in zip(compiled(x), f(x), strict=True):
        np.testing.assert_array_equal(got.detach().numpy(), want.detach().numpy())
    source = compiled.lower(x).stages["source"]
    assert "#pragma omp simd" in source and "for (long r0" not in source


_NEAR_THE_END = """
import ctypes, mmap
import numpy as np
import tracec

def turned(x, w):
    return tracec.nn.functional.conv2d(x, w.flip(0))

shape = (16, 3, 5, 5)
count = int(np.prod(shape))
pages = -(-4 * count // mmap.PAGESIZE)
memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + pages * mmap.PAGESIZE), mmap.PAGESIZE, 0) == 0
held = np.frombuffer(memory, np.float32, count, pages * mmap.PAGESIZE - 4 * count).reshape(shape)
held[...] = np.random.default_rng(0).standard_normal(shape)
w, x = tracec.from_numpy(held), tracec.randn(2, 3, 17, 17)
compiled = tracec.compile(turned)
compiled(x, w)
np.testing.assert_allclose(compiled(x, w).numpy(), turned(x, w.clone()).numpy(), rtol=1e-4, atol=1e-4)
print("done")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="protects a page by Linux's mprotect")
def test_rows_that_lie_backwards_are_read_to_their_end_alone() -> None:
    """Behind the weights is memory that may not be read: the first of the rows is the last in memory."""
    done = subprocess.run([sys.executable, "-c", _NEAR_THE_END], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "done", done.stderr
