"""Loss scaling: the factor, steps that are left out, eager and compiled."""

from __future__ import annotations

import math

import pytest

import tracec
from tracec import optim
from tracec.amp import GradScaler
from tracec.errors import ArgumentError, StateError


def run(losses, compiled, **options):
    """Steps with gradients of these sizes: the parameter and the factor after each."""
    p = tracec.ones(3, requires_grad=True)
    optimizer = optim.SGD([p], lr=0.5, momentum=0.5)
    scaler = GradScaler(init_scale=8.0, growth_interval=3, **options)

    def step(size):
        optimizer.zero_grad()
        scaler.scale((p * size).sum()).backward()
        scaler.step(optimizer)
        scaler.update()

    step = tracec.compile(step) if compiled else step
    seen = []
    for size in losses:
        step(tracec.tensor(size))
        seen.append((p.detach().tolist(), scaler.get_scale()))
    return seen, step


SIZES = [1.0, 2.0, math.inf, 1.0, 1.0, 1.0, math.nan, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("compiled", [False, True])
def test_steps_and_factors(compiled):
    seen, step = run(SIZES, compiled)
    assert [s for _, s in seen] == [8, 8, 4, 4, 4, 8, 4, 4, 4, 8, 8]
    assert seen[2][0] == seen[1][0] and seen[6][0] == seen[5][0]
    if compiled:
        assert "1 specialisation" in repr(step) and "eager" not in step.explain()


def test_compiled_steps_are_eager_ones():
    eager, _ = run(SIZES, False)
    compiled, _ = run(SIZES, True)
    for (p, s), (q, t) in zip(eager, compiled, strict=True):
        assert p == pytest.approx(q) and s == t


def test_against_pytorch():
    torch = pytest.importorskip("torch")
    found = []
    for module in (tracec, torch):
        p = module.ones(3, requires_grad=True)
        optimizer = module.optim.SGD([p], lr=0.5)
        scaler = module.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
        seen = []
        for size in SIZES:
            optimizer.zero_grad()
            scaler.scale((p * size).sum()).backward()
            scaler.unscale_(optimizer)
            module.nn.utils.clip_grad_norm_([p], 1.0)
            scaler.step(optimizer)
            scaler.update()
            seen += [*p.detach().tolist(), scaler.get_scale()]
        found.append(seen)
        assert scaler.state_dict()["scale"] == seen[-1]
    assert found[0] == pytest.approx(found[1])


def test_states_and_doing_nothing():
    scaler, other = GradScaler(init_scale=4.0), GradScaler()
    other.load_state_dict(scaler.state_dict())
    assert other.get_scale() == 4.0
    off = GradScaler(enabled=False)
    loss = tracec.ones(())
    assert off.scale(loss) is loss and off.get_scale() == 1.0 and off.state_dict() == {}
    p = tracec.ones(2, requires_grad=True)
    p.grad = tracec.ones(2)
    off.step(optim.SGD([p], lr=1.0))
    off.update()
    assert p.tolist() == [0, 0]


def test_losses_in_collections():
    scaler, losses = GradScaler(init_scale=4.0), [tracec.tensor(1.0), tracec.tensor(2.0)]
    for given in (losses, tuple(losses), [losses[0], (losses[1],)]):
        scaled = scaler.scale(given)
        assert type(scaled) is type(given)
        assert [float(x[0]) if isinstance(x, tuple) else float(x) for x in scaled] == [4.0, 8.0]
    assert [float(x) for x in scaler.scale(x for x in losses)] == [4.0, 8.0]
    assert [float(x) for x in scaler.scale({"a": losses[0]}.values())] == [4.0]
    for wrong in (3.0, "loss", None):
        with pytest.raises(ArgumentError, match="Tensor or an iterable of Tensors"):
            scaler.scale(wrong)


def test_errors():
    p = tracec.ones(2, requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0)
    scaler = GradScaler()
    with pytest.raises(StateError, match="no inf checks"):
        scaler.update()
    scaler.scale(p.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(StateError, match="already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(StateError, match="already been called since the last update"):
        scaler.step(optimizer)
    scaler.update()
    with pytest.raises(ArgumentError, match="growth factor"):
        GradScaler(growth_factor=0.5)
    with pytest.raises(ArgumentError, match="closure"):
        scaler.step(optimizer, closure=lambda: 0)


def test_how_the_factor_changes_is_told_and_set():
    scaler = GradScaler(init_scale=8.0)
    assert (scaler.get_growth_factor(), scaler.get_backoff_factor(), scaler.get_growth_interval()) == (2.0, 0.5, 2000)
    scaler.set_growth_factor(3.0)
    scaler.set_backoff_factor(0.25)
    scaler.set_growth_interval(1)
    p = tracec.ones(1, requires_grad=True)
    optimizer = tracec.optim.SGD([p], lr=0.1)
    for gradient, factor in ((1.0, 24.0), (float("inf"), 6.0)):
        p.grad = tracec.tensor([gradient])
        scaler.step(optimizer)
        scaler.update()
        assert scaler.get_scale() == factor
