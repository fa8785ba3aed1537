"""CUDA kernels compute what the interpreter computes: their source is run on the host, thread by thread."""

from __future__ import annotations

import ctypes
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.codegen import emulate
from tests.codegen import kernels as k
from tracec.codegen.cuda import CudaKernel, render_kernel
from tracec.ir.kernel import Kernel
from tracec.runtime.interpreter import run_kernel

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

CASES: dict[str, Kernel] = {
    "chain": k.chain(1024),
    "chain prime": k.chain(257),
    "chain one": k.chain(1),
    "chain half": k.chain(1000, "f16"),
    "chain brain": k.chain(333, "bf16"),
    "chain double": k.chain(34, "f64"),
    "gelu": k.gelu(100),
    "gelu half": k.gelu(65, "f16"),
    "broadcast": k.broadcast(33, 31),
    "broadcast packs": k.broadcast(5, 64, "bf16"),
    "padded": k.padded(5, 7),
    "gather": k.gather(9, 20, 12),
    "gather odd": k.gather(9, 20, 3),
    "in place": k.in_place(1000),
    "random": k.random(37),
    "integers 8": k.integers(33, "i8"),
    "integers 32": k.integers(100, "i32"),
    "integers 64": k.integers(100, "i64"),
    "rows, warp": k.row_sum(17, 33),
    "rows, warp, packs": k.row_sum(5, 1000, "f16"),
    "rows, block": k.row_sum(2, 5000),
    "rows, looped": k.row_sum(2, 20001, "f64"),
    "rows, one element": k.row_sum(3, 1),
    "rows, thread": k.row_sum(40, 8, shape="column"),
    "softmax, warp": k.softmax(9, 33),
    "softmax, warp, packs": k.softmax(5, 1000),
    "softmax, block": k.softmax(2, 1025),
    "softmax, block, packs": k.softmax(2, 4096, "bf16"),
    "softmax, shared": k.softmax(1, 20000, "f64"),
    "reread": k.reread(2, 17000),
    "batch norm": k.batch_norm(4, 3, 9),
    "batch norm packs": k.batch_norm(8, 3, 64),
    "columns": k.column_sum(100, 33),
    "columns few": k.column_sum(300, 5, "f16", 2),
    "columns packs": k.column_sum(65, 64),
    "columns, thread": k.column_sum(9, 100),
    "column softmax": k.column_softmax(100, 50),
    "column softmax, thread": k.column_softmax(10, 33),
    "column softmax, rows": k.column_softmax(4000, 7),
    "full": k.full_sum(1000),
    "full long": k.full_sum(20000, "f16"),
    "full maximum": k.full_sum(5000, "i64", "maximum"),
    "transpose": k.transpose(1, 64, 32),
    "transpose odd": k.transpose(2, 33, 65),
    "transpose half": k.transpose(2, 40, 17, "f16"),
    "transpose narrow": k.transpose(5, 3, 40),
    "scan, thread": k.scan(3, 10),
    "scan, block": k.scan(3, 100),
    "scan, tiles": k.scan(2, 1100, "f64"),
    "scan, reverse": k.scan(2, 600, reverse=True),
    "scan, strided": k.scan(2, 70, columns=5),
    "scan, maximum": k.scan(2, 129, "i64", combine="maximum"),
    "scatter add": k.scatter(10, 5, 4),
    "scatter half": k.scatter(10, 5, 3, "f16"),
    "scatter put": k.scatter(6, 7, 8, add=False),
    "dot": k.dot(2, 33, 35, 37),
    "dot 16": k.dot(1, 5, 7, 9),
    "dot 64": k.dot(16, 130, 66, 20),
    "dot 128 by 32": k.dot(33, 130, 33, 6),
    "dot half": k.dot(1, 40, 33, 70, "f16"),
    "dot i8": k.dot(1, 18, 20, 37, "i8"),
    "dot, rows": k.dot(1, 16, 16, 700),
    "dot, vector": k.dot(3, 1, 33, 65),
    "dot, thread": k.dot(1, 20, 21, 3),
    "conv": k.conv(2, 3, 4, 8),
    "conv odd": k.conv(2, 5, 33, 5),
}  # fmt: skip


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[ctypes.CDLL, dict[str, CudaKernel]]:
    """All cases in one library, each under a name of its own."""
    rendered = {
        name: render_kernel(replace(kernel, name=f"{kernel.name}_{number}"))
        for number, (name, kernel) in enumerate(CASES.items())
    }
    return emulate.build(list(rendered.values()), tmp_path_factory.mktemp("emulate")), rendered


def arguments(kernel: Kernel, seed: int = 0) -> list[np.ndarray]:  # type: ignore[type-arg]
    """Arrays for a kernel's buffers; what it has yet to write is NaN, or -1."""
    random = np.random.default_rng(seed)
    found = []
    for buffer in kernel.buffers:
        if buffer.role == "out":
            array = np.full(buffer.nbytes, 0xFF, np.uint8).view(buffer.dtype.numpy)
        elif buffer.name == "p":  # positions
            array = random.integers(0, 5, buffer.size).astype(buffer.dtype.numpy)
        elif buffer.dtype.kind == "f":
            array = random.standard_normal(buffer.size).astype(buffer.dtype.numpy)
        else:
            array = random.integers(-9, 9, buffer.size).astype(buffer.dtype.numpy)
        found.append(array)
    return found


@pytest.mark.parametrize("name", CASES)
def test_source_computes_what_the_loops_say(compiled: tuple[ctypes.CDLL, dict[str, CudaKernel]], name: str) -> None:
    library, rendered = compiled
    kernel = CASES[name]
    given = arguments(kernel)
    expected = [a.copy() for a in given]
    run_kernel(kernel, expected)
    for order in (emulate.ASCENDING, emulate.DESCENDING, emulate.SHUFFLED):
        found = emulate.run(library, rendered[name], given, order)
        for buffer, want, have in zip(kernel.buffers, expected, found, strict=True):
            if buffer.dtype.kind == "f":
                bits = {2: 7 if buffer.dtype.short == "bf16" else 10, 4: 20, 8: 44}[buffer.dtype.itemsize]
                scale = max(float(np.abs(want.astype(np.float64)).max(initial=0)), 1.0)
                np.testing.assert_allclose(
                    have.astype(np.float64), want.astype(np.float64), rtol=2.0**-bits, atol=scale * 2.0**-bits
                )
            else:
                np.testing.assert_array_equal(have, want)
