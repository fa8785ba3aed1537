"""What is joined of many parts on a GPU: blocks of each part's own, parts that are alike one function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tracec
import tracec.nn.functional as F
from tests.codegen.emulated import needs_compiler
from tracec.codegen import cuda_map
from tracec.codegen.cuda import CudaProgram, render
from tracec.errors import EmulatorError
from tracec.ir.launch import CudaLaunch
from tracec.ir.plan import Plan
from tracec.plan import TARGETS, make_plan
from tracec.runtime.emulator import EmulatedPlan, compile_kernels
from tracec.runtime.emulator_launch import ORDERS
from tracec.runtime.nvrtc import compile_sources

Shapes = Sequence[tuple[int, ...]]
#: Weights and biases: from the tenth on they begin at no multiple of 16 bytes.
LAYERS = [(40 + k, 8) if k % 2 else (8 * k + 8,) for k in range(9)] + [(5 + k % 3, 30 + k) for k in range(10)]
#: So do these, from the sixth on.
FEW = [(40, 8), (8,), (3, 100), (12,), (33,), (7, 5), (300,), (1,)]
COLUMNS = [(11, 40 + 3 * (k % 3)) for k in range(17)]


def flat(*xs: Any) -> Any:
    return tracec.cat([x.reshape(-1) for x in xs])


def doubled(*xs: Any) -> Any:
    return tracec.cat([x.reshape(-1) * 2 for x in xs])


def each_by_a_number(*xs: Any) -> Any:
    return tracec.cat([x.reshape(-1) * (0.5 + k) for k, x in enumerate(xs)])


def side_by_side(*xs: Any) -> Any:
    return tracec.cat([x.relu() if k % 3 else x - 1 for k, x in enumerate(xs)], 1)


def between_zeros(*xs: Any) -> Any:
    return F.pad(tracec.cat([x * 2 for x in xs]), (0, 0, 3, 2))


def turned(*xs: Any) -> Any:
    return tracec.cat([x.flip(0) for x in xs])


def and_more(*xs: Any) -> Any:
    return tracec.cat(xs) * 3 - 1


def two(*xs: Any) -> Any:
    return tracec.cat([x * 2 for x in xs]) * tracec.cat([x + 1 for x in xs[::-1]])


CASES: dict[str, tuple[Callable[..., Any], Shapes]] = {
    "flat": (flat, LAYERS),
    "doubled": (doubled, LAYERS),
    "each by a number": (each_by_a_number, LAYERS),
    "side by side": (side_by_side, COLUMNS),
    "between zeros": (between_zeros, [(50, 6)] * 8),
    "turned": (turned, [(50, 6 + 2 * (k % 2)) for k in range(1)] + [(51, 6)] * 7),
    "empty ones": (flat, [(0,), (500,), (3,), (0,), (500,), (1,), (2,), (77,)]),
    "and more": (and_more, [(200 + k,) for k in range(9)]),
    "two": (two, [(203,)] * 9),
    "three dimensions": (lambda *xs: tracec.cat(xs, 1), [(3, 40 + k, 5) for k in range(6)]),
    "of twenty widths": (lambda *xs: tracec.cat([x.flip(0) for x in xs], 1), [(7, 9 + k) for k in range(20)]),
    "halves of rows": (lambda *xs: tracec.cat([x[:, :24] for x in xs], 1), [(9, 40)] * 6),
}


def planned(function: Any, shapes: Shapes, dtype: Any = tracec.float32) -> tuple[Plan, CudaProgram]:
    graph = tracec.trace(function, *(tracec.ones(s, dtype=dtype) for s in shapes))
    plan = make_plan(graph, TARGETS["cuda"])
    return plan, render(plan, "sm_90")


def given(shapes: Shapes, dtype: str = "float32") -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return [rng.integers(-8, 9, s).astype(dtype) for s in shapes]  # nothing is rounded


def wrong(plan: Plan, program: CudaProgram, library: Any, case: tuple[Any, Shapes], dtype: str = "float32") -> str:
    """What shows that a program is wrong; nothing where all is well."""
    function, shapes = case
    arrays = given(shapes, dtype)
    wanted = function(*(tracec.from_numpy(a.astype(np.float64)) for a in arrays))
    for order in ORDERS:
        try:
            found = EmulatedPlan(plan, program, library, order)([a.copy() for a in arrays])
            for have, want in zip(found, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
                np.testing.assert_array_equal(have.astype(np.float64), want.numpy())
        except (EmulatorError, AssertionError) as error:
            return str(error)
    return ""


def templates(program: CudaProgram) -> list[str]:
    return [e.function.template for k in program.kernels for e in k.entries]


# -- values --------------------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_values(dtype: str) -> None:
    made = {name: planned(*case, getattr(tracec, dtype)) for name, case in CASES.items()}
    assert all("parts" in templates(program) for _, program in made.values())
    renamed = {name: _renamed(program, n) for n, (name, (_, program)) in enumerate(made.items())}
    library = compile_kernels([k for program in renamed.values() for k in program.kernels])
    for name, case in CASES.items():
        assert not wrong(made[name][0], renamed[name], library, case, dtype), name


@needs_compiler
def test_several_chunks_of_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are threads enough, each loads a few packs before it uses the first."""
    monkeypatch.setattr(cuda_map, "MANY_BLOCKS", 0)
    case = flat, [(1500 + k, 8) if k % 2 else (1700 + k % 3,) for k in range(6)]
    plan, program = planned(*case)
    assert "at0_pack0[4]" in program.kernels[0].source
    assert not wrong(plan, program, compile_kernels(program.kernels), case)


