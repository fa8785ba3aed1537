"""Numbers that change from call to call: one recording serves them all, and what depends on them is never stale."""

from __future__ import annotations

import json
import math
import warnings
from collections import namedtuple

import numpy as np
import pytest

import tracec as T
from tracec import nn, optim
from tracec.optim import lr_scheduler

X = T.tensor([1.0, -2.0, 3.0])
Pair = namedtuple("Pair", "a b")


def recordings(compiled):
    return len(compiled.explain().recordings)


def outcome(function, *args, **kwargs):
    try:
        return function(*args, **kwargs)
    except (ArithmeticError, ValueError, T.errors.TracecError) as error:
        return type(error)


def same(a, b):
    """Whether two results are alike, tensors but for the last bits."""
    if isinstance(a, T.Tensor) and isinstance(b, T.Tensor):
        near = np.allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6, equal_nan=True)
        return a.dtype is b.dtype and a.shape == b.shape and a.requires_grad == b.requires_grad and near
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and repr(a) == repr(b)


def agree(function, calls, most):
    """A compiled function gives what it gives eagerly, over calls, and records so often."""
    compiled = T.compile(function)
    for args in calls:
        assert same(outcome(compiled, *args), outcome(function, *args)), args
    assert recordings(compiled) <= most, str(compiled.explain())
    return compiled


RATES = [0.1 * 0.9**k for k in range(100)]

