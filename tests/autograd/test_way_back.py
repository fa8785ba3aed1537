"""What backward functions of the user's read from around them, when gradients go back through compiled functions."""

from __future__ import annotations

import random
import re
import sys
import time
import types
import warnings
from random import random as draw

import numpy as np
import pytest

import tracec
from tracec.autograd import Function
from tracec.errors import GradientError

CONFIG = types.ModuleType("a_config_of_these_tests")
FACTOR, ZERO, NAN, WHICH = 2.0, 0.0, float("nan"), None


def twice(g):
    return g * 2.0


def thrice(g):
    return g * 3.0


SCALED = twice


class Helper:
    @staticmethod
    def by_factor(g):
        return g * FACTOR

    @classmethod
    def by_factor_too(cls, g):
        return cls.by_factor(g)


class Outer:
    class Inner:
        @staticmethod
        def by_two(g):
            return by_default(g)

    class Late(Helper):
        pass


class Config:
    class Setting:
        k = 2.0


class Scale:
    def __init__(self, k=2.0):
        self.k = k

    def times(self, g):
        return g * self.k


def by_default(g, k=2.0):
    return g * k


def by_keyword(g, *, k=2.0):
    return g * k


def with_attribute(g):
    return g * with_attribute.k


with_attribute.k = 2.0


def compiled_with(back):
    """A compiled function with such a way back, and the tensor that gradients come to."""

    class Given(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        backward = staticmethod(back)

    w = tracec.ones(3, requires_grad=True)
    return tracec.compile(lambda x: Given.apply(w * x).sum()), w


def of_an_import(ctx, g):
    import a_config_of_these_tests

    return g * a_config_of_these_tests.RATE


def back_by_missing(g):
    try:
        return g * CONFIG.LATER
    except AttributeError:
        return g * 2


READ = {
    "an attribute of a module": (lambda ctx, g: g * CONFIG.RATE, CONFIG, "RATE", 5.0),
    "an imported module's": (of_an_import, CONFIG, "RATE", 5.0),
    "by a method of a class": (lambda ctx, g: Helper.by_factor(g), None, "FACTOR", 5.0),
    "by a method of the class": (lambda ctx, g: Helper.by_factor_too(g), None, "FACTOR", 5.0),
    "the sign of a zero": (lambda ctx, g: tracec.copysign(g, tracec.full_like(g, ZERO)), None, "ZERO", -0.0),
    "a function": (lambda ctx, g: SCALED(g), None, "SCALED", thrice),
    "a default that is set anew": (lambda ctx, g: by_default(g), by_default, "__defaults__", (5.0,)),
    "one that is named": (lambda ctx, g: by_keyword(g), by_keyword, "__kwdefaults__", {"k": 5.0}),
    "code": (lambda ctx, g: by_keyword(g), by_keyword, "__code__", (lambda g, *, k: g * 5).__code__),
    "an attribute of a function": (lambda ctx, g: with_attribute(g), with_attribute, "k", 5.0),
    "a method": (lambda ctx, g: Helper.by_factor(g), Helper, "by_factor", staticmethod(thrice)),
    "a method of a nested class": (lambda ctx, g: Outer.Inner.by_two(g), Outer.Inner, "by_two", staticmethod(thrice)),
    "what that reads": (lambda ctx, g: Outer.Inner.by_two(g), by_default, "__defaults__", (5.0,)),
    "a method of an object": (lambda ctx, g: Scale().times(g), Scale, "times", lambda self, g: g * 5),
    "how that is made": (lambda ctx, g: Scale().times(g), Scale.__init__, "__defaults__", (5.0,)),
    "a missing attribute": (lambda ctx, g: back_by_missing(g), CONFIG, "LATER", 5.0),
    "nothing": (lambda ctx, g: g if WHICH is None else g * 2, None, "WHICH", 1),
}


@pytest.mark.parametrize("name", READ)
def test_what_has_changed_since_the_call_is_refused(name, monkeypatch):
    monkeypatch.setattr(CONFIG, "RATE", 2.0, raising=False)
    monkeypatch.setitem(sys.modules, CONFIG.__name__, CONFIG)
    back, holder, key, other = READ[name]
    holder = sys.modules[__name__] if holder is None else holder
    f, w = compiled_with(back)
    expected = back(None, tracec.ones(3)).tolist()
    for _ in range(3):
        w.grad = None
        f(tracec.ones(3)).backward()
        assert w.grad.tolist() == expected
    assert sum(s.hits for s in f.explain().specialisations if s.compiled) == 2
    value = f(tracec.ones(3))
    monkeypatch.setattr(holder, key, other, raising=False)
    with pytest.raises(GradientError, match=f"{key}, which a backward function of a compiled function reads"):
        value.backward()


def test_a_method_that_a_class_has_got_since_the_call_is_refused(monkeypatch):
    f, _ = compiled_with(lambda ctx, g: Outer.Late.by_factor(g))
    for _ in range(3):
        value = f(tracec.ones(3))
    monkeypatch.setattr(Outer.Late, "by_factor", staticmethod(thrice), raising=False)
    with pytest.raises(GradientError, match=r"Late\.by_factor, which a backward function of a compiled function reads"):
        value.backward()


def test_a_backward_function_that_is_replaced_is_refused(monkeypatch):
    class Given(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return g * 2

    w = tracec.ones(3, requires_grad=True)
    f = tracec.compile(lambda x: Given.apply(w * x).sum())
    for _ in range(3):
        value = f(tracec.ones(3))
    monkeypatch.setattr(Given, "backward", staticmethod(lambda ctx, g: g * 3))
    with pytest.raises(GradientError, match=r"Given\.backward, which a backward function of a compiled function reads"):
        value.backward()
    for _ in range(2):
        w.grad = None
        f(tracec.ones(3)).backward()
        assert w.grad.tolist() == [3.0] * 3


def test_a_value_that_is_no_number_is_what_it_was():
    f, w = compiled_with(lambda ctx, g: g * NAN)
    for _ in range(3):
        w.grad = None
        f(tracec.ones(3)).backward()
        assert np.isnan(w.grad.numpy()).all()


HELD = [2.0]
OTHERWISE = {
    "random.random": lambda ctx, g: g * random.random(), "draw": lambda ctx, g: g * draw(),
    "np.random.rand": lambda ctx, g: g * np.random.rand(), "time.time": lambda ctx, g: g * (time.time() > 0),
    "Config": lambda ctx, g: g * Config.Setting.k * HELD[0],
    "CONFIG": lambda ctx, g: g * getattr(CONFIG, "LATER", HELD[0]),
    "held": lambda ctx, g, held=HELD: g * held[0], "append": lambda ctx, g, append=HELD.append: (append(1.0), g)[1],
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_may_be_otherwise_each_time_runs_eagerly(name):
    found = []
    for wrapped in (False, True):
        random.seed(0)
        np.random.seed(0)
        HELD[:] = [2.0]
        f, w = compiled_with(OTHERWISE[name])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for k in range(4):
                w.grad, HELD[0] = None, 2.0 + k
                (f if wrapped else f.fn)(tracec.ones(3)).backward()
                found.append((w.grad.tolist(), len(HELD)))
        assert [re.search(f"that reads (attributes of )?{name}[, ]", str(s.message)) is None for s in said] == [
            False
        ] * wrapped
    assert found[:4] == found[4:]
