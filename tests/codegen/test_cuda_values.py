"""CUDA kernels compute what the interpreter computes: their source is run by the emulator, checks and all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.codegen import kernels as k
from tests.codegen import scalars
from tests.codegen.emulated import Emulated, emulate, needs_compiler
from tests.codegen.kernels import read_kernel
from tracec.codegen import cuda_map, cuda_scan, cuda_transpose, cuda_writer
from tracec.codegen.cuda import render_kernel
from tracec.ir.kernel import Kernel
from tracec.runtime.emulator_launch import ORDERS
from tracec.runtime.interpreter import run_kernel

pytestmark = needs_compiler

CASES: dict[str, Kernel] = {
    "chain": k.chain(1024),
    "chain prime": k.chain(257),
    "chain one": k.chain(1),
    "chain half": k.chain(1000, "f16"),
    "chain brain": k.chain(333, "bf16"),
    "chain double": k.chain(34, "f64"),
    "gelu": k.gelu(100),
    "gelu half": k.gelu(65, "f16"),
    "broadcast": k.broadcast(33, 31),
    "broadcast packs": k.broadcast(5, 64, "bf16"),
    "padded": k.padded(5, 7),
    "gather": k.gather(9, 20, 12),
    "gather odd": k.gather(9, 20, 3),
    "gather many": k.gather(4100, 20, 260),
    "in place": k.in_place(1000),
    "random": k.random(37),
    "integers 8": k.integers(33, "i8"),
    "integers 32": k.integers(100, "i32"),
    "integers 64": k.integers(100, "i64"),
    "unary f32": scalars.unary_functions(300, "f32"),
    "unary f64": scalars.unary_functions(300, "f64"),
    "binary f32": scalars.binary_functions(300, "f32"),
    "binary f64": scalars.binary_functions(300, "f64"),
    **{f"binary {d}": scalars.binary_functions(100, d) for d in ("u8", "i8", "i16", "i32", "i64", "u16", "u32", "u64")},
    **{f"casts {d}": scalars.casts(33, d) for d in scalars.DTYPES},
    "rows, warp": k.row_sum(17, 33),
    "rows, warp, packs": k.row_sum(513, 264, "f16"),
    "rows, lanes": k.row_sum(37, 12),
    "rows, lanes, odd": k.row_sum(7, 5),
    "rows, block": k.row_sum(2, 5000),
    "rows, looped": k.row_sum(2, 20001, "f64"),
    "rows, one element": k.row_sum(3, 1),
    "rows, thread": k.row_sum(40, 7, shape="column"),
    "rows apart": k.row_sum(40, 24, shape="column"),
    "softmax, warp": k.softmax(9, 33),
    "softmax, warp, packs": k.softmax(513, 260),
    "softmax, lanes": k.softmax(50, 12),
    "softmax, small block": k.softmax(5, 1000),
    "softmax, block": k.softmax(2, 1025),
    "softmax, block, packs": k.softmax(2, 4096, "bf16"),
    "softmax, large block": k.softmax(2, 14001),
    "softmax, large block, packs": k.softmax(2, 20000, "f16"),
    "softmax, shared": k.softmax(1, 20000, "f64"),
    "reread": k.reread(2, 17000),
    "running, warp": k.running(520, 50),
    "running, lanes": k.running(20, 12),
    "running, block": k.running(3, 5000),
    "running, columns": k.running(33, 100, "column"),
    "batch norm": k.batch_norm(4, 3, 9),
    "batch norm packs": k.batch_norm(8, 3, 64),
    "stripes, lanes": k.stripes(3, 16, 12),
    "stripes, lanes of a few rows": k.stripes(2, 6, 33),
    "stripes, lanes of odd rows": k.stripes(3, 7, 12, "f16", sums=2),
    "picked, warp": k.picked(5, 100),
    "picked, block": k.picked(3, 3000),
    "picked, quotient first": k.picked(3, 3000, first=True),
    "rows held": k.held(2, 20000),
    "rows held, some far": k.held(2, 28672),
    "rows held, all of one far": k.held(2, 32768, "bf16", 2),
    "rows held, odd": k.held(2, 20001, "f16", 2),
    "rows held in place": k.held(2, 28000, "f32", 1, in_place=True),
    "rows held and kept": k.held(2, 24576, "f32", 2, kept=True),
    "rows held and kept, shared": k.held(1, 18000, "bf16", 2, kept=True),
    "rows held and kept, shared, odd": k.held(1, 13001, "f32", 2, kept=True),
    "rows kept next to much that is read": k.held(1, 20000, "f32", 2, kept=True),
    "rows kept next to more": k.held(1, 1 << 15, "f32", 2, kept=True),
    "stripes, one row": k.stripes(3, 1, 40),
    "stripes, lanes, some missing": k.stripes(3, 16, 12, missing=5),
    "stripes, lanes, stripes missing": k.stripes(5, 4, 60, sums=2, missing=9),
    "stripes, lanes in place, some missing": k.stripes(2, 37, 20, sums=2, in_place=True, missing=3),
    "stripes, lanes of half, missing": k.stripes(2, 9, 72, "f16", sums=2, missing=1),
    "stripes, warps, missing": k.stripes(2, 21, 100, sums=2, missing=20),
    "stripes, block, missing": k.stripes(3, 5, 1028, sums=2, missing=4),
    "stripes, block, missing, brain": k.stripes(4, 3, 2048, "bf16", missing=7),
    "stripes, large block, missing": k.stripes(2, 3, 8191, sums=2, missing=1),
    "stripes, warps": k.stripes(2, 21, 100, sums=2),
    "stripes, warps, brain": k.stripes(2, 9, 255, "bf16", sums=2),
    "stripes, block": k.stripes(3, 5, 1000),
    "stripes, block, two sums": k.stripes(2, 4, 1028, sums=2),
    "stripes, block, odd": k.stripes(2, 3, 1031, sums=2),
    "stripes, block, brain": k.stripes(2, 3, 2048, "bf16", sums=2),
    "stripes, block, double": k.stripes(2, 3, 514, "f64", sums=2),
    "stripes, large block": k.stripes(2, 3, 8192, sums=2),
    "stripes, large block, odd": k.stripes(1, 3, 8191, "f16", sums=2),
    "stripes, groups of warps": k.stripes(2, 4, 512, sums=2),
    "stripes, groups of warps, one sum": k.stripes(2, 6, 512),
    "stripes, groups of warps, some idle": k.stripes(2, 5, 500),
    "stripes, groups of warps, brain": k.stripes(2, 5, 1024, "bf16", sums=2),
    "stripes, groups of warps, missing": k.stripes(3, 4, 500, sums=2, missing=5),
    "stripes, groups of warps, half, missing": k.stripes(3, 3, 1000, "f16", missing=2),
    "stripes, groups of warps in place": k.stripes(2, 3, 512, sums=2, in_place=True),
    "stripes, four warps": k.stripes(2, 9, 256, sums=2, missing=2),
    "stripes in place": k.stripes(2, 4, 1028, in_place=True),
    "stripes in place, odd": k.stripes(2, 9, 101, sums=2, in_place=True),
    "columns": k.column_sum(100, 33),
    "columns few": k.column_sum(300, 5, "f16", 2),
    "columns packs": k.column_sum(65, 64),
    "columns, ragged packs": k.column_sum(1000, 36, "f64", 3),
    "columns, brain": k.column_sum(150, 48, "bf16", 2),
    "columns, bytes": k.column_sum(77, 24, "i8"),
    "running, column packs": k.running(36, 100, "column"),
    "columns, thread": k.column_sum(9, 100),
    "column softmax": k.column_softmax(100, 50),
    "column softmax, thread": k.column_softmax(10, 33),
    "column softmax, rows": k.column_softmax(4000, 7),
    "full": k.full_sum(1000),
    "full long": k.full_sum(20000, "f16"),
    "full maximum": k.full_sum(5000, "i64", "maximum"),
    "transpose": k.transpose(1, 64, 32),
    "transpose odd": k.transpose(2, 33, 65),
    "transpose half": k.transpose(2, 40, 17, "f16"),
    "transpose narrow": k.transpose(5, 3, 40),
    "scan, thread": k.scan(3, 10),
    "scan, block": k.scan(3, 100),
    "scan, tiles": k.scan(2, 1100, "f64"),
    "scan, reverse": k.scan(2, 600, reverse=True),
    "scan, strided": k.scan(2, 70, columns=5),
    "scan, strided, long": k.scan(1, 3001, columns=3, reverse=True),
    "scan, packs": k.scan(3, 5000),
    "scan, packs back": k.scan(3, 1028, reverse=True),
    "scan, packs half": k.scan(2, 264, "f16"),
    "scan, chunks": k.scan(2, 50000, "f64"),
    "scan, chunks back": k.scan(1, 33001, "f64", reverse=True),
    "scan, chunks maximum": k.scan(1, 40000, "i64", combine="maximum"),
    "scan, side by side": k.scan(2, 300, columns=17),
    "scan, side by side back": k.scan(1, 1001, "f16", columns=16, reverse=True),
    "scan, maximum": k.scan(2, 129, "i64", combine="maximum"),
    "scan, exponentials": k.scan(2, 129, combine="logaddexp"),
    "scan, exponentials, turns": k.scan(1, 2049, "f64", combine="logaddexp", columns=17),
    "scatter add": k.scatter(10, 5, 4),
    "scatter half": k.scatter(10, 5, 3, "f16"),
    "scatter put": k.scatter(6, 7, 8, add=False),
    "scatter add, sorted": k.scatter(1000, 5, 3),
    "scatter add, sorted packs": k.scatter(130, 5, 64),
    "scatter add, sorted half": k.scatter(77, 5, 8, "f16"),
    "scatter add, sorted brain": k.scatter(70, 5, 3, "bf16"),
    "scatter add, sorted i32": k.scatter(300, 5, 1, "i32"),
    "scatter add, sorted f64": k.scatter(999, 5, 1, "f64"),
    "scatter add, many positions": k.scatter(5000, 5, 2, "f64"),
    "scatter put, sorted": k.scatter(1000, 5, 4, add=False),
    "scatter put, sorted half": k.scatter(66, 5, 3, "f16", add=False),
    **{f"scatter, any order {d}": k.scatter(300, 5, 3, d, shape="atomic") for d in ("f32", "f64", "i32", "i64")},
    **{f"scatter, any order {d}": k.scatter(77, 5, 1, d, shape="atomic") for d in ("u32", "u64")},
    "scatter, any order, columns": k.scatter(130, 5, 64, shape="atomic"),
    "dot": k.dot(2, 33, 35, 37),
    "dot whole": k.dot(2, 32, 48, 64),
    "dot 16": k.dot(1, 5, 7, 9),
    "dot 64": k.dot(16, 130, 66, 20),
    "dot 128 by 32": k.dot(33, 130, 33, 6),
    "dot half": k.dot(1, 40, 33, 70, "f16"),
    "dot i8": k.dot(1, 18, 20, 37, "i8"),
    "dot, rows": k.dot(1, 16, 16, 700),
    "dot, vector": k.dot(3, 1, 33, 65),
    "dot, thread": k.dot(1, 20, 21, 3),
    "conv": k.conv(2, 3, 4, 8),
    "conv odd": k.conv(2, 5, 33, 5),
}  # fmt: skip


@pytest.fixture(scope="module")
def compiled() -> dict[str, Emulated]:
    """All cases in one library, each under a name of its own."""
    return dict(zip(CASES, emulate(list(CASES.values())), strict=True))


def arguments(kernel: Kernel, seed: int = 0) -> list[np.ndarray]:  # type: ignore[type-arg]
    """Arrays for a kernel's buffers; what it has yet to write is NaN, or -1."""
    random = np.random.default_rng(seed)
    found = []
    for buffer in kernel.buffers:
        if buffer.role == "out":
            array = np.full(buffer.nbytes, 0xFF, np.uint8).view(buffer.dtype.numpy)
        elif buffer.name == "p":  # positions
            array = random.integers(0, 5, buffer.size).astype(buffer.dtype.numpy)
        elif buffer.dtype.kind == "f":
            array = random.standard_normal(buffer.size).astype(buffer.dtype.numpy)
        else:
            array = random.integers(-9, 9, buffer.size).astype(buffer.dtype.numpy)
        found.append(array)
    return found


