"""Kernels in the emulator, each in a plan of its own, all compiled together."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from tests.codegen.plans import plan_of
from tracec.codegen.cuda import CudaKernel, CudaProgram, render
from tracec.ir.kernel import Kernel
from tracec.ir.launch import CudaLaunch
from tracec.ir.plan import Plan
from tracec.runtime.emulator import EmulatedPlan, compile_kernels
from tracec.runtime.emulator_library import Library

Array = np.ndarray[Any, Any]

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


@dataclass(frozen=True)
class Emulated:
    """A kernel, compiled for the host.

    Attributes:
        kernel: Its loops.
        plan: A plan that launches it once.
        program: That plan in CUDA.
        library: Where its code is.
    """

    kernel: Kernel
    plan: Plan
    program: CudaProgram
    library: Library

    def run(self, given: Sequence[Array], order: str = "ascending") -> list[Array]:
        """Run it on copies of an array for each buffer, and give all of them as they are afterwards."""
        needed = self._alignment()
        inputs = {v: placed(given[v], needed[v]) for v in self.plan.inputs}
        outputs = EmulatedPlan(self.plan, self.program, self.library, order)(list(inputs.values()))
        written = dict(zip(self.plan.outputs, outputs, strict=True))
        return [written.get(v, inputs.get(v, given[v])) for v in range(len(given))]

    def _alignment(self) -> list[int]:
        needed = [b.dtype.itemsize for b in self.kernel.buffers]
        for step in self.program.steps:
            if isinstance(step, CudaLaunch):
                entry = self.program.kernels[step.kernel].entries[step.entry]
                for argument, n in zip(step.args[0], entry.alignment, strict=False):
                    if isinstance(argument, int):
                        needed[argument] = max(n, needed[argument])
        return needed


def emulate(
    kernels: Sequence[Kernel],
    change: Callable[[int, CudaKernel], CudaKernel] = lambda n, rendered: rendered,
    rungs: Sequence[int] = (),
) -> list[Emulated]:
    """Compile kernels into one library.

    Args:
        kernels: What to compile.
        change: Given a kernel's position and what was rendered, gives what to compile in its place.
        rungs: Of each kernel, on which rung of its ladder it is written; the first without these.
    """
    plans = [plan_of([replace(k, name=f"{k.name}_{n:04}")]) for n, k in enumerate(kernels)]
    programs = []
    for n, plan in enumerate(plans):
        rung = {plan.kernels[0].name: rungs[n]} if rungs and rungs[n] else {}
        program = render(plan, "sm_90", rungs=rung)
        programs.append(replace(program, kernels=tuple(change(n, k) for k in program.kernels)))
    library = compile_kernels([k for p in programs for k in p.kernels])
    return [Emulated(k, p, q, library) for k, p, q in zip(kernels, plans, programs, strict=True)]


def placed(array: Array, alignment: int) -> Array:
    """A copy at an address that is a multiple of the alignment, and of nothing larger."""
    raw = np.empty(array.nbytes + 4 * alignment, np.uint8)
    start = -raw.ctypes.data % (2 * alignment) + alignment
    copy = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
