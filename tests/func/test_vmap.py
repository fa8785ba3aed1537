"""vmap: axes, nesting, what is refused, and what is the same for all examples."""

from __future__ import annotations

import numpy as np
import pytest

import tracec as T
from tests.func.programs import BATCHED, PROGRAMS
from tracec import func

RNG = np.random.default_rng(0)


def random(*shape):
    return T.tensor(RNG.normal(size=shape))


def stacked(trees):
    if isinstance(trees[0], T.Tensor):
        return T.stack(trees)
    if isinstance(trees[0], dict):
        return {k: stacked([t[k] for t in trees]) for k in trees[0]}
    return tuple(stacked([t[k] for t in trees]) for k in range(len(trees[0])))


def check_same(a, b):
    if isinstance(a, T.Tensor):
        assert a.dtype is b.dtype
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-12)
        return
    keys = a if isinstance(a, dict) else range(len(a))
    for k in keys:
        check_same(a[k], b[k])


@pytest.mark.parametrize("name", [n for n in PROGRAMS if not any(w in n for w in ("chunk", "written", "branches"))])
def test_every_program_is_batched(name):
    """Three sets of tensors at once against one after the other."""
    program = PROGRAMS[name]
    sets = [(random(4, 3), random(3, 3), random(3)) for _ in range(3)]
    many = [T.stack(each) for each in zip(*sets, strict=True)]
    found = func.vmap(lambda x, w, v: program(T, func, x, w, v))(*many)
    check_same(found, stacked([program(T, func, *each) for each in sets]))


def below(d, k):
    """What axes say of a part of a container."""
    return d[k] if isinstance(d, (dict, tuple)) else d


def keys_of(tree):
    return tree if isinstance(tree, dict) else range(len(tree))


def sizes(a, d):
    if isinstance(a, T.Tensor):
        return [] if d is None else [a.shape[d]]
    return [n for k in keys_of(a) for n in sizes(a[k], below(d, k))]


def example(a, d, i):
    if isinstance(a, T.Tensor):
        return a if d is None else a.select(d, i)
    found = {k: example(a[k], below(d, k), i) for k in keys_of(a)}
    return found if isinstance(a, dict) else tuple(found.values())


def laid(outs, d):
    if isinstance(outs[0], T.Tensor):
        return outs[0] if d is None else T.stack(outs, d)
    found = {k: laid([o[k] for o in outs], below(d, k)) for k in keys_of(outs[0])}
    return found if isinstance(outs[0], dict) else tuple(found.values())


class Loop:
    """The transforms, with a loop in place of vmap."""

    grad, hessian, jvp, vjp, jacrev = func.grad, func.hessian, func.jvp, func.vjp, func.jacrev

    @staticmethod
    def vmap(f, in_dims=0, out_dims=0, chunk_size=None):
        def run(*args, **kwargs):
            outs = [f(*example(args, in_dims, i), **kwargs) for i in range(sizes(args, in_dims)[0])]
            return laid(outs, out_dims)

        return run


def weighted(tree):
    """One number of all results."""
    if isinstance(tree, T.Tensor):
        return (tree * T.arange(tree.numel()).reshape(tree.shape).cos()).sum()
    return sum(weighted(tree[k]) for k in keys_of(tree))


@pytest.mark.parametrize("name", [n for n in BATCHED if n not in ("sort", "rows")])
def test_gradients_of_batches(name):
    """Gradients that go through vmap against those that go through a loop."""
    given = (random(4, 3), random(3, 3), random(3))
    program = BATCHED[name]
    check_same(*(func.grad(lambda *a, F=F: weighted(program(T, F, *a)), (0, 1, 2))(*given) for F in (func, Loop)))


@pytest.mark.parametrize("size", [0, 1, 5])
def test_any_number_of_examples(size):
    x = random(size, 3)
    found = func.vmap(func.grad(lambda a: (a**3).sum()))(x)
    np.testing.assert_allclose(found.numpy(), 3 * x.numpy() ** 2)
    assert func.vmap(lambda a: a.argmax())(x).shape == (size,)


def test_arguments_that_are_written():
    x = random(4, 3)
    before = x.numpy().copy()
    out = func.vmap(lambda a: a.mul_(2).sum(), in_dims=1)(x)
    np.testing.assert_allclose(x.numpy(), before * 2)
    np.testing.assert_allclose(out.numpy(), (before * 2).sum(0))


def test_writes_into_tensors_made_within():
    def f(a):
        out = T.zeros(3, dtype=T.float64)
        out[1] = a.sum()
        out += a
        return out

    x = random(4, 3)
    expected = x.numpy().copy()
    expected[:, 1] += x.numpy().sum(1)
    np.testing.assert_allclose(func.vmap(f)(x).numpy(), expected)


def test_bounds_are_tested_for_every_example():
    with pytest.raises(IndexError, match="index 7 is out of bounds"):
        func.vmap(lambda a, i: a[i])(random(3, 4), T.tensor([0, 1, 7]))


def test_float32_and_integers():
    x = T.arange(12).reshape(4, 3)
    assert func.vmap(lambda a: (a * 2).sum())(x).tolist() == (x * 2).sum(1).tolist()
    found = func.vmap(lambda a: a / 2)(x)
    assert found.dtype is T.float32 and found.tolist() == (x / 2).tolist()
    half = func.vmap(func.grad(lambda a: a.sin().sum()))(T.ones(2, 3, dtype=T.bfloat16))
    assert half.dtype is T.bfloat16


def test_not_contiguous():
    x = random(3, 4, 2).permute(2, 0, 1)
    np.testing.assert_allclose(func.vmap(lambda a: a.T @ a, in_dims=1)(x).numpy(), np.einsum("ani,anj->nij", x, x))


def test_results_that_are_detached():
    x = random(3, 2).requires_grad_()
    assert not func.vmap(lambda a: a.detach())(x).requires_grad
    outs = func.vmap(lambda a: (a * 2, (a * 2).detach(), a))(x)
    assert [o.requires_grad for o in outs] == [True, False, True]

    def quiet(a):
        with T.no_grad():
            b = a[:1]
        return b, a[:1]

    assert [o.requires_grad for o in func.vmap(quiet)(x)] == [False, True]


def test_grad_of_what_is_captured():
    p = T.ones(2, requires_grad=True, dtype=T.float64)

    def f(a):
        loss = (a * p).sum()
        loss.backward()
        return loss

    with pytest.raises(RuntimeError, match="a grad that differs between them"):
        func.vmap(f)(random(3, 2))
    assert p.grad is None
    rows = func.vmap(lambda a: T.autograd.grad((a * p).sum(), p)[0])(x := random(3, 2))
    np.testing.assert_allclose(rows.numpy(), x.numpy())


def test_modules_are_mapped():
    net = T.nn.Linear(3, 2)
    x = random(4, 3).float()
    np.testing.assert_allclose(func.vmap(net)(x).detach().numpy(), net(x).detach().numpy(), rtol=1e-5)


def test_printing_within(capsys):
    func.vmap(lambda a: (print(a), a)[1])(T.tensor([1.0, 2.0]))
    assert capsys.readouterr().out == "BatchedTensor(lvl=1, bdim=0, value=\n    tensor([1., 2.])\n)\n"