ARGUMENTS = {
    "float": (lambda x, n: x * n, lambda r: r),
    "int": (lambda x, n: x + n, lambda r: int(r * 1e6)),
    "list": (lambda x, n: x * n[1][0], lambda r: ["a", [r]]),
    "tuple": (lambda x, n: x * n[1], lambda r: (None, r)),
    "named_tuple": (lambda x, n: x * n.b + n.a, lambda r: Pair(1, r)),
    "dict": (lambda x, n: x * n["lr"], lambda r: {"lr": r, "on": True}),
    "two": (lambda x, n: x * n[0] / n[1], lambda r: (r, r + 1)),
    "expression": (lambda x, n: x * (2 * n + 1) ** 2 - n / 3, lambda r: r),
    "returned": (lambda x, n: (x, n * 2, {"n": [n]}), lambda r: r),
    "returned_int": (lambda x, n: (x * 2, n + 10**30, n // 7, -n % 5), lambda r: int(r * 1e6)),
    "full": (lambda x, n: T.full((3,), n) + x, lambda r: r),
    "float64": (lambda x, n: x.double() * n, lambda r: r),
    "comparison": (lambda x, n: x > n, lambda r: r),
    "clamp": (lambda x, n: x.clamp(-n, n), lambda r: r),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_hundred_arguments_take_two_recordings(name):
    function, make = ARGUMENTS[name]
    agree(function, [(X, make(r)) for r in RATES], 2)


def test_keyword_arguments_are_watched():
    compiled = T.compile(lambda x, *, lr, on: x * lr if on else x)
    for rate in RATES[:10]:
        np.testing.assert_allclose(compiled(X, on=True, lr=rate).numpy(), X.numpy() * np.float32(rate), rtol=1e-6)
    assert recordings(compiled) == 2


def test_a_condition_is_a_recording_for_each_side():
    agree(lambda x, lr: x * lr if lr < 1e-2 else x / lr, [(X, r) for r in RATES], 3)


def test_conditions_on_what_is_computed():
    def function(x, n):
        if n % 3 == 0:
            return x * n
        return x - n if n > 50 else x + n

    agree(function, [(X, n) for n in range(100)], 5)


def test_numbers_that_choose_shapes_are_recorded_each():
    agree(lambda x, n: T.zeros(n) + n, [(X, n) for n in (1, 2, 3, 1, 2, 3, 1, 4, 4)], 5)


def test_numbers_that_are_printed_are_recorded_each():
    agree(lambda x, n: (x, f"{n:.1f}"), [(X, n) for n in (0.1, 0.2, 0.3, 0.4, 0.3, 0.2, 0.1)], 6)


def test_kinds_of_numbers_are_not_mixed_up():
    def function(x, n):
        return (x * n).dtype.name, type(n), isinstance(n, int), T.tensor(n)

    agree(function, [(T.tensor([1, 2]), n) for n in (1, 2, 3, 1.0, 2.0, 3.0, True, False, 4, 4.0)], 6)


def test_zeros_and_nans_are_told_apart():
    def function(x, n):
        return x / n, math.copysign(1.0, n)

    agree(function, [(X, n) for n in (1.0, 2.0, -0.0, 0.0, -1.0, math.nan, math.inf, -0.0, 0.0, math.nan)], 11)


def test_errors_come_where_they_come_eagerly():
    done = []

    def function(x, n):
        done.append(1)
        return x * (1 / n)

    compiled = T.compile(lambda x, n: x * (1 / n))
    for n in (1, 2, 3, 0, 4):
        assert same(outcome(compiled, X, n), outcome(lambda x, n: x * (1 / n), X, n))


def test_integers_that_do_not_fit():
    ones = T.ones(2, dtype=T.int64)
    agree(lambda x, n: x + n, [(ones, n) for n in (1, 2, 2**62, 2**63, 2**70, -(2**63), 5)], 5)
    small = T.ones(2, dtype=T.uint8)
    agree(lambda x, n: x + n, [(small, n) for n in (1, 2, 255, 256, 1000, -1)], 5)


def test_gradients_of_arguments():
    x = T.tensor([1.0, 2.0], requires_grad=True)
    compiled = T.compile(lambda x, n: (x * x * n).sum())
    for n in (0.5, 1.5, 2.5, 3.5):
        compiled(x, n).backward()
        np.testing.assert_allclose(x.grad.numpy(), 2 * n * x.detach().numpy(), rtol=1e-6)
        x.grad = None
    assert recordings(compiled) == 2


def test_backward_within():
    w = T.tensor([1.0, 2.0], requires_grad=True)

    def step(x, lr):
        (w * x).pow(2).sum().backward()
        with T.no_grad():
            w.sub_(w.grad * lr)
        grad, w.grad = w.grad, None
        return grad, w.clone()

    compiled = T.compile(step)
    eager, w0 = [], w.detach().clone()
    x = T.tensor([0.5, -1.0])
    for lr in RATES[:10]:
        eager.append(step(x, lr))
    with T.no_grad():
        w.copy_(w0)
    for lr, before in zip(RATES, eager, strict=False):
        assert same(compiled(x, lr), before)
    assert recordings(compiled) == 2


# Around the function ------------------------------------------------------------------------------------

scale = 1.0


def test_globals(monkeypatch):
    compiled = T.compile(lambda x: x * scale)
    for rate in RATES[:10]:
        monkeypatch.setitem(globals(), "scale", rate)
        np.testing.assert_allclose(compiled(X).numpy(), X.numpy() * np.float32(rate), rtol=1e-6)
        assert globals()["scale"] is rate
    assert recordings(compiled) == 2


def test_cells():
    factor = 1.0
    compiled = T.compile(lambda x: x * factor)
    for factor in RATES[:10]:
        np.testing.assert_allclose(compiled(X).numpy(), X.numpy() * np.float32(factor), rtol=1e-6)
    assert recordings(compiled) == 2


class Holder:
    shared = 1.0

    def __init__(self):
        self.alpha = 1.0
        self.pair = (1.0, "a", 2)
        self.items = {"b": [1.0, 2.0]}

    def __call__(self, x):
        return x * self.alpha + self.pair[0] - self.pair[2] + self.items["b"][1] * self.shared


class Slotted:
    __slots__ = ("alpha",)

    def __init__(self):
        self.alpha = 1.0

    def __call__(self, x):
        return x * self.alpha


def changes(holder, rate):
    yield holder, "alpha", lambda: setattr(holder, "alpha", rate)
    if isinstance(holder, Holder):
        yield holder, "pair", lambda: setattr(holder, "pair", (rate, "a", int(rate * 1e5)))
        yield holder, "items", lambda: holder.items["b"].__setitem__(1, rate)
        yield holder, "shared", lambda: setattr(Holder, "shared", rate)


@pytest.mark.parametrize("cls", [Holder, Slotted])
@pytest.mark.parametrize("which", range(4))
def test_attributes(cls, which, monkeypatch):
    monkeypatch.setattr(Holder, "shared", 1.0)
    holder = cls()
    if which >= len(list(changes(holder, 0.5))):
        return
    compiled = T.compile(holder)
    for rate in RATES[:10]:
        list(changes(holder, rate))[which][2]()
        assert same(compiled(X), holder(X))
    assert recordings(compiled) == 2


def test_all_attributes_at_once():
    holder = Holder()
    compiled = T.compile(holder)
    for rate in RATES[:10]:
        for _, _, change in changes(holder, rate):
            change()
        np.testing.assert_allclose(compiled(X).numpy(), holder(X).numpy(), rtol=1e-6)
    Holder.shared = 1.0
    assert recordings(compiled) == 2


def test_what_is_read_stays_what_it_was():
    holder = Holder()
    compiled = T.compile(holder)
    for rate in RATES[:4]:
        holder.alpha, holder.pair = rate, (rate, "a", 2)
        pair = holder.pair
        compiled(X)
        assert type(holder.alpha) is float and holder.pair is pair and type(holder.pair[0]) is float


def test_an_exception_half_way_leaves_plain_numbers():
    holder = Holder()

    def function(x, fail):
        y = x * holder.alpha
        if fail:
            raise KeyError("half way")
        return y

    compiled = T.compile(function)
    for rate in RATES[:4]:
        holder.alpha = rate
        with pytest.raises(KeyError):
            compiled(X, True)
        assert holder.alpha is rate
        np.testing.assert_allclose(compiled(X, False).numpy(), X.numpy() * np.float32(rate), rtol=1e-6)


def test_a_tensor_that_is_exchanged_each_time():
    holder = Holder()
    compiled = T.compile(holder)
    for k in range(10):
        holder.alpha = T.full((3,), float(k))
        assert same(compiled(X), holder(X))
    assert recordings(compiled) == 2
    holder.alpha = T.full((3, 3), 2.0).T[0]  # a view of other memory, elsewhere
    assert same(compiled(X), holder(X))
    shared = T.tensor([1.0, 2.0, 3.0])
    holder.alpha = shared
    assert same(compiled(shared), holder(shared))
    holder.alpha = T.full((3,), 0.5, requires_grad=True)
    out = compiled(X)
    assert out.requires_grad
    out.sum().backward()
    assert holder.alpha.grad.tolist() == X.tolist()


# Optimisers -----------------------------------------------------------------------------------------------

OPTIMISERS = [
    "SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD", "Rprop", "Adafactor",
]  # fmt: skip
SCHEDULERS = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, 3),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 100),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, total_iters=100),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=120, cycle_momentum="momentum" in o.defaults),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.95**epoch),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.001, 0.1, step_size_up=5, cycle_momentum=False),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 7),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 100),
}


