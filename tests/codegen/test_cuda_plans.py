"""Whole plans in CUDA: every launch, in order, computes what the interpreter computes at that step."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen import emulate
from tracec import functions as F
from tracec.codegen.cuda import CudaLaunch, render
from tracec.ir.graph import Graph
from tracec.ir.plan import Plan
from tracec.optimize import PIPELINE
from tracec.plan.planner import TARGETS, make_plan
from tracec.runtime.interpreter import run_kernel, run_plan
from tracec.runtime.nvrtc import compile_sources
from tracec.transform import vjp

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

Array = np.ndarray[Any, Any]


def cuda_plan(graph: Graph) -> Plan:
    return make_plan(PIPELINE.run(graph).graph, TARGETS["cuda"])


def arrays_of(graph: Graph, seed: int = 0) -> list[Array]:
    """Inputs for a graph: indices are small, everything else is around 0."""
    random = np.random.default_rng(seed)
    found = []
    for node in graph.inputs:
        kind, numpy = node.dtype.kind, node.dtype.numpy
        drawn = random.integers(0, 5, node.shape) if kind in "iu" else 0.3 * random.standard_normal(node.shape)
        found.append(np.asarray(drawn).astype(numpy))
    return found


def check_plan(plan: Plan, inputs: list[Array], folder: Path) -> None:
    """Run each launch on the host from the interpreter's state, and compare what it leaves."""
    program = render(plan, "sm_90")
    library = emulate.build(program.kernels, folder)
    space = emulate.guarded(np.full(program.workspace_bytes, 0xFF, np.uint8))
    before = dict(zip(plan.inputs, inputs, strict=True))
    for i, value in enumerate(plan.values):
        before.setdefault(i, np.zeros(value.type.shape, value.type.dtype.numpy))
    for step in program.steps:
        assert isinstance(step, CudaLaunch)
        kernel, entry = program.kernels[step.kernel], program.kernels[step.kernel].entries[step.entry]
        found = {i: emulate.guarded(before[i]) for row in step.args for i in row if isinstance(i, int)}
        addresses = [
            tuple(found[i].ctypes.data if isinstance(i, int) else space.ctypes.data + i.offset for i in row)
            for row in step.args
        ]
        if entry.table is not None:
            packed = entry.table.pack(step.sizes, addresses)
            params: list[Any] = [ctypes.create_string_buffer(packed, len(packed))]
        else:
            params = [ctypes.c_void_p(a) for a in addresses[0]]
        emulate.launch(library, entry, step.grid, params, emulate.SHUFFLED)
        if step.entry == len(kernel.entries) - 1:
            for run, row in enumerate(step.args):
                run_kernel(
                    kernel.ir, [before[i] for i in row if isinstance(i, int)], step.sizes[run] if step.sizes else -1
                )
            emulate.check_guards(space)
            for i, array in found.items():
                emulate.check_guards(array)
                want, have = before[i].reshape(-1).astype(float), array.astype(float)
                scale = float(np.abs(want, where=np.isfinite(want), out=np.zeros_like(want)).max(initial=1.0))
                np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-5 * scale, err_msg=kernel.name)
        else:
            before |= {i: a.copy().reshape(before[i].shape) for i, a in found.items()}


def tensor(*shape: int) -> tracec.Tensor:
    return tracec.tensor(np.zeros(shape, np.float32))


def mlp(x: Any, w: Any, b: Any, u: Any) -> Any:
    return F.softmax(F.linear(F.gelu(F.linear(x, w, b)), u), dim=-1).sum()


def convolutions(x: Any, w: Any, b: Any, v: Any) -> Any:
    return F.avg_pool2d(F.conv2d(F.relu(F.conv2d(x, w, b, padding=1)), v, stride=2), 2).square().mean()


def block(i: Any, e: Any, g: Any, q: Any, o: Any, y: Any) -> Any:
    x = F.embedding(i, e)
    batch, steps, width = x.shape
    heads = (
        z.view(batch, steps, 2, width // 2).transpose(1, 2)
        for z in F.linear(F.layer_norm(x, (width,), g), q).split(width, dim=2)
    )
    a = F.scaled_dot_product_attention(*heads, is_causal=True)
    x = x + F.linear(a.transpose(1, 2).reshape(batch, steps, width), o)
    return F.cross_entropy(F.linear(x, e).reshape(batch * steps, -1), y)


def columns(x: Any, y: Any) -> Any:
    z = F.softmax(x, dim=0).cumsum(dim=1) * y.T
    return (z.flip(0) + F.pad(z, (1, 0, 2, 0))[2:, :-1]).amax(dim=1).sum()


STEPS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "mlp": (mlp, (tensor(33, 20), tensor(40, 20), tensor(40), tensor(7, 40))),
    "columns": (columns, (tensor(50, 66), tensor(66, 50))),
    "convolutions": (convolutions, (tensor(2, 3, 9, 9), tensor(5, 3, 3, 3), tensor(5), tensor(4, 5, 3, 3))),
    "block": (
        block,
        (
            tracec.tensor(np.zeros((2, 9), np.int64)),
            tensor(11, 16),
            tensor(16),
            tensor(48, 16),
            tensor(16, 16),
            tracec.tensor(np.zeros(18, np.int64)),
        ),
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_forward_and_backward(name: str, tmp_path: Path) -> None:
    function, arguments = STEPS[name]
    graph = vjp(tracec.trace(function, *arguments))
    plan = cuda_plan(graph)
    inputs = arrays_of(graph)
    run_plan(plan, [a.copy() for a in inputs])
    check_plan(plan, inputs, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("name", STEPS)
def test_no_spills(name: str, arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cupy")
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    function, arguments = STEPS[name]
    program = render(cuda_plan(vjp(tracec.trace(function, *arguments))), arch)
    cubins = compile_sources([k.source for k in program.kernels], arch)
    assert not [c for c in cubins if c.resources.spill_bytes]
