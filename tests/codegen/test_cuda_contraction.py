"""Contractions in tiles: every tile and cut over awkward shapes, strides and dtypes, run on the host."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen import kernels as k
from tests.codegen.emulated import emulate, needs_compiler
from tests.codegen.test_cuda_plans import arrays_of, cuda_plan, tensor
from tests.codegen.test_cuda_values import check
from tracec import functions as F
from tracec.codegen import cuda_contraction
from tracec.codegen.cuda import render, render_kernel
from tracec.codegen.cuda_contraction import take_apart
from tracec.codegen.cuda_operand import factor
from tracec.codegen.cuda_tiles import TILES, Choice, Tile, choose_tile, fits
from tracec.ir import dtype as dt
from tracec.ir.kernel import Kernel, Linear, Load, Var
from tracec.runtime.emulator import load
from tracec.runtime.emulator_launch import ORDERS
from tracec.runtime.interpreter import run_plan
from tracec.runtime.nvrtc import compile_sources
from tracec.transform import vjp


@pytest.fixture
def force(monkeypatch: pytest.MonkeyPatch) -> Callable[[Tile, int], None]:
    """Makes every contraction take this tile and so many parts."""

    def choose(tile: Tile, splits: int) -> None:
        monkeypatch.setattr(cuda_contraction, "choose_tile", lambda *_: Choice(tile, splits, 0.0))
        monkeypatch.setattr(cuda_contraction, "estimate_rows", lambda *_: math.inf)

    return choose


SHAPES = (
    k.dot(2, 5, 7, 9),
    k.dot(1, 129, 33, 17),
    k.dot(1, 31, 130, 12),
    k.dot(2, 64, 128, 32),
    k.dot(1, 36, 68, 20, "f16"),
    k.dot(1, 32, 32, 24, "bf16"),
    k.dot(1, 40, 36, 18, "f64"),
    k.dot(1, 33, 40, 21, "i32"),
    k.conv(2, 3, 5, 8),
    k.conv(1, 4, 33, 7),
)


@needs_compiler
@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize("tile", TILES, ids=lambda t: f"{t.m}x{t.n}")
def test_every_tile(tile: Tile, splits: int, force: Callable[[Tile, int], None]) -> None:
    force(tile, splits)
    kernels = [s for s in SHAPES if fits(tile, s.buffers[0].dtype.compute.itemsize)]
    emulated = emulate(kernels)
    if splits > 1 and tile.depth < 9:
        assert all(len(e.program.kernels[0].entries) == 2 for e in emulated)
    for number, one in enumerate(emulated):
        check(one, [ORDERS[number % len(ORDERS)]])


def test_chosen_tiles_fit() -> None:
    for dtype in (dt.float64, dt.int64, dt.float32):
        chosen = [choose_tile(m, n, 512, 1, dtype).tile for m in (64, 128, 1024) for n in (64, 128, 2048)]
        assert all(fits(tile, dtype.itemsize) for tile in chosen)


def matrices(a: Any, b: Any, c: Any) -> Any:
    """Products of matrices that lie in memory in all ways."""
    return a @ b + a.T @ c + (b.T[:, 1:] @ c.T[:-1]).sum(dim=0) + (a[::2] @ c[:, ::2]).mean()


def convolutions(x: Any, w: Any, v: Any) -> Any:
    return F.relu(F.conv2d(F.conv2d(x, w, stride=2, padding=1, dilation=1), v, padding=(0, 1), groups=2)).square().sum()


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "matrices": (matrices, (tensor(36, 36), tensor(36, 36), tensor(36, 36))),
    "convolutions": (convolutions, (tensor(2, 3, 9, 11), tensor(6, 3, 3, 3), tensor(4, 3, 1, 3))),
}


@needs_compiler
@pytest.mark.parametrize("splits", [1, 2])
@pytest.mark.parametrize("name", PROGRAMS)
def test_gradients_in_tiles(name: str, splits: int, force: Callable[[Tile, int], None]) -> None:
    force(TILES[1], splits)
    function, arguments = PROGRAMS[name]
    graph = vjp(tracec.trace(lambda *a: function(*a).sum(), *arguments))
    plan = cuda_plan(graph)
    assert any(kernel.shape == "contraction" for kernel in plan.kernels)
    inputs = arrays_of(graph)
    expected = run_plan(plan, [a.copy() for a in inputs])
    for have, want in zip(load(plan, render(plan, "sm_90"), ORDERS[-1])(inputs), expected, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-5 * float(np.abs(want).max(initial=1.0)))


@pytest.mark.parametrize(
    "arch", ["sm_90", pytest.param("sm_80", marks=pytest.mark.slow), pytest.param("sm_100", marks=pytest.mark.slow)]
)
def test_registers_suffice(
    arch: str, force: Callable[[Tile, int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tile spills or keeps arrays in memory, and two blocks of the largest fit a multiprocessor."""
    pytest.importorskip("cupy")
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    sources: dict[str, str] = {}
    kernels = (k.dot(1, 1024, 1024, 1024), k.dot(3, 1001, 999, 1001), k.conv(32, 64, 64, 28), k.conv(9, 3, 17, 31))
    for tile in TILES:
        force(tile, 1 if tile.m == 128 else 4)
        for kernel in kernels:
            name = f"{kernel.name}_{len(sources)}"
            sources[f"{tile} {name}"] = render_kernel(replace(kernel, name=name)).source
    cubins = compile_sources(list(sources.values()), arch)
    bad = {
        name: c.resources
        for name, c in zip(sources, cubins, strict=True)
        if c.resources.spill_bytes or c.resources.stack_bytes or c.resources.registers > 128
    }
    assert not bad


