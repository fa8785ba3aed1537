"""A module that is told to run compiled does so in place."""

import copy
import pickle

import numpy as np

import tracec
from tracec import nn


def make():
    tracec.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def test_calls_of_a_module_run_compiled_in_place():
    model, x = make(), tracec.ones(5, 3)
    expected, names, text = model(x), list(model.state_dict()), repr(model)
    assert model.compile() is None
    for _ in range(3):
        np.testing.assert_allclose(model(x).tolist(), expected.tolist(), rtol=1e-6)
    assert "1 specialisation" in repr(model._compiled_call_impl)
    assert list(model.state_dict()) == names and repr(model) == text
    handle = model.register_forward_hook(lambda module, args, out: out * 2)
    for _ in range(2):
        np.testing.assert_allclose(model(x).tolist(), (expected * 2).tolist(), rtol=1e-6)
    handle.remove()
    np.testing.assert_allclose(model(x).tolist(), expected.tolist(), rtol=1e-6)


def test_its_options_are_those_of_compile():
    model = make()
    model.compile(fullgraph=True, dynamic=False)
    options = model._compiled_call_impl._options
    assert options.fullgraph and options.dynamic is False


def test_copies_run_compiled_by_their_own_parameters():
    model, x = make(), tracec.ones(5, 3)
    model.compile()
    model(x), model(x)
    for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with tracec.no_grad():
            made[2].bias.add_(1)
        for _ in range(2):
            np.testing.assert_allclose(made(x).tolist(), (model(x) + 1).tolist(), rtol=1e-5, atol=1e-6)


def test_it_trains_within_a_step_that_is_compiled_too():
    model, other = make(), make()
    model.compile()
    optimizers = [tracec.optim.SGD(m.parameters(), lr=0.1) for m in (model, other)]

    def step(module, optimizer, x):
        optimizer.zero_grad()
        loss = module(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    compiled = tracec.compile(lambda x: step(model, optimizers[0], x))
    x = tracec.ones(5, 3)
    for _ in range(3):
        np.testing.assert_allclose(compiled(x).item(), step(other, optimizers[1], x).item(), rtol=1e-5)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(p.tolist(), q.tolist(), rtol=1e-5, atol=1e-6)
