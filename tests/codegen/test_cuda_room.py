"""What kernels ask for is what a GPU of the architecture that they are written for has.

Rows ask for shared memory, and functions that a multiprocessor is to run several blocks of for registers.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tracec
import tracec.nn.functional as F
from tests.codegen import kernels as k
from tests.resources.survey import LIMITS
from tracec.codegen.cuda import render_kernel
from tracec.ir.room import MOST, most_threads, room, room_of, shared_bytes, threads_at_once
from tracec.runtime.nvrtc import compile_cuda

#: Threads that a multiprocessor has at a time.
LIMITS_OF_THREADS = {"sm_75": 1024, "sm_80": 2048, "sm_86": 1536, "sm_89": 1536, "sm_90": 2048, "sm_100": 2048,
                     "sm_120": 1536}  # fmt: skip
#: So many that rows are not taken to pieces for several blocks.
ROWS = 7
NAMES = {"float32": tracec.float32, "float64": tracec.float64, "bfloat16": tracec.bfloat16}


def softmax_gradient(x: Any, w: Any, ct: Any) -> Any:
    return tracec.autograd.grad(F.softmax(x * w, -1), (x,), ct)


def norm(x: Any, w: Any, ct: Any) -> Any:
    return F.layer_norm(x, (x.shape[-1],), w, w)


def norm_gradient(x: Any, w: Any, ct: Any) -> Any:
    return tracec.autograd.grad(norm(x, w, ct), (x, w), ct)


def norm_alone(x: Any, w: Any, ct: Any) -> Any:
    return norm(x.detach(), w.detach(), ct)


def given(length: int, dtype: str) -> tuple[Any, ...]:
    rng = np.random.default_rng(length)
    shapes = (ROWS, length), (length,), (ROWS, length)
    x, w, ct = (tracec.tensor(rng.standard_normal(shape), dtype=NAMES[dtype]) for shape in shapes)
    return x.requires_grad_(), w.requires_grad_(), ct


@pytest.mark.parametrize("arch", ["sm_75", "sm_86", "sm_90"])
def test_no_kernel_asks_for_more_than_a_block_has(arch: str) -> None:
    for dtype in NAMES:
        for length in (4099, 16384, 20001, 30000, 50304):
            for fn in (softmax_gradient, norm_alone, norm_gradient):
                program = tracec.compile(fn).lower(*given(length, dtype), target="cuda", arch=arch).built.program
                for entry in (e for kernel in program.kernels for e in kernel.entries):
                    assert entry.shared_bytes <= shared_bytes(arch) < LIMITS[arch], (fn, dtype, length)


@pytest.mark.parametrize("arch", ["sm_75", "sm_86"])
def test_what_kernels_declare_by_themselves_has_room_next_to_it(
    arch: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cupy")
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    asked = 0
    for fn, dtype, length in (
        (softmax_gradient, "float32", 30000), (norm_gradient, "bfloat16", 30000), (norm_alone, "float32", 12000),
        (norm_alone, "bfloat16", 20001),
    ):  # fmt: skip
        lowered = tracec.compile(fn).lower(*given(length, dtype), target="cuda", arch=arch)
        for kernel, rendered in zip(lowered.kernels, lowered.built.program.kernels, strict=True):
            for entry in rendered.entries:
                asked = max(asked, entry.shared_bytes)
                assert kernel.resources.shared_bytes + entry.shared_bytes <= LIMITS[arch]
    assert asked > 32 << 10


@pytest.mark.parametrize("fn", [softmax_gradient, norm_alone, norm_gradient])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_that_have_less_room_are_right(fn: Any, dtype: str) -> None:
    for arch, length in (("sm_75", 15001), ("sm_86", 20001)):
        x, w, ct = given(length, dtype)
        found = tracec.compile(fn).lower(x, w, ct, target="cuda", arch=arch).run(x, w, ct, launcher="emulator")
        wide = (t.detach().double().requires_grad_(t.requires_grad) for t in (x, w, ct))
        for f, e in zip(*(r if isinstance(r, tuple) else (r,) for r in (found, fn(*wide))), strict=True):
            scale = float(e.detach().abs().max())
            np.testing.assert_allclose(f.detach().numpy(), e.detach().numpy(), rtol=0, atol=scale * 3e-5)


#: What a multiprocessor is to have several blocks of, and as many threads as one has: scatters, scans, sums, sorts.
AT_ONCE = {
    "scatter": k.scatter(1000, 50, 64, add=False),
    "scan": k.scan(3, 1 << 20),
    "scan of many": k.scan(1024, 1 << 16),
    "scatter of sums": k.scatter(1000, 5, 4),
    "stripes": k.stripes(512, 128, 1024, sums=2),
    "product": k.dot(1, 512, 512, 4096),
}


@pytest.mark.parametrize("arch", ["sm_75", "sm_86", "sm_120"])
def test_registers_are_left_for_no_more_threads_than_a_multiprocessor_has(
    arch: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more the assembler knows none: it says so, and gives threads as many registers as there are."""
    pytest.importorskip("cupy")
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    for name, kernel in AT_ONCE.items():
        with room_of(arch):
            source = render_kernel(kernel).source
        for threads, blocks in re.findall(r"__launch_bounds__\((\d+), (\d+)\)", source):
            assert int(blocks) == 1 or int(threads) * int(blocks) <= LIMITS_OF_THREADS[arch], name
        assert "minnctapersm" not in compile_cuda(source, arch).log, name


