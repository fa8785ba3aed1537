"""What the kernels of many programs take, of each architecture."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import tracec
from tests.resources.programs import Program
from tracec.record.call import Call
from tracec.runtime.cache import LEADING_COMMENTS
from tracec.runtime.nvrtc import Resources, compile_sources

#: Architectures → bytes of shared memory that the driver lets a block have, static and dynamic together.
LIMITS = {"sm_75": 64 << 10, "sm_80": 163 << 10, "sm_86": 99 << 10, "sm_89": 99 << 10, "sm_90": 227 << 10,
          "sm_100": 227 << 10, "sm_120": 99 << 10}  # fmt: skip
ARCHS = tuple(LIMITS)
#: Programs whose kernels are compiled together.
BATCH = 40


@contextmanager
def without_values() -> Iterator[None]:
    """Within, operators give arrays of zeros that nothing was computed of; only for a process of its own."""
    ready = Call.ready

    def empty(self: Call) -> Any:
        rule, shape, dtype = ready(self), self.type.shape, self.type.dtype.numpy

        def zeros(*arrays: Any) -> Any:
            looks = self.is_view and self.op.name != "expand" and arrays[0].flags.c_contiguous
            return rule(*arrays) if looks or self.op.name == "constant" else np.zeros(shape, dtype)

        self.rule = zeros
        return zeros

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Call, "ready", empty)
        patch.setenv("TRACEC_KEEP_PLANS", "0")
        yield


@dataclass(frozen=True)
class Kernel:
    """What a kernel takes.

    Attributes:
        program: The program that it is of.
        arch: What it is compiled for.
        name: Its name.
        schedule: How its loops map to threads.
        threads: Threads of a block, at most.
        resources: What it takes.
        shared_bytes: Dynamic shared memory.
        spilled: Bytes that were spilled before its program was settled.
    """

    program: str
    arch: str
    name: str
    schedule: str
    threads: int
    resources: Resources
    shared_bytes: int
    spilled: int = 0

    def __str__(self) -> str:
        r = self.resources
        taken = f"{r.registers} registers, {r.spill_bytes} bytes spilled, {r.stack_bytes} of stack"
        taken += f", {r.shared_bytes + self.shared_bytes} bytes shared"
        return f"{self.arch} {self.program}: {self.name}: {taken}; {self.schedule}"


@dataclass
class Found:
    """What was found.

    Attributes:
        kernels: Those that were compiled now.
        count: How many there have been.
    """

    kernels: list[Kernel] = field(default_factory=list)
    count: int = 0

    @property
    def spilled(self) -> list[Kernel]:
        """Those that spill, and are not written in another way that does not."""
        return [k for k in self.kernels if k.resources.spill_bytes]

    @property
    def refused(self) -> list[Kernel]:
        """Those that no block has the shared memory for: the driver would not launch them."""
        return [k for k in self.kernels if k.resources.shared_bytes + k.shared_bytes > LIMITS[k.arch]]

    @property
    def settled(self) -> list[Kernel]:
        """Those that would have spilled, written in another way."""
        return [k for k in self.kernels if k.spilled and not k.resources.spill_bytes]


def survey(programs: Sequence[Program], archs: Sequence[str]) -> Iterator[tuple[int, Found]]:
    """Compile what programs need, each kernel once; gives how many programs are done and what was found of them.

    Args:
        programs: The programs.
        archs: GPU architectures.
    """
    known: set[tuple[str, str]] = set()
    count = 0
    for first in range(0, len(programs), BATCH):
        found = Found()
        for arch in archs:
            sources: list[str] = []
            told: list[tuple[str, Any, Any]] = []
            for program in programs[first : first + BATCH]:
                lowered = tracec.compile(program.function).lower(*program.operands(), target="cuda", arch=arch)
                for kernel in lowered.built.program.kernels:
                    source = LEADING_COMMENTS.sub("", kernel.source)
                    if (arch, source) in known:
                        continue
                    known.add((arch, source))
                    # Programs name kernels alike.
                    sources.append(re.sub(rf"\b{kernel.name}(?=\w*\()", f"{kernel.name}_{len(known)}", source))
                    told.append((program.name, lowered, kernel))
            for (name, lowered, kernel), cubin in zip(told, compile_sources(sources, arch), strict=True):
                spilled = cubin.resources.spill_bytes
                found.kernels += (
                    [_kernel(name, arch, kernel, cubin.resources)]
                    if not spilled
                    else [
                        _kernel(name, arch, k, r.resources, spilled)
                        for k, r in zip(lowered.settled.program.kernels, lowered.kernels, strict=True)
                        if r.resources.spill_bytes or kernel.name in k.name or k.name in kernel.name
                    ]
                )
        count += len(found.kernels)
        found.count = count
        yield min(first + BATCH, len(programs)), found


def _kernel(program: str, arch: str, kernel: Any, resources: Resources, spilled: int = 0) -> Kernel:
    entry, shared = kernel.entries[-1], max(e.shared_bytes for e in kernel.entries)
    schedule = f"{entry.schedule}; {kernel.less}" if kernel.less else entry.schedule
    return Kernel(program, arch, kernel.name, schedule, entry.threads, resources, shared, spilled)
