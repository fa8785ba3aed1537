"""Compiled functions that call each other, and what is around their calls."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec import nn


def test_compiled_functions_call_each_other_and_themselves():
    @tracec.compile
    def power(x, n):
        return x if n == 1 else x * power(x, n - 1)

    @tracec.compile
    def both(x):
        return power(x, 3) + double(x)

    @tracec.compile
    def double(x):
        return x * 2

    x = tracec.full((3,), 2.0)
    for _ in range(3):
        assert power(x, 4).tolist() == [16.0] * 3
        assert both(x).tolist() == [12.0] * 3
        assert double(x).tolist() == [4.0] * 3
    assert len(both.explain().recordings) == 1 and both.explain().specialisations[0].hits == 2


def test_compiled_functions_in_generators_and_generators_in_them():
    square = tracec.compile(lambda x: x * x)

    def stream(n):
        for k in range(n):
            yield square(tracec.full((2,), float(k)))

    assert [y.tolist() for y in stream(4)] == [[float(k * k)] * 2 for k in range(4)]

    @tracec.compile
    def total(x):
        return sum((x * k for k in range(1, 4)), start=tracec.zeros(2))

    for value in (1.0, 2.0, 3.0):
        assert total(tracec.full((2,), value)).tolist() == [6 * value] * 2

    # Two that take turns, each half way through the other.
    first, second = stream(3), stream(3)
    assert [(next(first).tolist(), next(second).tolist()) for _ in range(3)][2] == ([4.0, 4.0], [4.0, 4.0])


def test_a_function_that_is_a_generator_runs_as_it_is():
    def f(x):
        yield x * 2
        yield x * 3

    compiled = tracec.compile(f)
    with pytest.warns(RuntimeWarning, match="generator"):
        assert [y.tolist() for y in compiled(tracec.ones(1))] == [[2.0], [3.0]]
    assert [y.tolist() for y in compiled(tracec.full((1,), 2.0))] == [[4.0], [6.0]]


def test_hooks_are_called_as_they_are_eagerly():
    w = tracec.ones(3, requires_grad=True)
    model = nn.Linear(3, 2)
    seen: dict[str, list] = {}

    def run(wrap):
        calls = seen.setdefault(wrap.__name__, [])
        handles = [
            w.register_hook(lambda g: calls.append(g.tolist()) or g * 2),
            model.register_forward_hook(lambda m, args, out: out * 10),
        ]
        f = wrap(lambda x: model(x * w).sum())
        found = []
        for value in (1.0, 2.0, 3.0):
            w.grad = None
            f(tracec.full((4, 3), value)).backward()
            found.append(w.grad.tolist())
        for handle in handles:
            handle.remove()
        return found

    def eagerly(f):
        return f

    np.testing.assert_allclose(run(tracec.compile), run(eagerly), rtol=1e-5)
    np.testing.assert_allclose(seen["compile"], seen["eagerly"], rtol=1e-5)


def test_hooks_that_come_and_go_are_noticed():
    w = tracec.ones(2, requires_grad=True)

    def step(x):
        w.grad = None
        (w * x).sum().backward()
        return w.grad * 1

    compiled = tracec.compile(step)
    x = tracec.ones(2)
    compiled(x), compiled(x)
    handle = w.register_hook(lambda g: g * 3)
    assert [compiled(x).tolist() for _ in range(2)] == [[3.0, 3.0]] * 2
    assert str(compiled.explain().recordings[1].changes[0]) == "hooks of w: as recorded -> others"
    handle.remove()
    assert [compiled(x).tolist() for _ in range(2)] == [[1.0, 1.0]] * 2
    with w.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(5)):
        assert [compiled(x).tolist() for _ in range(2)] == [[5.0, 5.0]] * 2
    assert compiled(x).tolist() == [1.0, 1.0]


def test_hooks_of_arguments_are_called_once():
    compiled = tracec.compile(lambda x: (x * x).sum())
    for _ in range(3):
        calls = []
        x = tracec.full((2,), 3.0, requires_grad=True)
        x.register_hook(lambda g, calls=calls: calls.append(g.tolist()) or g * 2)
        compiled(x).backward()
        assert x.grad.tolist() == [12.0, 12.0] and calls == [[6.0, 6.0]]


@pytest.mark.parametrize("how", ["hook", "retain", "node"])
def test_what_is_told_of_gradients_inside_is_told_at_each_call(how):
    w, told = tracec.ones(2, requires_grad=True), []

    def f(x):
        h = w * x
        if how == "hook":
            h.register_hook(lambda g: told.append(g.tolist()))
        elif how == "node":
            h.grad_fn.register_hook(lambda grads, outs: told.append(outs[0].tolist()))
        else:
            h.retain_grad()
        return h.sum() * 2, h

    compiled = tracec.compile(f)
    with pytest.warns(RuntimeWarning, match="hooks on tensors that it makes"):
        compiled(tracec.ones(2))
    told.clear()
    for k in range(1, 4):
        loss, h = compiled(tracec.ones(2))
        loss.backward()
        assert h.grad.tolist() == [2.0, 2.0] if how == "retain" else len(told) == k


def test_modes_that_a_function_leaves_otherwise_are_so_at_each_call():
    compiled = tracec.compile(lambda x: (tracec.set_grad_enabled(False), x * 2)[1])
    with pytest.warns(RuntimeWarning, match="leaves modes"):
        compiled(tracec.ones(3))
    for _ in range(2):
        tracec.set_grad_enabled(True)
        compiled(tracec.ones(3))
        assert not tracec.is_grad_enabled()
    tracec.set_grad_enabled(True)
