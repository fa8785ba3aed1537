"""CUDA sources: golden text of each family, schedules, launches, and that all of it compiles without spills."""

from __future__ import annotations

import ctypes
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.codegen import emulate
from tests.codegen import kernels as k
from tests.codegen.test_cuda_values import CASES, arguments
from tracec.codegen.cuda import CudaLaunch, comments, render, render_kernel
from tracec.codegen.cuda_entry import PARAMETER_BYTES, Table, table_capacity
from tracec.codegen.cuda_tiles import choose_tile
from tracec.codegen.cuda_writer import is_wide
from tracec.errors import CompileError
from tracec.ir import TensorType, parse
from tracec.ir import dtype as dt
from tracec.ir.kernel import Kernel
from tracec.ir.plan import Launch, Memory, Plan, Value
from tracec.ir.source import Source
from tracec.runtime.interpreter import run_kernel
from tracec.runtime.nvrtc import compile_sources

FAMILIES = {
    "map": k.gelu(4096),
    "row": k.softmax(64, 4096),
    "column": k.column_sum(1000, 64),
    "full": k.full_sum(1000),
    "transpose": k.transpose(2, 100, 200),
    "scan": k.scan(4, 1000),
    "scatter": k.scatter(10, 5, 4),
    "scatter sorted": k.scatter(1000, 5, 4),
    "scan chunks": k.scan(1, 100000),
    "scan columns": k.scan(1, 1000, columns=64),
    "contraction": k.dot(1, 1000, 1000, 100),
    "convolution": k.conv(8, 3, 16, 8),
    "runs": k.sized(),
}

