"""Launches that begin while the ones before them end: programmatic dependent launch.

Between two launches a GPU waits until all blocks of the first have ended, then starts those of the second: a
microsecond or two in which next to nothing runs. Where a program lets go of the promise that launches follow each other
(``disable=["serial"]``), blocks of the second are started as the first one runs out of blocks to start, and each begins
with a wait for its end and for all that it wrote. So what is computed is the same.

Source: CUDA C++ Programming Guide, "Programmatic dependent launch and synchronization"; PTX ISA, ``griddepcontrol``.
"""

from __future__ import annotations

from dataclasses import replace

from tracec.codegen.cuda_source import CudaKernel, write_source
from tracec.ir.room import capability

#: The first architecture that has it.
FIRST = 90


def may_overlap(arch: str) -> bool:
    """Whether launches on an architecture, ``sm_90``, may begin while others end."""
    return capability(arch) >= FIRST


def following(kernel: CudaKernel) -> CudaKernel:
    """A kernel whose functions wait for what was launched before them."""
    entries = tuple(replace(e, function=e.function.beginning(follows=True)) for e in kernel.entries)
    if entries == kernel.entries:
        return kernel
    return replace(kernel, entries=entries, source=write_source(kernel.ir, entries, kernel.riders, kernel.less))
