"""The interpreter of kernels, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.codegen.kernels import read_kernel as kernel
from tests.ir.test_kernel_text import plan
from tracec import ops  # noqa: F401 - plans name operators
from tracec.errors import ArgumentError
from tracec.runtime import interpreter
from tracec.runtime.interpreter import run_kernel, run_plan

Array = np.ndarray[Any, Any]


def normal(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.fixture(params=[1 << 22, 16], ids=["whole", "pieces"])
def _pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything at once, and loops cut into small pieces."""
    monkeypatch.setattr(interpreter, "_MOST_ELEMENTS", request.param)


pytestmark = pytest.mark.usefixtures("_pieces")


def test_map() -> None:
    k = kernel("""kernel k(x: in f32[6], w: in f16[3], y: out f32[6], z: out bool[6]) map {
      for i in 6 parallel {
        let s: f32 = mul(x[i], cast(w[i%3], f32))
        store y[-i + 5] = sin(s)
        store z[i] = gt(s, f32(0.0))
      }
    }""")
    x, w = normal(2, 3), normal(3).astype(np.float16)
    y, z = np.zeros(6, np.float32), np.zeros(6, bool)
    run_kernel(k, [x, w, y, z])
    s = (x * w.astype(np.float32)).reshape(-1)
    np.testing.assert_allclose(y, np.sin(s)[::-1], rtol=1e-6)
    np.testing.assert_array_equal(z, s > 0)


def test_row_softmax_with_scratch() -> None:
    k = kernel("""kernel k(x: in f32[5,7], y: out bf16[5,7]) row {
      for i in 5 parallel {
        scratch row: f32[7]
        acc m: f32 = maximum
        for r in 7 reduce { update m <- x[7*i + r] }
        acc s: f32 = add
        for r in 7 reduce {
          let e: f32 = exp(sub(x[7*i + r], m))
          store row[r] = e
          update s <- e
        }
        let scale: f32 = div(f32(1.0), s)
        for r in 7 each { store y[7*i + r] = mul(row[r], scale) }
      }
    }""")
    x = normal(5, 7)
    y = np.zeros((5, 7), k.buffers[1].dtype.numpy)
    run_kernel(k, [x, y])
    e = np.exp(x - x.max(1, keepdims=True))
    np.testing.assert_allclose(y.astype(np.float32), e / e.sum(1, keepdims=True), rtol=1e-2)


def test_column_sum_and_full_maximum() -> None:
    column = kernel("""kernel k(x: in f32[6,4], y: out f32[4]) column {
      for j in 4 parallel {
        acc s: f32 = add
        for r in 6 reduce { update s <- x[4*r + j] }
        store y[j] = s
      }
    }""")
    full = kernel("""kernel k(x: in f32[6,4], y: out f32[1], n: out i64[1]) full {
      acc s: f32 = maximum
      acc c: i64 = add
      for a in 6 reduce {
        for b in 4 reduce {
          update s <- x[4*a + b]
          update c <- 1
        }
      }
      store y[0] = s
      store n[0] = c
    }""")
    x, y = normal(6, 4), np.zeros(4, np.float32)
    run_kernel(column, [x, y])
    np.testing.assert_allclose(y, x.sum(0), rtol=1e-5)
    y, n = np.zeros(1, np.float32), np.zeros(1, np.int64)
    run_kernel(full, [x, y, n])
    assert y[0] == x.max()
    assert n[0] == 24
    x[2, 1] = np.nan
    run_kernel(full, [x, y, n])
    assert np.isnan(y[0])


def test_contraction_with_padding() -> None:
    k = kernel("""kernel k(x: in f32[8], w: in f32[3], y: out f32[8]) contraction {
      for m in 8 parallel {
        acc s: f32 = add
        for r in 3 reduce {
          update s <- mul(select(bitwise_and(ge(m + r - 1, 0), lt(m + r - 1, 8)), x[m + r - 1], f32(0.0)), w[r])
        }
        store y[m] = maximum(s, f32(0.0))
      }
      contraction conv(acc=s, batch=(), m=(m), n=(), k=(r)) {
        a = select(bitwise_and(ge(m + r - 1, 0), lt(m + r - 1, 8)), x[m + r - 1], f32(0.0))
        b = w[r]
      }
    }""")
    x, w, y = normal(8), normal(3), np.zeros(8, np.float32)
    run_kernel(k, [x, w, y])
    np.testing.assert_allclose(y, np.maximum(np.correlate(x, w, "same"), 0), rtol=1e-5, atol=1e-6)


def test_scan() -> None:
    k = kernel("""kernel k(x: in f32[3,5], y: out f32[3,5]) scan {
      for i in 3 parallel {
        acc s: f32 = add
        for t in 5 serial {
          update s <- x[5*i + t]
          store y[5*i + t] = s
        }
      }
    }""")
    x, y = normal(3, 5), np.zeros((3, 5), np.float32)
    run_kernel(k, [x, y])
    np.testing.assert_allclose(y, np.cumsum(x, 1), rtol=1e-5)