# -- operands --------------------------------------------------------------------------------------------------


def test_loops_that_an_operand_treats_as_one_are_one() -> None:
    """Weights of a convolution are a matrix; its image is not."""
    sums = take_apart(k.conv(2, 3, 4, 8))
    assert [v.extent for v in sums.b.k] == [27]
    assert [v.extent for v in sums.a.k] == [3, 3, 3]
    assert sums.b.along_k and not sums.a.along_k


def test_merging_needs_matching_strides() -> None:
    i, j = Var("i", 4), Var("j", 8)
    apart = factor(Load("x", Linear(((i, 9), (j, 1)), 0), dt.float32), (i, j), ())
    whole = factor(Load("x", Linear(((i, 8), (j, 1)), 3), dt.float32), (i, j), ())
    assert apart.along == (i, j)
    assert whole.along == (Var("i_j", 32),)


def test_aligned_operands_are_read_in_packs() -> None:
    def alignment(kernel: Kernel) -> tuple[int, ...]:
        return render_kernel(kernel).entries[0].alignment

    assert alignment(k.dot(1, 2048, 2048, 64)) == (16, 16, 16, 16)
    assert alignment(k.dot(1, 2048, 2048, 66)) == (8, 16, 16, 16)
    assert alignment(k.dot(1, 2048, 2047, 64)) == (16, 4, 4, 4)


def test_parts_are_never_empty(force: Callable[[Tile, int], None]) -> None:
    force(TILES[0], 5)
    rendered = render_kernel(k.dot(1, 128, 128, 24))
    assert rendered.entries[0].grid == (3, 1, 1)
    assert rendered.workspace == (3 * 128 * 128 * 4,)


@needs_compiler
def test_sums_in_parts_are_the_same_every_time(force: Callable[[Tile, int], None]) -> None:
    force(TILES[3], 4)
    kernel = k.dot(1, 33, 20, 100)
    (emulated,) = emulate([kernel])
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(b.size).astype(np.float32) for b in kernel.buffers]
    results = [emulated.run(arrays, order)[-1].tobytes() for order in ORDERS]
    assert len(set(results)) == 1
