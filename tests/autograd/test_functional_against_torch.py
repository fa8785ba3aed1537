"""`autograd.functional`, `autograd.grad` and forward_ad against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import tracec

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore::FutureWarning")

RNG = np.random.default_rng(0)
X, Y, V = RNG.normal(size=(2, 3)), RNG.normal(size=3), RNG.normal(size=(2, 3))


def pair(x, y):
    return (x * y).sin(), x.sum(1) * y.sum()


def number(x, y):
    return (x * y).sin().sum() * x[0, 0]


def one(x):
    return x.exp().sum(1)


def inner(T):
    return T.autograd.functional


def dual(T, x, y, v):
    fw = T.autograd.forward_ad
    with fw.dual_level():
        out = (fw.make_dual(x, v) * y).sin()
        primal, tangent = fw.unpack_dual(out)
        plain = fw.unpack_dual(y)
        assert plain.tangent is None
        detached = fw.unpack_dual(out.detach()).tangent
        assert detached is None
    return primal, tangent


def differentiated(T, f, x, y):
    """Gradients of what was computed with create_graph."""
    x, y = x.detach().requires_grad_(), y.detach().requires_grad_()
    out = f(x, y)
    return [out, *T.autograd.grad(out.sin().sum(), (x, y), allow_unused=True)]


PROGRAMS = {
    "jacobian": lambda T, x, y, v: inner(T).jacobian(pair, (x, y)),
    "jacobian at once": lambda T, x, y, v: inner(T).jacobian(pair, (x, y), vectorize=True),
    "jacobian forward": lambda T, x, y, v: inner(T).jacobian(pair, (x, y), vectorize=True, strategy="forward-mode"),
    "jacobian of one": lambda T, x, y, v: inner(T).jacobian(one, x),
    "jacobian of one forward": lambda T, x, y, v: inner(T).jacobian(one, x, vectorize=True, strategy="forward-mode"),
    "jacobian of a tuple": lambda T, x, y, v: inner(T).jacobian(one, (x,)),
    "jacobian with a graph": lambda T, x, y, v: differentiated(
        T, lambda a, b: inner(T).jacobian(lambda c: (c * b).sin(), a, create_graph=True), x[0], y
    ),
    "jacobian unused": lambda T, x, y, v: inner(T).jacobian(lambda a, b: a * 2, (y, x)),
    "hessian": lambda T, x, y, v: inner(T).hessian(number, (x, y)),
    "hessian at once": lambda T, x, y, v: inner(T).hessian(number, (x, y), vectorize=True),
    "hessian forward": lambda T, x, y, v: inner(T).hessian(
        number, (x, y), vectorize=True, outer_jacobian_strategy="forward-mode"
    ),
    "hessian of one": lambda T, x, y, v: inner(T).hessian(lambda a: one(a).pow(2).sum(), x),
    "hessian of a linear function": lambda T, x, y, v: inner(T).hessian(lambda a: a.sum(), y),
    "vjp": lambda T, x, y, v: inner(T).vjp(pair, (x, y), (v, y[:2])),
    "vjp of a number": lambda T, x, y, v: inner(T).vjp(number, (x, y)),
    "vjp with a graph": lambda T, x, y, v: differentiated(
        T, lambda a, b: inner(T).vjp(lambda c: (c * b).sin(), a, b, create_graph=True)[1], x[0], y
    ),
    "jvp": lambda T, x, y, v: inner(T).jvp(pair, (x, y), (v, y)),
    "jvp of one": lambda T, x, y, v: inner(T).jvp(one, x, v),
    "jvp with a graph": lambda T, x, y, v: differentiated(
        T, lambda a, b: inner(T).jvp(lambda c: (c * b).sin(), a, b, create_graph=True)[1], x[0], y
    ),
    "vhp": lambda T, x, y, v: inner(T).vhp(number, (x, y), (v, y)),
    "hvp": lambda T, x, y, v: inner(T).hvp(number, (x, y), (v, y)),
    "hvp of one": lambda T, x, y, v: inner(T).hvp(lambda a: one(a).pow(2).sum(), x, v),
    "grad of many": lambda T, x, y, v: T.autograd.grad(
        (x.requires_grad_() * y.requires_grad_()).sin(), (x, y), T.stack([v, v * 2]), is_grads_batched=True
    ),
    "grad unused": lambda T, x, y, v: T.autograd.grad(
        x.requires_grad_().sum(), (x, y.requires_grad_()), materialize_grads=True
    ),
    "forward_ad": lambda T, x, y, v: dual(T, x, y, v),
}  # fmt: skip


def arrays(out):
    return [a for o in out for a in arrays(o)] if isinstance(out, (list, tuple)) else [out.detach().numpy()]


def structure(out):
    return tuple(map(structure, out)) if isinstance(out, (list, tuple)) else None


def run(T, name):
    out = PROGRAMS[name](T, T.tensor(X), T.tensor(Y), T.tensor(V))
    return structure(out), arrays(out)


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name):
    (ours, found), (theirs, expected) = run(tracec, name), run(torch, name)
    assert ours == theirs
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


REFUSED = {
    "strict output": lambda T, x, y, v: inner(T).jacobian(lambda a: a.detach() * 2, x, strict=True),
    "strict input": lambda T, x, y, v: inner(T).jacobian(lambda a, b: a * 2, (x, y), strict=True),
    "strict jvp": lambda T, x, y, v: inner(T).jvp(lambda a: x.detach() * 2, x, v, strict=True),
    "strict hessian": lambda T, x, y, v: inner(T).hessian(lambda a: a.sum(), x, strict=True),
    "forward not at once": lambda T, x, y, v: inner(T).jacobian(one, x, strategy="forward-mode"),
    "no tensor": lambda T, x, y, v: inner(T).jacobian(one, 3.0),
    "no tensor back": lambda T, x, y, v: inner(T).jacobian(lambda a: 3.0, x),
    "no v": lambda T, x, y, v: inner(T).vjp(one, x),
    "v of another shape": lambda T, x, y, v: inner(T).jvp(one, x, y),
    "more than a number": lambda T, x, y, v: inner(T).hessian(one, x),
    "unused": lambda T, x, y, v: T.autograd.grad(x.requires_grad_().sum(), (x, y.requires_grad_())),
    "no grad": lambda T, x, y, v: T.autograd.grad(x.requires_grad_().sum(), y),
    "flags": lambda T, x, y, v: T.autograd.grad(
        x.requires_grad_().sum(), x, allow_unused=False, materialize_grads=True
    ),
    "no level": lambda T, x, y, v: T.autograd.forward_ad.make_dual(x, v),
    "nested levels": lambda T, x, y, v: [
        T.autograd.forward_ad.enter_dual_level(), T.autograd.forward_ad.enter_dual_level()
    ],
    "tangent of another shape": lambda T, x, y, v: [
        T.autograd.forward_ad.enter_dual_level(), T.autograd.forward_ad.make_dual(x, y)
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    """What PyTorch refuses is refused, by an error of its class."""
    errors = []
    for T in (torch, tracec):
        with pytest.raises(Exception) as caught:
            REFUSED[name](T, T.tensor(X), T.tensor(Y), T.tensor(V))
        errors.append(caught.value)
        if "level" in name or "tangent" in name:
            try:
                T.autograd.forward_ad.exit_dual_level()
            except RuntimeError:
                pass
    kinds = [e for e in (RuntimeError, ValueError, TypeError, NotImplementedError) if isinstance(errors[0], e)]
    assert kinds and isinstance(errors[1], tuple(kinds))
    assert isinstance(errors[1], tracec.errors.TracecError) and errors[1].hint is not None
