"""Functions that ask for values of tensors, over arguments whose sizes vary: each way is recorded for many sizes."""

from __future__ import annotations

import pytest

import tracec as tc
from tests.random_programs.check import operator_by_operator
from tests.sizes import compare, of, same
from tracec import nn
from tracec.errors import RecordError

F = nn.functional
SIZES = (16, 16, 24, 24, 33, 7, 64, 10, 3, 2, 65, 31, 4, 5, 6, 70, 16, 24, 33, 7, 10, 2, 11, 13, 17)


def _two_questions(x):
    y = x * 2
    y = y + 1 if y.sum() > 0 else y / x.shape[0]
    return (y.softmax(0) if y.mean() > 0.5 else y), y.sum(0)


def _loop(x):
    runs = 0
    while x.sum() < 3 and runs < 2:
        x, runs = x + 0.5 / x.shape[0], runs + 1
    return x, runs


def _number(x):
    size = x.square().sum(1).max()
    return x / size if size.item() > 2.0 else x * x.shape[0]


def _counted(x):
    y = tc.func.scan(lambda c, v: (c + v, c * v), tc.zeros(3), x)[1]
    return y * 2 if y.sum() > 0 else y + 1


def _dropped(x):
    y = F.dropout(x, 0.5)
    return y * 2 if y.sum() > 0 else y - 1


def _memory():
    held = tc.zeros(3)

    def function(x):
        held.add_(x.mean(0))
        if held.sum() > 0:
            held.mul_(0.5)
        return x + held

    return lambda n: (tc.randn(n, 3),), function


def _train_step():
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    optimiser = tc.optim.Adam(model.parameters())

    def step(x):
        optimiser.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if not tc.isfinite(loss):
            raise ValueError
        if loss.item() > 0.1:
            optimiser.step()
        return loss

    return lambda n: (tc.randn(n, 3),), step


def _two_sizes():
    def function(x, y):
        return x.sum(0) * 2 if x.sum() > 0 else y @ x.T

    return lambda n: (tc.randn(n, 3), tc.randn(n + (n % 3 == 0), 3)), function


#: Programs, and the ways that they go at most: each is recorded for one size and for many, or twice for many.
PROGRAMS = {
    "question": (of((None, 3), lambda x: x * x.shape[0] if x.sum() > 0 else (x - 1).mean(0)), 2),
    "two_questions": (of((None, 3), _two_questions), 4), "loop": (of((None, 3), _loop), 4),
    "number": (of((None, 3), _number), 2), "counted": (of((None, 3), _counted), 2),
    "dropped": (of((None, 3), _dropped), 2), "memory": (_memory, 2), "train_step": (_train_step, 2),
    "two_sizes": (_two_sizes, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_way_is_recorded_twice(name):
    make, ways = PROGRAMS[name]
    compiled = compare(make, SIZES)
    assert len(compiled.explain().recordings) <= 2 * ways
    assert " paths, " in compiled.explain()


def test_a_way_that_goes_by_a_size():
    def function(x):
        if x.sum() > 0:
            return x * 2 if x.shape[0] > 20 else x * 3
        return x - 1

    compiled = compare(of((None, 3), function), SIZES)
    assert len(compiled.explain().recordings) <= 6
    assert "20 < size(0, 0)" in compiled.explain()


def test_a_way_that_is_of_one_size():
    def function(x):
        return sum(x[k] * k for k in range(x.shape[0])) if x.sum() > 0 else x - 1

    compiled = compare(of((None, 3), function), (3, 3, 4, 4, 5, 5, 3, 4, 5, 6, 3, 4))
    assert "size(0, 0) is as recorded: the function goes by" in compiled.explain()


def test_as_many_values_as_a_size_says():
    def function(x):
        return x * 2 if x.sum(1).numpy()[-1] > 0 else x + 1

    compiled = compare(of((None, 3), function), (*range(3, 7), 3, 4, 5, 3))
    assert "size(0, 0) is as recorded: the function asks for the values of f32[4]" in compiled.explain()


factor = 2.0


def test_what_is_around_is_as_it_was_for_each_way(monkeypatch):
    def function(x):
        return x * factor if x.sum() > 0 else x - factor

    compiled = tc.compile(function)
    for value in (2.0, 5.0, 2.0):
        monkeypatch.setitem(globals(), "factor", value)
        for n in (4, 5, 6, 7, 8):
            for x in (tc.ones(n, 3), -tc.ones(n, 3)):
                same(function(x), compiled(x), (value, n))


def test_ways_of_sizes_that_are_equal_by_accident():
    def make():
        return lambda n: (
            tc.randn(n, 3),
            tc.randn(5, 3),
        ), lambda x, y: x @ y.T if x.sum() > y.sum() else (y @ x.T).T * 2

    compare(make, (4, 4, 7, 5, 5, 5, 3, 6, 5, 8, 9, 5, 2))


def test_gradients_outside_of_a_way():
    w = tc.randn(3, 3).requires_grad_()

    def function(x):
        y = x @ w
        return (y.tanh() if y.sum() > 0 else y * y.shape[0]).sum(0)

    compiled = tc.compile(function)
    for k, n in enumerate(SIZES):
        tc.manual_seed(k)
        x = tc.randn(n, 3)
        found = [tc.autograd.grad(f(x).square().sum(), w)[0] for f in (function, compiled)]
        same(*found, n)
    assert len(compiled.explain().recordings) <= 4


def test_many_sizes_where_there_is_no_compiler():
    with operator_by_operator():
        for name in ("two_questions", "memory", "counted"):
            compare(PROGRAMS[name][0], (5, 5, 6, 3, 9, 6, 3, 9))


def test_one_graph_is_asked_for():
    compiled = tc.compile(lambda x: x * 2 if x.sum() > 0 else x, fullgraph=True)
    for n in (4, 5, 6):
        with pytest.raises(RecordError, match="several graphs"):
            compiled(tc.ones(n))
