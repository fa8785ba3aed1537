"""Every composition of transforms against torch.func, eager and compiled."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.func.programs import PROGRAMS

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
ARRAYS = [RNG.normal(size=shape) for shape in ((4, 3), (3, 3), (3,))]


def arrays(out):
    """The tensors of nested containers as arrays, in order."""
    if isinstance(out, dict):
        out = [out[k] for k in out]
    return [a for o in out for a in arrays(o)] if isinstance(out, (list, tuple)) else [out.detach().numpy()]


def run(library, program):
    return arrays(program(library, library.func, *map(library.tensor, ARRAYS)))


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_programs(name):
    program = PROGRAMS[name]
    expected = run(torch, program)
    found = [run(tracec, program)]
    if "branches" not in name:
        compiled = tracec.compile(lambda *args: program(tracec, tracec.func, *args))
        given = [tracec.tensor(a) for a in ARRAYS]
        found += [arrays(compiled(*given)), arrays(compiled(*given))]
    for each in found:
        assert [(a.shape, a.dtype) for a in each] == [(a.shape, a.dtype) for a in expected]
        for a, b in zip(each, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", ["linear", "batch norm"])
def test_functional_call(kind):
    ours, theirs = (
        T.nn.Sequential(T.nn.Linear(3, 3), T.nn.Tanh() if kind == "linear" else T.nn.BatchNorm1d(3), T.nn.Linear(3, 1))
        for T in (tracec, torch)
    )
    state = {name: RNG.normal(size=p.shape).astype(np.float32) for name, p in theirs.named_parameters()}
    found = []
    for T, model in ((tracec, ours), (torch, theirs)):
        params = {name: T.tensor(a) for name, a in state.items()}
        buffers = {name: b.clone() for name, b in model.eval().named_buffers()}
        x = T.tensor(ARRAYS[0].astype(np.float32))
        before = arrays(list(dict(model.named_parameters()).values()))

        def loss(params, buffers=buffers, x=x, T=T, model=model):
            return T.func.functional_call(model, (params, buffers), (x,)).pow(2).sum()

        grads = T.func.grad(loss)(params)
        found.append([*arrays(grads), *arrays(list(buffers.values()))])
        for a, b in zip(before, arrays(list(dict(model.named_parameters()).values())), strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_ensembles():
    found = []
    for T in (tracec, torch):
        models = [T.nn.Linear(3, 2) for _ in range(5)]
        for k, model in enumerate(models):
            for p in model.parameters():
                p.data.copy_(T.arange(p.numel()).reshape(p.shape) * 0.1 + k)
        params, buffers = T.func.stack_module_state(models)
        assert all(p.requires_grad and p.is_leaf for p in params.values()) and not buffers
        x = T.tensor(ARRAYS[0].astype(np.float32))

        def one(p, b, a, T=T, model=models[0]):
            return T.func.functional_call(model, (p, b), (a,))

        out = T.func.vmap(one, in_dims=(0, 0, None))(params, buffers, x)
        out.sum().backward()
        found.append(arrays([out, *(p.grad for p in params.values())]))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
