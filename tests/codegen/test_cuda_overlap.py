"""Launches that may begin before the one in front has ended: each function waits before it touches memory."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tracec
from benchmarks.kernels.families import programs
from tests.codegen.emulated import needs_compiler
from tests.codegen.test_cuda_loads import ptx
from tracec.codegen.cuda_overlap import following
from tracec.runtime import emulator

FAMILIES = programs(tracec, tracec.nn.functional, "cpu")
WAIT, NEXT = "griddepcontrol.wait", "griddepcontrol.launch_dependents"
#: What touches global memory, or may.
TOUCHES = re.compile(r"(?:@!?%p\d+ )?(?:(?:ld|st|atom|red|prefetch)\.(?!param|shared|local|const)|cp\.async)")
_ENTRY = re.compile(r"\.entry (\w+)\(.*?\)[^{]*\{(.*?)\n\}", re.DOTALL)


def lowered(name, arch="sm_90", **options):
    function, operands = FAMILIES[name]
    return tracec.compile(function, **options).lower(*operands, target="cuda", arch=arch)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_function_waits_before_it_touches_memory(name):
    for kernel in lowered(name, disable=("serial",)).kernels:
        found = _ENTRY.findall(ptx(kernel.source, "compute_90"))
        assert found
        for function, body in found:
            lines = [line.strip() for line in body.splitlines()]
            at = next(n for n, line in enumerate(lines) if line.startswith(WAIT))
            touching = [n for n, line in enumerate(lines) if TOUCHES.match(line)]
            branches = [n for n, line in enumerate(lines) if re.match(r"(?:@!?%p\d+ )?(?:bra|ret|exit)\b", line)]
            assert touching and at < min(touching), f"{function} touches memory before it waits"
            assert at < min(branches), f"{function} may leave before it waits"
            assert body.count(WAIT) == body.count(NEXT) == 1 and body.index(WAIT) < body.index(NEXT)


def test_a_touch_before_the_wait_is_seen():
    head = (
        'extern "C" __global__ void f(const float *__restrict__ x, float *__restrict__ y) {\n  const float v = x[9];\n'
    )
    wait = f'  asm volatile("{WAIT};" ::: "memory");\n  y[threadIdx.x] = v;\n}}\n'
    ((_, body),) = _ENTRY.findall(ptx(head + wait, "compute_90"))
    lines = [line.strip() for line in body.splitlines()]
    at = next(n for n, line in enumerate(lines) if line.startswith(WAIT))
    assert min(n for n, line in enumerate(lines) if TOUCHES.match(line)) < at


def test_they_wait_only_where_it_is_asked_for():
    assert all("follow" not in k.source for k in lowered("rows").kernels)
    assert all("follow" not in k.source for k in lowered("rows", "sm_80", disable=("serial",)).kernels)
    program = lowered("rows", disable=("serial",)).built.program
    assert program.overlaps and not lowered("rows", "sm_80", disable=("serial",)).built.program.overlaps
    for kernel in program.kernels:
        assert following(kernel) is kernel and kernel.source.count("  follow();") == len(kernel.entries)


@needs_compiler
@pytest.mark.parametrize("name", ["rows", "loss", "scatter", "scan", "select in several blocks", "update"])
def test_values(name):
    function, operands = FAMILIES[name]

    def given():
        return [t.detach().clone().requires_grad_(t.requires_grad) for t in operands]

    def results(**more):
        found = tracec.compile(function, **more).lower(*given(), target="cuda").run(*given(), launcher="emulator")
        return [t.detach().numpy() for t in (found if isinstance(found, tuple) else (found,))]

    for found, want in zip(results(disable=("serial",)), results(), strict=True):
        np.testing.assert_array_equal(found, want)


@needs_compiler
def test_sizes_that_vary(monkeypatch):
    compiled, compile_kernels = [], emulator.compile_kernels

    def noted(kernels, *options):
        compiled.extend(k.source for k in kernels)
        return compile_kernels(kernels, *options)

    monkeypatch.setattr(emulator, "compile_kernels", noted)
    run = tracec.compile(lambda x: x.softmax(-1).sum(0), target="cuda", launcher="emulator", disable=("serial",))
    for n in (5, 9, 17, 40):
        x = tracec.randn(n, 33)
        np.testing.assert_allclose(run(x), x.softmax(-1).sum(0), rtol=1e-5)
    assert len(compiled) >= 4 and all("  follow();" in source for source in compiled)