def check(emulated: Emulated, orders: Sequence[str] = ORDERS) -> None:
    """Run a kernel in several thread orders and compare with the interpreter."""
    given = arguments(emulated.kernel)
    expected = [a.copy() for a in given]
    run_kernel(emulated.kernel, expected)
    for order in orders:
        for want, have in zip(expected, emulated.run(given, order), strict=True):
            compare(emulated.kernel, want, have)


def compare(kernel: Kernel, want: np.ndarray, have: np.ndarray) -> None:  # type: ignore[type-arg]
    """Equal up to rounding; integers exactly."""
    want, have = want.reshape(-1), have.reshape(-1)
    if want.dtype.kind not in "fV":
        np.testing.assert_array_equal(have, want, err_msg=str(kernel))
        return
    bits = {2: 10 if want.dtype == np.float16 else 7, 4: 20, 8: 44}[want.dtype.itemsize]
    wide = want.astype(np.float64)
    finite = np.where(np.isfinite(wide), np.abs(wide), 0)
    scale = float(np.clip(finite.max(initial=0), 1, 1000))
    np.testing.assert_allclose(
        have.astype(np.float64), wide, rtol=2.0**-bits, atol=scale * 2.0**-bits, err_msg=str(kernel)
    )


@pytest.mark.parametrize("name", CASES)
def test_source_computes_what_the_loops_say(compiled: dict[str, Emulated], name: str) -> None:
    check(compiled[name])


