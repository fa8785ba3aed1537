"""Gradients against PyTorch and finite differences, and the rules around them."""

import gc
import weakref

import numpy as np
import pytest

import tracec
from tracec import autograd
from tracec.errors import ArgumentError, GradientError, ShapeError

torch = pytest.importorskip("torch")


def leaf(*shape, low=-1.0, high=1.0, seed=0):
    values = np.random.default_rng(seed).uniform(low, high, shape)
    return tracec.from_numpy(values).requires_grad_(), torch.from_numpy(values.copy()).requires_grad_()


def agree(a, b, **tolerance):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), **({"rtol": 1e-9, "atol": 1e-12} | tolerance))


def rosenbrock(x, lib):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def softmax_loss(x, lib):
    m = x.reshape(2, 3)
    e = (m - m.max(1, keepdim=True)[0].detach()).exp()
    return -(e / e.sum(1, keepdim=True)).log()[:, 1].mean()


def two_layers(x, lib):
    w = x.reshape(3, 2)
    a = lib.ones(4, 3, dtype=lib.float64) * lib.arange(4, dtype=lib.float64)[:, None]
    return ((a @ w).tanh() @ w.T).sigmoid().pow(2).sum()


def in_place(x, lib):
    y = x * 2
    y += x
    y.mul_(y)
    y[2] = x[0] * 10
    y[3:].sub_(1).exp_()
    z = lib.zeros(6, dtype=lib.float64)
    z[1:4] = y[:3]
    z.view(2, 3)[:, 2].add_(x[:2])
    z[::2] *= x[3:]
    return (z * y).sum()


def out_of_place(x, lib):
    """The same as `in_place`, in which PyTorch refuses to overwrite what it saved."""
    y = (x * 3) ** 2
    y = lib.stack([y[0], y[1], x[0] * 10, *(y[i].sub(1).exp() for i in (3, 4, 5))])
    zero = lib.zeros(1, dtype=lib.float64)[0]
    z = [zero, y[0], y[1] + x[0], y[2], zero, zero + x[1]]
    z = lib.stack([z[i] * x[3 + i // 2] if i % 2 == 0 else z[i] for i in range(6)])
    return (z * y).sum()


def shapes(x, lib):
    y = x.reshape(2, 3).T.unsqueeze(0).expand(4, 3, 2)
    return (lib.cat([y, y * y], 1).permute(2, 0, 1).flatten() ** 3).mean()


def gathers(x, lib):
    i = lib.tensor([0, 5, 5, 2])
    return (x[i] * x[i].flip(0)).cumsum(0).prod() + x[x > 0].sum() + lib.where(x > 0.5, x, x * x).sum()


REFERENCES = {in_place: out_of_place}
FUNCTIONS = [rosenbrock, softmax_loss, two_layers, in_place, shapes, gathers]


@pytest.mark.parametrize("f", FUNCTIONS)
def test_gradients(f):
    x, y = leaf(6)
    ours, theirs = f(x, tracec), REFERENCES.get(f, f)(y, torch)
    agree(ours, theirs)
    ours.backward()
    theirs.backward()
    agree(x.grad, y.grad)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_finite_differences(f):
    x, _ = leaf(6)
    (g,) = autograd.grad(f(x, tracec), x)
    base, step = x.detach().numpy().copy(), 1e-6
    for i in range(6):
        values = []
        for sign in (1, -1):
            moved = base.copy()
            moved[i] += sign * step
            values.append(f(tracec.from_numpy(moved), tracec).item())
        assert g[i].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_gradients_of_gradients(f):
    x, y = leaf(6)
    results = []
    for v, lib, grad in ((x, tracec, autograd.grad), (y, torch, torch.autograd.grad)):
        chosen = f if lib is tracec else REFERENCES.get(f, f)
        (g,) = grad(chosen(v, lib), v, create_graph=True)
        (h,) = grad((g * g).sum() + g[1], v, create_graph=True)
        (t,) = grad(h.sum(), v, allow_unused=True)
        results.append((g, h, t))
    for ours, theirs in zip(*results, strict=True):
        if theirs is not None:
            agree(ours, theirs)


def test_gradients_add_up_and_share_memory():
    x = tracec.ones(3, requires_grad=True)
    (x * 2).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert x.grad is first
    assert first.tolist() == [5, 5, 5]


def test_gradients_of_leaves_do_not_share_memory():
    x, y = (tracec.ones(3, requires_grad=True) for _ in range(2))
    seed = tracec.ones(3)
    (x + y).backward(seed)
    x.grad.zero_()
    assert y.grad.tolist() == [1, 1, 1]
    assert seed.tolist() == [1, 1, 1]


@pytest.mark.parametrize("before", ["leaf", "result"])
def test_saved_values_outlive_writes(before):
    x = tracec.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 1 if before == "result" else x
    z = (y * y).sum()
    w = y.exp()
    with tracec.no_grad():
        y.zero_()
        w.zero_()
    (z + w.sum()).backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.array([1, 2, 3]) + np.exp([1, 2, 3]), rtol=1e-6)


def test_saved_values_outlive_writes_through_views_and_aliases():
    x = tracec.tensor([1.0, 2.0, 3.0], requires_grad=True)
    scale = tracec.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    y = (x * scale[:, 1]).sum()
    scale.T[1].zero_()
    scale.detach().fill_(9)
    y.backward()
    assert x.grad.tolist() == [2, 4, 6]


def test_values_that_no_gradient_needs_are_not_copied():
    x = tracec.ones(3, requires_grad=True)
    y = x + 1
    assert not y.grad_fn.saved
    z = y * 2
    assert [a.shape for a in z.grad_fn.saved] == [()]
    (z * z).sum().backward()
    assert z.grad_fn.saved is None


def test_writes_after_going_back_need_no_copy():
    x = tracec.ones(1000, requires_grad=True)
    loss = (x * x).sum()
    loss.backward()
    assert x._storage.readers
    with tracec.no_grad():
        x -= 0.1 * x.grad
    assert loss.grad_fn.saved is None or not loss.grad_fn.saved
    loss = (x * x).sum()
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), np.full(1000, 2 + 2 * 0.8), rtol=1e-5)


