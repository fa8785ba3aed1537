"""Short rows laid side by side: the same values, in blocks that are even."""

from __future__ import annotations

import numpy as np
import pytest

from tests.codegen import kernels as k
from tests.codegen.plans import arrays_for
from tracec.codegen.c_lanes import lay_side_by_side
from tracec.codegen.c_unroll import unroll_short_loops
from tracec.ir.kernel import Kernel, Loop, Scratch
from tracec.runtime.interpreter import run_kernel


def block_of(kernel: Kernel) -> int:
    """Elements of a block; 0 where there are none."""
    (outer,) = kernel.body
    assert isinstance(outer, Loop)
    return next((s.size for s in outer.body if isinstance(s, Scratch)), 0)


@pytest.mark.parametrize(
    "rows, columns, size",
    [
        (8, 16, 64), (32, 8, 64), (9, 8, 72), (10, 16, 80), (6, 33, 66), (13, 16, 208),
        (17, 16, 0),  # no divisor
        (3, 16, 0),  # too few rows
        (8, 64, 0),  # rows that fill vectors
    ],
)  # fmt: skip
def test_blocks(rows: int, columns: int, size: int) -> None:
    short = unroll_short_loops(k.pool(rows, columns))
    found = lay_side_by_side(short)
    assert block_of(found) == size and (found is short) == (size == 0)
    arrays = arrays_for(short)
    others = [a.copy() for a in arrays]
    run_kernel(short, arrays)
    run_kernel(found, others)
    for a, b in zip(arrays, others, strict=True):
        np.testing.assert_array_equal(a, b)


STAYS = """
kernel stays(p: in i64[64], x: in f32[64], q: in bool[64], y: {role} f32[256]) map {{
  for i in 4 parallel {{
    for j in 16 parallel {{
      let a: i64 = p[16*i + j]
      let b: bool = q[16*i + j]
      let v: f32 = {value}
      store y[{index}] = select(b, {then}, f32(1.0))
    }}
  }}
}}"""


@pytest.mark.parametrize(
    "value, then, index, moves",
    [
        ("x[16*i + j]", "v", "16*i + j", True),
        ("x[p[16*i + j]]", "v", "16*i + j", True),
        ("add(x[16*i + j], cast(j, f32))", "v", "48*i + 3*j + 1", True),
        ("y[16*i + j]", "v", "16*i + j", False),  # reads what it writes
        ("x[16*i + j]", "cast(j, f32)", "16*i + j", False),  # a position as a number
        ("x[a]", "v", "16*i + j", False),  # reads where another value says
        ("x[16*i + j]", "v", "32*i + j", False),  # rows apart
    ],
)
def test_what_can_be_laid_side_by_side(value: str, then: str, index: str, moves: bool) -> None:
    role = "inout" if "y[" in value else "out"
    kernel = k.read_kernel(STAYS.format(role=role, value=value, then=then, index=index))
    found = lay_side_by_side(kernel)
    assert (found is not kernel) == moves
    arrays = arrays_for(kernel)
    others = [a.copy() for a in arrays]
    run_kernel(kernel, arrays)
    run_kernel(found, others)
    np.testing.assert_array_equal(arrays[3], others[3])
