"""Numbers that functions ask tensors for: what is computed with them, and what is chosen by them."""

from __future__ import annotations

import math
import warnings
from math import log1p

import numpy as np
import pytest

import tracec
from tests.trees import check, hits, same, tensor
from tracec.specialisations import tree


def a_number(x):
    return x.sum().item()


def computed(x):
    return x.sum().item() * 2 + 1, {"place": x.argmax().item(), "doubled": x * 2}


def compared(x):
    if x.sum().item() > 0 and x.max().item() < 5:
        return x * x.mean().item()
    return x - 1


def an_operand(x):
    return x * (x.sum().item() * 0.5 - 1.0), x + x.argmax().item(), tracec.full((2,), x.sum().item())


def divided(x):
    return 1.0 / x.abs().sum().item(), x / x.abs().max().item()


def gathered(x):
    total = 0.0
    for k in range(3):
        total += (x * k).sum().item()
    return total, [total > 3]


def narrow(x):
    return x.to(tracec.bfloat16).sum().item(), x.half().sum().item(), x.double().sum().item() + 1


NUMBERS = [a_number, computed, compared, an_operand, divided, gathered, narrow]


@pytest.mark.parametrize("function", NUMBERS, ids=lambda f: f.__name__)
def test_a_number_that_is_asked_for_is_another_one_at_each_call(function):
    compiled = tracec.compile(function)
    for k in range(12):
        x = tensor(3, seed=k, scale=1.0 + k % 2)
        found, expected = compiled(x), function(x)
        same_numbers(found, expected)
    assert len(compiled.explain().recordings) <= 3
    assert hits(compiled) >= 9


def same_numbers(found, expected):
    """As `same`, but floats may be rounded otherwise."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        found, expected = list(found.values()), list(expected.values())
    if isinstance(expected, (list, tuple)):
        assert type(found) is type(expected)
        for a, b in zip(found, expected, strict=True):
            same_numbers(a, b)
    elif type(expected) is float:
        assert type(found) is float
        assert found == pytest.approx(expected, rel=1e-5)
    else:
        same(found, expected)


def test_what_python_refuses_is_refused_before_anything_is_written():
    state = tracec.zeros(3)

    def f(x):
        ratio = 1.0 / x.sum().item()
        state.add_(x)
        return ratio

    compiled = tracec.compile(f)
    for value in (1.0, 2.0, 4.0):
        assert compiled(tracec.full((3,), value)) == pytest.approx(1 / (3 * value))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            compiled(tracec.zeros(3))
    assert state.tolist() == [7.0] * 3
    assert hits(compiled) == 2


def test_a_train_step_that_gives_its_loss_as_a_number():
    w = tensor(3, seed=1, requires_grad=True)

    def step(x):
        loss = (x @ w).square().mean()
        loss.backward()
        with tracec.no_grad():
            w.sub_(0.1 * w.grad)
        w.grad = None
        return loss.item()

    start = w.detach().clone()
    eager = [step(tensor(5, 3, seed=k)) for k in range(10)]
    with tracec.no_grad():
        w.copy_(start)
    compiled = tracec.compile(step, fullgraph=True)
    assert [compiled(tensor(5, 3, seed=k)) for k in range(10)] == pytest.approx(eager, rel=1e-5)
    assert len(compiled.explain().recordings) == 1


def test_an_integer_that_addresses_is_a_way_for_each_value():
    compiled = tracec.compile(lambda x: (x[x.argmax().item()], tracec.arange(x.argmax().item() + 1)))
    for k in range(10):
        x = tensor(4, seed=k)
        same(compiled(x), [x[x.argmax().item()], tracec.arange(x.argmax().item() + 1)])
    assert len(compiled.explain().recordings) <= 4


def test_a_number_is_what_it_was_when_it_was_asked_for():
    w = tracec.tensor(1.0)

    def f():
        before = w.item()
        w.add_(1)
        return before, w.item()

    compiled = tracec.compile(f)
    assert [compiled() for _ in range(4)] == [(1.0, 2.0), (2.0, 3.0), (3.0, 4.0), (4.0, 5.0)]
    assert hits(compiled) == 3


def test_ways_that_hardly_any_call_goes_again_are_not_gone_on_with():
    def f(x):
        for row in x:
            if row > 0:
                x = x * 1.5
        return x

    inputs = [tracec.tensor([1.0 if k >> i & 1 else -1.0 for i in range(5)]) for k in range(32)]
    compiled = tracec.compile(f)
    with pytest.warns(
        RuntimeWarning, match=r"by which 16 calls took different paths, and few the same; .* recorded again"
    ):
        found = [compiled(x) for x in inputs]
    same(found, [f(x) for x in inputs])
    assert len(compiled.explain().recordings) == tree.FRUITLESS_PATHS
    same(compiled(inputs[3]), f(inputs[3]))
    assert hits(compiled) == 1


def test_functions_of_math_are_computed_of_numbers():
    def f(x):
        length = math.sqrt(x.square().sum().item())
        return x / length, math.exp(-length), log1p(length), type(length)

    compiled = tracec.compile(f)
    for k in range(8):
        x = tensor(5, seed=k)
        (unit, *rest), (expected, *others) = compiled(x), f(x)
        same(unit, expected)
        assert rest == pytest.approx(others, rel=1e-6)
    assert len(compiled.explain().recordings) == 1


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * 2 if x.sum().item() > 1 else x,
        lambda x: x * x.sum().item() if x.sum() > 1 else x,
        lambda x: x + x.sum().item() * 2,
    ],
)
def test_values_that_are_asked_for_of_many_sizes(function):
    compiled = tracec.compile(function)
    for n in (2, 4, 4, 5, 6, 5, 3, 1):
        for scale in (1.0, -1.0):
            x = tracec.ones(n, 3) * scale
            assert tracec.equal(compiled(x), function(x))


def test_values_of_equal_nodes_are_fetched_once_for_all_symbols():
    table = tensor(5, 3)

    def best(x):
        score = 0.0
        for _ in range(2):  # the same is looked up again
            value = tracec.log_softmax(table[tracec.tensor([int(x)])], -1).max().item()
            score += value
            if score - value > 5:
                break
        return score

    check(best, [(tracec.tensor(k),) for k in (1, 2, 3)])


def test_values_that_come_again_are_recorded_though_there_are_many():
    def f(x, n):
        for _ in range(int(n)):
            x = tracec.sin(x) + 1
        return x

    compiled = tracec.compile(f)
    counts = np.random.default_rng(0).integers(1, 15, 400)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for n in counts:
            same(compiled(tensor(3), tracec.tensor(n)), f(tensor(3), n))
    assert len([w for w in said if "recorded again at each call" in str(w.message)]) == 1
    recordings = len(compiled.explain().recordings)
    before = hits(compiled)
    for n in range(1, 15):
        same(compiled(tensor(3), tracec.tensor(n)), f(tensor(3), n))
    assert recordings == len(compiled.explain().recordings) == 14
    assert hits(compiled) == before + 14


def test_values_that_never_come_again_stay_few():
    compiled = tracec.compile(lambda x: x * int(x.sum()).bit_length() if int(x.sum()).bit_length() else x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(100):
            compiled(tracec.full((2,), float(1 << (k % 50))))
    assert len(compiled.explain().recordings) <= 2 * tree.MOST_VALUES
