"""Loops and branches against the same in Python: values, gradients, transforms, compiled and refused."""

from __future__ import annotations

import numpy as np
import pytest

import tracec as T
from tracec import func
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, RecordError, ShapeError

RNG = np.random.default_rng(0)


def random(*shape, **options):
    return T.tensor(RNG.normal(size=shape), **options)


def looped(f, init, xs, length=None, reverse=False):
    """What `scan` is, for trees of one level: a tensor or a tuple of them."""
    many = isinstance(xs, tuple)
    length = length if xs is None else (xs[0] if many else xs).shape[0]
    carry, ys = init, []
    for t in reversed(range(length)) if reverse else range(length):
        carry, y = f(carry, None if xs is None else tuple(x[t] for x in xs) if many else xs[t])
        ys.append(y)
    ys = ys[::-1] if reverse else ys
    if ys[0] is None:
        return carry, None
    return carry, tuple(map(T.stack, zip(*ys, strict=True))) if isinstance(ys[0], tuple) else T.stack(ys)


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


def tensors(out):
    if isinstance(out, tuple):
        return [t for o in out for t in tensors(o)]
    return [] if out is None else [out]


def assert_close(found, expected, tolerance=1e-10):
    found, expected = tensors(found), tensors(expected)
    assert [(tuple(a.shape), a.dtype) for a in found] == [(tuple(a.shape), a.dtype) for a in expected]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


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


# What is refused -------------------------------------------------------------------------------------------


def test_errors_of_shapes_and_types():
    x = random(4, 3)
    with pytest.raises(ShapeError, match=r"carried tensor 0 is f64\[3\] before a run and f64\[\] after it"):
        func.scan(lambda c, x: (c.sum(), None), x[0], x)
    with pytest.raises(ShapeError, match=r"f64\[3\] before a run and f32\[3\] after it"):
        func.scan(lambda c, x: (c.float(), None), x[0], x)
    with pytest.raises(ShapeError, match="carries TreeSpec"):
        func.scan(lambda c, x: ((c, c), None), x[0], x)
    with pytest.raises(ArgumentError, match="returns a pair"):
        func.scan(lambda c, x: c, x[0], x)
    with pytest.raises(ArgumentTypeError, match="stacks tensors, str returned"):
        func.scan(lambda c, x: (c, "x"), x[0], x)
    with pytest.raises(ShapeError, match="slices for 3 and 4 runs"):
        func.scan(lambda c, x: (c, None), x[0], (x, x.T))
    with pytest.raises(ArgumentError, match="neither xs nor length"):
        func.scan(lambda c, x: (c, None), x[0])
    with pytest.raises(ArgumentError, match="length=-1"):
        func.scan(lambda c, x: (c, None), x[0], length=-1)
    with pytest.raises(ArgumentTypeError, match="xs holds tensors, int given"):
        func.scan(lambda c, x: (c, None), x[0], 3)
    with pytest.raises(ShapeError, match="no dimensions"):
        func.scan(lambda c, x: (c, None), x[0], T.tensor(1.0))


EFFECTS = {
    "writes into a tensor from outside": lambda c, x: (c + SHARED.add_(1), None),
    r"asks for the value of a tensor \(bool\)": lambda c, x: (c if c.sum() > 0 else -c, None),
    r"asks for the value of a tensor \(item\)": lambda c, x: (c * c[0].item(), None),
    "assigns the grad of a tensor from outside": lambda c, x: (setattr(SHARED, "grad", c), (c, None))[1],
    "calls an autograd.Function": lambda c, x: (Doubled.apply(c), None),
}
SHARED = random(3)


