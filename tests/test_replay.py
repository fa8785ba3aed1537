"""What a program gives in a function's place: new tensors, over the right memory, elements where they would lie."""

from __future__ import annotations

import pytest

import tracec
from tracec.errors import GradientError


def replayed(function, *arguments):
    """What the third call of a compiled function gives, which ran its program."""
    compiled = tracec.compile(function)
    compiled(*arguments), compiled(*arguments)
    found = compiled(*arguments)
    assert "2 hits" in str(compiled.explain())
    return found


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.T * 2 + x.T,
        lambda x: (x * 2).T,
        lambda x: (x * 2)[:, ::2],
        lambda x: (x + 1).expand(2, 4, 3),
        lambda x: (x + 1).flip(0),
        lambda x: (x * 2, x.T * 1),
        lambda x: (y := x.T * 2, y[1:]),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_elements_lie_where_they_do_eagerly(function, turned):
    x = tracec.arange(12.0).reshape(4, 3)
    x = x.t().contiguous().t() if turned else x
    expected, found = function(x), replayed(function, x)
    for e, f in zip(*(r if isinstance(r, tuple) else (r,) for r in (expected, found)), strict=True):
        assert f.stride() == e.stride() and f.is_contiguous() == e.is_contiguous()
        assert f.tolist() == e.tolist()


def test_whether_a_reshape_of_a_result_looks_at_it():
    y = replayed(lambda x: x.T * 2, tracec.ones(2, 3))
    y.reshape(-1).zero_()
    assert y.tolist() == [[2.0, 2.0]] * 3


def test_each_call_makes_a_look_of_its_own():
    w = tracec.ones(4, requires_grad=True)
    first, other = (replayed(f) for f in (lambda: w.detach(), lambda: w[1:]))
    compiled = tracec.compile(lambda: (w.detach(), w[1:]))
    looks = [compiled() for _ in range(3)]
    assert len({id(t) for pair in looks for t in pair}) == 6
    looks[2][1].sum().backward()
    assert w.grad.tolist() == [0.0, 1.0, 1.0, 1.0] and not first.requires_grad and other.requires_grad


def test_gradients_of_what_was_written_into_a_detached_look():
    def f(x, y):
        look = x.detach()
        look[1:] = y.sum()
        return look

    compiled = tracec.compile(f)
    for _ in range(3):
        x, y = tracec.ones(3), tracec.ones(2, requires_grad=True)
        found = compiled(x, y)
        found.sum().backward()
        assert x.tolist() == [1.0, 2.0, 2.0] and y.grad.tolist() == [2.0, 2.0]


def test_a_gradient_that_was_not_there_is_cleared_where_it_is():
    w = tracec.ones(2, requires_grad=True)

    @tracec.compile
    def f(x):
        w.grad = None
        return x * 2

    for k in range(3):
        w.grad = tracec.ones(2) if k else None
        f(tracec.ones(2))
        assert w.grad is None


@pytest.mark.parametrize("write", [lambda x: x.add_(1), lambda x: x[1:].zero_(), lambda x: x.copy_(x.flip(0))])
def test_gradients_are_those_of_values_before_the_function_wrote(write):
    w = tracec.ones(3, requires_grad=True)

    @tracec.compile
    def f(x):
        y = x * w
        write(x)
        return y, x * w

    for k in range(4):
        w.grad = None
        x = tracec.arange(3.0) + k
        after = x.clone()
        write(after)
        f(x)[0].sum().backward()
        assert w.grad.tolist() == (tracec.arange(3.0) + k).tolist()
        w.grad = None
        x = tracec.arange(3.0) + k
        f(x)[1].sum().backward()
        assert w.grad.tolist() == after.tolist() == x.tolist()


def test_arguments_computed_from_what_the_function_closes_over():
    w = tracec.tensor(3.0, requires_grad=True)
    cell = tracec.compile(lambda x: x * w)
    for _ in range(3):
        w.grad = None
        cell(cell(w * 2)).backward()
        assert w.grad.item() == 2 * 3 * 9.0


def test_going_back_a_second_time_is_refused_also_where_nothing_had_to_be_kept():
    f = tracec.compile(lambda x: x * x)
    for _ in range(3):
        y = f(tracec.zeros(0, 3, requires_grad=True)).sum()
        y.backward()
        with pytest.raises(GradientError, match="a second time"):
            y.backward()


def test_runs_of_one_launch_of_which_some_write_in_place():
    w = tracec.ones(3)
    v = tracec.ones(3)

    @tracec.compile
    def f(x, y):
        x.neg_()
        v.neg_()
        return y * -1.0, w * -1.0, x * 1

    for k in range(4):
        x, y = tracec.full((3,), 2.0), tracec.full((3,), 3.0)
        assert [t.tolist() for t in (*f(x, y), x, v)] == [[n] * 3 for n in (-3.0, -1.0, -2.0, -2.0, (-1.0) ** (k + 1))]


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (2, 3)])
def test_what_is_spread_over_nothing_may_be_written(shape):
    def f(x):
        with tracec.no_grad():
            x = (x * 1).expand(x.shape)
        return x.movedim(0, 1)

    compiled = tracec.compile(f)
    for _ in range(3):
        result = compiled(tracec.ones(shape))
        result.add_(1)
        assert result.tolist() == (f(tracec.ones(shape)) + 1).tolist()
