"""Launches that begin while the ones before them end: programmatic dependent launch.

Between two launches a GPU waits until all blocks of the first have ended, then starts those of the second: a
microsecond or two in which next to nothing runs. Where a program lets go of the promise that launches follow each other
(``disable=["serial"]``), blocks of the second are started as the first one runs out of blocks to start, and each begins
with a wait for its end and for all that it wrote. So what is computed is the same.

Source: CUDA C++ Programming Guide, "Programmatic dependent launch and synchronization"; PTX ISA, ``griddepcontrol``.
"""

from __future__ import annotations

import re
from dataclasses import replace

from tracec.codegen.cuda_functions import used_functions
from tracec.codegen.cuda_source import CudaKernel

#: The first architecture that has it.
FIRST = 90
#: Where the statements of a function begin.
_BEGINNING = re.compile(r'^extern "C" __global__ [^{]*\{$', re.MULTILINE)
_FOLLOW = "  follow();"


def may_overlap(arch: str) -> bool:
    """Whether launches on an architecture, ``sm_90``, may begin while others end."""
    return int(re.sub(r"\D", "", arch)) >= FIRST


def following(kernel: CudaKernel) -> CudaKernel:
    """A kernel whose functions wait for what was launched before them."""
    first = _BEGINNING.search(kernel.source)
    if first is None or _FOLLOW in kernel.source:
        return kernel
    (wait,) = used_functions(_FOLLOW)
    before, after = kernel.source[: first.start()], kernel.source[first.start() :]
    after = _BEGINNING.sub(rf"\g<0>\n{_FOLLOW}", after)
    return replace(kernel, source=f"{before}{wait}\n\n{after}")
