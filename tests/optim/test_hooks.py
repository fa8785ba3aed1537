"""What runs around the steps of optimisers, and around saving and loading their state."""

import copy
import pickle

import numpy as np
import pytest

import tracec
from tracec import nn, optim
from tracec.amp import GradScaler
from tracec.errors import ArgumentError
from tracec.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook


def leaf(*values):
    return tracec.tensor([float(v) for v in values], requires_grad=True)


class Counted(optim.SGD):
    """Steps of a user's own, around those of the class above."""

    def step(self, closure=None):
        self.order.append("own")
        return super().step(closure)


def test_hooks_run_around_a_step_in_the_order_of_pytorch():
    p, order = leaf(1, 2), []
    optimizer = Counted([p], lr=0.1)
    optimizer.order = order
    p.grad = tracec.ones(2)
    optimizer.register_step_pre_hook(lambda o, args, kwargs: order.append(("before", args == (o,), kwargs)))
    optimizer.register_step_post_hook(lambda o, args, kwargs: order.append("behind"))
    with (
        register_optimizer_step_post_hook(lambda *_: order.append("behind all")),
        register_optimizer_step_pre_hook(lambda *_: order.append("before all")),
    ):
        optimizer.step()
    assert order == ["before all", ("before", True, {}), "own", "behind", "behind all"]
    order.clear()
    optimizer.step()
    assert order == [("before", True, {}), "own", "behind"]


def test_a_pre_hook_changes_the_arguments_and_a_closure_is_among_them():
    p = leaf(1)
    optimizer = optim.SGD([p], lr=1.0)

    def closure():
        p.grad = tracec.ones(1)
        return 7

    optimizer.register_step_pre_hook(lambda o, args, kwargs: (args, {"closure": closure}))
    assert optimizer.step() == 7 and p.tolist() == [0.0]


def test_a_pre_hook_that_returns_something_else_is_refused_and_nothing_is_changed():
    p = leaf(1)
    optimizer = optim.SGD([p], lr=1.0)
    p.grad = tracec.ones(1)
    optimizer.register_step_pre_hook(lambda o, args, kwargs: args)
    with pytest.raises(ArgumentError, match=r"SGD: a step pre-hook must return None or a tuple of .* but got tuple"):
        optimizer.step()
    assert p.tolist() == [1.0]


def test_hooks_of_saving_and_loading():
    p, order = leaf(1), []
    optimizer = optim.Adam([p], lr=0.5)
    optimizer.register_state_dict_pre_hook(lambda o: order.append("second"))
    optimizer.register_state_dict_pre_hook(lambda o: order.append("first"), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, state: state.update(kept=1))
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "added": 2})
    saved = optimizer.state_dict()
    assert order == ["first", "second"] and list(saved) == ["state", "param_groups", "kept", "added"]

    other = optim.Adam([leaf(1)], lr=0.1)
    other.register_load_state_dict_pre_hook(lambda o, state: order.append(state.pop("added")))
    other.register_load_state_dict_pre_hook(lambda o, state: {k: v for k, v in state.items() if k != "kept"})
    other.register_load_state_dict_post_hook(lambda o: order.append(o.param_groups[0]["lr"]))
    other.load_state_dict(saved)
    assert order[2:] == [2, 0.5] and "added" in saved


def test_hooks_are_not_copied_nor_pickled():
    optimizer = optim.Adam([leaf(1)], lr=0.5)
    optimizer.register_step_pre_hook(lambda *_: 1 / 0)
    for made in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        made.step()
        assert made.param_groups[0]["lr"] == 0.5


def step_of(register, Optimizer=optim.SGD):
    """A train step whose optimiser has hooks, and what it changes."""
    model = nn.Linear(3, 2)
    with tracec.no_grad():
        for k, p in enumerate(model.parameters()):
            p.copy_(tracec.arange(p.numel()).reshape(p.shape) / (7 + k))
    optimizer = Optimizer(model.parameters(), lr=0.1)
    optimizer.order = []
    register(model, optimizer)

    def step(x):
        optimizer.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, step


