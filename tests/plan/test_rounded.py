"""Numbers that are rounded to 16 bits where they are stored: once."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.codegen.kernels import read_kernel
from tests.plan.test_planner import inputs
from tracec import ops
from tracec.ir import dtype as dt
from tracec.ir.graph import Graph
from tracec.ir.kernel import Call, Kernel, expressions, subexpressions, walk
from tracec.ir.node import made_from
from tracec.ir.verify_kernel import verify_kernel
from tracec.plan import TARGETS, make_plan
from tracec.plan.rounded import rounded_once
from tracec.runtime.interpreter import run_plan


def roundings(kernel: Kernel) -> int:
    """Casts to 16-bit floats that are computed with."""
    parts = (e for s in walk(kernel.body) for root in expressions(s) for e in subexpressions(root))
    return sum(isinstance(e, Call) and e.op == "cast" and e.dtype.compute is not e.dtype for e in parts)


def rounded(dtype: dt.DType, *, twice: bool = False, goes_on: bool = False) -> Graph:
    """A float32 product that is cast to 16 bits, perhaps twice, and perhaps computed with."""
    (x,) = inputs((33, 7), dtype=dt.float32)
    with made_from(None):
        y = ops.cast(x * 1.7, dtype=dtype)
        y = ops.cast(ops.cast(y, dtype=dt.float32), dtype=dtype) if twice else y
        more = (ops.cast(y, dtype=dt.float32) * 3.0,) if goes_on else ()
        return Graph((x,), (y, *more))


@pytest.mark.parametrize("target", ["cuda", "cpu"])
@pytest.mark.parametrize("dtype", [dt.float16, dt.bfloat16], ids=str)
def test_what_is_stored_is_rounded_by_the_store(dtype: dt.DType, target: str) -> None:
    (kernel,) = make_plan(rounded(dtype), TARGETS[target]).kernels
    assert roundings(kernel) == 0
    verify_kernel(kernel)


@pytest.mark.parametrize("dtype", [dt.float16, dt.bfloat16], ids=str)
def test_what_is_computed_with_stays_rounded(dtype: dt.DType) -> None:
    graph = rounded(dtype, goes_on=True)
    plan = make_plan(graph, TARGETS["cuda"])
    assert sum(roundings(k) for k in plan.kernels) == 1
    narrow = np.dtype(np.float16) if dtype is dt.float16 else np.dtype(ml_dtypes.bfloat16)
    x = np.random.default_rng(0).standard_normal((33, 7)).astype(np.float32)
    found = run_plan(plan, [x])
    y = (x * np.float32(1.7)).astype(narrow)
    np.testing.assert_array_equal(found[0], y)
    np.testing.assert_array_equal(found[1], y.astype(np.float32) * np.float32(3))


def test_other_types_and_sums_are_left_alone() -> None:
    kernel = read_kernel("""
kernel k(x: in f32[8], y: out f16[8], z: out f32[8]) map {
  for i in 8 parallel {
    let a: f32 = mul(x[i], f32(2.0))
    let b: f32 = cast(cast(a, bf16), f32)
    store y[i] = b
    store z[i] = b
  }
}""")
    assert rounded_once(kernel) is kernel


def test_the_rounding_goes_where_nothing_else_reads_it() -> None:
    text = """
kernel k(x: in f32[8], y: out bf16[8], z: out f32[8]) map {{
  for i in 8 parallel {{
    let a: f32 = mul(x[i], f32(2.0))
    let b: f32 = cast(cast(a, bf16), f32)
    store y[i] = b
    store z[i] = {0}
  }}
}}"""
    assert roundings(rounded_once(read_kernel(text.format("a")))) == 0
    found = rounded_once(read_kernel(text.format("b")))
    assert roundings(found) == 1
    assert "store y[i] = a" in str(found) and "store z[i] = b" in str(found)