def test_writing_without_gradients_keeps_the_history():
    x, y = leaf(4)
    for v, lib in ((x, tracec), (y, torch)):
        z = v * 2
        with lib.no_grad():
            z += 100
        (z + v).sum().backward()
    agree(x.grad, y.grad)


def test_views_follow_their_base():
    x, y = leaf(2, 3)
    for v in (x, y):
        b = v * 1
        first = b[0]
        b.mul_(2)
        first.add_(v[1])
        (b.T[1] * first[1]).sum().backward()
    agree(x.grad, y.grad)


def test_a_tensor_gets_history_by_a_write():
    for lib in (tracec, torch):
        x = lib.ones(2, requires_grad=True)
        b = lib.zeros(2, 2)
        row = b[0]
        assert not b.requires_grad
        row.copy_(x * 3)
        assert b.requires_grad and row.requires_grad and not b.is_leaf
        b.sum().backward()
        assert x.grad.tolist() == [3, 3]


def test_overwritten_tensors_still_require_grad():
    for lib in (tracec, torch):
        x = lib.ones(2, requires_grad=True)
        y = x * 2
        y.zero_()
        assert y.requires_grad
        (y + x * 0 + 1).sum().backward()
        assert x.grad.tolist() == [0, 0]


def test_no_grad_views_and_detached_tensors_carry_no_history():
    x = tracec.ones(2, requires_grad=True)
    y = x * 2
    with tracec.no_grad():
        v = y[0]
    assert not v.requires_grad
    assert not y.detach().requires_grad
    d = y.detach().requires_grad_()
    (d * d).sum().backward()
    assert x.grad is None
    assert d.grad.tolist() == [4, 4]


def test_reshaped_constants_can_be_leaves():
    x = tracec.arange(6.0).reshape(2, 3).requires_grad_()
    assert x.is_leaf
    (x.T * 2).sum().backward()
    assert x.grad.tolist() == [[2] * 3] * 2


def test_retain_graph():
    x = tracec.ones(2, requires_grad=True)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4, 4]


def test_parts_without_saved_values_can_be_used_again():
    x = tracec.ones(2, requires_grad=True)
    y = x + 1
    y.sum().backward()
    y.sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_hooks_and_retained_gradients():
    seen = []
    x = tracec.ones(2, requires_grad=True)
    y = x * 3
    y.retain_grad()
    handle = y.register_hook(lambda g: seen.append(g.tolist()) or g * 10)
    x.register_hook(lambda g: g + 1)
    (y * y).sum().backward()
    assert seen == [[6, 6]]
    assert y.grad.tolist() == [60, 60]
    assert x.grad.tolist() == [181, 181]
    handle.remove()
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [4, 4]


