"""Stable sorting in CUDA: in shared memory and digit by digit, against the operator's eager rule."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tests.codegen.test_cuda_plans import cuda_plan
from tracec.codegen import cuda_sort
from tracec.codegen.cuda import CudaLaunch, render
from tracec.errors import EmulatorError
from tracec.ir import TensorType
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.operator import OPERATORS
from tracec.ir.plan import LibraryCall, Memory, Plan, Value
from tracec.runtime.emulator import EmulatedPlan, compile_kernels, load
from tracec.runtime.emulator_launch import ORDERS
from tracec.runtime.nvrtc import compile_sources

Array = np.ndarray[Any, Any]
Case = tuple[DType, tuple[int, ...], int, bool]


def plan_of(cases: Sequence[Case]) -> Plan:
    """A plan that sorts a tensor for each case."""
    values: list[Value] = []
    steps: list[LibraryCall] = []
    for dtype, shape, axis, descending in cases:
        at = len(values)
        values += [
            Value(f"x{at}", TensorType(dtype, shape), "input", index=at // 2),
            Value(f"y{at}", TensorType(dt.int64, shape), "output", index=at // 2),
        ]
        params = (("axis", axis), ("descending", descending))
        steps.append(LibraryCall("argsort", (at,), at + 1, params, "argsort"))
    inputs = tuple(range(0, len(values), 2))
    return Plan((), tuple(steps), tuple(values), inputs, tuple(i + 1 for i in inputs), Memory(0, 0, 0))


def values_of(case: Case, seed: int = 0) -> Array:
    """Elements with many ties; infinities, NaN of both signs and both zeros among floats."""
    dtype, shape, _, _ = case
    random = np.random.default_rng(seed)
    if dtype.kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if dtype.kind == "f":
        x = np.asarray(random.standard_normal(shape) * 10 ** random.uniform(-6, 4, shape))
        special = np.array([np.nan, np.copysign(np.nan, -1.0), np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 6e-8])
        x = np.where(random.random(shape) < 0.4, random.choice(special, shape), x)
        with np.errstate(over="ignore"):
            return x.astype(dtype.numpy)
    info = np.iinfo(dtype.numpy)
    wide = random.integers(info.min, info.max, shape, dtype.numpy, endpoint=True)
    return np.where(random.random(shape) < 0.5, wide % dtype.numpy.type(5), wide).astype(dtype.numpy)


def expected(case: Case, x: Array) -> Array:
    _, _, axis, descending = case
    found: Array = OPERATORS["argsort"].eager(np, x, axis=axis, descending=descending)
    return found


def run(cases: Sequence[Case], orders: Sequence[str] = ORDERS) -> None:
    """Run a plan in the emulator and compare with the operator's eager rule."""
    plan = plan_of(cases)
    for order in orders:
        found = load(plan, render(plan, "sm_90"), order)([values_of(case) for case in cases])
        for case, have in zip(cases, found, strict=True):
            np.testing.assert_array_equal(have, expected(case, values_of(case)), err_msg=str(case))


LENGTHS = (1, 2, 3, 31, 32, 33, 64, 65, 127, 129, 1000, 1025, 4096)
DTYPES = (*dt.IN_KERNELS,)


@needs_compiler
def test_short_rows() -> None:
    lengths: list[Case] = [(dt.float32, (3, n), 1, n % 2 == 0) for n in LENGTHS]
    dtypes: list[Case] = [(d, (5, 37, 2), 1, descending) for d in DTYPES for descending in (False, True)]
    run([*lengths, *dtypes, (dt.int64, (4000, 3), 0, False)])


