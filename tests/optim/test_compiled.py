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
