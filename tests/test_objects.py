"""Objects that are other ones at each call do not have a function recorded at each call."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections import OrderedDict, deque
from typing import Any

import pytest

import tracec


@dataclasses.dataclass
class Batch:
    x: Any
    y: Any = None
    n: int = 3


@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    x: Any
    y: Any = None


class Plain:
    def __init__(self, x):
        self.x, self.flag = x, True

    def twice(self):
        return self.x * 2


class Output(OrderedDict):
    @property
    def x(self):
        return self["x"]


class Node:
    def __init__(self, x):
        self.x, self.me, self.batches = x, self, [Batch(x)]


def X(k: float) -> tracec.Tensor:
    return tracec.ones(3) * k


ONES = X(1)
#: How an argument is made, what is done with it, and how often that is recorded.
ARGUMENTS = {
    "dataclass": (lambda k: Batch(X(k), X(1)), lambda b: b.x + b.y * b.n, 1),
    "dataclass with a number that changes": (lambda k: Batch(X(k), n=k), lambda b: b.x * b.n, 2),
    "slots": (lambda k: Slotted(X(k)), lambda b: b.x * 2, 1),
    "plain object": (lambda k: Plain(X(k)), lambda b: b.x * 2 if b.flag else b.x, 2),
    "namespace": (lambda k: types.SimpleNamespace(x=X(k), s="a"), lambda b: b.x * 2, 1),
    "dictionary with attributes": (lambda k: Output(x=X(k)), lambda b: b.x * 2, 1),
    "nested": (lambda k: {"b": [Batch(Plain(X(k)))]}, lambda d: d["b"][0].x.x * 2, 2),
    "cycle": (lambda k: Node(X(k)), lambda n: n.me.batches[0].x + n.x, 2),
    "written": (lambda k: Batch(X(k), n=k), lambda b: setattr(b, "y", b.x * 2) or setattr(b, "n", b.n + 1), 2),
    "object in an object": (lambda k: Plain(Batch(X(k))), lambda p: p.x.x * 2, 2),
    "function": (lambda k: lambda: X(1) * 2, lambda g: g(), 2),
    "closure": (lambda k: (lambda t: lambda: t * 2)(X(k)), lambda g: g(), 2),
    "closure over a number": (lambda k: (lambda n: lambda x: x * n)(float(k)), lambda g: g(ONES), 3),
    "method": (lambda k: Plain(X(k)).twice, lambda g: g(), 2),
    "partial": (lambda k: functools.partial(tracec.mul, X(k)), lambda g: g(2.0), 1),
    "partial with a number": (lambda k: functools.partial(lambda n, x: x * n, float(k)), lambda g: g(ONES), 3),
    "set": (lambda k: {"a", "b"}, lambda s: ONES * len(s), 1),
    "deque": (lambda k: deque([X(k), X(1)], maxlen=3), lambda d: sum(d), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", ARGUMENTS)
def test_fresh_objects_are_recorded_once_or_twice(name):
    make, function, most = ARGUMENTS[name]
    compiled = tracec.compile(lambda b: function(b))
    for k in range(7):
        given, expected = make(k), make(k)
        out, wanted = compiled(given), function(expected)
        assert str(out) == str(wanted)
        assert str(vars(given).get("y")) == str(vars(expected).get("y")) if hasattr(given, "__dict__") else True
    assert len(compiled.explain().recordings) <= most


def test_objects_that_stay_count_by_identity():
    settings = Plain(X(1))
    compiled = tracec.compile(lambda s, x: s.x * x)
    for k in range(4):
        settings.x = X(k)
        assert compiled(settings, X(2)).tolist() == [2.0 * k] * 3
    assert "s: Plain object" in str(compiled.explain().specialisations[0])


def test_a_fresh_dataclass_in_a_place_is_recorded_once():
    kept = Plain(None)

    @tracec.compile
    def f(x):
        kept.x = Batch(x * 2, x)
        return x + 1

    for k in range(6):
        x = X(k)
        f(x)
        assert kept.x.x.tolist() == (x * 2).tolist() and kept.x.y is x
    assert len(f.explain().recordings) <= 3


def test_explain_names_attributes():
    compiled = tracec.compile(lambda b: b.x * (2 if b.y == "a" else 3))
    for y in ("a", "b"):
        compiled(Batch(X(1), y))
    assert "b.y: 'a' -> 'b'" in str(compiled.explain())


def test_first_calls_are_not_kept_alive():
    import gc
    import weakref

    compiled, refs = tracec.compile(lambda b: b.x * 2), []
    for k in range(3):
        b = Batch(X(k))
        refs.append(weakref.ref(b))
        compiled(b)
    del b
    gc.collect()
    assert [r() for r in refs] == [None] * 3


def test_numbers_in_fresh_structures_in_a_place_are_recorded_twice_more():
    kept = types.SimpleNamespace(last=None)

    @tracec.compile
    def f(x, k):
        kept.last = {"y": x * 2, "n": k}
        return x + 1

    for k in range(9):
        f(X(k), k)
        assert kept.last["n"] == k and kept.last["y"].tolist() == [2.0 * k] * 3
    assert len(f.explain().recordings) <= 3
