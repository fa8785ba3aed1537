"""C kernels compute what the interpreter computes, at every size where loops, tiles and vectors end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from tests.codegen import kernels as k
from tests.codegen.plans import Array, arrays_for, assert_same, plan_of
from tracec.codegen import c
from tracec.codegen.c import render
from tracec.ir.kernel import Kernel
from tracec.runtime.cpu import load
from tracec.runtime.interpreter import run_kernel

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

SIZES = (0, 1, 3, 17, 31, 32, 33, 255, 256, 257)
DTYPES = ("f16", "bf16", "f32", "f64")

CASES: dict[str, Kernel] = {
    **{f"chain {n}": k.chain(n) for n in SIZES},
    **{f"chain {d}": k.chain(100, d) for d in DTYPES},
    "chain, threads": k.chain(70_001),
    **{f"gelu {d}": k.gelu(1000, d) for d in DTYPES},
    **{f"broadcast {m} {n}": k.broadcast(m, n) for m, n in ((3, 33), (17, 1), (1, 17), (300, 257), (5000, 3))},
    **{f"padded {m} {n}": k.padded(m, n) for m, n in ((1, 1), (5, 7), (31, 64))},
    **{f"gather {c}": k.gather(9, 20, c) for c in (1, 3, 64)},
    "in place": k.in_place(1000),
    "random": k.random(1037),
    **{f"integers {d}": k.integers(257, d) for d in ("i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64")},
    **{f"rows {m} {n}": k.row_sum(m, n) for m, n in ((0, 3), (3, 0), (3, 1), (17, 33), (40, 257), (100, 4096))},
    **{f"rows {d}": k.row_sum(5, 1000, d) for d in DTYPES},
    **{f"rows, short {n}": k.row_sum(100, n, shape="column") for n in (1, 3, 10, 31)},
    **{f"softmax {m} {n}": k.softmax(m, n) for m, n in ((9, 33), (1, 1), (3, 4097))},
    **{f"softmax {d}": k.softmax(3, 65, d) for d in DTYPES},
    **{f"masked {n} {d}": k.masked(n, d) for n in (1, 33, 1000) for d in ("f32", "f64")},
    **{f"pool {m} {n}": k.pool(m, n) for m, n in ((3, 1), (5, 7), (9, 8), (8, 16), (17, 16), (3, 33))},
    "pool double": k.pool(5, 24, "f64"),
    **{f"spread {m} {n} {s}": k.spread(m, n, s) for m, n in ((8, 8), (9, 33), (4, 4)) for s in (1, 2, 3)},
    **{f"windows {n} {size}": k.windows(7, n, size) for n in (9, 33) for size in (3, 5)},
    "windows double": k.windows(7, 24, 3, "f64"),
    "columns of rows": k.columns_of_rows(17, 16),
    "reread": k.reread(2, 17_000),
    "batch norm": k.batch_norm(8, 3, 49),
    **{f"columns {n} {c}": k.column_sum(n, c) for n, c in ((1, 1), (100, 33), (3, 1025), (300, 64), (1000, 3))},
    **{f"columns {d}": k.column_sum(30, 77, d, outer=3) for d in DTYPES},
    "columns, threads": k.column_sum(500, 1111, outer=2),
    **{f"column softmax {n} {c}": k.column_softmax(n, c) for n, c in ((100, 50), (10, 333), (4000, 7))},
    **{f"full {n}": k.full_sum(n) for n in (0, 1, 17, 10_001)},
    **{f"full {c}": k.full_sum(100, "i64", c) for c in ("add", "mul", "maximum", "minimum")},
    **{f"full float {c}": k.full_sum(100, "f32", c) for c in ("maximum", "minimum")},
    **{f"transpose {b} {m} {n}": k.transpose(b, m, n) for b, m, n in ((1, 64, 32), (2, 33, 65), (5, 3, 40), (1, 1, 9))},
    "transpose half": k.transpose(2, 40, 17, "f16"),
    "transpose, threads": k.transpose(3, 130, 257),
    **{f"scan {m} {n}": k.scan(m, n) for m, n in ((3, 1), (2, 600))},
    "scan, reverse": k.scan(2, 60, reverse=True),
    "scan, columns": k.scan(2, 70, columns=50),
    "scan, maximum": k.scan(2, 129, "i64", combine="maximum"),
    "scan, exponentials": k.scan(2, 129, combine="logaddexp"),
    "scan, exponentials, columns": k.scan(2, 70, "f64", combine="logaddexp", columns=50),
    "scan half": k.scan(2, 20, "f16"),
    **{f"scatter {d}": k.scatter(40, 5, 33, d) for d in (*DTYPES, "i64")},
    "scatter one column": k.scatter(40, 5, 1),
    "scatter put": k.scatter(6, 7, 80, add=False),
    "scatter, threads": k.scatter(300, 70, 1000),
    **{f"dot {s}": k.dot(*s) for s in ((2, 33, 35, 37), (1, 5, 7, 9), (3, 100, 30, 300), (1, 130, 257, 65))},
    **{f"dot {d}": k.dot(2, 40, 33, 70, d) for d in DTYPES},
    "dot, long": k.dot(1, 9, 40, 20_000),
    "dot integers": k.dot(1, 9, 17, 5, "i32"),
    **{f"conv {s}": k.conv(*s) for s in ((2, 3, 5, 7), (16, 16, 32, 8), (3, 16, 9, 4), (1, 5, 30, 33))},
    **{
        f"conv weight {s}": k.conv_weight(*s)
        for s in ((2, 3, 5, 37), (40, 4, 16, 8), (9, 3, 7, 17), (300, 2, 5, 3), (1, 5, 3, 60), (17, 2, 3, 40))
    },
    "conv weight double": k.conv_weight(5, 3, 7, 20, "f64"),
}


@pytest.fixture(scope="module", params=["gcc", "clang"])
def compiler(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each of the two compilers that generated C is written for, where it is installed."""
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACEC_CC", name)
        yield name


