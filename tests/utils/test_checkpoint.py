"""Checkpoints: the same gradients, from values that are computed again."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import tracec as T
import tracec.nn.functional as F
from tracec.errors import ArgumentError
from tracec.utils.checkpoint import (
    CheckpointError,
    checkpoint,
    checkpoint_sequential,
    get_device_states,
    set_device_states,
)

RNG = np.random.default_rng(0)
WAYS = pytest.mark.parametrize("use_reentrant", [False, True])


def random(*shape):
    return T.tensor(RNG.normal(size=shape))


def block(x, w):
    return (x @ w).sin().exp() * x


def gradients(run, *tensors):
    leaves = [x.detach().requires_grad_() for x in tensors]
    out = run(*leaves)
    out.cos().sum().backward()
    return [out.detach().numpy(), *(x.grad.numpy() for x in leaves)]


def check_same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12)


@WAYS
def test_gradients_are_the_same(use_reentrant):
    x, w = random(4, 3), random(3, 3)

    def twice(x, w):
        h = checkpoint(block, x, w, use_reentrant=use_reentrant)
        return checkpoint(block, h * 2, w, use_reentrant=use_reentrant)

    check_same(gradients(twice, x, w), gradients(lambda x, w: block(block(x, w) * 2, w), x, w))


@WAYS
def test_nested(use_reentrant):
    x, w = random(4, 3), random(3, 3)
    runs = []

    def inner(x, w):
        runs.append("inner")
        return block(x, w)

    def outer(x, w):
        runs.append("outer")
        h = checkpoint(inner, x.tanh(), w, use_reentrant=use_reentrant)
        return block(h, w)

    found = gradients(lambda x, w: checkpoint(outer, x, w, use_reentrant=use_reentrant), x, w)
    check_same(found, gradients(lambda x, w: block(block(x.tanh(), w), w), x, w))
    assert runs.count("outer") == 2 and runs.count("inner") >= 3


def test_values_are_dropped_and_computed_again():
    kept = []

    def f(x):
        a = x.sin()
        b = a.exp()
        kept.append(weakref.ref(b._array))
        return b * b

    x = random(1000).requires_grad_()
    gc.disable()
    try:
        out = checkpoint(f, x, use_reentrant=False)
        assert len(kept) == 1 and kept[0]() is None
        plain = f(x)
        assert kept[1]() is not None
        out.sum().backward()
        assert len(kept) == 3
    finally:
        gc.enable()
    del plain
    (again,) = T.autograd.grad(f(x).sum(), x)
    np.testing.assert_allclose(x.grad.numpy(), again.numpy())


def test_the_second_run_ends_early():
    ran = []

    def f(x):
        y = x.sin()
        z = y * y
        ran.append("last")
        return z + 1

    for early_stop, count in ((True, 1), (False, 2)):
        ran.clear()
        x = random(3).requires_grad_()
        checkpoint(f, x, use_reentrant=False, early_stop=early_stop).sum().backward()
        assert len(ran) == count


@pytest.mark.parametrize("create_graph", [False, True])
def test_going_back_twice(create_graph):
    x = random(3).requires_grad_()
    out = checkpoint(lambda a: (a.sin() * a).exp(), x, use_reentrant=False).sum()
    grads = [
        T.autograd.grad(out, x, retain_graph=True, create_graph=create_graph)[0] for _ in range(2)
    ]  # fmt: skip
    assert grads[0].tolist() == grads[1].tolist()
    if create_graph:
        expected = T.func.grad(T.func.grad(lambda a: (a.sin() * a).exp()))
        (second,) = T.autograd.grad(grads[0].sum(), x)
        np.testing.assert_allclose(second.numpy(), T.func.vmap(expected)(x.detach()).numpy())


@WAYS
def test_random_numbers_are_the_same(use_reentrant):
    x = T.ones(200, requires_grad=True)
    T.manual_seed(0)
    out = checkpoint(lambda a: T.nn.functional.dropout(a, 0.5) * a, x, use_reentrant=use_reentrant)
    after = T.rand(3).tolist()
    out.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * out.detach().numpy())
    T.manual_seed(0)
    T.nn.functional.dropout(x, 0.5)
    assert T.rand(3).tolist() == after
    x.grad = None
    out = checkpoint(
        lambda a: T.nn.functional.dropout(a, 0.5) * a, x, use_reentrant=use_reentrant, preserve_rng_state=False
    )
    out.sum().backward()
    assert x.grad.tolist() != (2 * out).tolist()


@WAYS
def test_parameters_that_are_closed_over(use_reentrant):
    net = T.nn.Sequential(T.nn.Linear(3, 4), T.nn.Tanh(), T.nn.Linear(4, 3), T.nn.Tanh(), T.nn.Linear(3, 1))
    x = random(5, 3).float().requires_grad_()
    net(x).sum().backward()
    expected = [p.grad.numpy().copy() for p in net.parameters()]
    net.zero_grad()
    out = checkpoint_sequential(net, 2, x, use_reentrant=use_reentrant)
    out.sum().backward()
    check_same([p.grad.numpy() for p in net.parameters()], expected)


def test_arguments_that_are_written_later():
    x = random(3).requires_grad_()
    y = x * 1
    out = checkpoint(lambda a: a.sin(), y, use_reentrant=False)
    with T.no_grad():
        y.zero_()
    out.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), x.detach().cos().numpy())


@WAYS
@pytest.mark.parametrize("wrap", [lambda f: f, T.compile])
def test_values_that_the_function_writes_over(use_reentrant, wrap):
    def written(x, w):
        h = F.mish(x @ w, inplace=True)  # its gradient asks for what was there before
        return F.silu(h @ w, inplace=True).mul_(h)

    def gradient(run):
        def step(x, w):
            x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
            run(x, w).sum().backward()
            return x.grad, w.grad

        return step

    x, w = random(4, 3), random(3, 3)
    expected = gradient(lambda x, w: F.silu(F.mish(x @ w) @ w) * F.mish(x @ w))(x, w)
    f = wrap(gradient(lambda x, w: checkpoint(written, x, w, use_reentrant=use_reentrant)))
    for _ in range(3):
        check_same(expected, f(x, w))


def test_trees_and_keywords():
    x = random(3).requires_grad_()
    out = checkpoint(lambda d, k, scale=1.0: {"o": d["x"].sin() * k * scale}, {"x": x}, 2, use_reentrant=False, scale=x)
    out["o"].sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), (2 * (x.cos() * x + x.sin())).detach().numpy())
    with T.no_grad():
        assert not checkpoint(T.sin, x, use_reentrant=False).requires_grad


TRANSFORMS = {
    "grad": lambda f, x: T.func.grad(f)(x),
    "vmap of grad": lambda f, x: T.func.vmap(T.func.grad(f))(x),
    "grad of vmap": lambda f, x: T.func.grad(lambda a: T.func.vmap(f)(a).sum())(x),
    "jvp": lambda f, x: T.func.jvp(f, (x,), (x,))[1],
    "forward over reverse": lambda f, x: T.func.hessian(f)(x[0]),
    "reverse over forward": lambda f, x: T.func.jacrev(T.func.jacfwd(f))(x[0]),
    "reverse over reverse": lambda f, x: T.func.jacrev(T.func.jacrev(f))(x[0]),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_under_transforms(name):
    w = random(3, 3)

    def f(x):
        return ((x @ w).sin().exp() * x).sum()

    x = random(4, 3)
    found = TRANSFORMS[name](lambda a: checkpoint(f, a, use_reentrant=False), x)
    np.testing.assert_allclose(found.numpy(), TRANSFORMS[name](f, x).numpy(), rtol=1e-10)


def test_compiled_random_numbers():
    def step(x):
        x = x.detach().requires_grad_()
        out = checkpoint(lambda a: T.nn.functional.dropout(a, 0.5) * a, x, use_reentrant=False)
        out.sum().backward()
        return out, x.grad

    compiled = T.compile(step)
    for _ in range(3):
        out, grad = compiled(T.ones(100))
        np.testing.assert_allclose(grad.numpy(), 2 * out.detach().numpy())


def test_compiled_functions_within():
    f = T.compile(lambda x: (x.sin() * x).exp())
    x = random(3).requires_grad_()
    for _ in range(2):
        x.grad = None
        checkpoint(lambda a: f(a) * a, x, use_reentrant=False).sum().backward()
        found = x.grad
        x.grad = None
        ((x.sin() * x).exp() * x).sum().backward()
        np.testing.assert_allclose(found.numpy(), x.grad.numpy(), rtol=1e-12)


def test_contexts():
    entered = []

    class Context:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            entered.append(self.name)

        def __exit__(self, *_):
            pass

    x = random(3).requires_grad_()
    out = checkpoint(T.sin, x, use_reentrant=False, context_fn=lambda: (Context("first"), Context("second")))
    assert entered == ["first"]
    out.sum().backward()
    assert entered == ["first", "second"]


def test_compiled():
    x, w = random(4, 3), random(3, 3)

    def step(x, w, f):
        x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
        loss = f(x, w).cos().sum()
        loss.backward()
        return loss, x.grad, w.grad

    def again(x, w):
        return checkpoint(block, x, w, use_reentrant=False)

    kept, dropped = (T.compile(lambda x, w, f=f: step(x, w, f)) for f in (block, again))
    for _ in range(2):
        check_same(*([t.detach().numpy() for t in f(x, w)] for f in (kept, dropped)))


def test_compiled_programs_keep_less():
    def step(x, w, again):
        x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
        h = x
        for _ in range(4):
            h = checkpoint(deep, h, w, use_reentrant=False) if again else deep(h, w)
        h.sum().backward()
        return x.grad, w.grad

    def deep(x, w):
        for _ in range(3):
            x = (x @ w).sin()
        return x

    x, w = random(64, 32), random(32, 32)
    kept, dropped = (T.compile(lambda x, w, again=again: step(x, w, again)).lower(x, w) for again in (False, True))
    assert dropped.memory.peak_bytes < 0.6 * kept.memory.peak_bytes
    assert str(dropped.graph).count(" dot(") == str(kept.graph).count(" dot(") + 9  # nobody needs the last first run


def test_compiled_forward_keeps_arguments_only():
    f = T.compile(lambda x, w: checkpoint(block, x, w, use_reentrant=False))
    x, w = random(4, 3), random(3, 3)
    expected = gradients(block, x, w)
    for _ in range(2):
        check_same(gradients(f, x, w), expected)


class Counter:
    """A function that does not do the same again."""

    def __init__(self, *functions):
        self.functions, self.ran = functions, 0

    def __call__(self, x):
        self.ran += 1
        return self.functions[self.ran - 1](x)


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ((lambda x: x.sin(), lambda x: x[:1].sin()), "different metadata"),
        ((lambda x: x.sin().cos(), lambda x: x.sin()), "different number of tensors"),
    ],
)
def test_a_second_run_that_differs(functions, message):
    x = random(3).requires_grad_()
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint(Counter(*functions), x, use_reentrant=False).sum().backward()
    assert "test_checkpoint.py" in str(caught.value) and caught.value.hint


def test_refused():
    x = random(3).requires_grad_()
    with pytest.raises(ValueError, match="Unexpected keyword arguments: scale"):
        checkpoint(T.sin, x, use_reentrant=True, scale=2)
    with pytest.raises(ValueError, match="only supported when use_reentrant=False"):
        checkpoint(T.sin, x, use_reentrant=True, context_fn=lambda: None)
    with pytest.raises(ValueError, match="determinism_check"):
        checkpoint(T.sin, x, use_reentrant=False, determinism_check="some")
    with pytest.raises(RuntimeError, match=r"incompatible with .grad\(\)"):
        T.autograd.grad(checkpoint(T.sin, x, use_reentrant=True).sum(), x)
    with pytest.warns(UserWarning, match="use_reentrant parameter should be passed explicitly"):
        checkpoint(T.sin, x)
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        checkpoint(T.sin, x.detach(), use_reentrant=True)
    with pytest.raises(ValueError, match="segments"):
        checkpoint_sequential([T.sin], 3, x, use_reentrant=False)


@WAYS
@pytest.mark.parametrize("wrap", [lambda f: f, T.compile])
def test_the_second_run_casts_as_the_first(use_reentrant, wrap):
    def gradient(run):
        def step(x, w):
            x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
            with T.autocast("cpu", dtype=T.bfloat16):
                out = run(x, w)
            out.float().sum().backward()
            return out, x.grad, w.grad

        return step

    def halved(x, w):
        return (x @ w).sin() @ w

    x, w = random(4, 3).float(), random(3, 3).float()
    step = wrap(gradient(lambda x, w: checkpoint(halved, x, w, use_reentrant=use_reentrant)))
    for _ in range(3):
        for got, wanted in zip(step(x, w), gradient(halved)(x, w), strict=True):
            assert got.dtype is wanted.dtype
            # Compiled, fewer values are rounded to bfloat16 on the way.
            np.testing.assert_allclose(got.float().tolist(), wanted.float().tolist(), rtol=0.03, atol=0.03)
    assert not T.is_autocast_enabled("cpu")


def test_states_of_devices():
    """As networks that can be run backwards keep them: on the CPU there are none, and none are set."""
    devices, states = get_device_states(T.ones(2), [T.ones(1)], 3, None)
    assert (devices, states) == ([], [])
    assert not T.cuda._initialized or T.cuda.is_available()
    set_device_states(devices, states)
    with pytest.raises(ArgumentError, match="0 states for 1 devices"):
        set_device_states([0], [])
    with pytest.raises(ArgumentError, match="device_type 'xpu'"):
        set_device_states([], [], device_type="xpu")


def test_states_of_a_device_are_set(monkeypatch):
    kept = {0: "state of 0", 1: "state of 1"}
    monkeypatch.setattr("tracec.utils.checkpoint.get_rng_state", kept.__getitem__)
    monkeypatch.setattr("tracec.utils.checkpoint.set_rng_state", lambda state, device: kept.update({device: state}))
    monkeypatch.setattr(T.Tensor, "is_cuda", True)
    places = iter([1, 0, 1])
    monkeypatch.setattr(T.Tensor, "get_device", lambda self: next(places))
    devices, states = get_device_states(T.ones(2), {"a": T.ones(1)}, T.ones(1))
    assert (devices, states) == ([0, 1], ["state of 0", "state of 1"])
    kept[1] = "drawn from"
    set_device_states(devices, states)
    assert kept == {0: "state of 0", 1: "state of 1"}