LARGE = {
    "chain": k.chain(1 << 22),
    "gelu": k.gelu(1 << 22, "bf16"),
    "rows": k.row_sum(64, 50001),
    "softmax f32": k.softmax(64, 8192),
    "softmax f64": k.softmax(64, 8191, "f64"),
    "softmax bf16": k.softmax(64, 8000, "bf16"),
    "dot 128": k.dot(1, 2048, 2048, 512),
    "dot 64": k.dot(4, 512, 512, 512),
    "dot f64": k.dot(4, 512, 512, 512, "f64"),
    "dot bf16": k.dot(4, 512, 512, 512, "bf16"),
    "conv": k.conv(64, 64, 64, 56),
    "embedding": k.scatter(1 << 14, 50000, 768),
    "embedding bf16": k.scatter(1 << 14, 50000, 768, "bf16"),
    "put": k.scatter(1 << 14, 50000, 768, add=False),
    "scan": k.scan(4096, 4096),
    "scan long": k.scan(1, 1 << 24),
    "scan bf16": k.scan(64, 1 << 16, "bf16"),
    "scan columns": k.scan(8, 4096, columns=512),
    "runs": k.sized(),
    "past 2**31": k.chain((1 << 31) + 8),
    "past 2**31, rows": k.row_sum(1 << 20, 1 << 12),
    "past 2**31, dot": k.dot(1, 1 << 16, 1 << 16, 64),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_source(golden: Any, family: str) -> None:
    assert render_kernel(FAMILIES[family], runs=3).source.removesuffix("\n") == golden


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_everything_compiles_without_spills(arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cupy")
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    every = {**CASES, **LARGE}
    sources = [
        render_kernel(replace(kernel, name=f"{kernel.name}_{n}"), 4).source for n, kernel in enumerate(every.values())
    ]
    spilled = {
        name: cubin.resources
        for name, cubin in zip(every, compile_sources(sources, arch), strict=True)
        if cubin.resources.spill_bytes
    }
    assert not spilled


@pytest.mark.parametrize(
    ("kernel", "schedule", "grid", "block"),
    [
        (k.chain(1 << 22), "4 of 1048576 chunks a thread, packs of 4", (1024, 1, 1), (256, 1, 1)),
        (k.chain(1001), "1 of 1001 chunks a thread", (4, 1, 1), (256, 1, 1)),
        (k.chain(1000, "bf16"), "1 of 125 chunks a thread, packs of 8", (1, 1, 1), (256, 1, 1)),
        (k.softmax(1024, 512), "a warp a row of 512, 4 unrolled, packs of 4", (256, 1, 1), (32, 4, 1)),
        (k.softmax(9, 512), "a block of 128 a row of 512, 1 unrolled, packs of 4", (9, 1, 1), (128, 1, 1)),
        (k.softmax(50, 12), "4 lanes a row of 12, 1 unrolled, packs of 4", (2, 1, 1), (4, 32, 1)),
        (k.softmax(9, 4096), "a block of 128 a row of 4096, 8 unrolled, packs of 4", (9, 1, 1), (128, 1, 1)),
        (k.softmax(1, 20000, "f64"), "a block of 512 a row of 20000 in shared memory, packs of 2", (1, 1, 1),
         (512, 1, 1)),
        (k.reread(2, 40001), "a block of 1024 a row of 40001, looped", (2, 1, 1), (1024, 1, 1)),
        (k.column_sum(500, 40), "32 columns by 32 threads a block, 500 elements a column", (2, 1, 1), (32, 32, 1)),
        (k.column_sum(9, 40), "1 of 40 chunks a thread", (1, 1, 1), (256, 1, 1)),
        (k.transpose(3, 33, 65), "tiles of 32 by 32, 1 turned", (18, 1, 1), (32, 8, 1)),
        (k.scan(5, 100), "a block of 32 a row of 100, 4 elements a thread, packs of 4", (5, 1, 1), (32, 1, 1)),
        (k.dot(1, 2048, 2048, 64), "tiles of 128 by 128 by 8, 8 by 8 a thread, packs of 4", (256, 1, 1), (256, 1, 1)),
        (k.dot(1, 16, 9, 4096), "a block of 512 a row of 4096, 2 unrolled, packs of 4", (144, 1, 1), (512, 1, 1)),
        (k.dot(7, 1, 50, 64), "32 columns by 8 threads a block, 64 elements a column", (11, 1, 1), (32, 8, 1)),
    ],
    ids=lambda value: value.name if isinstance(value, Kernel) else "",
)  # fmt: skip
def test_schedule_follows_extents(kernel: Kernel, schedule: str, grid: tuple[int, ...], block: tuple[int, ...]) -> None:
    (entry,) = render_kernel(kernel).entries
    assert (entry.schedule, entry.grid, entry.block) == (schedule, grid, block)


def test_packs_ask_for_aligned_buffers() -> None:
    (entry,) = render_kernel(k.broadcast(4, 8)).entries
    assert entry.alignment == (16, 16, 4, 16)


def test_nothing_to_compute_is_not_launched() -> None:
    kernel = k.chain(0)
    value = Value("t", TensorType(dt.float32, (0,)), "arena")
    plan = Plan((kernel,), (Launch(0, ((0, 0, 0),)),), (value,), (), (), Memory(0, 0, 0))
    assert render(plan, "sm_90").steps == ()


def test_positions_widen_past_32_bits() -> None:
    assert not is_wide(k.chain((1 << 31) - 1))
    assert is_wide(k.chain(1 << 31))
    assert "const long long i" in render_kernel(k.chain(1 << 31)).source
    assert is_wide(k.dot(1, 1 << 16, 1 << 16, 2))


def test_tiles_shrink_with_the_matrix() -> None:
    assert choose_tile(4096, 4096, 4096, 1, dt.float32).tile.m == 128
    assert choose_tile(4096, 32, 64, 1, dt.float32).tile.n <= 32
    assert choose_tile(16, 16, 16, 1, dt.float32).tile.m == 16
    assert choose_tile(4096, 4096, 4096, 1, dt.float64).tile.m_each * 8 <= 64


def test_few_sums_of_many_products_are_split() -> None:
    assert choose_tile(4096, 4096, 4096, 1, dt.float32).splits == 1
    assert choose_tile(768, 768, 8192, 1, dt.float32).splits > 1
    rendered = render_kernel(k.dot(1, 64, 64, 8192))
    assert len(rendered.entries) == 2 and rendered.workspace
    assert "parts of" in rendered.entries[0].schedule


def test_comments_tell_where_a_kernel_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    file.write_text("y = sin(x)  # \\\n")
    kernel = replace(k.chain(8), sources=(Source(str(file), 1),))
    assert comments(kernel, render_kernel(kernel).entries) == (
        "chain: map; 1 of 2 chunks a thread, packs of 4",
        "ops: mul, add, maximum",
        "model.py:1: y = sin(x)  # ",
    )


def test_unknown_shape_is_an_error() -> None:
    with pytest.raises(CompileError, match="no CUDA template for shape 'sort', known are map, row"):
        render_kernel(replace(k.chain(8), shape="sort"))


def test_scratch_must_be_indexed_by_the_position_in_the_row() -> None:
    kernel = k.softmax(4, 64)
    text = str(kernel).replace("row[r]", "row[63 - r]")
    shuffled = parse(text)
    assert isinstance(shuffled, Kernel)
    with pytest.raises(CompileError, match="scratch is indexed by something else"):
        render_kernel(shuffled)


# -- many buffers in one launch -------------------------------------------------------------------------------


def test_a_table_fits_the_parameters_of_a_launch() -> None:
    for buffers in range(1, 9):
        assert Table(table_capacity(buffers), buffers, 1024).nbytes <= PARAMETER_BYTES


def _many(count: int) -> Plan:
    sizes = tuple(1 + 700 * n % 2500 for n in range(count))
    values = [Value("lr", TensorType(dt.float32, ()), "input", index=0)]
    for n, size in enumerate(sizes):
        values += [Value(f"{x}{n}", TensorType(dt.float32, (size,)), "arena") for x in "wg"]
    args = tuple((1 + 2 * n, 2 + 2 * n, 0) for n in range(count))
    return Plan((k.sized(),), (Launch(0, args, sizes),), tuple(values), (0,), (), Memory(0, 0, 0))


def test_long_tables_are_split() -> None:
    program = render(_many(300), "sm_90")
    launches = [s for s in program.steps if isinstance(s, CudaLaunch)]
    assert [len(s.args) for s in launches] == [127, 127, 46]
    assert launches[0].grid[0] == sum(-(-s // 1024) for s in launches[0].sizes)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_runs_find_their_buffers(tmp_path: Path) -> None:
    program = render(_many(37), "sm_90")
    (step,) = program.steps
    assert isinstance(step, CudaLaunch)
    (entry,) = program.kernels[0].entries
    assert entry.table is not None
    random = np.random.default_rng(0)
    rate = np.float32(0.25)
    weights = [random.standard_normal(s).astype(np.float32) for s in step.sizes]
    slopes = [random.standard_normal(s).astype(np.float32) for s in step.sizes]
    scalar = emulate.guarded(np.array(rate))
    copies = [emulate.guarded(w) for w in weights]
    given = [emulate.guarded(g) for g in slopes]
    pointers = [(w.ctypes.data, g.ctypes.data, scalar.ctypes.data) for w, g in zip(copies, given, strict=True)]
    packed = entry.table.pack(step.sizes, pointers)
    table = ctypes.create_string_buffer(packed, len(packed))
    library = emulate.build(program.kernels, tmp_path)
    emulate.launch(library, entry, step.grid, [table], emulate.ASCENDING)
    for copy, w, g in zip(copies, weights, slopes, strict=True):
        emulate.check_guards(copy)
        np.testing.assert_allclose(copy, w - rate * g, rtol=1e-6, atol=1e-6)


# -- the emulator bites ---------------------------------------------------------------------------------------

MUTATIONS = {
    "barrier of a row": (k.softmax(2, 5000), "__syncthreads();", ""),
    "barrier before results": (k.running(3, 5000), "__syncthreads();\n  if (thread == 0) {", "if (thread == 0) {"),
    "barrier of a column": (k.column_sum(100, 33), "__syncthreads();", ""),
    "barrier of a transpose": (k.transpose(2, 33, 65), "__syncthreads();", ""),
    "first barrier of a product": (k.dot(1, 70, 71, 90), "__syncthreads();\n  int turn", "int turn"),
    "last barrier of a product": (k.dot(1, 70, 71, 90), "put(turn);\n    __syncthreads();", "put(turn);"),
    "turn of a product": (k.dot(1, 70, 71, 90), "turn ^= 1;", ""),
    "sums of parts": (k.dot(1, 64, 64, 8192), "split * ", "0u * "),
    "barrier of a scan": (k.scan(2, 5000), "__syncthreads();", ""),
    "first step of a scan": (k.scan(2, 5000), "int item = 1", "int item = 2"),
    "lanes of a scan": (k.scan(2, 5000), "if (lane > 0) {", "{"),
    "chunks of a scan": (k.scan(1, 40000), "left < piece", "left + 1 < piece"),
    "last barrier of a scan": (k.scan(2, 5000), "__syncthreads();  // totals", "// totals"),
    "bound of a map": (k.chain(257), "if (chunk >= 257u) return;", ""),
    "bound of a row": (k.row_sum(17, 33), "if (chunk < 33u) {", "{"),
    "bound of the rows": (k.row_sum(17, 33), "if (row >= 17u) return;", ""),
    "bound of a transpose": (k.transpose(1, 33, 65), "j < 33", "j < 34"),
    "bound of a product": (k.dot(1, 70, 71, 90), "k < 90u", "k < 91u"),
    "bound of the sums": (k.dot(1, 70, 71, 90), "if (m >= 70u || n >= 71u) continue;", ""),
    "last column": (k.dot(1, 70, 71, 90), "n >= 71u", "n >= 70u"),
    "index term": (k.broadcast(33, 31), "31 * i + j", "31 * i"),
    "step of a shuffle": (k.row_sum(17, 33), "int step = 16", "int step = 8"),
    "joins of a scatter": (k.scatter(1000, 5, 4), "stop >= 1000u || key_of(stop) != key) break", "true) break"),
    "start of a sum": (k.scatter(1000, 5, 4), "first == 0 || key_of(first - 1) != key;  //", "true;  //"),
    "last of a put": (k.scatter(1000, 5, 4, add=False), "key_of(at + 1) == key", "false"),
    "pack": (k.chain(1024), "e < 4", "e < 3"),
}


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.slow
@pytest.mark.parametrize("what", MUTATIONS)
def test_emulator_finds_the_mistake(what: str, tmp_path: Path) -> None:
    kernel, old, new = MUTATIONS[what]
    rendered = render_kernel(kernel)
    assert old in rendered.source
    broken = replace(rendered, source=rendered.source.replace(old, new))
    library = emulate.build([broken], tmp_path)
    given = arguments(kernel)
    expected = [a.copy() for a in given]
    run_kernel(kernel, expected)

    def wrong(order: int) -> bool:
        try:
            found = emulate.run(library, broken, given, order)
        except AssertionError:
            return True
        return not all(np.allclose(f, e, rtol=1e-4, atol=1e-4) for f, e in zip(found, expected, strict=True))

    assert any(wrong(order) for order in (emulate.ASCENDING, emulate.DESCENDING, emulate.SHUFFLED))
