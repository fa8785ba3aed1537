"""Loops and branches against the same in Python: values, gradients, transforms, compiled and refused."""

from __future__ import annotations

import pytest

import tracec as T
from tests.func.loops import assert_close, looped, random, tensors
from tracec import func

W, B = random(3, 3) * 0.5, random(3)


def recurrent(h, x):
    h = T.tanh(x + h @ W + B)
    return h, (h * 2, h.sum())


def two_states(carry, xs):
    (h, c), (a, b) = carry, xs
    c = T.sigmoid(a) * c + b
    return (T.relu(h + c) - 0.1 * h * h, c), None


def with_counter(carry, x):
    i, s = carry
    s = T.where(i % 2 == 0, s * x, s + x.exp())
    return (i + 1, s), (s, i * 3, i % 3 == 0)


def uses_the_weight_twice(h, x):
    return T.tanh(h @ W @ W.T + x), h @ W


def of_matrices(h, x):
    return h @ x + h, (h * x).sum(0)


def picks(h, x):
    row, index = x
    return T.tanh(h + row[index]), W[index]


LOOPS = {
    "recurrent": (recurrent, lambda: (random(2, 3), random(5, 2, 3))),
    "two states": (two_states, lambda: ((random(2, 3), random(2, 3)), (random(4, 2, 3), random(4, 2, 3)))),
    "counter": (with_counter, lambda: ((T.tensor(0), random(3)), random(5, 3))),
    "weight twice": (uses_the_weight_twice, lambda: (random(2, 3), random(3, 2, 3))),
    "matrices": (of_matrices, lambda: (random(3, 3), random(4, 3, 3))),
    "one run": (recurrent, lambda: (random(2, 3), random(1, 2, 3))),
    "picks": (picks, lambda: (random(3), (random(4, 3, 3), T.tensor([2, 0, 1, 2])))),
}


def loss_and_gradients(loop, f, init, xs, reverse):
    """A loss of all results, and its gradients by everything that is floating."""
    leaves = [t for t in (*tensors(init), *tensors(xs), W, B) if t.dtype.is_floating_point]
    for t in leaves:
        t.requires_grad_()
    try:
        out = tensors(loop(f, init, xs, reverse=reverse))
        loss = sum(((k + 1) * t.sin()).sum() for k, t in enumerate(out) if t.dtype.is_floating_point)
        grads = T.autograd.grad(loss, leaves, allow_unused=True)
        return tuple(T.zeros_like(t) if g is None else g for g, t in zip(grads, leaves, strict=True)), loss, out
    finally:
        for t in leaves:
            t.requires_grad_(False)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", LOOPS)
def test_scan_is_a_loop(name, reverse):
    f, draw = LOOPS[name]
    init, xs = draw()
    assert_close(func.scan(f, init, xs, reverse=reverse), looped(f, init, xs, reverse=reverse))
    found = loss_and_gradients(func.scan, f, init, xs, reverse)
    assert_close(found[0], loss_and_gradients(looped, f, init, xs, reverse)[0])


@pytest.mark.parametrize("name", LOOPS)
def test_compiled_scan_is_a_loop(name):
    f, draw = LOOPS[name]

    @T.compile(fullgraph=True)
    def compiled(init, xs):
        return func.scan(f, init, xs)

    for _ in range(3):
        init, xs = draw()
        assert_close(compiled(init, xs), looped(f, init, xs))


@pytest.mark.parametrize("name", ["recurrent", "two states", "weight twice", "matrices"])
def test_compiled_gradients(name):
    f, draw = LOOPS[name]
    compiled = T.compile(lambda init, xs: gradients_of(f, init, xs), fullgraph=True)
    for _ in range(3):
        init, xs = draw()
        assert_close(compiled(init, xs), gradients_of(f, init, xs))


def gradients_of(f, init, xs):
    def loss(init, xs, w):
        out = tensors(func.scan(lambda c, x: f(c, x), init, xs))
        return sum((t.sin() * (k + 1)).sum() for k, t in enumerate(out)) + w.sum()

    return func.grad(loss, (0, 1, 2))(init, xs, W)