@pytest.fixture(scope="module")
def results(compiler: str) -> dict[str, tuple[list[Array], list[Array]]]:
    """For each case the buffers after the C kernel, and after the interpreter; all compiled as one plan."""
    plan = plan_of(list(CASES.values()))
    executable = load(plan, render(plan))
    given = {name: arrays_for(kernel) for name, kernel in CASES.items()}
    copies = {name: [a.copy() for a in arrays] for name, arrays in given.items()}
    flat = [
        a for name, case in CASES.items() for a, b in zip(given[name], case.buffers, strict=True) if b.role != "out"
    ]
    outputs = iter(executable(flat))
    found: dict[str, tuple[list[Array], list[Array]]] = {}
    for name, kernel in CASES.items():
        run_kernel(kernel, copies[name])
        written = [a for a, b in zip(copies[name], kernel.buffers, strict=True) if b.role != "in"]
        found[name] = ([next(outputs) for _ in written], written)
    return found


@pytest.mark.parametrize("name", CASES)
def test_values(results: dict[str, tuple[list[Array], list[Array]]], name: str) -> None:
    for found, expected in zip(*results[name], strict=True):
        assert_same(found, expected)


def test_results_are_the_same_with_any_number_of_threads_and_in_every_run(
    results: dict[str, tuple[list[Array], list[Array]]],
) -> None:
    names = [
        "columns, threads",
        "rows 100 4096",
        "dot, long",
        "scatter, threads",
        "conv (16, 16, 32, 8)",
        "conv weight (9, 3, 7, 17)",
        "full 10001",
    ]
    kernels = [CASES[n] for n in names]
    plan = plan_of(kernels)
    executable = load(plan, render(plan))
    inputs = [a for case in kernels for a, b in zip(arrays_for(case), case.buffers, strict=True) if b.role != "out"]
    set_threads = executable._library.omp_set_num_threads
    first = executable(inputs)
    try:
        for threads in (1, 2, 3, 5):
            set_threads(threads)
            for a, b in zip(first, executable(inputs), strict=True):
                np.testing.assert_array_equal(a, b)
    finally:
        set_threads(2)


