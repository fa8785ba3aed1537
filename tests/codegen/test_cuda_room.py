"""What kernels of long rows ask for is what a block has on the architecture that they are written for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracec
import tracec.nn.functional as F
from tracec.ir.room import MOST, room, room_of, shared_bytes

#: What the driver lets a block have, static and dynamic together.
LIMITS = {"sm_75": 64 << 10, "sm_80": 163 << 10, "sm_86": 99 << 10, "sm_89": 99 << 10, "sm_90": 227 << 10,
          "sm_100": 227 << 10, "sm_120": 99 << 10}  # fmt: skip
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
                for entry in (e for k in program.kernels for e in k.entries):
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