def test_counting_without_slices():
    carry, ys = func.scan(lambda c, _: (c * 2.0, c), T.tensor(1.0), length=4)
    assert carry.item() == 16.0 and ys.tolist() == [1.0, 2.0, 4.0, 8.0]
    carry, ys = func.scan(lambda c, x: (c + x, None), 0, T.arange(5))
    assert carry.item() == 10 and ys is None


def test_no_runs():
    carry, ys = func.scan(recurrent, T.zeros(2, 3, dtype=T.float64), T.zeros(0, 2, 3, dtype=T.float64))
    assert carry.tolist() == [[0.0] * 3] * 2
    assert [tuple(y.shape) for y in ys] == [(0, 2, 3), (0,)]


def test_trees_of_every_kind():
    init = {"h": random(3), "step": T.tensor(0)}
    carry, ys = func.scan(
        lambda c, x: ({"h": c["h"] + x["a"][0], "step": c["step"] + 1}, [c["h"], {"b": x["a"][1], "none": None}]),
        init,
        {"a": (random(4, 3), random(4))},
    )
    assert carry["step"].item() == 4 and ys[0].shape == (4, 3) and ys[1]["b"].shape == (4,) and ys[1]["none"] is None
    assert ys[0][0].tolist() == init["h"].tolist()


# Transforms of loops ---------------------------------------------------------------------------------------


def total(h, xs, w):
    def run(h, x):
        h = T.tanh(x + h @ w)
        return h, h.sum()

    h, sums = func.scan(run, h, xs)
    return (h * h).sum() + (sums * T.arange(sums.shape[0])).sum()


def total_in_python(h, xs, w):
    sums = 0.0
    for t in range(xs.shape[0]):
        h = T.tanh(xs[t] + h @ w)
        sums = sums + h.sum() * t
    return (h * h).sum() + sums