def test_wide_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels past 2³¹ elements are too large to run; the same code with 64-bit positions on small ones is not."""
    monkeypatch.setattr(cuda_writer, "LIMIT", 1)
    found = emulate(list(CASES.values())[::3])
    assert all("unsigned long long" in kernel.source for one in found for kernel in one.program.kernels)
    for one in found:
        check(one, ["ascending"])


#: Rows, their length, element type, columns, from the end on, combination.
WINDOWS: tuple[tuple[int, int, str, int, bool, str], ...] = (
    (1, 33004, "f32", 1, False, "add"), (3, 40000, "f32", 1, False, "add"), (2, 18433, "f32", 1, False, "add"),
    (1, 34000, "f64", 1, False, "add"), (1, 34000, "i32", 1, False, "add"), (1, 34000, "i64", 1, False, "add"),
    (1, 66000, "f16", 1, False, "add"), (1, 16401, "u8", 1, False, "add"), (2, 20483, "f64", 1, True, "add"),
    (1, 66000, "bf16", 1, False, "maximum"), (2, 33004, "f32", 1, True, "add"), (1, 32769, "f64", 3, False, "add"),
    (2, 1001, "f32", 33, False, "add"), (1, 2000, "i64", 64, True, "add"), (3, 65, "f16", 16, False, "maximum"),
)  # fmt: skip


@pytest.mark.parametrize(("many", "multiprocessors"), [(1000, 132), (1000, 1), (1, 132)])
def test_long_scans(many: int, multiprocessors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only long rows get: of a few rows blocks that wait for windows of tiles, for all of one and for parts of it,
    with a pack of a thread or several; of many, where packs are whole, the next tile on its way."""
    monkeypatch.setattr(cuda_scan, "MANY_ROWS", many)
    monkeypatch.setattr(cuda_scan, "MULTIPROCESSORS", multiprocessors)
    monkeypatch.setattr(cuda_scan, "WINDOW", 4)
    monkeypatch.setattr(cuda_scan, "COLUMN_WINDOW", 4)
    kernels = [k.scan(m, n, d, columns=c, reverse=r, combine=f) for m, n, d, c, r, f in WINDOWS]
    for (m, n, _, columns, back, combine), one in zip(WINDOWS, emulate(kernels), strict=True):
        source = one.program.kernels[0].source
        assert ("windows" in source) == (many == 1000 or columns >= 16)
        assert ("copy_ahead" in source) == (many == 1 and columns == 1 and n % 2 == 0)
        x, y = arguments(one.kernel)
        x[...] = np.random.default_rng(0).integers(-1, 2, x.size)
        wide = x.reshape(m, n, columns).astype(np.float64 if one.kernel.buffers[0].dtype.kind == "f" else np.int64)
        wide = wide[:, ::-1] if back else wide
        expected = np.cumsum(wide, axis=1) if combine == "add" else np.maximum.accumulate(wide, axis=1)
        expected = (expected[:, ::-1] if back else expected).astype(y.dtype).reshape(-1)
        for order in ORDERS:
            np.testing.assert_array_equal(one.run([x, y], order)[-1].reshape(-1), expected)


