"""Compositions of transforms: name → a function of a library, its ``func``, and tensors x (4, 3), w (3, 3), v (3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def f(T, x):
    return (T.sin(x) * x**2).sum()


def g(T, x):
    return T.tanh(x) * x.sum()


def into_view(y):
    """Writes through a view."""
    y[1:].mul_(y[0] + 1)
    return y


def with_item(y, value):
    y[1] = value
    return y


def both(pair):
    out, pull = pair
    return out, pull(out)


REVERSE: dict[str, Callable[..., Any]] = {
    "grad": lambda T, F, x, w, v: F.grad(lambda a: f(T, a))(v),
    "grad of grad": lambda T, F, x, w, v: F.grad(lambda a: F.grad(lambda b: f(T, b))(a).pow(2).sum())(v),
    "third derivative": lambda T, F, x, w, v: F.grad(lambda a: F.grad(lambda b: F.grad(lambda c: c**5)(b))(a))(v[0]),
    "inner by itself": lambda T, F, x, w, v: F.grad(lambda a: a * F.grad(lambda b: a + b)(a * 1.0))(v[0]),
    "inner by both": lambda T, F, x, w, v: F.grad(lambda a: a * F.grad(lambda b: a * b * b)(a))(v[0]),
    "jacrev": lambda T, F, x, w, v: F.jacrev(lambda a: g(T, a))(v),
    "jacrev of jacrev": lambda T, F, x, w, v: F.jacrev(F.jacrev(lambda a: f(T, a)))(v),
    "jacrev of trees": lambda T, F, x, w, v: F.jacrev(lambda d: {"p": d["a"] * d["b"][0], "s": (d["a"].sum(),)})(
        {"a": v, "b": (v * 2,)}
    ),
    "jacrev in chunks": lambda T, F, x, w, v: F.jacrev(lambda a: a @ w, chunk_size=2)(x),
    "several arguments": lambda T, F, x, w, v: F.jacrev(lambda a, b: a * b.sum(), argnums=(0, 1))(v, w),
    "last argument": lambda T, F, x, w, v: F.grad(lambda a, b: (a * b**2).sum(), argnums=-1)(v, v * 2),
    "aux": lambda T, F, x, w, v: F.jacrev(lambda a: (a * a, {"z": a.sum()}), has_aux=True)(v),
    "value and aux": lambda T, F, x, w, v: F.grad_and_value(lambda a: ((a * a).sum(), a), has_aux=True)(v),
    "vjp": lambda T, F, x, w, v: both(F.vjp(lambda a: g(T, a), v)),
    "vjp of pairs": lambda T, F, x, w, v: (lambda out, pull: pull((out[1], out[0])))(
        *F.vjp(lambda a, b: (a * b, a + b), v, v * 2)
    ),
    "branches on values": lambda T, F, x, w, v: F.grad(lambda a: a.sum() if a.sum() > 0 else (a * a).sum())(v),
    "detach": lambda T, F, x, w, v: F.grad(lambda a: (a.detach() * a).sum())(v),
    "does not depend": lambda T, F, x, w, v: F.jacrev(lambda a: (a * 2, w.sum(0)))(v),
    "linearize": lambda T, F, x, w, v: F.vmap(F.linearize(lambda a: g(T, a), v)[1])(w),
}

FORWARD: dict[str, Callable[..., Any]] = {
    "jvp": lambda T, F, x, w, v: F.jvp(lambda a, b: (g(T, a), a @ b), (v, w), (v * 2, w + 1)),
    "jvp of a matrix product": lambda T, F, x, w, v: F.jvp(lambda a: (x @ a).softmax(0), (w,), (w * w,)),
    "inner by both": lambda T, F, x, w, v: F.jvp(
        lambda a: a * F.jvp(lambda b: a * b * b, (a,), (T.ones_like(a),))[1], (v,), (v,)
    ),
    "jacfwd": lambda T, F, x, w, v: F.jacfwd(lambda a: g(T, a))(v),
    "jacfwd of trees": lambda T, F, x, w, v: F.jacfwd(lambda d: {"p": d["a"] * d["b"][0], "s": (d["a"].sum(),)})(
        {"a": v, "b": (v * 2,)}
    ),
    "jacfwd of jacfwd of jacfwd": lambda T, F, x, w, v: F.jacfwd(F.jacfwd(F.jacfwd(lambda a: f(T, a))))(v),
    "hessian": lambda T, F, x, w, v: F.hessian(lambda a: f(T, a))(v),
    "hessian of logsumexp": lambda T, F, x, w, v: F.hessian(lambda a: T.logsumexp(w @ a, 0))(v),
    "hessian by several": lambda T, F, x, w, v: F.hessian(lambda a, b: (a @ b * a.sin()).sum(), argnums=(0, 1))(v, w),
    "reverse over forward": lambda T, F, x, w, v: F.jacrev(F.jacfwd(lambda a: f(T, a)))(v),
    "forward, reverse, forward": lambda T, F, x, w, v: F.jacfwd(F.jacrev(F.jacfwd(lambda a: f(T, a))))(v),
    "jvp of grad": lambda T, F, x, w, v: F.jvp(F.grad(lambda a: f(T, a)), (v,), (v * 2,)),
    "vjp of jvp": lambda T, F, x, w, v: both(F.vjp(lambda a: F.jvp(lambda b: g(T, b), (a,), (a * 2,))[1], v)),
    "jvp of vmap": lambda T, F, x, w, v: F.jvp(lambda a: F.vmap(lambda b: T.sin(b) @ a)(x), (v,), (v * 2,)),
    "aux": lambda T, F, x, w, v: F.jacfwd(lambda a: (a * a, {"z": a.sum()}), has_aux=True)(v),
    "aux of jvp": lambda T, F, x, w, v: F.jvp(lambda a: (a * a, a.sum()), (v,), (v,), has_aux=True),
    "detach": lambda T, F, x, w, v: F.jvp(lambda a: a.detach() * a, (v,), (v,)),
    "branches on values": lambda T, F, x, w, v: F.jvp(lambda a: a.sum() if a.sum() > 0 else a.prod(), (v,), (v,)),
    "detach within vmap": lambda T, F, x, w, v: F.jvp(
        lambda a: F.vmap(lambda b: (b.detach() * b.sin() + b.detach()).sum() * b)(a), (x,), (x * x,)
    ),
    "writes within vmap": lambda T, F, x, w, v: F.jvp(
        lambda a: F.vmap(lambda b: with_item(into_view(b.clone()), b[0]) * b.detach())(a), (x,), (x * x,)
    ),
    "written through a view": lambda T, F, x, w, v: F.jvp(lambda a: into_view(a.clone()).sin(), (v,), (v * v,)),
    "overwritten": lambda T, F, x, w, v: F.jvp(lambda a: with_item(a.clone(), w[0, 0]), (v,), (v,)),
    "writes into what stood still": lambda T, F, x, w, v: F.jvp(
        lambda a: with_item(T.zeros(3, dtype=T.float64), a[2] * 2), (v,), (v,)
    ),
    "hessian of writes": lambda T, F, x, w, v: F.hessian(lambda a: into_view(a.clone()).sin().sum())(v),
}

BATCHED: dict[str, Callable[..., Any]] = {
    "rows": lambda T, F, x, w, v: F.vmap(lambda a: (w @ a, a.sum(), a.argmax()))(x),
    "axes": lambda T, F, x, w, v: F.vmap(lambda a, b: (a @ b, a.sum()), in_dims=(1, None), out_dims=(1, 0))(x.T, w),
    "negative axes": lambda T, F, x, w, v: F.vmap(lambda a: a * v, in_dims=-2, out_dims=-1)(x),
    "nested, each by one": lambda T, F, x, w, v: F.vmap(
        F.vmap(lambda a, b: a * b, in_dims=(0, None)), in_dims=(None, 0)
    )(v, x[:, 0]),
    "nested, by both": lambda T, F, x, w, v: F.vmap(
        F.vmap(lambda a, b: a * b, in_dims=(0, None)), in_dims=(0, 0), out_dims=1
    )(x, x[:, 0]),
    "trees": lambda T, F, x, w, v: F.vmap(
        lambda d, pair: {"o": d["a"] + pair[0], "p": (pair[1] * 1,)}, in_dims=({"a": 0}, (0, None))
    )({"a": x}, (x[:, 0], v)),
    "keywords": lambda T, F, x, w, v: F.vmap(lambda a, scale: a * scale)(x, scale=v),
    "in chunks": lambda T, F, x, w, v: F.vmap(lambda a: (a * 2, a.sum()), out_dims=(1, 0), chunk_size=3)(x),
    "grad": lambda T, F, x, w, v: F.vmap(F.grad(lambda a: f(T, a)))(x),
    "inside grad": lambda T, F, x, w, v: F.grad(lambda a: F.vmap(lambda b: f(T, b) * a.sum())(x).sum())(v),
    "around grad around": lambda T, F, x, w, v: F.vmap(
        F.grad(lambda a: F.vmap(lambda b: (a * b).sin().sum())(w).sum())
    )(x),
    "hessian": lambda T, F, x, w, v: F.vmap(F.hessian(lambda a: (T.softmax(w @ a, 0) * a).sum()), in_dims=1)(x.T),
    "jvp": lambda T, F, x, w, v: F.vmap(lambda t: F.jvp(lambda b: g(T, b), (v,), (t,))[1])(w),
    "vjp": lambda T, F, x, w, v: F.vmap(F.vjp(lambda b: g(T, b), v)[1])(w),
    "jacobians": lambda T, F, x, w, v: F.vmap(F.jacrev(lambda a: a.cumsum(0) * a))(x),
    "written": lambda T, F, x, w, v: F.vmap(lambda a: a.clone().mul_(2).add_(v))(x),
    "written through a view": lambda T, F, x, w, v: F.vmap(lambda a: into_view(a.clone()))(x),
    "grad of writes": lambda T, F, x, w, v: F.vmap(F.grad(lambda a: into_view(a.clone()).sin().sum()))(x),
    "item written": lambda T, F, x, w, v: F.vmap(lambda a: with_item(a.clone(), a[0] * 3))(x),
    "detach": lambda T, F, x, w, v: F.grad(
        lambda a: F.vmap(lambda b: (b.detach() * b * a.detach()[0]).sum())(a * x).sum()
    )(v),
    "gather": lambda T, F, x, w, v: F.vmap(lambda a, i: T.gather(a, 0, i))(
        x, T.tensor([[0, 1], [1, 2], [2, 2], [1, 0]])
    ),
    "indexed": lambda T, F, x, w, v: F.vmap(lambda a, i: a[i])(x, T.tensor([[0, -1], [1, 2], [2, 2], [1, 0]])),
    "where": lambda T, F, x, w, v: F.vmap(lambda a: T.where(a > 0, a, -a).masked_fill(a > 1, 7.0))(x),
    "sort": lambda T, F, x, w, v: F.vmap(lambda a: tuple(a.sort()))(x),
    "einsum": lambda T, F, x, w, v: F.vmap(lambda a: T.einsum("i,ij,j->", a, w, a))(x),
    "unbound": lambda T, F, x, w, v: F.vmap(lambda a: T.stack([b * 2 for b in a]))(x),
    "same for all": lambda T, F, x, w, v: F.vmap(lambda a: (a * 0 + 1, w * 2, v.sum()))(x),
    "no axis": lambda T, F, x, w, v: F.vmap(lambda a: (a, w * 2), out_dims=(0, None))(x),
    "convolution": lambda T, F, x, w, v: F.vmap(
        F.grad(lambda k, a: T.nn.functional.conv1d(a[None, None], k).pow(2).sum()), in_dims=(None, 0)
    )(v[:2].reshape(1, 1, 2), x),
    "layer norm": lambda T, F, x, w, v: F.vmap(F.jacrev(lambda a: T.nn.functional.layer_norm(a, (3,))))(x),
    "max pooling": lambda T, F, x, w, v: F.vmap(
        F.jacrev(lambda a: T.nn.functional.max_pool1d(a[None, None], 2)[0, 0])
    )(x),
    "per-sample gradients": lambda T, F, x, w, v: F.vmap(
        F.grad(
            lambda p, a: T.nn.functional.cross_entropy((T.relu(a @ p["w"]) + p["b"])[None], T.tensor([1]))
        ),
        in_dims=(None, 0),
    )({"w": w, "b": v}, x),
}  # fmt: skip

PROGRAMS = {
    f"{kind}: {name}": program
    for kind, programs in {"reverse": REVERSE, "forward": FORWARD, "vmap": BATCHED}.items()
    for name, program in programs.items()
}
