"""Transforms without torch: derivatives against differences, batches against loops, and what is refused."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import tracec as T
from tracec import func
from tracec.errors import ArgumentError, GradientError, RecordError, ShapeError

RNG = np.random.default_rng(0)


def random(*shape):
    return T.tensor(RNG.normal(size=shape))


def model(p, x):
    return T.tanh(x @ p["w"] + p["b"]).pow(2).sum()


PARAMS = {"w": random(3, 5), "b": random(5)}


def slope(f, x, direction, eps=1e-6):
    return (f(x + eps * direction) - f(x - eps * direction)) / (2 * eps)


# Derivatives -----------------------------------------------------------------------------------------------


def test_grad_and_jvp_against_differences():
    x, t = random(3), random(3)
    expected = slope(lambda a: model(PARAMS, a), x, t).item()
    np.testing.assert_allclose((func.grad(model, 1)(PARAMS, x) @ t).item(), expected, rtol=1e-7)
    np.testing.assert_allclose(func.jvp(lambda a: model(PARAMS, a), (x,), (t,))[1].item(), expected, rtol=1e-7)
    np.testing.assert_allclose(func.linearize(lambda a: model(PARAMS, a), x)[1](t).item(), expected, rtol=1e-7)


def test_hessian_against_differences():
    x, t = random(3), random(3)
    hessian = func.hessian(model, 1)(PARAMS, x)
    expected = slope(func.grad(lambda a: model(PARAMS, a)), x, t)
    np.testing.assert_allclose((hessian @ t).numpy(), expected.numpy(), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(hessian.numpy(), hessian.T.numpy(), rtol=1e-12)


def test_value_and_grad():
    x = random(3)
    value, grads = func.value_and_grad(model)(PARAMS, x)
    assert value.item() == model(PARAMS, x).item() and set(grads) == {"w", "b"}
    again, (value, aux) = func.grad_and_value(lambda p, x: (model(p, x), {"x": x}), has_aux=True)(PARAMS, x)
    assert aux["x"].tolist() == x.tolist() and again["b"].tolist() == grads["b"].tolist()
    assert not grads["w"].requires_grad and not value.requires_grad


def test_gradients_reach_what_is_closed_over():
    w, x = random(3).requires_grad_(), random(3)
    found = func.grad(lambda a: (w * a**2).sum())(x)
    assert found.requires_grad
    found.sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * x.numpy())
    w.grad = None
    func.vmap(lambda a: (w * a).sum())(random(4, 3) * 0 + x).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 4 * x.numpy())


def test_gradients_go_on_to_arguments():
    x = random(3).requires_grad_()
    func.grad(lambda a: (a**3).sum())(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * x.detach().numpy())
    with T.no_grad():
        found = func.grad(lambda a: (a**3).sum())(x)
    assert not found.requires_grad
    np.testing.assert_allclose(found.numpy(), 3 * x.detach().numpy() ** 2)


def test_no_grad_within_cuts():
    def f(a):
        with T.no_grad():
            b = a * 2
        return (a * b).sum()

    x = random(3)
    np.testing.assert_allclose(func.grad(f)(x).numpy(), 2 * x.numpy())
    np.testing.assert_allclose(func.vmap(func.grad(f))(x[None])[0].numpy(), 2 * x.numpy())
    y = x.clone().requires_grad_()
    func.vmap(f)(y[None]).sum().backward()
    np.testing.assert_allclose(y.grad.numpy(), 2 * x.numpy())
    # Forward mode takes no notice of it, as in PyTorch.
    np.testing.assert_allclose(func.jvp(f, (x,), (x,))[1].item(), 4 * (x @ x).item())


def test_a_vjp_may_be_called_again():
    x = random(3)
    out, pull = func.vjp(lambda a: (a.sin(), a.sum()), x)
    for scale in (1.0, 2.0):
        (found,) = pull((T.ones_like(x) * scale, T.tensor(0.0, dtype=T.float64)))
        np.testing.assert_allclose(found.numpy(), scale * np.cos(x.numpy()))
    assert not out[0].requires_grad


def test_tangents_end_with_their_level():
    kept = []

    def f(a):
        kept.append(a * 2)
        return a * 3

    x = random(3)
    func.jvp(f, (x,), (x,))
    assert func.jvp(lambda a: a + kept[0], (x,), (x,))[1].tolist() == x.tolist()
    assert kept[0]._storage.tangents is None


def test_compiled_functions_take_part():
    compiled = T.compile(lambda a: (a.sin() * a).sum())
    x = random(3)
    expected = (x.cos() * x + x.sin()).numpy()
    for _ in range(2):
        np.testing.assert_allclose(func.grad(compiled)(x).numpy(), expected, rtol=1e-12)
        np.testing.assert_allclose(func.vmap(func.grad(compiled))(x[None])[0].numpy(), expected, rtol=1e-12)
        np.testing.assert_allclose(func.jvp(compiled, (x,), (x,))[1].item(), expected @ x.numpy(), rtol=1e-12)
        np.testing.assert_allclose(func.jacrev(compiled)(x).numpy(), expected, rtol=1e-12)
        np.testing.assert_allclose(func.linearize(compiled, x)[1](x).item(), expected @ x.numpy(), rtol=1e-12)
        bend = np.diag((2 * x.cos() - x.sin() * x).numpy())
        for twice in (func.hessian(compiled), func.jacrev(func.jacrev(compiled)), func.jacfwd(func.grad(compiled))):
            np.testing.assert_allclose(twice(x).numpy(), bend, rtol=1e-10, atol=1e-12)
        nested = func.grad(lambda a: (func.grad(compiled)(a) * a).sum())(x)
        np.testing.assert_allclose(nested.numpy(), expected + bend @ x.numpy(), rtol=1e-10)


# Random numbers --------------------------------------------------------------------------------------------


def test_randomness():
    x = T.zeros(5, 3)
    with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
        func.vmap(lambda a: a + T.rand(3))(x)
    same = func.vmap(lambda a: a + T.rand(3), randomness="same")(x)
    assert (same == same[0]).all() and len(np.unique(same[0])) == 3
    T.manual_seed(3)
    different = func.vmap(lambda a: a + T.randn(3), randomness="different")(x)
    assert len(np.unique(different)) == 15
    T.manual_seed(3)
    assert func.vmap(lambda a: a + T.randn(3), randomness="different")(x).tolist() == different.tolist()
    dropped = func.vmap(lambda a: T.nn.functional.dropout(a + 1, 0.5), randomness="different")(T.zeros(64, 8))
    assert 0.3 < (dropped == 0).float().mean().item() < 0.7
    chunks = func.vmap(lambda a: a + T.rand(3), randomness="same", chunk_size=2)(x)
    assert (chunks == chunks[0]).all()


def test_randomness_of_nested_levels():
    x = T.zeros(3, 4)
    inner = func.vmap(func.vmap(lambda a: a + T.rand(()), randomness="different"), randomness="same")(x)
    assert (inner == inner[0]).all() and len(np.unique(inner[0])) == 4
    outer = func.vmap(func.vmap(lambda a: a + T.rand(()), randomness="same"), randomness="different")(x)
    assert (outer == outer[:, :1]).all() and len(np.unique(outer[:, 0])) == 3


def test_randomness_compiled():
    f = T.compile(lambda x: func.vmap(lambda a: a + T.rand(3), randomness="different")(x))
    x = T.zeros(5, 3)
    found = [f(x) for _ in range(3)]
    assert all(len(np.unique(a)) == 15 for a in found) and found[1].tolist() != found[2].tolist()


# Errors ----------------------------------------------------------------------------------------------------

X = T.tensor([1.0, 2.0])
REFUSED = {
    "value": (RecordError, lambda: func.vmap(lambda a: a if a > 0 else -a)(X)),
    "item": (RecordError, lambda: func.vmap(lambda a: a * a.item())(X)),
    "numpy": (RecordError, lambda: func.vmap(lambda a: a.numpy())(X)),
    "nonzero": (RecordError, lambda: func.vmap(lambda a: a[a > 0])(X[None])),
    "captured": (RecordError, lambda: func.vmap(lambda a, c: c.add_(a), in_dims=(0, None))(X, T.zeros(()))),
    "no tensor": (ArgumentError, lambda: func.vmap(lambda a: 1.0)(X)),
    "in_dim": (ArgumentError, lambda: func.vmap(lambda a: a, in_dims=2)(X)),
    "in_dims": (ArgumentError, lambda: func.vmap(lambda a, b: a, in_dims=(0,))(X, X)),
    "in_dims of none": (ArgumentError, lambda: func.vmap(lambda a: a, in_dims=(None,))(X)),
    "in_dims type": (ArgumentError, lambda: func.vmap(lambda a: a, in_dims=None)(X)),
    "a number": (ArgumentError, lambda: func.vmap(lambda a, b: a)(X, 3)),
    "sizes": (ArgumentError, lambda: func.vmap(lambda a, b: a)(X, T.ones(3))),
    "out_dims": (ArgumentError, lambda: func.vmap(lambda a: a, out_dims=(0, 1))(X)),
    "out_dim": (ArgumentError, lambda: func.vmap(lambda a: a, out_dims=3)(X)),
    "out_dim of none": (ArgumentError, lambda: func.vmap(lambda a: a, out_dims=None)(X)),
    "randomness": (ArgumentError, lambda: func.vmap(lambda a: a, randomness="some")),
    "chunks": (ArgumentError, lambda: func.vmap(lambda a: a, chunk_size=0)),
    "not scalar": (ArgumentError, lambda: func.grad(lambda a: a)(X)),
    "no tensor of grad": (ArgumentError, lambda: func.grad(lambda a: 1.0)(X)),
    "no aux": (ArgumentError, lambda: func.grad(lambda a: a.sum(), has_aux=True)(X)),
    "argnums": (ArgumentError, lambda: func.grad(lambda a: a.sum(), argnums=1)(X)),
    "argnums type": (ArgumentError, lambda: func.grad(lambda a: a.sum(), argnums="a")(X)),
    "argnums twice": (ArgumentError, lambda: func.grad(lambda a: a.sum(), argnums=(0, -1))(X)),
    "integers": (GradientError, lambda: func.grad(lambda a: a.sum())(T.tensor([1, 2]))),
    "by a number": (ArgumentError, lambda: func.grad(lambda a: a)(2.0)),
    "leaf written": (GradientError, lambda: func.grad(lambda a: a.mul_(2).sum())(X)),
    "cotangents": (ArgumentError, lambda: func.vjp(lambda a: (a, a), X)[1](X)),
    "cotangent": (ShapeError, lambda: func.vjp(lambda a: a, X)[1](T.ones(3))),
    "tangents": (ArgumentError, lambda: func.jvp(lambda a: a, (X,), X)),
    "tangent": (ShapeError, lambda: func.jvp(lambda a: a, (X,), (T.ones(3),))),
    "primals": (ArgumentError, lambda: func.jvp(lambda a: a, X, X)),
    "strict": (GradientError, lambda: func.jvp(lambda a: X, (X,), (X,), strict=True)),
    "integer result": (GradientError, lambda: func.jacrev(lambda a: a.argmax())(X)),
    "names": (KeyError, lambda: func.functional_call(T.nn.Linear(2, 2), {"weigth": X}, X)),
    "names missing": (KeyError, lambda: func.functional_call(T.nn.Linear(2, 1), {"bias": X[:1]}, X, strict=True)),
    "names twice": (ArgumentError, lambda: func.functional_call(T.nn.Linear(2, 1), ({"bias": X}, {"bias": X}), X)),
    "no models": (ArgumentError, lambda: func.stack_module_state([])),
    "models": (ArgumentError, lambda: func.stack_module_state([T.nn.Linear(2, 2), T.nn.ReLU()])),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    error, mistake = REFUSED[name]
    with pytest.raises(error) as caught:
        mistake()
    assert caught.value.hint and "at test_func.py:" in str(caught.value) and str(caught.value).split(":")[0].strip()


def test_escaped(golden):
    kept = []
    func.vmap(lambda a: (kept.append(a[:1]), kept.append(a.detach()), a)[2])(X[:, None])
    errors = []
    for use in (lambda: kept[0] + 1, lambda: kept[1].sum(), lambda: repr(kept[0]), lambda: T.cat([X, kept[0]])):
        with pytest.raises(RecordError) as caught:
            use()
        errors.append(str(caught.value))
    assert "\n\n".join(errors) == golden


def test_no_cycles():
    """Large tensors go when the last name for them does, without waiting for a collection of cycles."""
    x = random(3)
    runs = {
        "grad": lambda: func.grad(smooth)(x),
        "jvp": lambda: func.jvp(smooth, (x,), (x,)),
        "hessian": lambda: func.hessian(smooth)(x),
        "vmap": lambda: func.vmap(func.grad(smooth))(x[None]),
        "grad of vmap": lambda: func.grad(lambda a: func.vmap(smooth)(a[None]).sum())(x),
    }
    for name, run in runs.items():
        run()
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            run()
            gc.collect()
            assert [type(o).__name__ for o in gc.garbage] == [], name
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()


def smooth(a):
    return (a.sin() * a).exp().sum()


def test_transforms_leave_no_trace_after_errors():
    for mistake in (lambda: func.vmap(lambda a: a.item())(X), lambda: func.jvp(lambda a: 1 / 0, (X,), (X,))):
        with pytest.raises((RecordError, ZeroDivisionError)):
            mistake()
    assert func.vmap(lambda a: a * 2)(X).tolist() == [2.0, 4.0] and (X + 1).tolist() == [2.0, 3.0]


# Modules ---------------------------------------------------------------------------------------------------


def test_functional_call():
    net = T.nn.Sequential(T.nn.Linear(3, 3), T.nn.BatchNorm1d(3))
    state = {"0.weight": T.eye(3), "0.bias": T.zeros(3), "1.running_mean": T.zeros(3)}
    x = random(4, 3).float()
    out = func.functional_call(net, state, (x,))
    np.testing.assert_allclose(out.mean(0).detach().numpy(), np.zeros(3), atol=1e-6)
    assert state["1.running_mean"].abs().sum().item() > 0 and net[1].running_mean.abs().sum().item() == 0
    assert net[1].num_batches_tracked.item() == 1  # what is not given is the module's own


def test_tied_weights():
    net = T.nn.Sequential(T.nn.Linear(3, 3, bias=False), T.nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    x = random(2, 3).float()
    out = func.functional_call(net, {"0.weight": T.eye(3) * 2}, x)
    np.testing.assert_allclose(out.detach().numpy(), 4 * x.numpy(), rtol=1e-6)
    own = net[0].weight.detach().numpy()
    out = func.functional_call(net, {"0.weight": T.eye(3) * 2}, x, tie_weights=False)
    np.testing.assert_allclose(out.detach().numpy(), 2 * x.numpy() @ own.T, rtol=1e-5)


def test_per_sample_gradients():
    net = T.nn.Sequential(T.nn.Linear(3, 4), T.nn.Tanh(), T.nn.Linear(4, 2))
    params = {k: p.detach() for k, p in net.named_parameters()}
    x, y = random(5, 3).float(), T.tensor([0, 1, 1, 0, 1])

    def loss(params, x, y):
        return T.nn.functional.cross_entropy(func.functional_call(net, params, (x[None],)), y[None])

    found = func.vmap(func.grad(loss), in_dims=(None, 0, 0))(params, x, y)
    step = T.compile(lambda params, x, y: func.vmap(func.grad(loss), in_dims=(None, 0, 0))(params, x, y))
    step(params, x, y)
    compiled = step(params, x, y)
    for i in range(5):
        net.zero_grad()
        T.nn.functional.cross_entropy(net(x[i : i + 1]), y[i : i + 1]).backward()
        for name, p in net.named_parameters():
            np.testing.assert_allclose(found[name][i].numpy(), p.grad.numpy(), rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(compiled[name][i].numpy(), p.grad.numpy(), rtol=1e-4, atol=1e-6)