@pytest.mark.parametrize("stripes", [1, 3, 4, 7, 9])
def test_shared_rows(stripes: int) -> None:
    """Stripes of ⌈7/s⌉ rows, of which the last ones have fewer, or none."""
    k = kernel(f"""kernel k(x: in f32[7,5], y: out f32[7,5], z: out f32[{stripes},5]) stripe {{
      for p in {stripes} parallel {{
        scratch c: f32[5]
        for r in 5 each {{ store c[r] = f32(0.0) }}
        for i in 7 share {{
          acc s: f32 = add
          for r in 5 reduce {{ update s <- x[5*i + r] }}
          for r in 5 each {{
            store y[5*i + r] = mul(x[5*i + r], s)
            store c[r] += x[5*i + r]
          }}
        }}
        for r in 5 each {{ store z[5*p + r] = c[r] }}
      }}
    }}""")
    x, y, z = normal(7, 5), np.zeros((7, 5), np.float32), np.ones((stripes, 5), np.float32)
    run_kernel(k, [x, y, z])
    np.testing.assert_allclose(y, x * x.sum(1, keepdims=True), rtol=1e-5, atol=1e-6)
    each = -(-7 // stripes)
    parts = [x[each * p : each * p + each].sum(0) for p in range(stripes)]
    np.testing.assert_allclose(z, parts, rtol=1e-5, atol=1e-6)


def test_shared_iterations_of_two_loops() -> None:
    k = kernel("""kernel k(x: in f32[2,3], y: out f32[4]) stripe {
      for p in 4 parallel {
        scratch c: f32[1]
        for i in 2 share {
          for j in 3 share { store c[0] += x[3*i + j] }
        }
        store y[p] = c[0]
      }
    }""")
    x, y = normal(2, 3), np.ones(4, np.float32)
    run_kernel(k, [x, y])
    np.testing.assert_allclose(y, [x[0, :2].sum(), x[0, 2] + x[1, 0], x[1, 1:].sum(), 0.0], rtol=1e-5)


@pytest.mark.parametrize("add", [False, True])
def test_scatter(add: bool) -> None:
    k = kernel(f"""kernel k(x: in f32[4,3], v: in f32[6,3], i: in i32[6], y: out f32[4,3]) scatter {{
      for a in 12 parallel {{ store y[a] = x[a] }}
      for c in 3 parallel {{
        for p in 6 serial {{ store y[3*i[p] + c] {"+=" if add else "="} v[3*p + c] }}
      }}
    }}""")
    x, v, i = normal(4, 3), normal(6, 3), np.array([2, 0, 2, 3, 2, 0], np.int32)
    y = np.zeros((4, 3), np.float32)
    run_kernel(k, [x, v, i, y])
    expected = x.copy()
    for p, row in enumerate(i):
        expected[row] = expected[row] + v[p] if add else v[p]
    np.testing.assert_allclose(y, expected, rtol=1e-5)


def test_parallel_stores_add_up() -> None:
    k = kernel("""kernel k(x: in f32[6], y: inout f32[2]) map {
      for i in 6 parallel { store y[i%2] += x[i] }
    }""")
    x, y = normal(6), np.ones(2, np.float32)
    run_kernel(k, [x, y])
    np.testing.assert_allclose(y, 1 + x.reshape(3, 2).sum(0), rtol=1e-5)


def test_extent_given_at_launch() -> None:
    k = kernel("kernel k(x: in f32[?], y: out f32[?]) map { for i in ? parallel { store y[i] = neg(x[i]) } }")
    for n in (5, 9):
        x, y = normal(n), np.zeros(n, np.float32)
        run_kernel(k, [x, y], size=n)
        np.testing.assert_array_equal(y, -x)
    with pytest.raises(ArgumentError, match="extent of i must be given"):
        run_kernel(k, [x, y])


def test_arithmetic_stays_in_its_dtype() -> None:
    k = kernel("""kernel k(x: in u32[3], y: out u32[3], z: out u32[3], f: out f32[3]) map {
      for i in 3 parallel {
        store y[i] = mul(x[i], u32(3528531795))
        store z[i] = mulhi(x[i], u32(3528531795))
        store f[i] = sub(add(f32(16777216.0), f32(1.0)), f32(16777216.0))
      }
    }""")
    x = np.array([1, 2**31, 2**32 - 1], np.uint32)
    y, z, f = np.zeros(3, np.uint32), np.zeros(3, np.uint32), np.ones(3, np.float32)
    run_kernel(k, [x, y, z, f])
    exact = [int(a) * 3528531795 for a in x]
    assert list(y) == [a % 2**32 for a in exact]
    assert list(z) == [a >> 32 for a in exact]
    assert list(f) == [0, 0, 0]


def test_reads_and_writes_outside_are_errors() -> None:
    read = kernel(
        "kernel k(x: in f32[4], i: in i64[2], y: out f32[2]) map { for a in 2 parallel { store y[a] = x[i[a]] } }"
    )
    x, y = normal(4), np.zeros(2, np.float32)
    with pytest.raises(IndexError, match="kernel k: index 4 is outside of x, which has 4 elements"):
        run_kernel(read, [x, np.array([0, 4]), y])
    with pytest.raises(IndexError, match="index -1 "):
        run_kernel(read, [x, np.array([0, -1]), y])
    write = kernel("kernel k(i: in i64[2], y: out f32[2]) map { for a in 2 parallel { store y[i[a]] = f32(1.0) } }")
    with pytest.raises(IndexError, match="index 2 is outside of y"):
        run_kernel(write, [np.array([0, 2]), y])


def test_arrays_must_fit() -> None:
    k = kernel("kernel k(x: in f32[4], y: out f32[4]) map { for i in 4 parallel { store y[i] = x[i] } }")
    with pytest.raises(ArgumentError, match=r"buffer x is f32\[4\], given float64 of shape \(4,\)"):
        run_kernel(k, [np.zeros(4), np.zeros(4, np.float32)])
    with pytest.raises(ArgumentError, match="not contiguous"):
        run_kernel(k, [np.zeros(8, np.float32)[::2], np.zeros(4, np.float32)])
    with pytest.raises(ArgumentError, match="takes 2 buffers, 1 given"):
        run_kernel(k, [np.zeros(4, np.float32)])


def test_plan() -> None:
    x, y = normal(8, 128), normal(8, 128)
    (order,) = run_plan(plan(), [x, y])
    np.testing.assert_array_equal(order, np.argsort(x + y, axis=1, kind="stable"))
