"""Groups, state and errors of the optimisers."""

import copy

import numpy as np
import pytest

import tracec
from tracec import optim
from tracec.errors import ArgumentError, ArgumentTypeError, RuleMissingError


def leaf(*values):
    return tracec.tensor([float(v) for v in values], requires_grad=True)


def test_state_is_there_before_the_first_step():
    p = leaf(1, 2)
    state = optim.AdamW([p], amsgrad=True).state[p]
    assert set(state) == {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
    assert state["step"].shape == () and state["step"].dtype is tracec.float32 and state["step"].item() == 0
    assert not state["exp_avg"].requires_grad


def test_state_tensors_stay_the_same_from_step_to_step():
    p = leaf(1, 2)
    optimizer = optim.Adam([p])
    before = dict(optimizer.state[p])
    p.grad = tracec.ones_like(p)
    optimizer.step()
    assert all(optimizer.state[p][key] is value for key, value in before.items())
    assert before["step"].item() == 1


def test_state_dict_round_trip_continues_the_same_way():
    start = np.linspace(-1, 1, 6, dtype=np.float32)
    p, q = (tracec.from_numpy(start.copy()).requires_grad_() for _ in range(2))
    first, second = optim.Adam([p], lr=0.1), optim.Adam([q], lr=0.5)
    p.grad = tracec.from_numpy(start * 2)
    first.step()
    with tracec.no_grad():
        q.copy_(p)
    second.load_state_dict(first.state_dict())
    assert second.param_groups[0]["lr"] == 0.1
    assert second.state[q]["exp_avg"] is not first.state[p]["exp_avg"]
    p.grad = q.grad = tracec.from_numpy(start + 1)
    first.step()
    second.step()
    assert np.array_equal(p.detach().numpy(), q.detach().numpy())


def test_zero_grad():
    p = leaf(1, 2)
    optimizer = optim.SGD([p], lr=0.1)
    p.grad = g = tracec.ones_like(p)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is g and g.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert p.grad is None


def test_repr_and_copy():
    p = leaf(1, 2)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    assert repr(optimizer).startswith("SGD (\nParameter Group 0\n    dampening: 0\n")
    other = copy.deepcopy(optimizer)
    (q,) = other.param_groups[0]["params"]
    assert q is not p and set(other.state[q]) == {"momentum_buffer"}


def test_closure_is_called_with_gradients_on_and_its_value_comes_back():
    p = leaf(1, 2)
    optimizer = optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tracec.no_grad():
        assert optimizer.step(closure).item() == 5.0
    assert p.tolist() == [0.0, 0.0]


def test_learning_rate_as_a_tensor():
    p = leaf(1, 2)
    optimizer = optim.SGD([p], lr=tracec.tensor(0.5))
    p.grad = tracec.ones_like(p)
    optimizer.step()
    optimizer.param_groups[0]["lr"].fill_(1.0)
    optimizer.step()
    assert p.tolist() == [-0.5, 0.5]


def test_step_of_a_subclass_in_the_style_of_pytorch():
    class SignDescent(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        @tracec.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    self.state[p]["steps"] = self.state[p].get("steps", 0) + 1
                    p.copy_(p - p.grad.sign() * group["lr"])

    p = leaf(1, 2)
    optimizer = SignDescent([p], lr=0.5)
    p.grad = tracec.tensor([3.0, -2.0])
    optimizer.step()
    assert p.tolist() == [0.5, 2.5]
    assert optimizer.state_dict()["state"] == {0: {"steps": 1}}
    again = SignDescent([leaf(1, 2)], lr=0.1)
    again.load_state_dict(optimizer.state_dict())
    assert again.state_dict()["state"] == {0: {"steps": 1}}


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: optim.SGD([], lr=0.1), ArgumentError, "SGD: optimizer got an empty parameter list"),
        (lambda: optim.SGD([leaf(1)], lr=-0.1), ArgumentError, "SGD: invalid lr: -0.1"),
        (lambda: optim.SGD([leaf(1)], lr=0.1, nesterov=True), ArgumentError, "SGD: nesterov momentum with momentum=0"),
        (lambda: optim.SGD(leaf(1), lr=0.1), ArgumentTypeError, "SGD: params must be an iterable"),
        (lambda: optim.SGD([1.0], lr=0.1), ArgumentTypeError, "SGD: optimizer can only optimize tensors, float"),
        (lambda: optim.SGD([leaf(1) * 2], lr=0.1), ArgumentError, r"SGD: can't optimize a non-leaf tensor of shape"),
        (
            lambda: optim.SGD([{"params": [x]} for x in [leaf(1)] * 2]),
            ArgumentError,
            "in more than one parameter group",
        ),
        (lambda: optim.Adam([leaf(1)], betas=(1.0, 0.9)), ArgumentError, r"Adam: invalid betas\[0\]: 1"),
        (lambda: optim.AdamW([leaf(1)], eps=-1), ArgumentError, "AdamW: invalid eps: -1"),
        (lambda: optim.RMSprop([leaf(1)], momentum=-1), ArgumentError, "RMSprop: invalid momentum: -1"),
        (lambda: optim.Adam([leaf(1)], betas=0.9), ArgumentTypeError, "Adam: betas must be 2 numbers, 0.9 given"),
        (lambda: optim.Rprop([leaf(1)], etas=()), ArgumentTypeError, r"Rprop: etas must be 2 numbers, \(\) given"),
        (lambda: optim.Rprop([leaf(1)], step_sizes=(1, "x")), ArgumentTypeError, r"Rprop: step_sizes\[1\] must be"),
        (lambda: optim.Adafactor([leaf(1)], eps=0), ArgumentTypeError, "Adafactor: eps must be 2 numbers"),
        (lambda: optim.Adafactor([leaf(1)], d="x"), ArgumentTypeError, "Adafactor: d must be a number"),
        (lambda: optim.ASGD([leaf(1)], t0="x"), ArgumentTypeError, "ASGD: t0 must be a number"),
        (lambda: optim.LBFGS([leaf(1)], max_iter=1.5), ArgumentTypeError, "LBFGS: max_iter must be integers"),
        (lambda: optim.Muon([leaf(1)], ns_coefficients=0), ArgumentTypeError, "Muon: ns_coefficients must be 3"),
        (lambda: optim.Adam([leaf(1)], differentiable=True), ArgumentError, "Adam: differentiable=True"),
        (
            lambda: optim.Adam([leaf(1)]).load_state_dict(optim.Adam([leaf(1), leaf(2)]).state_dict()),
            ArgumentError,
            "Adam: loaded state dict has 2 parameters in group 0, the optimizer 1",
        ),
    ],
)
def test_errors(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_an_optimiser_and_a_schedule_that_leave_their_rule_out():
    class Own(optim.Optimizer):
        pass

    class Rates(optim.lr_scheduler.LRScheduler):
        pass

    p = leaf(1)
    p.grad = tracec.ones(1)
    optimizer = Own([p], {"lr": 0.1})
    with pytest.raises(RuleMissingError, match="Own: does not define step"):
        optimizer.step()
    with pytest.raises(NotImplementedError, match="Rates: does not define get_lr"):
        Rates(optimizer)


def test_options_that_each_group_has_to_give():
    from tracec.optim.optimizer import Optimizer, ParamsT, required

    class Descent(Optimizer):
        def __init__(self, params: ParamsT, lr=required):
            super().__init__(params, {"lr": lr})

    w = tracec.ones(2, requires_grad=True)
    assert Descent([{"params": [w], "lr": 0.5}]).param_groups[0]["lr"] == 0.5 and repr(required)[0] == "<"
    with pytest.raises(ValueError, match="required optimization parameter lr"):
        Descent([w])


def test_a_parameter_that_is_given_twice_is_warned_of_and_changed_twice():
    x = leaf(2)
    with pytest.warns(UserWarning, match="SGD: optimizer contains a parameter group with duplicate parameters"):
        optimizer = optim.SGD([x, leaf(1), x], lr=0.25)
    before = x.tolist()
    x.grad = tracec.ones_like(x)
    optimizer.step()
    assert x.tolist() == [v - 0.5 for v in before]
    assert optimizer.state_dict()["param_groups"][0]["params"] == [2, 1, 2]
