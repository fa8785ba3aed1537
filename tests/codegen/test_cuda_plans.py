"""Whole plans in CUDA: run by the emulator they compute what the interpreter computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracec
from tests.codegen.emulated import needs_compiler
from tracec import functions as F
from tracec.codegen.cuda import render
from tracec.ir.graph import Graph
from tracec.ir.plan import Plan
from tracec.optimize import PIPELINE
from tracec.plan import TARGETS, make_plan
from tracec.runtime.emulator import load
from tracec.runtime.emulator_launch import ORDERS
from tracec.runtime.interpreter import run_plan
from tracec.runtime.nvrtc import compile_sources
from tracec.spills import without_spills
from tracec.transform import vjp

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


def reductions(x: Any, y: Any, z: Any) -> Any:
    return x.square().amax() * F.log_softmax(y, dim=1).mean(1).sum() + F.linear(z * z, y[:3, :5]).sum(0).square().sum()


STEPS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "mlp": (mlp, (tensor(33, 20), tensor(40, 20), tensor(40), tensor(7, 40))),
    "columns": (columns, (tensor(50, 66), tensor(66, 50))),
    "reductions": (reductions, (tensor(70_001), tensor(3, 66_000), tensor(30_000, 5))),
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


@needs_compiler
@pytest.mark.parametrize("name", STEPS)
def test_forward_and_backward(name: str) -> None:
    function, arguments = STEPS[name]
    graph = vjp(tracec.trace(function, *arguments))
    plan = cuda_plan(graph)
    inputs = arrays_of(graph)
    expected = run_plan(plan, [a.copy() for a in inputs])
    for order in ORDERS:
        found = load(plan, render(plan, "sm_90"), order)([a.copy() for a in inputs])
        for want, have in zip(expected, found, strict=True):
            scale = float(np.abs(want.astype(float)).max(initial=1.0))
            np.testing.assert_allclose(have.astype(float), want.astype(float), rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("name", STEPS)
def test_no_spills(name: str, arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cupy")
    monkeypatch.setenv("TRACEC_CACHE_DIR", str(tmp_path))
    function, arguments = STEPS[name]
    plan = cuda_plan(vjp(tracec.trace(function, *arguments)))
    program = without_spills(render(plan, arch), lambda rungs: render(plan, arch, rungs=rungs))
    cubins = compile_sources([k.source for k in program.kernels], arch)
    assert not [c for c in cubins if c.resources.spill_bytes]
