"""Branches and loops that no graph can have as one operation: Python runs them in a compiled function, as eagerly."""

from __future__ import annotations

import warnings
from contextlib import nullcontext

import numpy as np
import pytest

import tracec as T
from tests.random_programs.check import operator_by_operator
from tracec import func
from tracec.errors import RecordError

UP, DOWN = T.tensor([1.0, 2.0, 3.0]), T.tensor([-1.0, -2.0, -3.0])
W = T.ones(3)


class Counter:
    """State that branches may change."""

    def __init__(self):
        self.count, self.names, self.table = 0, [], {}


def plain(x):
    if isinstance(x, T.Tensor):
        return x.dtype, tuple(x.shape), np.round(x.detach().numpy().astype(float), 5).tolist()
    if isinstance(x, (tuple, list)):
        return [plain(v) for v in x]
    return x


def fails(x):
    raise ValueError("not this way")


def choose(true_fn, false_fn, *operands):
    return lambda x: func.cond(x.sum() > 0, true_fn, false_fn, (x, *operands))


def with_a_list(x):
    seen = []
    out = func.cond(x.sum() > 0, lambda x: (seen.append("up"), x * 2)[1], lambda x: (seen.append("down"), x)[1], (x,))
    return out, seen


def with_a_variable(x):
    count = 0

    def up(x):
        nonlocal count
        count += 1
        return x * 2

    return func.cond(x.sum() > 0, up, lambda x: x, (x,)), count


def with_new_state(x):
    counter = Counter()
    counter.table = {}

    def up(x):
        counter.table["up"] = x * 3
        counter.count += 1
        return x

    out = func.cond(x.sum() > 0, up, lambda x: x + 1, (x,))
    return out, counter.count, sorted(counter.table), [*counter.table.values()]


def writes(x):
    y = T.zeros(3)
    return func.cond(x.sum() > 0, lambda x: (y.add_(x), x)[1], lambda x: x, (x,)), y


def caught(x):
    try:
        return func.cond(x.sum() > 0, lambda x: x, fails, (x,))
    except ValueError:
        return x * 0


def loop_with_a_list(x):
    seen = []

    def body(x):
        seen.append(len(seen))
        return (x.abs() * 2,)

    return func.while_loop(lambda x: x.sum() < 30, body, (x,)), seen


def growing(x):
    return func.cond(
        func.while_loop(lambda x: x.sum().item() < 30, lambda x: (x.abs() * 2,), (x,))[0][0] > 5,
        lambda: x[:1], lambda: x,
    )  # fmt: skip


def nested(x):
    inner = lambda x: func.cond(x[0] > 0, lambda x: x[:1], lambda x: x[:2], (x,))  # noqa: E731
    return func.cond(x[2] > 0, inner, lambda x: func.cond(x[1] > 0, inner, lambda x: x, (x,)), (x,))


def gradients(x):
    value = func.grad(lambda x: func.cond(x.sum() > 0, lambda x: x[x > 1].sum(), lambda x: (x**3).sum(), (x,)))
    return value(x), func.grad(lambda x: (value(x) * x).sum())(x)


PROGRAMS = {
    "shapes": choose(lambda x: x[:2] * 2, lambda x: x + 1),
    "dtypes": choose(lambda x: x.double(), lambda x: x + 1),
    "structures": choose(lambda x: (x, [x + 1]), lambda x: {"only": x}["only"]),
    "no tensors": choose(lambda x: 3, lambda x: None),
    "a number": choose(lambda x, k: x * k, lambda x, k: x + k, 2),
    "a mask": choose(lambda x: x[x > 1.5].sum(), lambda x: x.sum()),
    "a value": choose(lambda x: x * x[0].item(), lambda x: x.tolist()),
    "random numbers": choose(lambda x: T.rand(3).shape[0] * x, lambda x: x),
    "an error elsewhere": choose(lambda x: x * 2, fails),
    "a list": with_a_list,
    "a variable": with_a_variable,
    "new state": with_new_state,
    "a write": writes,
    "an error that is caught": caught,
    "a loop and a list": loop_with_a_list,
    "a loop by values": growing,
    "nested": nested,
    "gradients": gradients,
}
WAYS = {
    "C": (nullcontext, {}),
    "without a compiler": (operator_by_operator, {}),
    "emulator": (nullcontext, {"target": "cuda", "launcher": "emulator"}),
}