@needs_compiler
def test_more_parts_than_parameters() -> None:
    """Pointers to 512 buffers are all that a launch has room for."""
    case = doubled, [(1 + k % 5,) for k in range(700)]
    plan, program = planned(*case)
    (kernel,) = program.kernels
    assert [len(e.function.head.parameters) <= 512 for e in kernel.entries] == [True, True]
    assert sum(len(s.args[0]) for s in program.steps if isinstance(s, CudaLaunch)) == 702
    assert not wrong(plan, program, compile_kernels(program.kernels), case)


@needs_compiler
def test_launches_of_one_block_ride() -> None:
    """Behind blocks of parts, too: the last one to end does the work of one more launch."""

    def sums(*xs: Any) -> Any:
        y = doubled(*xs)
        return y, y.sum()

    plan, program = planned(sums, LAYERS)
    assert templates(program) == ["joined"] and "k0_map_concatenate_part0(" in program.kernels[0].source
    assert not wrong(plan, program, compile_kernels(program.kernels), (sums, LAYERS))


# -- what is computed ----------------------------------------------------------------------------------------


def test_source(golden: Any) -> None:
    assert planned(each_by_a_number, FEW)[1].kernels[0].source == golden


def test_parts_that_are_alike_are_one_function() -> None:
    """However many there are, the same is computed for an element."""
    for count in (20, 100):
        (kernel,) = planned(doubled, [(64 + k,) for k in range(count)])[1].kernels
        assert kernel.source.count("* 2.0f") == 5  # by fours and what fills none, by twos and that, one by one
        assert "?" not in kernel.source


def test_each_part_is_read_and_written_by_packs() -> None:
    (kernel,) = planned(flat, [(4 * k, 8) for k in range(1, 30)])[1].kernels
    assert kernel.source.count("load_pack<4>(") == kernel.source.count("store_pack(") - 1 == 1
    assert kernel.entries[0].alignment == (16,) * 30


def test_parts_that_begin_at_multiples_of_less_than_a_pack() -> None:
    """Of 16-bit floats, say, behind a part of two elements."""
    _, program = planned(flat, [(2,), *[(40 + 8 * k, 8) for k in range(8)]], tracec.float16)
    (kernel,) = program.kernels
    assert "load_pack<2>(" in kernel.source and kernel.entries[0].alignment[0] == 4


def test_what_is_not_alike_is_a_function_each() -> None:
    (kernel,) = planned(lambda *xs: tracec.cat([x.flip(0) for x in xs], 1), [(40, 9 + k) for k in range(20)])[1].kernels
    assert kernel.source.count("void k0_map_concatenate_part") == 20 and "?" not in kernel.source


