"""Functions of lists of tensors against PyTorch's, and as optimisers use them, eagerly and compiled."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.failures import caught, check_form
from tracec.functions import foreach

torch = pytest.importorskip("torch")

ARRAYS = [np.array([0.5, 0.25, 0.9], "f4"), np.array([[0.3, 0.6]], "f4")]
OTHERS = [np.array([0.7, 0.2, 0.4], "f4"), np.array([[0.8, 0.5]], "f4")]
PLAIN = sorted(
    [
        "abs",
        "acos",
        "asin",
        "atan",
        "ceil",
        "cos",
        "cosh",
        "erf",
        "erfc",
        "exp",
        "expm1",
        "floor",
        "frac",
        "lgamma",
        "log",
        "log10",
        "log1p",
        "log2",
        "neg",
        "reciprocal",
        "round",
        "rsqrt",
        "sigmoid",
        "sign",
        "sin",
        "sinh",
        "sqrt",
        "tan",
        "tanh",
        "trunc",
        "zero",
        "max",
        "norm",
        "clone",
    ]
)


def lists(t):
    return [t.tensor(a) for a in ARRAYS], [t.tensor(a) for a in OTHERS]


def called(t, name, args):
    """What the function gives, and what it leaves in its operands."""
    xs, ys = lists(t)
    out = getattr(t, name)(*args(t, xs, ys))
    return [np.asarray(x) for x in out], [np.asarray(x) for x in xs], out is xs


WITH = {
    "numbers": lambda t, xs, ys: (xs, 2.0),
    "lists of numbers": lambda t, xs, ys: (xs, [2.0, 3.0]),
    "lists": lambda t, xs, ys: (xs, ys),
}
BINARY = [
    (f, kind)
    for f in ("add", "sub", "mul", "div", "maximum", "minimum", "clamp_min", "clamp_max", "pow")
    for kind in WITH
]
TERNARY = {
    "addcmul": lambda t, xs, ys: (xs, ys, ys),
    "addcmul by": lambda t, xs, ys: (xs, ys, ys, -0.5),
    "addcdiv each": lambda t, xs, ys: (xs, ys, ys, [0.5, 2.0]),
    "addcdiv tensor": lambda t, xs, ys: (xs, ys, ys, t.tensor([0.5, 2.0])),
    "lerp": lambda t, xs, ys: (xs, ys, 0.25),
    "lerp lists": lambda t, xs, ys: (xs, ys, ys),
    "copy_": lambda t, xs, ys: (xs, ys),
    "mul": lambda t, xs, ys: (xs, t.tensor(3.0)),
}


def agree(name, args):
    for ours, theirs in zip(called(tracec, name, args), called(torch, name, args), strict=True):
        assert type(ours) is type(theirs)
        if isinstance(ours, list):
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
        else:
            assert ours == theirs


def test_all_of_them_are_there():
    assert {n for n in dir(torch) if n.startswith("_foreach_")} <= {*foreach.__all__}
    assert callable(tracec._foreach_add_) and not hasattr(tracec, "_foreach_nothing")


@pytest.mark.parametrize("name", [f"_foreach_{n}{u}" for n in PLAIN for u in ("", "_")])
def test_of_one_list(name):
    if hasattr(torch, name):
        agree(name, lambda t, xs, ys: (xs,))


@pytest.mark.parametrize(("name", "kind"), BINARY)
def test_of_a_list_and_others(name, kind):
    agree(f"_foreach_{name}", WITH[kind])
    agree(f"_foreach_{name}_", WITH[kind])


@pytest.mark.parametrize("case", TERNARY)
def test_of_three(case):
    name = case.split(" ")[0]
    agree(f"_foreach_{name}", TERNARY[case])
    if not name.endswith("_"):
        agree(f"_foreach_{name}_", TERNARY[case])


def test_of_other_forms():
    agree("_foreach_pow", lambda t, xs, ys: (2.0, xs))
    for t in (tracec, torch):
        xs, ys = lists(t)
        t._foreach_add_(xs, ys, alpha=-2)
        t._foreach_lerp_(xs, ys, weight=0.5)
        t._foreach_addcmul_(xs, ys, ys, value=3)
        t._foreach_add_(xs, scalar=1.0)
        expected = [0.5 * (a - 2 * b) + 0.5 * b + 3 * b * b + 1 for a, b in zip(ARRAYS, OTHERS, strict=True)]
        for x, e in zip(xs, expected, strict=True):
            np.testing.assert_allclose(np.asarray(x), e, rtol=1e-5)


def test_what_is_refused():
    xs, ys = lists(tracec)
    for mistake, part in [
        (lambda T: T._foreach_add(xs[0], 1.0), "takes a list or a tuple of tensors, Tensor given"),
        (lambda T: T._foreach_add([1.0], 1.0), "takes a list or a tuple of tensors, float given"),
        (lambda T: T._foreach_add([], 1.0), "at least one tensor"),
        (lambda T: T._foreach_mul_(xs, ys[:1]), "must have the same number of tensors, got 2 and 1"),
    ]:
        error = check_form(caught(tracec, mistake, []))
        assert part in error.message and error.message.startswith("_foreach_")


def optimiser(t):
    """One of a user's own, that keeps its state as programs do, and updates all parameters in one line."""

    class Lion(t.optim.Optimizer):
        def __init__(self, params, lr=1e-2, betas=(0.9, 0.99), weight_decay=0.1):
            super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

        @t.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                params = [p for p in group["params"] if p.grad is not None]
                for p in params:
                    if len(self.state[p]) == 0:
                        self.state[p]["average"] = t.zeros_like(p)
                averages, grads = [self.state[p]["average"] for p in params], [p.grad for p in params]
                one, two = group["betas"]
                t._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
                updates = t._foreach_lerp(grads, averages, one)
                t._foreach_sign_(updates)
                t._foreach_add_(params, updates, alpha=-group["lr"])
                t._foreach_lerp_(averages, grads, 1 - two)

    return Lion


def trained(t, compiled):
    net = t.nn.Sequential(t.nn.Linear(3, 4), t.nn.Tanh(), t.nn.Linear(4, 1))
    rng = np.random.default_rng(0)
    with t.no_grad():
        for p in net.parameters():
            p.copy_(t.tensor(rng.normal(size=tuple(p.shape)).astype("f4")))
    optimizer = optimiser(t)(net.parameters())
    assert not optimizer.state
    x = t.tensor(rng.normal(size=(8, 3)).astype("f4"))

    def step(x):
        optimizer.zero_grad()
        loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    step = tracec.compile(step, on_record="allow") if compiled else step
    losses = [step(x).item() for _ in range(6)]
    again = optimiser(t)(net.parameters())
    again.load_state_dict(optimizer.state_dict())
    assert len(again.state) == 4
    return losses


@pytest.mark.parametrize("compiled", [False, True])
def test_an_optimiser_of_ones_own(compiled):
    np.testing.assert_allclose(trained(tracec, compiled), trained(torch, False), rtol=1e-4)


def test_state_of_a_tensor_that_nobody_asked_for_is_empty():
    w = tracec.ones(2, requires_grad=True)
    other = tracec.ones(2)
    optimizer = optimiser(tracec)([w])
    assert optimizer.state[other] == {} and optimizer.state_dict()["state"] == {}
    assert set(tracec.optim.Adam([w]).state[w]) == {"step", "exp_avg", "exp_avg_sq"}
