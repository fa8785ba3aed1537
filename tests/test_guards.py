"""What a compiled function hangs on, and what it does not: neither its own books nor names of attributes."""

from __future__ import annotations

import pytest

import tracec
from tracec import nn

model = nn.Linear(4, 3)
optimizer = tracec.optim.SGD(model.parameters(), lr=0.1)
factor = 2.0
lr = 0.0


class Settings:
    lr = 0.5


@tracec.compile
def step(x):
    # ``optimizer.step`` is not this global function.
    optimizer.zero_grad()
    loss = model(x).sum()
    loss.backward()
    optimizer.step()
    return loss


@tracec.compile
def scaled(x):
    return x * factor


@tracec.compile
def reads_an_attribute(x):
    return x * Settings.lr


@tracec.compile
def calls_another(x):
    return scaled(x) + 1


def test_a_function_does_not_hang_on_its_own_specialisations():
    a, b = tracec.ones(2, 4), tracec.ones(3, 4)
    for _ in range(4):
        step(a)
        step(b)
    assert "2 specialisations" in step.explain()
    assert "recorded again" not in step.explain()


def test_names_of_attributes_are_no_globals(monkeypatch):
    x = tracec.ones(5)
    reads_an_attribute(x)
    monkeypatch.setitem(globals(), "lr", 1.0)
    assert reads_an_attribute(x).tolist() == [0.5] * 5
    assert "1 specialisations" in reads_an_attribute.explain()


def test_what_a_compiled_function_inside_reads_is_guarded(monkeypatch):
    x = tracec.ones(3)
    assert calls_another(x).tolist() == [3.0] * 3
    assert calls_another(x).tolist() == [3.0] * 3
    monkeypatch.setitem(globals(), "factor", 5.0)
    assert calls_another(x).tolist() == [6.0] * 3
    assert "recorded again: factor: 2.0 -> 5.0" in calls_another.explain()


def test_a_function_that_asks_for_a_value_keeps_one_record():
    compiled = tracec.compile(lambda x: x * 2 if x.sum().item() > 0 else x)
    with pytest.warns(RuntimeWarning, match="asks for the value of a tensor"):
        found = [compiled(tracec.full((3,), value)).tolist() for value in (1.0, -1.0, 2.0)]
    assert found == [[2.0] * 3, [-1.0] * 3, [4.0] * 3]
    assert "1 specialisations" in compiled.explain()