class Doubled(T.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 3


@pytest.mark.parametrize("effect", EFFECTS)
def test_effects_are_refused(effect):
    before = SHARED.tolist()
    with pytest.raises(RecordError, match=f"scan: the function {effect}") as raised:
        func.scan(EFFECTS[effect], random(3, requires_grad=True), random(4, 3))
    assert raised.value.hint and "test_control.py" in str(raised.value)
    assert SHARED.tolist() == before and SHARED.grad is None
    # Nothing is left of the attempt.
    assert func.scan(lambda c, x: (c + x, None), T.tensor(0.0), T.ones(3))[0].item() == 3.0


def test_indices_out_of_range_are_told():
    table, indices = random(3, 2), T.tensor([0, 5, 1])
    with pytest.raises(IndexError):
        func.scan(lambda c, i: (c + table[i], None), random(2), indices)
    with pytest.raises(IndexError):
        func.scan(lambda i, _: (i + 1, table[i]), T.tensor(1), length=4)
    with pytest.raises(DTypeError):
        func.scan(lambda c, x: (c, c ^ x), random(2), random(3, 2))


def test_random_numbers_are_those_of_the_loop_in_python():
    def run(h, x):
        h = T.nn.functional.dropout(T.tanh(h + x), 0.4)
        return h, T.rand(2) + h.sum()

    h, xs = random(50).float(), random(6, 50).float()
    T.manual_seed(7)
    expected, after = looped(run, h, xs), T.rand(3)
    T.manual_seed(7)
    assert_close(func.scan(run, h, xs), expected, 1e-6)
    assert T.rand(3).tolist() == after.tolist()

    compiled = T.compile(lambda h, xs: func.grad(lambda h: (func.scan(run, h, xs)[0] ** 2).sum())(h), fullgraph=True)
    for seed in (1, 2, 3):
        T.manual_seed(seed)
        expected, after = func.grad(lambda h: (looped(run, h, xs)[0] ** 2).sum())(h), T.rand(3)
        T.manual_seed(seed)
        assert_close(compiled(h, xs), expected, 1e-6)
        assert T.rand(3).tolist() == after.tolist()


def test_random_numbers_in_loops_in_loops():
    def outer(loop):
        def run(h, x):
            h, _ = loop(lambda h, x: (h + T.rand(2) * x, None), h, x)
            return h * T.rand(()), None

        return lambda h, xs: loop(run, h, xs)[0]

    h, xs = random(2).float(), random(3, 4, 2).float()
    T.manual_seed(3)
    expected = outer(looped)(h, xs)
    T.manual_seed(3)
    assert_close(outer(func.scan)(h, xs), expected, 1e-6)
    with pytest.raises(RecordError, match="draws random numbers, under vmap"):
        func.vmap(outer(func.scan), randomness="different")(T.stack([h, h]), T.stack([xs, xs]))


@pytest.mark.parametrize("shape", [(3, 1), (1, 3), (3,)])
def test_an_operand_that_is_a_view_of_another(shape):
    def f(x):
        t = x * 3
        return func.scan(lambda c, a: (c + a.sum(), c * 2), t, t.reshape(shape)), func.cond(
            x.sum() > 0, lambda a, b: a.sum() + b.sum(), lambda a, b: a.sum() - b.sum(), (t.reshape(shape), t)
        )

    compiled, x = T.compile(f), T.tensor([1.0, 2.0, 3.0])
    for _ in range(3):
        (carry, rows), chosen = compiled(x)
        (carry_, rows_), chosen_ = f(x)
        assert (carry.tolist(), rows.tolist(), chosen.item()) == (carry_.tolist(), rows_.tolist(), chosen_.item())


def test_results_have_memory_of_their_own_and_lie_row_by_row():
    def branch(x):
        return func.cond(x.sum() > 0, lambda x: (x.T, x[0], x.expand(2, 2, 3)), lambda x: (x.T, x[1], x + 1), (x,))

    def loop(x):
        return func.while_loop(lambda x, y: x.sum() < 9, lambda x, y: ((x.T * 2).T, y), (x.T, x[0]))

    def scanned(x, runs):
        carry, ys = func.scan(lambda c, t: ((c.T * 2).T, (c.T, t)), x.T, x[:runs])
        return carry, *ys

    def look(results):
        return [
            (tuple(t.shape), t.stride(), t.storage_offset(), t._base, t.untyped_storage().nbytes()) for t in results
        ]

    x = T.arange(6.0).reshape(2, 3)
    for f in (lambda x: branch(x)[:2], loop, lambda x: scanned(x, 2), lambda x: scanned(x, 0)):
        compiled = T.compile(f)
        for k in range(3):
            found, expected = compiled(x + k), f(x + k)
            assert look(found) == look(expected)
            assert all(t.is_contiguous() for t in expected)
            assert_close(found, expected)


def test_what_is_written_into_a_result_leaves_operands_alone():
    def f(x):
        y = func.cond(x.sum() > 0, lambda: x, lambda: x[:]).add_(1)
        (z,) = func.while_loop(lambda x: x.sum() > 1e9, lambda x: x, (x,))
        return y, z.mul_(3), func.scan(lambda c, _: (c, None), x, None, 0)[0].zero_(), x + 0

    compiled = T.compile(f)
    for k in (1, 2, -3):
        x, y = T.tensor([1.0, 2.0]) * k, T.tensor([1.0, 2.0]) * k
        assert_close(compiled(x), f(y))
        assert x.tolist() == y.tolist() == [k, 2 * k]