def test_scans_are_the_same_in_every_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which sums are added up depends on places alone: not on which block came first."""
    monkeypatch.setattr(cuda_scan, "WINDOW", 8)
    monkeypatch.setattr(cuda_scan, "COLUMN_WINDOW", 8)
    for one in emulate([k.scan(1, 30001), k.scan(3, 9220), k.scan(1, 1001, columns=33)]):
        given = arguments(one.kernel)
        first, *others = [one.run(given, order)[-1].tobytes() for order in ORDERS]
        assert [first] * len(others) == others


@pytest.mark.parametrize("dtype", ["f32", "bf16", "f64", "i8"])
def test_several_chunks_a_thread(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only large arrays get: loads before the first use, whole blocks and the last, elements left over."""
    monkeypatch.setattr(cuda_map, "MANY_BLOCKS", 0)
    monkeypatch.setattr(cuda_map, "RAGGED", 0)
    sizes = (1, 3, 4, 17, 511, 1023, 1024, 1025, 2048, 4095, 4096, 8191, 9000)
    kernels = [k.chain(n, dtype) for n in sizes] + [k.broadcast(17, n, dtype) for n in (16, 250, 256)]
    if dtype == "f32":
        kernels += [make(n) for make in (k.gelu, k.in_place, k.random) for n in sizes]
    for one in emulate(kernels):
        check(one, ["random"])


