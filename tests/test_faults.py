"""Faults of the compiler's own: a call has its result all the same, and a warning says what to report."""

from __future__ import annotations

import pytest

import tracec
from tests.failures import warned
from tracec import build
from tracec.errors import RecordError


@pytest.fixture
def faulty(monkeypatch):
    def make_plan(*_):
        raise KeyError("<reshape: f32[3]>")

    monkeypatch.setattr(build, "make_plan", make_plan)


@pytest.mark.usefixtures("faulty")
def test_results_are_not_lost():
    @tracec.compile
    def f(x, weight):
        weight += x.sum()
        return weight * 2

    weight = tracec.zeros(2)
    (text,) = warned(lambda: f(tracec.ones(3), weight))
    assert "could not be compiled: KeyError: '<reshape: f32[3]>' (test_faults.py:" in text
    assert "please report it" in text
    assert weight.tolist() == [3, 3]
    assert warned(lambda: f(tracec.ones(3), weight)) == []
    assert weight.tolist() == [6, 6]
    assert "could not be compiled" in str(f.explain())


@pytest.mark.usefixtures("faulty")
def test_functions_that_ask_for_values():
    f = tracec.compile(lambda x: x * 2 if x.sum() > 0 else x - 1)
    found = []
    texts = warned(lambda: found.extend(f(tracec.full((2,), v)).tolist() for v in (1.0, -1.0, 1.0, -1.0)))
    assert found == [[2, 2], [-2, -2]] * 2
    assert 1 <= len(texts) <= 2


@pytest.mark.usefixtures("faulty")
def test_gradients_go_back():
    f = tracec.compile(lambda x: (x * x).sum())
    for _ in range(2):
        x = tracec.tensor([1.0, 2.0], requires_grad=True)
        warned(lambda x=x: f(x).backward())
        assert x.grad.tolist() == [2, 4]


@pytest.mark.usefixtures("faulty")
def test_a_whole_graph_that_is_asked_for_is_an_error():
    with pytest.raises(RecordError, match="could not be compiled: KeyError"):
        tracec.compile(tracec.sin, fullgraph=True)(tracec.ones(3))
