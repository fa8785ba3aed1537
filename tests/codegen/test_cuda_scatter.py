"""Scatters in CUDA: sorted positions, sums of any length, each element written once, against NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from tests.codegen import kernels as k
from tests.codegen.emulated import Emulated, emulate, needs_compiler
from tests.codegen.test_cuda import render_kernel
from tracec.codegen import cuda_scatter, cuda_sort, cuda_sort_digits
from tracec.ir.kernel import Kernel
from tracec.runtime.emulator_launch import ORDERS

pytestmark = needs_compiler

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """A scatter of ``n`` values to ``keys`` places of each of ``outer`` rows, ``inner`` elements each.

    Attributes:
        skew: How positions are drawn: from all keys, from the last, or 7 of 8 from one.
        fill: Whether a constant is there before, and not another array.
        spare: Elements before those that keys reach.
    """

    n: int
    keys: int
    inner: int = 1
    outer: int = 1
    dtype: str = "f32"
    skew: str = "all"
    add: bool = True
    fill: bool = True
    spare: int = 0

    @property
    def kernel(self) -> Kernel:
        row, size = self.keys * self.inner, self.outer * self.keys * self.inner + self.spare
        return k.read_kernel(f"""
kernel scatter(x: in {self.dtype}[{size}], v: in {self.dtype}[{self.n},{self.outer},{self.inner}], p: in i64[{self.n}],
               y: out {self.dtype}[{size}]) scatter {{
  for i in {size} parallel {{
    store y[i] = {f"{self.dtype}(3)" if self.fill else "x[i]"}
  }}
  for a in {self.outer} parallel {{
    for b in {self.inner} parallel {{
      for s in {self.n} serial {{
        let q: i64 = p[s]
        store y[{row}*a + {self.inner}*q + b + {self.spare}] {"+=" if self.add else "="} \
v[{self.outer * self.inner}*s + {self.inner}*a + b]
      }}
    }}
  }}
}}""")

    def given(self) -> list[Array]:
        """Whole numbers, whose sums have no rounding."""
        random = np.random.default_rng(0)
        x, v, p, y = (np.zeros(b.shape, b.dtype.numpy) for b in self.kernel.buffers)
        x[...], v[...] = random.integers(-3, 4, x.shape), random.integers(-1, 2, v.shape)
        p[...] = random.integers(0, self.keys, self.n)
        if self.skew == "last":
            p[...] = self.keys - 1
        elif self.skew == "one":
            p[...] = np.where(random.integers(0, 8, self.n) > 0, self.keys // 2, p)
        return [x, v, p, y]

    def expected(self, given: Sequence[Array]) -> Array:
        x, v, p, _ = given
        y = np.full_like(x, 3) if self.fill else x.copy()
        wide = y.astype(np.float64)
        to = wide[self.spare :].reshape(self.outer, self.keys, self.inner).transpose(1, 0, 2)
        if self.add:
            np.add.at(to, p, v.astype(np.float64))
        else:
            for place, value in zip(p, v, strict=True):
                to[place] = value
        return wide.astype(y.dtype)


CASES = (
    Case(9, 5, 4), Case(65, 5, 3), Case(300, 7, 1, dtype="i64"), Case(1000, 1, 2), Case(1000, 300, 1, dtype="f64"),
    Case(2500, 3, 13, dtype="i32"), Case(3000, 40, 8, dtype="f16", skew="one", fill=False),
    Case(2048, 2, 1, skew="last"), Case(2049, 2, 6, skew="last", dtype="f64"), Case(2600, 33, 40, skew="one"),
    Case(200, 4000, 4, fill=False),
    Case(100, 3000, 1), Case(500, 11, 3, 5, fill=False), Case(400, 9, 8, 2, dtype="bf16"), Case(70, 6, 1, 3),
    Case(500, 7, 3, spare=5, fill=False), Case(3000, 2, 2, spare=1, skew="one"), Case(90, 12, 16, add=False),
    Case(700, 12, 2, 3, add=False, fill=False, dtype="f16"), Case(50, 1000, 1, add=False), Case(300, 256, 2, 1, "u8"),
    Case(5000, 700, 1, dtype="i32", skew="one"), Case(500, 3900, 16, skew="last"), Case(300, 2399, 16, add=False),
    Case(100, 40, 3, add=False, spare=2),
)  # fmt: skip


def run(cases: Sequence[Case], orders: Sequence[str] = ORDERS) -> list[Emulated]:
    """Every case, in several orders of threads."""
    found = emulate([case.kernel for case in cases])
    for case, one in zip(cases, found, strict=True):
        given = case.given()
        for order in orders:
            have = one.run(given, order)[-1]
            np.testing.assert_array_equal(have, case.expected(given), err_msg=f"{case}, {order}")
    return found


def test_sums_and_writes() -> None:
    run(CASES)


def test_positions_sorted_by_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What many positions get, and a few keys each: rows of the radix sort in a block, and in several."""
    monkeypatch.setattr(cuda_scatter, "MOST_LOOKS", 0)
    run(CASES, ["random"])
    monkeypatch.setattr(cuda_sort, "SHORT_ROW", 0)
    found = run(CASES, ["random"])
    assert all(
        "keys_after" in one.program.kernels[0].source for case, one in zip(CASES, found, strict=True) if case.keys > 300
    )


