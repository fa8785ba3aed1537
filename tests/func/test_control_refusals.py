"""What loops and branches refuse, and what is said of it."""

from __future__ import annotations

import pytest

import tracec as T
from tests.func.loops import assert_close, looped, random
from tracec import func
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, RecordError, ShapeError


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
    with pytest.raises(ArgumentError, match="returns a pair"):
        func.scan(lambda c, x: (c, x, x), x[0], x)
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
    assert raised.value.hint and "test_control_refusals.py" in str(raised.value)
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
