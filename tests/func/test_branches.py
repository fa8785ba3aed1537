"""cond and while_loop against the same in Python: values, gradients, transforms, compiled and refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import tracec as T
from tests.func.test_control import assert_close, random
from tracec import func
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, RecordError, ShapeError

W = random(3)


def chosen(x, y):
    return func.cond(x.sum() > 0, lambda x, y: (T.sin(x) * y, (x * W).sum()), lambda x, y: (x / y, W[0] * 2), (x, y))


def in_python(x, y):
    return (T.sin(x) * y, (x * W).sum()) if float(x.sum()) > 0 else (x / y, W[0] * 2)


CASES = [(T.tensor([1.0, 2.0, -0.5]).double(), random(3)), (T.tensor([-1.0, -2.0, 0.5]).double(), random(3))]


@pytest.mark.parametrize("x, y", CASES, ids=["holds", "does not"])
def test_cond_is_one_of_two(x, y):
    assert_close(chosen(x, y), in_python(x, y))
    assert_close(func.cond(True, lambda x: x + 1, lambda x: x - 1, (x,)), x + 1)
    assert_close(T.cond(T.tensor([False]), lambda: x + 1, lambda: x - 1), x - 1)


def test_compiled_cond_runs_what_is_chosen():
    compiled = T.compile(chosen, fullgraph=True)
    for x, y in (*CASES, *CASES):
        assert_close(compiled(x, y), in_python(x, y))
    assert len(compiled._known) == 1
    assert "cond(" in compiled.lower(*CASES[0]).stages["plan"]


def loss(f):
    return lambda x, y: sum((k + 1) * (t * t).sum() for k, t in enumerate(f(x, y)))


@pytest.mark.parametrize("x, y", CASES, ids=["holds", "does not"])
def test_gradients_of_cond(x, y):
    expected = func.grad(loss(in_python), (0, 1))(x, y)
    assert_close(func.grad(loss(chosen), (0, 1))(x, y), expected)
    second = func.jvp(func.grad(loss(in_python), (0, 1)), (x, y), (y, x))[1]
    # The outer function is recorded, so that the branches become bodies.
    compiled = T.compile(func.grad(loss(chosen), (0, 1)))
    twice = T.compile(lambda x, y: func.jvp(func.grad(loss(chosen), (0, 1)), (x, y), (y, x))[1])
    for _ in range(2):
        assert_close(compiled(x, y), expected)
        assert_close(twice(x, y), second)


def test_a_branch_that_does_not_run_leaves_no_nan():
    def root(x):
        return func.cond(x.sum() > 0, lambda x: T.sqrt(x), lambda x: x * 0, (x,)).sum()

    compiled = T.compile(func.grad(root))
    x = T.tensor([-1.0, 0.0])
    for _ in range(2):
        assert compiled(x).tolist() == func.grad(root)(x).tolist() == [0.0, 0.0]


def test_cond_under_vmap_chooses_for_each_example():
    xs, ys = T.stack([x for x, _ in CASES]), T.stack([y for _, y in CASES])
    expected = tuple(map(T.stack, zip(*(in_python(x, y) for x, y in CASES), strict=True)))
    assert_close(func.vmap(chosen)(xs, ys), expected)
    assert_close(
        func.vmap(chosen, (None, 0))(xs[1], ys),
        tuple(map(T.stack, zip(*(in_python(xs[1], y) for y in ys), strict=True))),
    )
    grads = tuple(map(T.stack, zip(*(func.grad(loss(in_python), (0, 1))(x, y) for x, y in CASES), strict=True)))
    assert_close(func.vmap(func.grad(loss(chosen), (0, 1)))(xs, ys), grads)
    compiled = T.compile(func.vmap(chosen))
    for _ in range(2):
        assert_close(compiled(xs, ys), expected)


def test_cond_within_scan():
    def run(loop, choose):
        def step(c, x):
            c = choose(c, x)
            return c, c.sum()

        return lambda c, xs: loop(step, c, xs)

    def of_tensors(c, x):
        return T.cond(x[0] > 0, lambda c, x: T.tanh(c * x), lambda c, x: c - x, (c, x))

    c, xs = random(3), random(6, 3)
    expected, sums = c, []
    for x in xs:
        expected = T.tanh(expected * x) if float(x[0]) > 0 else expected - x
        sums.append(expected.sum())
    found = run(func.scan, of_tensors)
    assert_close(found(c, xs), (expected, T.stack(sums)))
    slope = func.grad(lambda c: (found(c, xs)[0] ** 2).sum())(c)
    step = 1e-6 * random(3)
    up, down = ((found(c + s * step, xs)[0] ** 2).sum() for s in (1, -1))
    np.testing.assert_allclose((slope @ step).item(), ((up - down) / 2).item(), rtol=1e-5)
    compiled = T.compile(found, fullgraph=True)
    for _ in range(2):
        assert_close(compiled(c, xs), (expected, T.stack(sums)))


def test_an_index_is_looked_at_only_where_the_branch_runs():
    table = random(4)

    def look(i):
        return func.cond(i < 4, lambda i: table[i], lambda i: table[0] * 0, (i,))

    compiled = T.compile(look)
    for i in (2, 3, 7, 1, 9):
        assert_close(compiled(T.tensor(i)), table[i] if i < 4 else table[0] * 0)


def collatz(n, steps):
    return func.while_loop(
        lambda n, steps: n > 1, lambda n, steps: (T.where(n % 2 == 0, n // 2, 3 * n + 1), steps + 1), (n, steps)
    )


def halved(x, least):
    return func.while_loop(lambda x, n: x.sum() > least, lambda x, n: (x * 0.5, n + 1), (x, T.tensor(0)))


def test_while_loop():
    compiled = T.compile(collatz, fullgraph=True)
    for start, count in ((6, 8), (1, 0), (27, 111), (7, 16)):
        for f in (collatz, compiled):
            n, steps = f(T.tensor(start), T.tensor(0))
            assert (n.item(), steps.item()) == (1, count)
    assert len(compiled._known) == 1


def test_while_loop_with_floats_and_integers():
    compiled = T.compile(halved, fullgraph=True)
    for least in (0.5, 2.0, 100.0):
        x = T.tensor([3.0, 5.0])
        expected, n = x, 0
        while float(expected.sum()) > least:
            expected, n = expected * 0.5, n + 1
        for f in (halved, compiled):
            found, count = f(x, T.tensor(least))
            assert_close(found, expected)
            assert count.item() == n and count.dtype is T.int64


def test_while_loop_for_many_and_forward_mode():
    xs, least = T.tensor([[3.0, 5.0], [0.1, 0.1], [40.0, 1.0]]), T.tensor(2.0)
    expected = [halved(x, least) for x in xs]
    found, counts = func.vmap(halved, (0, None))(xs, least)
    assert_close(found, T.stack([x for x, _ in expected]))
    assert counts.tolist() == [n.item() for _, n in expected]
    compiled = T.compile(lambda x, t: func.jvp(lambda x: halved(x, least)[0], (x,), (t,)))
    for _ in range(2):
        value, moved = compiled(xs[0], T.ones(2))
        assert_close((value, moved), (expected[0][0], T.ones(2) * 0.25))


def test_gradients_through_a_while_loop_are_those_of_the_loop_in_python():
    x = T.tensor([3.0, 5.0], requires_grad=True)
    (halved(x, 2.0)[0] ** 2).sum().backward()
    assert_close(x.grad, 2 * x.detach() / 16)


BAD = {
    "pred": (ArgumentTypeError, lambda x: func.cond("x", T.sin, T.cos, (x,)), "cond: pred is str"),
    "dtype": (DTypeError, lambda x: func.cond(x[0], T.sin, T.cos, (x,)), r"cond: pred is f64\[\]"),
    "size": (DTypeError, lambda x: func.cond(x > 0, T.sin, T.cos, (x,)), r"cond: pred is bool\[3\]"),
    "function": (ArgumentTypeError, lambda x: func.cond(x[0] > 0, x, T.cos, (x,)), "cond: true_fn is Tensor"),
    "operands": (ArgumentTypeError, lambda x: func.cond(x[0] > 0, T.sin, T.cos, x), "cond: operands are Tensor"),
    "nothing": (ArgumentError, lambda x: func.while_loop(lambda: True, lambda: (), ()), "nothing is carried"),
    "carried": (
        ArgumentTypeError,
        lambda x: func.while_loop(len, len, (3,)),
        "carried_inputs holds tensors, int given",
    ),
    "type": (
        ShapeError,
        lambda x: func.while_loop(lambda x: x.sum() < 9, lambda x: x.sum(), (x.abs() * 0,)),
        r"carried tensor 0 is f64\[3\] before a run and f64\[\] after it",
    ),
    "condition": (DTypeError, lambda x: func.while_loop(lambda x: x, lambda x: x, (x,)), r"cond_fn returns f64\[3\]"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors(name):
    error, wrong, message = BAD[name]
    for f in (wrong, T.compile(wrong)):
        with pytest.raises(error, match=message) as raised:
            f(random(3))
        assert raised.value.hint


RECORDED = {
    "shapes": (ShapeError, lambda x: func.cond(x[0] > 0, lambda x: x, lambda x: x[:2], (x,)), r"true_fn returns \(f64"),
    "structure": (ShapeError, lambda x: func.cond(x[0] > 0, lambda x: x, lambda x: (x,), (x,)), "false_fn TreeSpec"),
    "effect": (
        RecordError, lambda x: func.cond(x[0] > 0, lambda x: W.add_(x), lambda x: x, (x,)), "cond: the function writes"
    ),
    "value": (
        RecordError,
        lambda x: func.while_loop(lambda x: x.sum() < 9, lambda x: (x + x[0].item(),), (x.abs(),)),
        "while_loop: the function asks for the value",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_what_no_graph_does_is_refused_where_there_is_one(name):
    error, wrong, message = RECORDED[name]
    before = W.tolist()
    with pytest.raises(error, match=message):
        T.compile(wrong, fullgraph=True)(T.ones(3).double())
    assert W.tolist() == before


@pytest.mark.parametrize("options", [{}, {"target": "cuda", "launcher": "emulator"}], ids=["C", "emulator"])
def test_a_body_that_another_one_runs_twice_is_compiled_once(options):
    def inner(x):
        return func.cond(x[0] > 0, T.sin, T.cos, (x,))

    def f(x):
        return func.cond(x.sum() > 0, lambda x: inner(inner(x) * 2), inner, (x,))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = T.compile(f, fullgraph=True, **options)
        for k in (1, 2, -1, -2):
            x = T.tensor([1.0, 2.0, 3.0]).double() * k
            assert_close(compiled(x), f(x))


@pytest.mark.parametrize("wrap", [lambda f: f, T.compile], ids=["eager", "compiled"])
@pytest.mark.parametrize("branches", [(lambda a: a, lambda a: a), (lambda a: a + 1, lambda a: a * a)])
def test_gradients_go_back_through_a_branch_once(wrap, branches):
    f = wrap(lambda x: T.cond(x.sum() > 0.3, *branches, (x,)))
    for _ in range(3):
        x = T.tensor([1.0, 2.0], requires_grad=True)
        result = f(x)
        result.sum().backward(retain_graph=True)
        result.sum().backward()
        assert x.grad.tolist() == [2.0, 2.0]
        with pytest.raises(RuntimeError, match="a second time"):
            result.sum().backward()