@pytest.mark.parametrize("dtype", ["f32", "f16", "f64", "u8"])
def test_large_tiles(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_transpose, "MANY_BLOCKS", 0)
    sizes = ((64, 128), (65, 33), (100, 72), (36, 132), (200, 40))
    for one in emulate([k.transpose(b, m, n, dtype) for b in (1, 2) for m, n in sizes]):
        check(one, ["random"])


def test_random_words_are_made_four_at_a_time() -> None:
    source = render_kernel(k.random(1024)).source
    assert source.count("philox_block(") == 2 and "philox(" not in source
    assert "philox(" in render_kernel(k.random(1023)).source


def test_numbers_of_64_bits_are_compared_with_places_of_32() -> None:
    """Among the numbers are those whose lower halves are places, and those beside the ends of 32 bits."""
    numbers = [0, 3, 7, 8, 39, 40, -1, 2**31, 2**31 - 1, -(2**31), -(2**31) - 1, 2**32, 2**32 + 3, -(2**32) + 3]
    numbers += [-(2**63), -(2**63) + 3, 2**63 - 1]
    given = np.array(numbers, np.int64)
    kernel = read_kernel(f"""
kernel places(p: in i64[{len(numbers)}], y: out f32[{len(numbers)},40], z: out bool[{len(numbers)},40]) map {{
  for i in {len(numbers)} parallel {{
    for j in 40 parallel {{
      let v: i64 = p[i]
      store y[40*i + j] = select(eq(j, v), f32(2.0), f32(0.0))
      store z[40*i + j] = ne(v, j)
    }}
  }}
}}""")
    assert render_kernel(kernel).source.count("is_at(v, j_first, e)") == 2
    (one,) = emulate([kernel])
    same = given[:, None] == np.arange(40)
    assert same.sum() == 5
    for order in ORDERS:
        _, y, z = one.run([given, np.zeros(same.shape, np.float32), np.zeros(same.shape, np.bool_)], order)
        np.testing.assert_array_equal(y.reshape(same.shape), 2.0 * same)
        np.testing.assert_array_equal(z.reshape(same.shape), ~same)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_what_is_only_moved_keeps_its_bits(dtype: str) -> None:
    """Of all 65,536 numbers, NaN with any payload among them: rows that are picked, and a matrix that is turned."""
    picked = read_kernel(f"""
kernel picked(p: in i64[40], x: in {dtype}[4096,16], y: out {dtype}[40,16], z: out f32[40,16]) map {{
  for i in 40 parallel {{
    for j in 16 parallel {{
      let v: i64 = p[i]
      let w: f32 = cast(x[16*v + j], f32)
      let u: f32 = cast(x[16*i + j], f32)
      store y[16*i + j] = w
      store z[16*i + j] = u
    }}
  }}
}}""")
    turned = read_kernel(f"""
kernel turned(x: in {dtype}[256,256], y: out {dtype}[256,256]) transpose {{
  for i in 256 parallel {{
    for j in 256 parallel {{
      let w: f32 = cast(x[256*j + i], f32)
      store y[256*i + j] = w
    }}
  }}
}}""")
    kept = read_kernel(f"""
kernel kept(x: inout {dtype}[512], y: out {dtype}[512], z: out {dtype}[512]) map {{
  for i in 512 parallel {{
    let w: f32 = cast(x[i], f32)
    store x[i] = add(w, f32(1.0))
    store y[i] = w
    store z[i] = mul(w, w)
  }}
}}""")
    name = "__half2float(" if dtype == "f16" else "widened_bfloat16("
    sources = [render_kernel(kernel).source.split('extern "C"')[1] for kernel in (picked, turned, kept)]
    assert [source.count(name) > 0 for source in sources] == [True, False, True]
    every = np.arange(1 << 16, dtype=np.uint16)
    one, two, three = emulate([picked, turned, kept])
    numpy = one.kernel.buffers[1].dtype.numpy
    x, places = every.view(numpy), np.random.default_rng(0).integers(0, 4096, 40)
    rows, wide = one.run([places, x, np.zeros((40, 16), numpy), np.zeros((40, 16), np.float32)], "random")[2:]
    np.testing.assert_array_equal(rows.view(np.uint16).reshape(40, 16), every.reshape(4096, 16)[places])
    np.testing.assert_array_equal(wide.reshape(-1), x[:640].astype(np.float32))
    matrix = two.run([x, np.zeros((256, 256), numpy)], "random")[1]
    np.testing.assert_array_equal(matrix.view(np.uint16).reshape(256, 256), every.reshape(256, 256).T)
    x = x[15000:15512]  # read before it is written over
    before = three.run([x, np.zeros_like(x), np.zeros_like(x)], "random")[1]
    np.testing.assert_array_equal(before, x)