def test_columns_of_one_element() -> None:
    """Blocks of their own would each write single elements between those of others."""
    assert "parts" not in templates(planned(lambda *xs: tracec.stack(xs, -1), [(500,)] * 8)[1])
    assert "parts" in templates(planned(lambda *xs: tracec.stack(xs), [(500,)] * 8)[1])


def test_images_between_zeros() -> None:
    """They are computed alike everywhere but at their borders."""

    def stencil(x: Any) -> Any:
        y = F.pad(x, (2, 2, 2, 2))
        return y[:, :-4] + y[:, 1:-3] + y[:, 2:-2] + y[:, 3:-1] + y[:, 4:]

    assert "parts" not in templates(planned(stencil, [(3, 64, 64)])[1])


# -- mistakes ------------------------------------------------------------------------------------------------

#: Mistakes: what stands in the source of parts that each have a number, and what in its place.
MISTAKES = {
    "end of a part": ("if (chunk >= size) return;", ""),
    "end of what fills no pack": ("if (chunk >= size / 4u + size % 4u) return;", ""),
    "end of its packs": ("if (chunk >= size / 4u) {", "if (chunk >= size / 4u + 1u) {"),
    "the place of what fills no pack": ("size / 4u * 4u);", "size / 4u * 4u - 1u);"),
    "its block": ("part0(at0, at1, c0, size, blockIdx.x - first", "part0(at0, at1, c0, size, blockIdx.x"),
    "its block among kinds": ("35u, blockIdx.x - 6u", "35u, blockIdx.x"),
    "which part": ("if (blockIdx.x < 2u) {", "if (blockIdx.x < 1u) {"),
    "which kind": ("if (blockIdx.x < 6u) {", "if (blockIdx.x < 7u) {"),
    "where it lies": ("at1 = y0 + 320;", "at1 = y0 + 321;"),
    "what it reads": ("at0 = x5;", "at0 = x4;"),
    "its number": ("c0 = 4.5f", "c0 = 5.5f"),
    "its size": ("size = 33u", "size = 32u"),
}


def _renamed(program: CudaProgram, number: int, old: str = "", new: str = "") -> CudaProgram:
    kernels = []
    for kernel in program.kernels:
        assert old in kernel.source
        source, entries = kernel.source.replace(old, new) if old else kernel.source, []
        for entry in kernel.entries:
            name = f"{entry.name}_{number}"
            source = source.replace(f"\n{entry.name}(", f"\n{name}(").replace(f"{entry.name}_part", f"{name}_part")
            entries.append(replace(entry, function=entry.function.beginning(name=name)))
        kernels.append(replace(kernel, source=source, entries=tuple(entries)))
    return replace(program, kernels=tuple(kernels))


@needs_compiler
def test_every_mistake_is_found() -> None:
    case = each_by_a_number, FEW
    plan, program = planned(*case)
    made = [_renamed(program, n, old, new) for n, (old, new) in enumerate(MISTAKES.values())]
    library = compile_kernels([k for one in (*made, program) for k in one.kernels])
    assert not [what for what, one in zip(MISTAKES, made, strict=True) if not wrong(plan, one, library, case)]
    assert not wrong(plan, program, library, case)


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_resources(arch: str) -> None:
    pytest.importorskip("cupy")
    kernels = [k for case in CASES.values() for k in planned(*case)[1].kernels]
    kernels += planned(doubled, [(64 + k,) for k in range(100)])[1].kernels
    for cubin in compile_sources([k.source for k in kernels], arch):
        assert not cubin.resources.spill_bytes and not cubin.resources.stack_bytes
        assert cubin.resources.registers <= 48


# -- what is computed of them --------------------------------------------------------------------------------


@needs_compiler
def test_arithmetic_of_many_parts_is_in_their_kernel() -> None:
    """More buffers than kernels have otherwise are no reason to go through memory once more."""

    def moved(*xs: Any) -> Any:
        *parts, other = xs
        return flat(*parts) * 2 + other

    shapes = [(5 + k % 7, 8) for k in range(120)]
    case = moved, [*shapes, (sum(a * b for a, b in shapes),)]
    plan, program = planned(*case)
    assert len(plan.steps) == 1 and templates(program) == ["parts"]
    assert not wrong(plan, program, compile_kernels(program.kernels), case)