def losses(make, schedule, compiled, steps):
    T.manual_seed(0)
    model = nn.Linear(4, 3)
    optimiser = make([{"params": [model.weight]}, {"params": [model.bias], "lr": 0.02}], lr=0.01)
    scheduler = schedule(optimiser)

    def step(x):
        optimiser.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimiser.step()
        return loss

    run = T.compile(step) if compiled else step
    found = []
    for k in range(steps):
        T.manual_seed(k)
        found.append(run(T.randn(6, 4)).item())
        scheduler.step()
    return found, run


@pytest.mark.parametrize("name", OPTIMISERS)
def test_learning_rates_of_every_optimiser(name):
    make = getattr(optim, name)
    found, run = losses(make, SCHEDULERS["CosineAnnealingLR"], True, 100)
    np.testing.assert_allclose(found, losses(make, SCHEDULERS["CosineAnnealingLR"], False, 100)[0], rtol=1e-3)
    assert recordings(run) <= 3, str(run.explain())


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("optimiser", ["SGD", "Adam"])
def test_every_scheduler(name, optimiser):
    make = getattr(optim, optimiser)
    if optimiser == "SGD":
        make = lambda *args, **options: optim.SGD(*args, momentum=0.9, **options)  # noqa: E731
    found, run = losses(make, SCHEDULERS[name], True, 30)
    np.testing.assert_allclose(found, losses(make, SCHEDULERS[name], False, 30)[0], rtol=1e-4)
    assert recordings(run) <= 3, str(run.explain())