@pytest.mark.parametrize("combine", ["maximum", "minimum"])
@pytest.mark.parametrize("at", [0, 5, 99, 100])
def test_extremes_carry_nan(combine: str, at: int) -> None:
    plan = plan_of([k.full_sum(101, "f32", combine)])
    x = np.arange(101, dtype=np.float32)
    executable = load(plan, render(plan))
    assert executable([x])[0] == (100 if combine == "maximum" else 0)
    x[at] = np.nan
    assert np.isnan(executable([x])[0])


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_zero_takes_the_place_of_whatever_is_not_selected(dtype: str) -> None:
    special = [np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-45, -3.0] * 10
    x = np.array(special, {"f32": np.float32, "f64": np.float64}[dtype])
    plan = plan_of([k.masked(x.size, dtype)])
    program = render(plan)
    assert f"zero_if_{dtype}(" in str(program) and f"zero_unless_{dtype}(" in str(program)
    for p in (np.zeros(x.size, bool), np.ones(x.size, bool), np.arange(x.size) % 3 == 0):
        q, y, z = load(plan, program)([p, x])
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(q, ~p & (x > 0))
            np.testing.assert_array_equal(y, np.where(p, 0.0, x))
            np.testing.assert_array_equal(z, np.where(p, x / x, 0.0))
        np.testing.assert_array_equal(np.signbit(y), np.where(p, False, np.signbit(x)))


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_pooling_finds_the_first_of_the_largest(special: float) -> None:
    rows, columns = 7, 16
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, (rows, 2, columns, 2)).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = special
    p = rng.random(x.shape) < 0.3
    plan = plan_of([k.pool(rows, columns)])
    q, y = load(plan, render(plan))([p.reshape(-1), x.reshape(-1)])
    windows = np.where(p, np.float32(0), x).transpose(0, 2, 1, 3).reshape(-1, 4)
    np.testing.assert_array_equal(y, windows.max(axis=1))
    np.testing.assert_array_equal(q.reshape(-1, 4), np.arange(4) == windows.argmax(axis=1)[:, None])


def test_half_floats_round_as_numpy_does() -> None:
    text = """kernel round(x: in f32[{n}], y: out {d}[{n}], z: out f32[{n}]) map {{
      for i in {n} parallel {{
        let h: {d} = cast(x[i], {d})
        store y[i] = h
        store z[i] = cast(h, f32)
      }}
    }}"""
    bits = np.random.default_rng(1).integers(0, 2**32, 4000, dtype=np.uint32)
    special = np.array(
        [
            0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x477FEFFF, 0x477FF000, 0x33000000, 0x33000001,
            0x387FE000, 0x387FF000, 0x38800000, 0x3F801000, 0x3F803000, 1, 0x7F7FFFFF,
        ],
        np.uint32,
    )  # fmt: skip
    ordinary = np.random.default_rng(2).normal(size=4000).astype(np.float32)
    x = np.concatenate([bits.view(np.float32), special.view(np.float32), ordinary, ordinary * np.float32(1e-6)])
    for dtype in ("f16", "bf16"):
        kernel = k.read_kernel(text.format(n=x.size, d=dtype))
        plan = plan_of([kernel])
        y, z = load(plan, render(plan))([x])
        with np.errstate(over="ignore", invalid="ignore"):
            expected = x.astype(y.dtype)
        np.testing.assert_array_equal(y.astype(np.float32), expected.astype(np.float32))
        np.testing.assert_array_equal(z, expected.astype(np.float32))


@pytest.mark.usefixtures("compiler")
def test_results_written_past_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c, "MIN_LEAVING", 1)
    monkeypatch.setattr(c, "MIN_PAST_CACHE", 1)
    kernels = [
        k.chain(300), k.gelu(256), k.gelu(1001, "f16"), k.broadcast(40, 272), k.broadcast(40, 300),
        k.softmax(9, 512), k.reread(5, 1040), k.chain(5000, "f64"), k.chain(70_003), k.softmax(9, 517),
        k.broadcast(33, 257), k.broadcast(37, 291, "f64"),
    ]  # fmt: skip
    plan = plan_of(kernels)
    program = render(plan)
    assert "write_past_cache(" in program.kernels["k0_chain"]
    assert "j_from - j_start" in program.kernels["k4_broadcast"]  # its rows do not begin at cache lines
    given = [arrays_for(kernel) for kernel in kernels]
    pairs = [p for case, kernel in zip(given, kernels, strict=True) for p in zip(case, kernel.buffers, strict=True)]
    flat = [a for a, b in pairs if b.role == "in"]
    outputs = iter(load(plan, program)(flat))
    for arrays, kernel in zip(given, kernels, strict=True):
        run_kernel(kernel, arrays)
        for array, buffer in zip(arrays, kernel.buffers, strict=True):
            if buffer.role == "out":
                assert_same(next(outputs), array)