TRANSFORMS = {
    "grad": lambda f: func.grad(f, (0, 1, 2)),
    "grad of grad": lambda f: func.grad(lambda h, x, w: sum((g**2).sum() for g in func.grad(f, (0, 1, 2))(h, x, w)), 2),
    "jvp": lambda f: lambda h, x, w: func.jvp(f, (h, x, w), (x[0], x * 2, w.T))[1],
    "jvp of grad": lambda f: lambda h, x, w: func.jvp(func.grad(f, 2), (h, x, w), (x[0], x * 2, w.T))[1],
    "grad of jvp": lambda f: func.grad(lambda h, x, w: func.jvp(f, (h, x, w), (x[0], x * 2, w.T))[1], (0, 2)),
    "hessian": lambda f: func.hessian(f, 0),
    "vmap": lambda f: lambda h, x, w: func.vmap(f, (0, None, None))(T.stack([h, h * 2]), x, w),
    "vmap of grad": lambda f: (
        lambda h, x, w: func.vmap(func.grad(f, (1, 2)), (None, 1, None))(h, T.stack([x, x.flip(0)], 1), w)
    ),
    "grad of vmap": lambda f: func.grad(
        lambda h, x, w: (func.vmap(f, (None, 0, 0))(h, T.stack([x, x * 2]), T.stack([w, w.T])) ** 2).sum(), (0, 1, 2)
    ),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_see_a_loop_as_its_runs(name):
    transform = TRANSFORMS[name]
    args = random(2, 3), random(4, 2, 3), random(3, 3) * 0.5
    expected = transform(total_in_python)(*args)
    assert_close(transform(total)(*args), expected, 1e-9)
    compiled = T.compile(transform(total))
    for _ in range(2):
        assert_close(compiled(*args), expected, 1e-9)


def test_gradients_stop_where_the_function_stops_them():
    def run(h, x):
        with T.no_grad():
            scale = (h * h).sum()
        return T.tanh(h.detach() * 0.5 + x * scale + h), (h.detach(), scale)

    xs, h = random(4, 3), random(3)
    found = loss_and_gradients(func.scan, run, h, xs, False)[0]
    assert_close(found, loss_and_gradients(looped, run, h, xs, False)[0])


def test_numbers_that_change_from_call_to_call_reach_the_body():
    @T.compile
    def run(x, scale, offset):
        def inner(c, y):
            c, _ = func.scan(lambda c, y: (c * scale + y, None), c, y)
            return c + offset, None

        return func.scan(inner, x[0, 0] * 0, x)[0]

    x = random(3, 2, 2)
    for scale, offset in ((0.5, 1.0), (0.25, 2.0), (0.125, 3.0), (2.0, 4.0)):
        expected = x[0, 0] * 0
        for y in x:
            for z in y:
                expected = expected * scale + z
            expected = expected + offset
        assert_close(run(x, scale, offset), expected)


def test_sizes_that_change_from_call_to_call():
    def slope(loop, h, xs):
        return func.grad(lambda h: (loop(recurrent, h, xs)[0] ** 2).sum())(h)

    compiled = T.compile(lambda h, xs: slope(func.scan, h, xs), dynamic=True)
    for length, rows in ((5, 2), (5, 3), (7, 3), (7, 3), (2, 4), (9, 9)):
        h, xs = random(rows, 3), random(length, rows, 3)
        expected = slope(looped, h, xs)
        for _ in range(2):
            assert_close(compiled(h, xs), expected)


def test_loops_in_loops():
    def inner(h, x):
        return func.scan(lambda c, y: (T.sin(c + y) @ W, c), h, x)

    def by_hand(h, x):
        return looped(lambda c, y: (T.sin(c + y) @ W, c), h, x)

    h, xs = random(2, 3), random(3, 4, 2, 3)
    assert_close(func.scan(inner, h, xs), looped(by_hand, h, xs))
    found = loss_and_gradients(func.scan, inner, h, xs, False)[0]
    assert_close(found, loss_and_gradients(looped, by_hand, h, xs, False)[0])
    compiled = T.compile(lambda h, xs: func.scan(inner, h, xs), fullgraph=True)
    for _ in range(2):
        assert_close(compiled(h, xs), looped(by_hand, h, xs))


def test_what_does_not_hang_on_runs_is_computed_once():
    def run(h, x):
        return h @ (T.cos(W) * 2) + x, None

    h, xs = random(2, 3), random(5, 2, 3)
    assert_close(func.scan(run, h, xs), looped(run, h, xs))
    lowered = T.compile(lambda h, xs: func.scan(run, h, xs)[0]).lower(h, xs)
    body = lowered.stages["record"].split("body=graph", 1)[1].split("}", 1)[0]
    assert "cos" in lowered.stages["record"] and "cos" not in body


@pytest.mark.parametrize("dtype", [T.float32, T.float16, T.bfloat16])
def test_narrow_floats(dtype):
    h, xs = random(2, 3).to(dtype), random(4, 2, 3).to(dtype)

    def run(h, x):
        return h * 0.5 + x, (h, h > 0)

    assert_close(func.scan(run, h, xs), looped(run, h, xs), 1e-2)
    compiled = T.compile(lambda h, xs: func.scan(run, h, xs), fullgraph=True)
    for _ in range(2):
        assert_close(compiled(h, xs), looped(run, h, xs), 1e-2)


def test_large_integers_beside_floats():
    start = T.tensor([2**40 + 12345, -(2**50) - 7])

    def run(carry, x):
        n, s = carry
        return (n * 3 + 1, s + x), (n, s)

    xs = random(4, 2).float()
    expected = looped(run, (start, xs[0]), xs)
    assert_close(func.scan(run, (start, xs[0]), xs), expected, 1e-6)
    compiled = T.compile(lambda n, xs: func.scan(run, (n, xs[0]), xs), fullgraph=True)
    for _ in range(2):
        assert_close(compiled(start, xs), expected, 1e-6)