def outcome(f, x):
    try:
        return plain(f(x))
    except ValueError as error:
        return repr(error)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_branch_that_is_taken_is_recorded(name, way):
    f, (around, options) = PROGRAMS[name], WAYS[way]
    with warnings.catch_warnings(), around():
        warnings.simplefilter("error")
        compiled = T.compile(f, **options)
        calls = (UP, DOWN, UP * 0.99, DOWN * 0.99, UP, DOWN)
        for x in calls:
            assert outcome(compiled, x) == outcome(f, x)
    hits = sum(s.hits for s in compiled.explain().specialisations if s.compiled)
    raising = sum(isinstance(outcome(f, x), str) for x in calls)
    assert hits >= 4 - max(raising - 1, 0), compiled.explain()
    assert "runs in Python, and its values choose the way: " in str(compiled.explain())


def test_python_state_around_is_changed_by_the_branch_that_is_taken():
    def make():
        counter = Counter()

        def up(x):
            counter.count += 1
            counter.names.append("up")
            counter.table["last"] = x * 2
            return x

        return counter, lambda x: func.cond(x.sum() > 0, up, lambda x: x + 1, (x,))

    (found, f), (expected, g) = make(), make()
    compiled = T.compile(f)
    for x in (UP, DOWN, DOWN, UP, UP, DOWN):
        assert plain(compiled(x)) == plain(g(x))
        assert (found.count, found.names) == (expected.count, expected.names)
        assert plain([*found.table.values()]) == plain([*expected.table.values()])


def test_what_is_printed_is_printed_by_the_branch_that_is_taken(capsys):
    f = choose(lambda x: (print("up", x), x)[1], lambda x: (print("down"), x)[1])
    compiled = T.compile(f)
    calls = (UP, DOWN, UP * 2, DOWN, UP)
    for x in calls:
        compiled(x)
    found = capsys.readouterr().out
    for x in calls:
        f(x)
    assert found == capsys.readouterr().out


def test_what_was_done_before_is_undone_once():
    def f(x):
        W.add_(1)
        return func.cond(x.sum() > 0, lambda x: x[:1] * W[0], lambda x: x * W, (x,))

    compiled = T.compile(f)
    try:
        for k, x in enumerate((UP, DOWN, UP)):
            found = compiled(x)
            assert W.tolist() == [2.0 + k] * 3
            assert found.tolist() == ((x[:1] if k != 1 else x) * (2 + k)).tolist()
    finally:
        W.fill_(1)


def test_other_branches_stay_operations_of_the_graph():
    def f(x):
        y = func.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,))
        return func.cond(x.sum() > 0, lambda x: x[:1], lambda x: x, (y,))

    compiled = T.compile(f)
    for x in (UP, DOWN, UP, DOWN):
        assert plain(compiled(x)) == plain(f(x))
    assert "cond(" in compiled.lower(UP).stages["plan"]
    assert len(compiled.explain().recordings) == 2


def test_one_graph_is_asked_for():
    for name, message in (("a list", "cond: the function changes seen"), ("shapes", "true_fn returns")):
        with pytest.raises((RecordError, T.errors.ShapeError), match=message):
            T.compile(PROGRAMS[name], fullgraph=True)(UP)


def test_users_errors_are_those_of_the_branch_that_is_taken():
    f = choose(lambda x: x @ T.ones(5), lambda x: x)
    compiled = T.compile(f)
    for x in (DOWN, UP, DOWN, UP):
        if x is DOWN:
            assert plain(compiled(x)) == plain(x)
        else:
            with pytest.raises(T.errors.ShapeError):
                compiled(x)