def test_grad_of_inner_and_unused_tensors():
    x = tracec.ones(2, requires_grad=True)
    unused = tracec.ones(2, requires_grad=True)
    y = x * 2
    z = (y * y).sum()
    gy, gx, none = autograd.grad(z, [y, x, unused], retain_graph=True, allow_unused=True)
    assert gy.tolist() == [4, 4]
    assert gx.tolist() == [8, 8]
    assert none is None
    assert x.grad is None
    _, zeros = autograd.grad(z, [x, unused], materialize_grads=True)
    assert zeros.tolist() == [0, 0]


def test_backward_for_some_inputs():
    x, y = (tracec.ones(2, requires_grad=True) for _ in range(2))
    (x * y).sum().backward(inputs=[x])
    assert x.grad is not None
    assert y.grad is None


def test_several_outputs():
    x = tracec.ones(2, requires_grad=True)
    autograd.backward([x.sum(), x * 2], [None, tracec.tensor([1.0, 10.0])])
    assert x.grad.tolist() == [3, 21]


def test_deep_graphs():
    x = tracec.zeros(1, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.sum().backward()
    assert x.grad.item() == 1
    views = x * 1
    for _ in range(2_000):
        views = views.reshape(1)
    views.sum().backward()
    del y, views


def test_results_die_with_their_tensors():
    x = tracec.ones(1000, requires_grad=True)
    y = x.exp()
    operation = weakref.ref(y.grad_fn)
    del y
    gc.collect()
    assert operation() is None


def test_readers_of_memory_are_forgotten():
    x = tracec.ones(2, requires_grad=True)
    for _ in range(1000):
        x * x
    assert len(x._storage.readers) < 200


def test_modes_as_decorators():
    x = tracec.ones(2, requires_grad=True)

    @tracec.no_grad()
    def off():
        return x * 2

    @tracec.no_grad
    def plain():
        return x * 2

    @tracec.enable_grad()
    def on():
        return x * 2

    assert not off().requires_grad
    assert not plain().requires_grad
    with tracec.no_grad():
        assert on().requires_grad
        with tracec.set_grad_enabled(True):
            assert (x * 2).requires_grad
        assert not tracec.is_grad_enabled()
    with tracec.inference_mode():
        assert not (x * 2).requires_grad
    assert tracec.is_grad_enabled()
    tracec.set_grad_enabled(False)
    try:
        assert not (x * 2).requires_grad
    finally:
        tracec.set_grad_enabled(True)


def test_integers_have_no_gradients():
    x = tracec.ones(3, requires_grad=True)
    assert not (x > 0).requires_grad
    assert not x.argmax().requires_grad
    assert not x.long().requires_grad


def errors():
    x = tracec.ones(3, requires_grad=True)
    yield "no path", lambda: tracec.ones(1).backward()
    yield "not a scalar", lambda: (x * 2).backward()
    yield "shape of the gradient", lambda: (x * 2).backward(tracec.ones(2))
    yield "twice", lambda: [y := (x * x).sum(), y.backward(), y.backward()]
    yield "leaf in place", lambda: x.add_(1)
    yield "view of a leaf in place", lambda: x[0].zero_()
    yield "item of a leaf", lambda: x.__setitem__(0, 1.0)
    yield "integer leaf", lambda: tracec.ones(2, dtype=tracec.int64).requires_grad_()
    yield "not a leaf", lambda: (x * 2).requires_grad_(False)
    yield "numpy", lambda: x.numpy()
    yield "unused", lambda: autograd.grad((x * 2).sum(), tracec.ones(1, requires_grad=True))
    yield "does not require grad", lambda: autograd.grad((x * 2).sum(), tracec.ones(1))
    yield "retain_grad", lambda: tracec.ones(1).retain_grad()
    yield "grad of another shape", lambda: setattr(x, "grad", tracec.ones(2))
    yield "count of gradients", lambda: autograd.grad([x.sum(), x.sum()], x, [None])


@pytest.mark.parametrize("make", [pytest.param(f, id=name) for name, f in errors()])
def test_errors(make, golden):
    with pytest.raises((GradientError, ShapeError, ArgumentError)) as error:
        make()
    assert str(error.value) == golden
