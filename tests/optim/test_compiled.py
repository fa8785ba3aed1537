"""A compiled step is compiled once, and the update of all parameters is one kernel."""

import numpy as np
import pytest

import tracec
from tracec import optim

OPTIMIZERS = {
    "sgd": lambda ps: optim.SGD(ps, lr=0.1),
    "momentum": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, dampening=0.1),
    "adamw": lambda ps: optim.AdamW(ps, lr=0.1),
    "adagrad": lambda ps: optim.Adagrad(ps, lr=0.1),
    "adadelta": lambda ps: optim.Adadelta(ps),
    "adamax": lambda ps: optim.Adamax(ps, lr=0.1),
    "nadam": lambda ps: optim.NAdam(ps, lr=0.1),
    "radam": lambda ps: optim.RAdam(ps, lr=0.1),
    "asgd": lambda ps: optim.ASGD(ps, lr=0.1),
    "rprop": lambda ps: optim.Rprop(ps, lr=0.1),
    "adafactor": lambda ps: optim.Adafactor(ps, lr=0.1),
    "rmsprop": lambda ps: optim.RMSprop(ps, lr=0.1, centered=True, momentum=0.5),
}


def make(name):
    rng = np.random.default_rng(0)
    params = [tracec.from_numpy(rng.normal(size=s).astype(np.float32)).requires_grad_() for s in [(4, 3), (7,), (2, 5)]]
    optimizer = OPTIMIZERS[name](params)

    def step(x):
        optimizer.zero_grad()
        loss = sum((p * p * x).sum() for p in params)
        loss.backward()
        optimizer.step()
        return loss

    return params, optimizer, step


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_compiled_steps_are_recorded_once_and_agree_with_eager(name):
    params, optimizer, step = make(name)
    eager_params, _, eager = make(name)
    compiled = tracec.compile(step)
    for k in range(5):
        x = tracec.tensor(1.0 + k)
        assert compiled(x).item() == pytest.approx(eager(x).item(), rel=1e-5)
    for p, q in zip(params, eager_params, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert "1 specialisation" in repr(compiled)
    if name == "adamw":
        assert all(optimizer.state[p]["step"].item() == 5 for p in params)


def fitted(wrap, calls=10, **options):
    """What steps of L-BFGS return, the parameter in the end, and the step."""
    rng = np.random.default_rng(0)
    p = tracec.from_numpy(rng.normal(size=5).astype(np.float32)).requires_grad_()
    x, y = (tracec.from_numpy(rng.normal(size=s).astype(np.float32)) for s in ((8, 5), (8,)))
    optimizer = optim.LBFGS([p], **options)

    def closure():
        optimizer.zero_grad()
        loss = ((x @ p - y) ** 2).mean()
        loss.backward()
        return loss

    step = wrap(lambda: optimizer.step(closure))
    return [step().item() for _ in range(calls)], p.tolist(), step


@pytest.mark.parametrize("backend", [{}, {"target": "cuda", "launcher": "emulator"}], ids=["C", "emulator"])
def test_lbfgs_goes_one_way_once_its_history_is_full(backend):
    options = {"lr": 0.1, "max_iter": 2, "history_size": 2}
    expected = fitted(lambda step: step, **options)
    *found, step = fitted(lambda step: tracec.compile(step, **backend), **options)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-5)
    assert len(step.explain().recordings) <= 5
    assert sum(s.hits for s in step.explain().specialisations if s.compiled) >= 5


def test_lbfgs_with_a_long_history_says_that_it_runs_eagerly():
    expected = fitted(lambda step: step, 4)
    with pytest.warns(RuntimeWarning, match="LBFGS: a step of up to 20 iterations, each over up to 100"):
        *found, _ = fitted(tracec.compile, 4)
    assert found == list(expected[:2])
