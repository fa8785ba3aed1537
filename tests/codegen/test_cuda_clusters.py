"""Rows that a cluster of blocks shares: values of all kinds in every order, and what no kernel may do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.codegen import kernels as k
from tests.codegen.emulated import emulate, needs_compiler
from tests.codegen.small_clusters import small_blocks
from tests.codegen.test_cuda_values import arguments, check, compare
from tracec.codegen.cuda import render_kernel
from tracec.codegen.cuda_ladder import ladder
from tracec.ir.kernel import Kernel
from tracec.ir.room import room_of
from tracec.runtime.emulator_launch import ORDERS
from tracec.runtime.interpreter import run_kernel

pytestmark = needs_compiler

#: Lengths around powers of two, primes, and those that packs of two, four and eight divide.
LENGTHS = (513, 514, 516, 521, 640, 1023, 1024, 1025, 1032, 2047, 2048, 2053, 3072, 4095, 4096)
LONG = (1031, 1032, 1536, 2047, 2048, 2053, 3074, 4095, 4096)
KERNELS: dict[str, list[Kernel]] = {
    "kept in registers": [k.softmax(3, n) for n in LENGTHS],
    "kept, 16-bit": [k.softmax(2, n, d) for n in (*LENGTHS[::2], 3076, 4092) for d in ("bf16", "f16")],
    "kept in shared memory": [k.softmax(2, n, "f64") for n in (260, 263, 509, 1024, 2047)],
    "held": [k.held(2, n, d) for n in LONG for d in ("f32", "bf16")],
    "held, longer": [k.held(1, n, "bf16") for n in (5000, 8191, 8192)],
    "held, two": [k.held(2, n, loads=2, top=False) for n in LENGTHS[::2]],
    "held and kept": [k.held(2, n, d, 2, kept=True) for n in LENGTHS[::3] for d in ("f32", "bf16")],
    "in its place": [k.exponentials(2, n) for n in LENGTHS[::2]],
    "in its place, 64-bit": [k.exponentials(2, n, "f64") for n in (514, 640, 1024, 1032)],
    "computed anew": [k.exponentials(2, n, d) for n in LENGTHS[::3] for d in ("bf16", "f16")],
    "in place": [k.held(2, n, "bf16", in_place=True) for n in LONG[::2]] + [k.running(3, n) for n in LONG],
    "read again": [k.reread(2, n) for n in LONG],
    "picked": [k.picked(3, n) for n in LONG],
    "two statistics": [k.batch_norm(4, 3, n // 4) for n in LONG],
}


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    with small_blocks():
        yield


@pytest.mark.parametrize("kind", KERNELS)
def test_values(kind: str) -> None:
    found = emulate(KERNELS[kind])
    sources = [kernel.source for one in found for kernel in one.program.kernels]
    assert sum("__cluster_dims__" in s for s in sources) > len(sources) // 2
    for one in found:
        check(one, list(ORDERS))


def test_what_loops_leave_has_the_place_of_what_they_read() -> None:
    """In registers and shared memory, or in that alone, where it is as large; or else it is computed anew."""
    with room_of("sm_90"):
        long, short = (render_kernel(k.exponentials(9, n)).source for n in (3072, 256))
        narrow = render_kernel(k.exponentials(9, 4096, "bf16")).source
    name = "float *const row_{} = reinterpret_cast<float *>(x_row0{});"
    assert name.format("", "") in long and name.format("_far", "_far") in long
    assert name.format("", "_far") in short and "Pack<float, 4> x_row0[" not in short
    assert "const row_ =" not in narrow and narrow.count("expf(") == 4  # in two loops each


def test_what_has_no_place_in_registers_is_in_shared_memory() -> None:
    """Of the packs of a thread some are here and some there; a row that ends within a pack's round is guarded."""
    some = [k.softmax(3, n) for n in (513, 1023, 1024, 2052, 2053, 4092, 4096)]
    some += [k.layer_norm(3, n) for n in (1024, 2052, 4092, 4096)]
    rung = next(n for n, r in enumerate(ladder("row")) if r.near == 50)
    found = emulate(some, rungs=[rung] * len(some))
    sources = [kernel.source for one in found for kernel in one.program.kernels]
    assert sum("_far[" in s and " ? " in s for s in sources) > len(some) // 2
    for one in found:
        check(one, list(ORDERS))


def test_clusters_of_every_size_are_among_them() -> None:
    with room_of("sm_90"):
        sources = [render_kernel(kernel).source for kind in KERNELS.values() for kernel in kind]
    for blocks in (2, 4, 8):
        assert any(f"__cluster_dims__({blocks}, 1, 1)" in s for s in sources)


def test_values_are_the_same_in_every_order() -> None:
    """What the blocks found is combined by their numbers, not as it comes."""
    for one in emulate([k.softmax(2, 4095), k.held(2, 4096), k.running(2, 2053)]):
        given = arguments(one.kernel)
        first, *others = [[a.tobytes() for a in one.run(given, order)] for order in ORDERS]
        assert others == [first] * len(others)


def test_numbers_that_are_none() -> None:
    """NaN, infinities of both signs and a row of them reach all blocks."""
    (one,) = emulate([k.softmax(6, 2053)])
    x, y = arguments(one.kernel)
    rows = x.reshape(6, 2053)
    rows[0, 2052], rows[1, 0], rows[2, 1027], rows[4, :2000] = np.nan, np.inf, -np.inf, -np.inf
    rows[3] = -np.inf
    expected = [x.copy(), y.copy()]
    with np.errstate(all="ignore"):
        run_kernel(one.kernel, expected)
    for order in ORDERS:
        compare(one.kernel, expected[1], one.run([x, y], order)[1])
    found = expected[1].reshape(6, 2053)
    assert np.isnan(found[0]).all() and np.isfinite(found[4]).all()


@pytest.mark.parametrize("arch", ["sm_80", "sm_86", "sm_120"])
def test_there_are_none_elsewhere(arch: str) -> None:
    with room_of(arch):
        assert "cluster" not in render_kernel(k.reread(2, 4096)).source
