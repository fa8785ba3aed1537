"""What a launch writes is never loaded as if it did not change: loads that a compiler makes of buffers, in PTX.

Such a load, of what is behind a pointer that is ``const`` and ``__restrict__``, may come from a cache that knows
nothing of what other blocks write in the same launch, and may be made behind a barrier.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.codegen import kernels as k
from tests.codegen.plans import plan_of
from tests.codegen.small_clusters import small_blocks
from tests.codegen.test_cuda_joined import CASES, planned
from tests.codegen.test_cuda_sort import plan_of as sort_plan
from tracec.codegen.cuda import CudaProgram, render
from tracec.ir import dtype as dt
from tracec.ir.kernel import Kernel
from tracec.ir.launch import CudaLaunch
from tracec.ir.plan import Plan
from tracec.runtime.nvrtc import OPTIONS, include_folders

#: Loads of what does not change, and stores and atomic operations, among the instructions that access global memory.
CONSTANT, WRITING = "ld.global.nc", ("st.", "atom.", "red.")
#: Kernels that write over what they read, and scans whose blocks wait for each other.
ALONE: dict[str, Kernel] = {
    "row in place": k.running(3, 5000),
    "column in place": k.running(33, 100, "column"),
    "scan": k.scan(1, 1 << 24),
    "scan of a few": k.scan(3, (1 << 22) + 1),
    "scan of many": k.scan(1024, 1 << 16),
    "scan of columns": k.scan(8, 4096, columns=512),
}

_ENTRY = re.compile(r"\.entry (\w+)\(.*?\)[^{]*\{(.*?)\n\}", re.DOTALL)
_PARAMETER = re.compile(r"_param_(\d+)")
_REGISTER = re.compile(r"%rd?\d+\b")
#: What an address may be computed by.
_MOVES = ("ld.param", "cvta", "mov", "add", "sub", "mad", "mul", "selp", "shl", "cvt")


def ptx(source: str, arch: str) -> str:
    """What NVRTC makes of a source."""
    pytest.importorskip("cupy")
    from cupy.cuda import nvrtc

    options = [o for o in OPTIONS if "ptxas" not in o]
    options += [f"--gpu-architecture={arch}", *(f"--include-path={f}" for f in include_folders())]
    program = nvrtc.createProgram(source, "kernel.cu", [], [])
    try:
        nvrtc.compileProgram(program, options)
        text = nvrtc.getPTX(program)
    finally:
        nvrtc.destroyProgram(program)
    return text.decode() if isinstance(text, bytes) else text


def accesses(text: str) -> dict[str, dict[str, set[int]]]:
    """Function → instruction → numbers of the parameters that it loads or writes through."""
    return {entry[1]: _accesses(entry[2]) for entry in _ENTRY.finditer(text)}


def _accesses(body: str) -> dict[str, set[int]]:
    lines = [re.sub(r"^@!?%p\d+\s+", "", line.strip()) for line in body.splitlines()]
    of: dict[str, set[int]] = {}
    for _ in range(3):  # addresses that a loop moves on come from below
        for line in lines:
            if line.startswith(_MOVES):
                to, *sources = _REGISTER.findall(line) or [""]
                found = {int(n) for n in _PARAMETER.findall(line)}
                of[to] = of.get(to, set()) | found.union(*(of.get(s, set()) for s in sources))
    made: dict[str, set[int]] = {}
    for line in lines:
        name = line.split()[0] if line else ""
        place = re.search(r"\[(%rd?\d+)", line)
        if place and name.startswith((CONSTANT, *WRITING)) and "shared" not in name:
            made.setdefault(name, set()).update(of.get(place[1], set()))
    return made


def unsafe(plan: Plan, program: CudaProgram, arch: str) -> Iterator[str]:
    """Loads of what does not change from where the same launch writes."""
    for step in program.steps:
        assert isinstance(step, CudaLaunch)
        kernel, (row,) = program.kernels[step.kernel], step.args
        made = accesses(ptx(kernel.source, arch))[kernel.entries[step.entry].name]
        written = {n for name, numbers in made.items() if name.startswith(WRITING) for n in numbers}
        assert written
        for number in (n for name, numbers in made.items() if name.startswith(CONSTANT) for n in numbers):
            for other in written:
                if number == other or row[number] == row[other]:
                    yield f"{kernel.name}: parameters {number} and {other}"


def test_what_is_loaded_and_written_is_seen() -> None:
    """A pointer need not be declared so: nothing that is written may be what it points to."""
    head = 'extern "C" __global__ void f(const float *__restrict__ x, float *__restrict__ y, float *z) {\n'
    text = head + "  for (int i = threadIdx.x; i < 99; i += 32) y[i] = x[i] * z[i];\n}\n"
    made = accesses(ptx(text, "compute_90"))["f"]
    assert made == {"ld.global.nc.f32": {0, 2}, "st.global.f32": {1}}
    made = accesses(ptx(text.replace("y[i] =", "z[i + 1] = y[i] +"), "compute_90"))["f"]
    assert made == {"ld.global.nc.f32": {0, 1}, "st.global.f32": {2}}


def test_one_value_behind_two_buffers_is_found() -> None:
    plan = plan_of([k.chain(1028)])
    program = render(plan, "sm_90")
    (step,) = program.steps
    assert isinstance(step, CudaLaunch) and not list(unsafe(plan, program, "compute_90"))
    wrong = replace(step, args=(step.args[0][:1] * len(step.args[0]),))
    assert list(unsafe(plan, replace(program, steps=(wrong,)), "compute_90"))


@pytest.mark.parametrize("arch", ["compute_80", "compute_90", "compute_100"])
@pytest.mark.parametrize("name", CASES)
def test_riders_load_afresh_what_other_blocks_have_written(name: str, arch: str) -> None:
    if name == "long rows" and arch == "compute_80":
        pytest.skip("has no clusters")
    plan, program = planned(*CASES[name][:2])
    assert not list(unsafe(plan, program, arch))


@pytest.mark.parametrize("name", ALONE)
def test_kernels_load_afresh_what_they_write(name: str) -> None:
    plan = plan_of([ALONE[name]])
    assert not list(unsafe(plan, render(plan, "sm_90"), "compute_90"))


@pytest.mark.parametrize("shape", [(1 << 22,), (64, 1000)])
def test_sorts_load_afresh_what_they_write(shape: tuple[int, ...]) -> None:
    plan = sort_plan([(dt.float32, shape, len(shape) - 1, False)])
    assert not list(unsafe(plan, render(plan, "sm_90"), "compute_90"))


@pytest.mark.parametrize("kernel", [k.running(2, 1029), k.held(2, 2047, loads=2, top=False)], ids=["in place", "held"])
def test_clusters_load_afresh_what_they_write(kernel: Kernel) -> None:
    with small_blocks():
        plan = plan_of([kernel])
        program = render(plan, "sm_90")
    assert "__cluster_dims__" in program.kernels[0].source and not list(unsafe(plan, program, "compute_90"))