def test_positions_sorted_by_many_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of the radix sort that wait for others, and several chunks to count."""
    monkeypatch.setattr(cuda_scatter, "MOST_LOOKS", 0)
    monkeypatch.setattr(cuda_sort, "SHORT_ROW", 0)
    monkeypatch.setattr(cuda_sort_digits, "FEWEST_ITEMS", 2)
    monkeypatch.setattr(cuda_sort_digits, "COUNTED", 1)
    run([case for case in CASES if case.n > 1000], ["random"])


def test_each_element_is_written_once() -> None:
    """No function of its own for what is there before, where keys reach everything and are not too many."""
    starts = {case: "scatter_start(" in render_kernel(case.kernel).source for case in CASES}
    few = [case for case in CASES if case.keys > 4 * case.n and 4 * case.outer * case.inner < 64]
    assert len(few) == 3
    assert [case for case, apart in starts.items() if apart] == [case for case in CASES if case.spare or case in few]


def test_sums_are_the_same_in_every_order() -> None:
    (one,) = emulate([k.scatter(3000, 5, 3)])
    x, v, p, y = Case(3000, 5, 3).given()
    v[...] = np.random.default_rng(1).standard_normal(v.shape)
    given = [x.reshape(5, 3), v.reshape(3000, 3), p, y.reshape(5, 3)]
    first, *others = [one.run(given, order)[-1].tobytes() for order in ORDERS]
    assert [first] * len(others) == others


def test_few_positions_start_many_blocks() -> None:
    """A step of a small model: 8,192 tokens, 128 places."""
    for n, keys in ((8192, 1024), (128, 128)):
        program = render_kernel(replace(k.scatter(n, keys, 256), name="scatter"))
        grids = {entry.name: entry.grid[0] for entry in program.entries}
        assert grids["scatter_order"] >= 128 and grids["scatter"] * 256 == keys * 64


def test_positions_that_are_none_go_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """What checks positions may come later: nothing is read or written out of bounds until then."""
    cases = [Case(500, 20, 4), Case(300, 2000, 1), Case(400, 300, 3, 2, add=False), Case(300, 50, 2, spare=6)]
    for case, one in zip(cases, emulate([case.kernel for case in cases]), strict=True):
        x, v, p, y = case.given()
        p[::7], p[1::7] = case.keys + 5, -2
        inside = (p >= 0) & (p < case.keys)
        have = one.run([x, v, p, y], "random")[-1]
        np.testing.assert_array_equal(have, case.expected([x, v[inside], p[inside], y]), err_msg=str(case))
    monkeypatch.setattr(cuda_scatter, "MOST_LOOKS", 0)
    for case, one in zip(cases, emulate([case.kernel for case in cases]), strict=True):
        x, v, p, y = case.given()
        p[::7], p[1::7], p[2::7] = case.keys + 5, -2, (1 << 32) + (1 << 20) + 3  # a place, by its last bits alone
        one.run([x, v, p, y], "random")


def test_many_columns_are_summed_in_order_where_any_order_would_do() -> None:
    narrow, broad = (render_kernel(k.scatter(1000, 5, n, shape="atomic")) for n in (64, 128))
    assert "scatter_start" in narrow.source and "atomicAdd(&y" in narrow.source
    assert "scatter_order" in broad.source and "atomicAdd(&y" not in broad.source