def clip(model, optimizer):
    optimizer.register_step_pre_hook(lambda o, a, k: nn.utils.clip_grad_norm_(model.parameters(), 0.5) and None)


def bound(model, optimizer):
    def within(o, args, kwargs):
        with tracec.no_grad():
            for group in o.param_groups:
                for p in group["params"]:
                    p.clamp_(-0.3, 0.3)

    optimizer.register_step_post_hook(within)


@pytest.mark.parametrize("register", [clip, bound])
@pytest.mark.parametrize("Optimizer", [optim.SGD, Counted])
def test_hooks_are_part_of_a_compiled_step(register, Optimizer):
    model, optimizer, eager = step_of(register, Optimizer)
    other, own, step = step_of(register, Optimizer)
    bare, _, without = step_of(lambda model, optimizer: None)
    compiled = tracec.compile(step)
    for k in range(4):
        x = tracec.tensor([[1.0, -2.0, 0.5 + k]])
        without(x)
        np.testing.assert_allclose(compiled(x).item(), eager(x).item(), rtol=1e-5)
    for p, q, r in zip(other.parameters(), model.parameters(), bare.parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5)
        assert not np.allclose(p.detach().numpy(), r.detach().numpy(), rtol=1e-3)
    assert own.order == optimizer.order
    assert "1 specialisation" in repr(compiled)


@pytest.mark.parametrize("register", ["register_step_pre_hook", "everywhere"])
def test_a_compiled_step_sees_hooks_come_and_go(register):
    model, optimizer, step = step_of(lambda model, optimizer: None)
    compiled = tracec.compile(step)
    enter = register_optimizer_step_pre_hook if register == "everywhere" else optimizer.register_step_pre_hook
    x = tracec.ones(1, 3)

    def still(o, args, kwargs):
        for p in o.param_groups[0]["params"]:
            p.grad.zero_()

    for _ in range(2):
        compiled(x)
        with enter(still):
            before = [p.tolist() for p in model.parameters()]
            for _ in range(3):
                compiled(x)
            assert before == [p.tolist() for p in model.parameters()]
        compiled(x)
        assert before != [p.tolist() for p in model.parameters()]


def test_a_scaled_step_that_is_left_out_calls_no_hook():
    p, calls = leaf(1), []
    optimizer = optim.SGD([p], lr=0.25)
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    scaler = GradScaler(init_scale=4.0)

    @tracec.compile
    def step(x):
        optimizer.zero_grad()
        scaler.scale((p * x).sum()).backward()
        scaler.step(optimizer)
        scaler.update()

    given = [1.0, 1.0, float("inf"), 1.0, float("inf"), 1.0]
    for x in given:
        step(tracec.tensor(x))
    assert len(calls) == 4 and p.tolist() == [0.0]


def test_parameters_with_names():
    model = nn.Linear(3, 2)
    optimizer = optim.AdamW(model.named_parameters(), lr=0.5)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert all(p is q for p, q in zip(optimizer.param_groups[0]["params"], model.parameters(), strict=True))
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ArgumentError, match="AdamW: all optimizer params should be with/without names"):
        optimizer.add_param_group({"params": [leaf(1)]})
    optimizer.add_param_group({"params": [("more", leaf(1))]})
    assert optimizer.param_groups[1]["param_names"] == ["more"]
    with pytest.raises(ArgumentError, match="SGD: all optimizer params should be with/without names"):
        optim.SGD([("a", leaf(1)), leaf(2)])


def test_what_is_loaded_is_the_optimisers_own():
    rate = tracec.tensor(0.5)
    first, second = optim.SGD([leaf(1)], lr=rate), optim.SGD([leaf(1)], lr=0.1)
    second.load_state_dict(first.state_dict())
    second.param_groups[0]["lr"].fill_(2.0)
    assert rate.item() == 0.5
