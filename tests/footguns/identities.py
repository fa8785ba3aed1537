"""What tells objects from one another, and what the interpreter and tensors say of themselves."""

from __future__ import annotations

import gc
from gc import isenabled

import numpy as np

import tracec
from tests.footguns.by_name import while_it_changes
from tests.footguns.harness import footgun, tensor, whole


@footgun(eager="what a tensor is a view of, _base")
def what_tensors_are_views_of(wrap):
    memory, held = whole(6), [whole(3)]
    functions = [
        lambda x: x * (2 if x._base is None else 3), lambda x: x * (2 if getattr(x, "_base") is None else 3),  # noqa: B009
        lambda x: x * (2 if held[0]._base is None else 3), lambda x: x * (2 if x._base is memory else 3),
        lambda x: x * (1 if x._base is None else x._base.shape[0]),
    ]  # fmt: skip
    calls, found = [wrap(f) for f in functions], []
    for held[0] in (whole(3), memory[:3], whole(3)):
        for x in (whole(3), whole(3), memory[:3], memory[:3], whole(8)[:3], memory[1:4], whole(3)):
            found += [f(x) for f in calls]
    return found


@footgun(eager="what a tensor is a view of, _base")
def what_its_views_of_arguments_are_views_of(wrap):
    f = wrap(lambda x: x * (2 if x[:2]._base is x and (x + 1)._base is None else 3))
    return [f(x) for x in (whole(3), whole(3), whole(6)[:3], whole(6)[:3], whole(5))]


@footgun
def what_tensors_of_its_own_are_views_of(wrap):
    def f(x):
        y = x + 1
        z = y[:2].t()
        return x * (2 if z._base is y and y._base is None and z._is_view() and not y._is_view() else 3)

    f = wrap(f)
    return [f(x) for x in (whole(3), whole(3), whole(6)[:3], whole(6)[:3], whole(5))]


@footgun(eager="what computed a tensor, grad_fn")
def what_computed_a_tensor(wrap):
    f = wrap(lambda x: x.detach() * len(x.grad_fn.next_functions))
    g = wrap(lambda x: x.detach() * (2 if x.grad_fn is None else 3))
    h = wrap(lambda x: x.detach() * (2 if x.retains_grad else 3))
    w, found = whole(3, g=True), []
    for make in (lambda: w * 2, lambda: w * 2, lambda: w * w, lambda: w * w, lambda: w.exp(), lambda: w * 2):
        x = make()
        found += [f(x), g(x), g(w), h(x)]
        x.retain_grad()
        found += [h(x), h(w)]
    return found


@footgun(eager="reads the interpreter, gc.isenabled")
def whether_garbage_is_collected(wrap):
    before = gc.get_threshold()
    f, g = wrap(lambda x: x * (2 if gc.isenabled() else 3)), wrap(lambda x: x * (2 if isenabled() else 3))
    h = wrap(lambda x: x * gc.get_threshold()[0])
    try:
        found = [*while_it_changes(f, gc.disable, gc.enable), *while_it_changes(g, gc.disable, gc.enable)]
        return [*found, *while_it_changes(h, lambda: gc.set_threshold(701), lambda: gc.set_threshold(*before))]
    finally:
        gc.enable()


@footgun(eager="reads the interpreter, gc.")
def collecting_garbage_that_is_switched(wrap):
    before, found = gc.get_threshold(), []

    def off(x):
        gc.disable()
        return x * (2 if gc.isenabled() else 3)

    def on(x):
        gc.enable()
        return x * (2 if gc.isenabled() else 3)

    def seldom(x):
        gc.set_threshold(7000)
        return x * 2

    off, on, seldom = wrap(off), wrap(on), wrap(seldom)
    try:
        for _ in range(4):
            found += [off(whole(3)), gc.isenabled(), on(whole(3)), gc.isenabled()]
            found += [seldom(tensor(3)), gc.get_threshold()[0]]
            gc.set_threshold(*before)
    finally:
        gc.set_threshold(*before)
        gc.enable()
    return found


@footgun(eager="compares numbers, texts or tuples by identity")
def sizes_that_are_compared_by_identity(wrap):
    def by_name(x):
        n = x.shape[0]
        return x * (2 if n is x.size(0) else 3)

    functions = [
        lambda x: x * (2 if x.shape[0] is x.shape[0] else 3), by_name, lambda x: x * (2 if len(x) is x.shape[0] else 3),
        lambda x: x * (2 if x.shape is x.shape else 3), lambda x: x * (2 if x.shape[0] is not x.shape[-1] else 3),
    ]  # fmt: skip
    return [wrap(f)(whole(n)) for f in functions for n in (3, 3, 5, 5, 300, 300, 400, 7)] + [
        f(whole(n)) for f in map(wrap, functions) for n in (3, 3, 5, 5, 300, 300, 400, 7)
    ]


@footgun(eager="compares numbers, texts or tuples by identity")
def numbers_that_are_compared_by_identity(wrap):
    class Settings:
        a = b = float("2.5")

    settings, cell = Settings(), [float("1.5")]

    def of_settings(x):
        return x * (2 if settings.a is settings.b else 3)

    f, found = wrap(lambda x, k, m: x * (2 if k is m else 3)), []
    g, h = wrap(of_settings), wrap(lambda x, k: x * (k if cell[0] is k else 3))
    one, other, large, as_large, text = float("1.5"), float("1.5"), int("1500"), int("1500"), "".join(["a", "b"])
    pairs = [(one, one), (one, one), (one, other), (2, 2), (3, 2), (large, large), (large, as_large), ("ab", text)]
    for a, b in (*pairs, (2.5, 2.5), (3.5, 3.5), *pairs):
        settings.a, settings.b, cell[0] = a, b, a if a != "ab" else 1.0
        found += [f(whole(3), a, b), g(whole(3)), h(whole(3), b if b is not text else 1.0)]
    return found


@footgun
def objects_that_are_compared_by_identity(wrap):
    """What is no number by all that is known is compiled, and sizes go on to be symbols."""
    relu, missing = tracec.relu, object()

    class Layer:
        def __init__(self):
            self.weight = self.tied = whole(1)
            self.options, self.sentinel = {"act": relu}, missing

        def __call__(self, x, y=None, by=missing):
            if self.weight is self.tied and self.sentinel is missing and by is missing:
                x = x * 2
            if type(self) is Layer and self.__class__ is Layer and y is None:
                x = x + 1
            return relu(x) if self.options["act"] is relu else x

    layer = Layer()
    f = wrap(lambda x: layer(x) * x.shape[0])
    found = [f(whole(n)) for n in (3, 3, 4, 5, 6, 7)]
    layer.tied = whole(1)
    return [*found, *(f(whole(n)) for n in (3, 3, 4, 5))]


@footgun
def classes_and_tensors_compared_by_identity(wrap):
    w, v = whole(3, g=True), whole(3, seed=1, g=True)
    f = wrap(lambda x: (type(x) is type(w), x.__class__ is w.__class__, w.grad is v.grad, x.dtype is w.dtype, x * w))
    found = [f(whole(3, seed=k)) for k in range(3)]
    w.grad = v.grad = whole(3)
    found += [f(whole(3, seed=k)) for k in range(3)]
    v.grad = whole(3)
    return [*found, *(f(whole(3, seed=k)) for k in range(3)), f(whole(3, dtype=np.float64))]