def test_threads_of_a_multiprocessor_are_those_of_the_architecture_within() -> None:
    assert all(threads_at_once(arch) == most for arch, most in LIMITS_OF_THREADS.items())
    assert most_threads() == threads_at_once("sm_90a") == threads_at_once("sm_103f") == 2048
    with room_of("sm_75"):
        assert most_threads() == 1024
    assert most_threads() == 2048
    assert threads_at_once("sm_199") == 1536


def test_the_room_is_that_of_the_architecture_within() -> None:
    assert all(48 << 10 < shared_bytes(arch) < limit for arch, limit in LIMITS.items())
    assert room() == MOST == shared_bytes("sm_90a") == shared_bytes("sm_100f")
    with room_of("sm_75"):
        assert room() == shared_bytes("sm_75") < 64 << 10
    assert room() == MOST
    assert shared_bytes("sm_199") == shared_bytes("sm_86")


def cross_entropy(x: Any, w: Any, ct: Any) -> Any:
    target = tracec.arange(x.shape[0]) * 977 % x.shape[1]
    loss = F.cross_entropy(x * w, target, reduction="none", label_smoothing=0.1)
    return loss.detach(), *tracec.autograd.grad(loss.sum(), (x,))


def log_softmax(x: Any, w: Any, ct: Any) -> Any:
    return F.log_softmax(x.detach() * 3, -1) + ct


@pytest.mark.parametrize("fn", [softmax_gradient, norm_alone, norm_gradient, cross_entropy, log_softmax])
@pytest.mark.parametrize(("length", "dtype"), [(65537, "float32"), (70000, "bfloat16"), (131072, "float32")])
def test_rows_that_clusters_keep_are_right(fn: Any, length: int, dtype: str) -> None:
    x, w, ct = given(length, dtype)
    x, ct = x[:4].detach().requires_grad_(), ct[:4]
    lowered = tracec.compile(fn).lower(x, w, ct, target="cuda", arch="sm_90")
    assert any("__cluster_dims__" in k.source for k in lowered.built.program.kernels)
    found = lowered.run(x, w, ct, launcher="emulator")
    wide = (t.detach().double().requires_grad_(t.requires_grad) for t in (x, w, ct))
    for f, e in zip(*(r if isinstance(r, tuple) else (r,) for r in (found, fn(*wide))), strict=True):
        scale = float(e.detach().abs().max())
        tolerance = scale * (3e-5 if dtype == "float32" else 2e-2)
        have = f.detach().numpy().astype(np.float64)
        np.testing.assert_allclose(have, e.detach().numpy(), rtol=0, atol=tolerance)