def test_clipping_to_a_norm_that_changes():
    w = T.tensor([3.0, 4.0], requires_grad=True)

    def step(x, most):
        w.grad = None
        (w * x).sum().backward()
        nn.utils.clip_grad_norm_([w], most)
        return w.grad.clone()

    agree(step, [(T.tensor([3.0, 4.0]), most) for most in RATES[:20]], 2)


def test_explain_names_the_number_that_changed():
    holder = Holder()
    compiled = T.compile(lambda x: x * holder.alpha)
    for rate in RATES[:3]:
        holder.alpha = rate
        compiled(X)
    assert "holder.alpha: 0.1 -> 0.09" in str(compiled.explain())


def test_verified_calls_know_numbers():
    compiled = T.compile(lambda x, n: x * n + n, verify=True)
    for rate in RATES[:5]:
        assert compiled(X, rate).shape == (3,)
    assert recordings(compiled) == 2


def test_functions_of_math_keep_numbers():
    from math import cos

    def function(x, step):
        warm = math.sqrt(step) if step < 5 else 0.5 * (1 + math.cos(math.pi * step / 100))
        return x * warm, math.floor(step / 3), type(math) is type(T), cos(0.0)

    agree(function, [(X, k) for k in range(1, 40)], 3)
    assert math.cos is cos


RATES_OF_NUMPY = {
    "cosine": lambda n: 0.5 * (1 + np.cos(np.pi * n / 20)),
    "clip": lambda n: np.clip(n / 10, 0.1, 0.8),
    "least": lambda n: np.minimum(n * 0.1, 0.5) + np.maximum(n * 0.2, 1.0),
    "warm up": lambda n: np.min([np.power(n, -0.5), 0.125 * n]),
    "float on the left": lambda n: np.float64(0.5) * n / np.float64(3) + np.power(np.float64(2), -n),
    "rounded": lambda n: np.floor(n / 3) + np.ceil(n / 4) + np.rint(n / 5) + np.trunc(n / 6),
}


@pytest.mark.parametrize("name", RATES_OF_NUMPY)
def test_functions_of_numpy_keep_numbers(name):
    rate = RATES_OF_NUMPY[name]
    compiled = agree(lambda x, n: x * rate(n), [(X, n) for n in range(1, 25)], 2)
    assert "no program" not in compiled.explain()
    with pytest.raises(TypeError, match="power"):
        T.compile(lambda x, n: x * np.power(n))(X, 2)


def test_types_are_asked_for():
    def function(x, n):
        scale = n if type(n) is float else 100
        return x * scale, type("C", (), {}).__name__, isinstance(type(x), type), type(x).__name__

    agree(function, [(X, n) for n in (0.1, 0.2, 0.3, 1, 2, 3)], 4)
    assert "type" not in globals()


def test_numbers_on_the_way_of_decisions():
    def function(x, n):
        if x.sum() > n:
            return x * n
        return x / n if n > 2 else x

    agree(function, [(X * k, n / 2) for k in (-1, 1, 2) for n in range(1, 12)], 8)


def test_functions_in_c_that_take_exact_types_are_given_them():
    counts = {"runs": 0}

    def dumped(x):
        counts["runs"] += 1
        x.add_(1)
        return json.dumps({"sum": x.sum().item()}), x * 2

    compiled = T.compile(dumped)
    x, y = T.zeros(3), T.zeros(3)
    for _ in range(4):
        found, expected = compiled(x), dumped(y)
        assert found[0] == expected[0]
        assert found[1].tolist() == expected[1].tolist()
        assert x.tolist() == y.tolist()
    assert counts["runs"] == 8

    scaled = T.compile(lambda x, n: (x * n, json.dumps(n)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n in (1.0, 2.0, 3.0, 2.0):
            assert [v.tolist() if isinstance(v, T.Tensor) else v for v in scaled(y, n)] == [
                (y * n).tolist(), json.dumps(n)
            ]  # fmt: skip
