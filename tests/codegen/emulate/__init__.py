"""Runs CUDA source on the host: the very text that NVRTC gets, compiled by g++ against `device.h`."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tracec.codegen.cuda import CudaKernel
from tracec.codegen.cuda_entry import Entry
from tracec.runtime.nvrtc import merge

HERE = Path(__file__).parent
#: Orders in which the threads of a block run between barriers.
ASCENDING, DESCENDING, SHUFFLED = range(3)
#: Elements on either side of a buffer that no kernel may touch.
GUARD = 2048
#: Their bytes: NaN where nothing writes, so that reading them shows; another value where NaN would not show.
READ_GUARD, WRITE_GUARD = 0xFF, 0xA5

_FLAGS = ("-std=c++17", "-O1", "-fwrapv", "-ffp-contract=off", "-shared", "-fPIC", "-w", "-fmax-errors=3")
_DYNAMIC = "extern __shared__ __align__(16) unsigned char scratch[];"


def build(kernels: Sequence[CudaKernel], folder: Path) -> ctypes.CDLL:
    """Compile kernels with different names into one library."""
    text = merge([k.source for k in kernels]).replace(
        _DYNAMIC, "unsigned char *const scratch = emulator::dynamic_shared;"
    )
    names = [e.name for k in kernels for e in k.entries]
    spaces = "".join(f"using namespace source{i};\n" for i in range(len(kernels))) if len(kernels) > 1 else ""
    source = f'#include "device.h"\n{text}\n{spaces}' + "\n".join(f"EMULATE({n})" for n in names)
    file, library = folder / "kernels.cpp", folder / "kernels.so"
    file.write_text(source, encoding="utf-8")
    result = subprocess.run(
        ["g++", *_FLAGS, f"-I{HERE}", "-o", str(library), str(file)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return ctypes.CDLL(str(library))


def guarded(array: np.ndarray[Any, Any], guard: int = WRITE_GUARD) -> np.ndarray[Any, Any]:
    """A copy whose memory has guards on both sides, on a 16-byte boundary."""
    size = array.size + 2 * GUARD
    raw = np.full(size * array.itemsize + 16, guard, np.uint8)
    start = -raw.ctypes.data % 16
    whole = raw[start : start + size * array.itemsize].view(array.dtype)
    copy = whole[GUARD : GUARD + array.size]
    copy[:] = array.reshape(-1)
    return copy


def check_guards(array: np.ndarray[Any, Any]) -> None:
    """Fail where a kernel wrote next to a buffer."""
    base = array.base
    while base.base is not None and isinstance(base.base, np.ndarray):
        base = base.base
    start = array.ctypes.data - base.ctypes.data
    before, after = base[:start], base[start + array.nbytes :]
    assert (before == base[0]).all() and (after == base[0]).all(), "a kernel wrote outside of a buffer"


def run(
    library: ctypes.CDLL, kernel: CudaKernel, arrays: Sequence[np.ndarray[Any, Any]], order: int = ASCENDING
) -> list[np.ndarray[Any, Any]]:
    """Launch a kernel's functions over copies of the arrays; the copies afterwards."""
    roles = (b.role for b in kernel.ir.buffers)
    copies = [guarded(a, READ_GUARD if r == "in" else WRITE_GUARD) for a, r in zip(arrays, roles, strict=True)]
    shared = [guarded(np.full(n, 0xFF, np.uint8)) for n in kernel.workspace]
    params = [ctypes.c_void_p(c.ctypes.data) for c in (*copies, *shared)]
    for call in kernel.calls:
        entry = kernel.entries[call.entry]
        if 0 not in entry.grid:
            launch(library, entry, entry.grid, [params[a] for a in call.args], order)
    for array in (*copies, *shared):
        check_guards(array)
    return copies


def launch(library: ctypes.CDLL, entry: Entry, grid: Sequence[int], params: Sequence[Any], order: int) -> None:
    """One launch; the parameters are ctypes values."""
    pointers = (ctypes.c_void_p * len(params))(*[ctypes.addressof(p) for p in params])
    shape = ctypes.c_uint * 3
    message = ctypes.create_string_buffer(256)
    function = getattr(library, f"emulate_{entry.name}")
    failed = function(shape(*grid), shape(*entry.block), pointers, order, message)
    assert not failed, f"{entry.name}: {message.value.decode()}"