def crowded(case: Case, many: bool, seed: int = 0) -> Array:
    """Rows of elements that differ by their last bits alone, and two that are far apart: four by four, or many."""
    dtype, shape, _, _ = case
    random = np.random.default_rng(seed)
    step = np.finfo(dtype.numpy).eps if dtype.kind == "f" else 1
    x = np.asarray(random.integers(0, 1 << 10, shape) * step + 1, dtype.numpy)
    if not many:
        ones = random.integers(1, 1 << 20, (shape[0], -(-shape[1] // 4)))
        near = np.tile(ones, 4)[:, : shape[1]] * (1 + step * random.integers(0, 4, shape))
        x = np.asarray(random.permuted(near, axis=1), dtype.numpy)
    elif dtype.itemsize == 8:  # the bits between differ, too
        x += (random.integers(0, 3, shape) * step * 2.0**20).astype(dtype.numpy)
    info = np.finfo(dtype.numpy) if dtype.kind == "f" else np.iinfo(dtype.numpy)
    x[:, shape[1] // 2], x[:, 5] = info.min, info.max
    return x


#: A warp and several for a row, whole and not.
CROWDED: tuple[Case, ...] = (
    *((dt.float32, (3, n), 1, n % 2 == 0) for n in (31, 33, 300, 1024, 1025)),
    *((d, (2, n), 1, n % 2 == 0) for d in (dt.int64, dt.float64) for n in (65, 1000, 2500)),
    (dt.int32, (5, 1000), 1, False),
)


@needs_compiler
@pytest.mark.parametrize("many", [False, True])
def test_keys_that_differ_by_their_last_bits(many: bool) -> None:
    given = [crowded(case, many) for case in CROWDED]
    plan = plan_of(CROWDED)
    for order in ORDERS:
        for case, x, have in zip(CROWDED, given, load(plan, render(plan, "sm_90"), order)(given), strict=True):
            np.testing.assert_array_equal(have, expected(case, x), err_msg=str(case))


#: Mistakes in a row's sort by a warp (300 elements), two (1,100) or four: what, in which case, old and new text; none
#: where a barrier is taken away.
MISTAKES: dict[str, tuple[Case, bool, str, str | None]] = {
    name: ((dt.float32, (5, length), 1, False), many, old, new)
    for name, length, many, old, new in (
        ("step of a merge", 300, False, "(apart /= 2) > 0", "(apart /= 2) > 1"),
        ("runs read backwards", 300, False, "own[15 - e], span - 1", "own[e], span - 1"),
        ("length of a row", 300, False, "if (at >= 300u) continue;", ""),
        ("rows", 300, False, "if (row >= 5u) return;", ""),
        ("range of keys", 300, False, "(keys[e] - least) >> left", "keys[e] - least"),
        ("places of equal keys", 300, False, " << 9 | at;\n    }\n  }", " << 9;\n    }\n  }"),
        ("words of a warp", 300, False, "= own[e];\n    __syncwarp();", None),
        ("keys that fall", 300, False, "falls |= rest & ~(rest - 1);", ";"),
        ("marks of a warp", 300, False, "[thread] = falls;\n    __syncwarp();", None),
        ("before the first that falls", 300, False, "marked(0, start) && !marked(1, start)) --start", "false) --start"),
        ("behind the first that falls", 300, False, "marked(0, stop)) ++stop", "false) ++stop"),
        ("whose turn it is", 300, False, "if (marked(1, start)) continue;", ""),
        ("end of the putting in order", 300, False, "      __syncwarp();\n      break;", None),
        ("many equal bits", 300, True, "many = true;\n", ";\n"),
        ("groups of a warp", 300, True, "if (thread % 32 >= step) group += other;", ""),
        ("groups in a thread", 300, True, "group += ~ties >> e & 1;", ""),
        ("bits that come next", 300, True, "- least) >> left) & mask", "- least) >> left + 1) & mask"),
        ("before the ends of warps", 1100, False, "thread / 32] = most;\n    }\n    __syncthreads();", None),
        ("ends of warps", 1100, False, "least = min(least, ends[0][other]);", ""),
        ("before words are exchanged", 2100, False, "__syncthreads();  // they have been read", None),
        ("words that are exchanged", 1100, False, "+ thread] = own[e];\n        __syncthreads();", None),
        ("before words are stored", 1100, False, "__syncthreads();\n    #pragma unroll\n    for (int e", None),
        ("words of a block", 1100, False, "/ 32] = own[e];\n    __syncthreads();", None),
        ("last of the warp before", 1100, False, "if (thread % 32 == 0 && thread > 0) before", "if (false) before"),
        ("marks of a block", 1100, False, "[thread] = falls;\n    __syncthreads();", None),
        ("groups of a block", 1100, True, "group += sums[other];", ""),
        ("sums of a block", 1100, True, "sums[thread / 32] = group;\n    __syncthreads();", None),
    )
}  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("length", [300, 1100, 2100])
def test_mistakes_are_found(length: int) -> None:
    """Take one barrier, bound or term away: the emulator says so, or the places are wrong."""
    chosen = {name: mistake for name, mistake in MISTAKES.items() if mistake[0][1][1] == length}
    programs = []
    for number, (case, _, old, new) in enumerate([*chosen.values(), (*next(iter(chosen.values()))[:2], "", "")]):
        program = render(plan_of([case]), "sm_90")
        (kernel,) = program.kernels
        assert old in kernel.source, old
        new = re.sub(r"__sync\w+\(\);", "", old) if new is None else new
        changed = kernel.source.replace(old, new) if old else kernel.source
        entries = tuple(replace(e, name=f"{e.name}_{number}") for e in kernel.entries)
        kernel = replace(kernel, source=changed.replace(kernel.name, f"{kernel.name}_{number}"), entries=entries)
        programs.append(replace(program, kernels=(kernel,)))
    library = compile_kernels([k for p in programs for k in p.kernels])

    def is_wrong(number: int, case: Case, many: bool) -> bool:
        for order in ORDERS:
            x = crowded(case, many)
            try:
                (have,) = EmulatedPlan(plan_of([case]), programs[number], library, order)([x])
                np.testing.assert_array_equal(have, expected(case, x))
            except (EmulatorError, AssertionError):
                return True
        return False

    assert not [
        what for number, (what, (case, many, _, _)) in enumerate(chosen.items()) if not is_wrong(number, case, many)
    ]
    assert not is_wrong(len(chosen), (dt.float32, (5, length), 1, False), False)


@needs_compiler
@pytest.mark.parametrize("few", [64, 1])
def test_long_rows(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows past the block's shared memory, several chunks and tiles, the last of them short."""
    monkeypatch.setattr(cuda_sort, "BLOCKS", 6)
    monkeypatch.setattr(cuda_sort, "FEW_CHUNKS", few)
    cases: list[Case] = [
        (dt.float32, (4097,), 0, False),
        (dt.int16, (9000, 2), 0, True),
        (dt.uint8, (33000,), 0, False),
    ]
    run(cases, [ORDERS[-1]])


@needs_compiler
def test_digits_of_every_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_sort, "SHORT_ROW", 0)
    cases: list[Case] = [(d, (2, 300, 2), 1, descending) for d in DTYPES for descending in (False, True)]
    run([*cases, (dt.float32, (1,), 0, False), (dt.float64, (3, 255), 1, True)], [ORDERS[1]])


def test_nothing_to_sort() -> None:
    program = render(plan_of([(dt.float32, (0,), 0, False), (dt.float32, (3, 0), 1, False)]), "sm_90")
    assert program.steps == ()


def test_equal_calls_share_a_kernel() -> None:
    case: Case = (dt.float32, (3, 9), 1, False)
    program = render(plan_of([case, case, (dt.float32, (3, 9), 0, False)]), "sm_90")
    assert [s.kernel for s in program.steps if isinstance(s, CudaLaunch)] == [0, 0, 1]


def test_steps_share_one_workspace() -> None:
    program = render(plan_of([(dt.float32, (10000,), 0, False), (dt.float32, (20000,), 0, False)]), "sm_90")
    alone = render(plan_of([(dt.float32, (20000,), 0, False)]), "sm_90")
    assert program.workspace_bytes == alone.workspace_bytes > 4 * 20000 * 4


def test_a_plan_that_sorts_is_all_launches() -> None:
    x = tracec.tensor(np.zeros((4, 7), np.float32))
    plan = cuda_plan(tracec.trace(lambda x: (x * 2).argsort(dim=1, descending=True), x))
    assert any(isinstance(s, LibraryCall) for s in plan.steps)
    assert all(isinstance(s, CudaLaunch) for s in render(plan, "sm_90").steps)


SOURCES: dict[str, Case] = {
    "warp": (dt.float32, (6, 100), 1, False),
    "exact": (dt.float16, (6, 256), 1, True),
    "block": (dt.float64, (6, 3000), 1, False),
    "digits": (dt.float32, (100000,), 0, False),
    "digits of many": (dt.float32, (10000000,), 0, False),
}


@pytest.mark.parametrize("what", SOURCES)
def test_source(golden: Any, what: str) -> None:
    (kernel,) = render(plan_of([SOURCES[what]]), "sm_90").kernels
    assert kernel.source.removesuffix("\n") == golden


@pytest.mark.parametrize(
    "arch", ["sm_90", pytest.param("sm_80", marks=pytest.mark.slow), pytest.param("sm_100", marks=pytest.mark.slow)]
)
def test_no_spills(arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cupy")
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    cases: list[Case] = [
        (dt.float32, (1 << 20,), 0, False), (dt.int64, (1 << 20, 3), 0, True), (dt.float16, (64, 1000), 1, False),
        (dt.float64, (8, 4096), 1, False), (dt.float32, (8, 4096), 1, True), (dt.int32, (99, 200), 0, False),
        (dt.uint8, (1 << 32 - 1,), 0, False),
    ]  # fmt: skip
    cubins = compile_sources([k.source for k in render(plan_of(cases), arch).kernels], arch)
    assert not [c.functions for c in cubins if c.resources.spill_bytes or c.resources.stack_bytes]