EMPTY = (
    k.chain(0), k.broadcast(0, 3), k.broadcast(3, 0), k.row_sum(0, 5), k.row_sum(3, 0), k.row_sum(3, 0, shape="column"),
    k.softmax(0, 40), k.softmax(4, 0), k.column_sum(0, 5), k.column_sum(40, 0), k.full_sum(0), k.transpose(0, 9, 9),
    k.transpose(2, 0, 9), k.scan(3, 0), k.scan(0, 100), k.scatter(0, 5, 4), k.scatter(0, 5, 4, shape="atomic"),
    k.dot(0, 3, 4, 5), k.dot(2, 0, 4, 5),
    k.dot(2, 3, 4, 0), k.dot(1, 3, 0, 5),
)  # fmt: skip


def test_nothing_to_do() -> None:
    """No elements, or nothing to reduce: what a reduction of nothing gives is stored, and nothing else."""
    for one in emulate(EMPTY):
        check(one, ["ascending"])


SIZES = (1, 2, 3, 7, 8, 31, 32, 33, 64, 127, 128, 129)
SWEEPS: dict[str, list[Kernel]] = {
    "chain": [k.chain(n, d) for n in (*SIZES, 255, 256, 1025) for d in ("f32", "f16", "f64")],
    "broadcast": [k.broadcast(m, n) for m in (1, 3, 8, 33) for n in SIZES],
    "padded": [k.padded(m, n) for m in (1, 2, 5) for n in (1, 2, 3, 8, 17)],
    "rows": [k.row_sum(m, n) for m in (1, 3, 33) for n in (*SIZES, 257, 1000, 1023, 1025, 2500)],
    "softmax": [k.softmax(m, n, d) for m in (1, 5) for n in (*SIZES, 513, 1000) for d in ("f32", "bf16")],
    "columns": [
        k.column_sum(n, c, d)
        for n in (1, 2, 32, 33, 65, 300, 1031)
        for c in (1, 2, 5, 12, 31, 32, 33, 64)
        for d in ("f32", "f16", "f64", "u8")
    ],
    "column softmax": [k.column_softmax(n, c) for n in (1, 2, 32, 33, 65, 300) for c in (1, 3, 12, 32, 33)],
    "transpose": [
        k.transpose(b, m, n, d)
        for b in (1, 3)
        for m in (1, 3, 8, 31, 32, 33, 65)
        for n in (1, 2, 9, 32, 40, 64)
        for d in ("f32", "bf16")
    ],
    "scan": [k.scan(m, n, columns=c) for m in (1, 3) for n in (1, 2, 64, 65, 96, 511, 513, 1025) for c in (1, 3)],
    "scatter": [k.scatter(n, r, c) for n in (1, 7) for r in (5, 6) for c in (1, 3, 4)],
    "dot": [k.dot(b, m, n, q) for b in (1, 3) for m in (1, 3, 16, 17) for n in (1, 3, 17, 33) for q in (1, 5, 16, 33)],
    "dot, large": [k.dot(b, m, n, 9) for b, m, n in ((40, 129, 129), (40, 65, 20), (40, 20, 65), (9, 129, 31))],
    "conv": [k.conv(i, c, o, s) for i in (1, 2) for c in (1, 3) for o in (3, 17) for s in (1, 4, 7)],
}  # fmt: skip

NUMBERS = tuple(d for d in scalars.DTYPES if d != "bool")
#: A kernel of each family for an element type.
DTYPES: dict[str, Callable[[str], Kernel]] = {
    "chain": lambda d: k.chain(257, d),
    "broadcast": lambda d: k.broadcast(7, 33, d),
    "row": lambda d: k.row_sum(5, 129, d),
    "long row": lambda d: k.row_sum(2, 2500, d),
    "column": lambda d: k.column_sum(65, 33, d),
    "full": lambda d: k.full_sum(3001, d),
    "transpose": lambda d: k.transpose(2, 33, 40, d),
    "scan": lambda d: k.scan(2, 129, d),
    "scatter": lambda d: k.scatter(7, 5, 3, d),
    "dot": lambda d: k.dot(2, 17, 19, 33, d),
}


def test_every_element_type() -> None:
    for one in emulate([make(d) for make in DTYPES.values() for d in NUMBERS]):
        check(one, ["random"])


@pytest.mark.slow
@pytest.mark.parametrize("family", SWEEPS)
def test_sweep(family: str) -> None:
    for one in emulate(SWEEPS[family]):
        check(one, ["descending"])
