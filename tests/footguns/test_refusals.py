"""What compiled functions refuse, say, and never do."""

from __future__ import annotations

import json
import logging
import sys
import warnings

import hypothesis
import numpy as np
import pytest

import tracec
from tests.compiled_programs import programs, run_program
from tests.footguns.harness import tensor, whole
from tracec.errors import GradientError, RecordError


def test_an_index_out_of_range_leaves_what_an_eager_call_leaves():
    @tracec.compile
    def f(x, i):
        x.add_(1.0)
        x[i] = 7.0
        return x

    f(tensor(5), tracec.tensor([0, 1]))
    x = tensor(5)
    with pytest.raises(IndexError, match="index 5 is out of bounds for dimension 0 with size 5"):
        f(x, tracec.tensor([0, 5]))
    assert x.tolist() == (tensor(5) + 1).tolist()


def test_an_index_computed_from_floats_is_refused_too():
    f = tracec.compile(lambda table, x: table[x.long()])
    table = tensor(4)
    f(table, tracec.tensor([0.0, 1.0]))
    with pytest.raises(IndexError, match="index 1000000 is out of bounds for dimension 0 with size 4"):
        f(table, tracec.tensor([1e6, -1e6]))


def test_gradients_of_gradients_are_refused_rather_than_wrong():
    w = tensor(3, g=True)
    f = tracec.compile(lambda x: (w**3 * x).sum())
    f(tensor(3))
    value = f(tensor(3))
    (slope,) = tracec.autograd.grad(value, [w], create_graph=True)
    (found,) = tracec.autograd.grad(slope.sum(), [w])
    np.testing.assert_allclose(found.detach().numpy(), (6 * w * tensor(3)).detach().numpy(), rtol=1e-5)
    value = f(tensor(3))
    with tracec.no_grad():
        w.add_(1)
    with pytest.raises(GradientError, match="as long as what it read is as it was"):
        tracec.autograd.grad(value, [w], create_graph=True)


def back(x):
    (x * x).sum().backward()


def turn(x):
    x.t_()


@pytest.mark.parametrize(
    ("f", "make", "why"),
    [
        (back, lambda: tensor(3, g=True) * 2, "ran before the recorded function"),
        (turn, lambda: tensor(2, 3), "cannot change the shape of a tensor from outside"),
    ],
)
def test_what_no_graph_can_have_runs_eagerly(f, make, why):
    with pytest.raises(RecordError, match=why):
        tracec.compile(f, fullgraph=True)(make())
    compiled = tracec.compile(f)
    compiled(make())
    with pytest.warns(RuntimeWarning, match=f"{why}.*; such a function is recorded again"):
        compiled(make())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled(make())
    assert why in str(compiled.explain())


@pytest.mark.filterwarnings("ignore:.*is recorded again at each call:RuntimeWarning")
def test_what_was_printed_before_the_function_ran_again_is_printed_once(capsys):
    def f(x):
        print("before", x.sum(), "half", end="")
        sys.stdout.writelines(["1\n", "2\n"])
        print("other", file=sys.stderr)
        x.t_()
        print("after", x.shape)

    compiled = tracec.compile(f)
    for k in range(4):
        compiled(tensor(2, 3, seed=k))
        found = capsys.readouterr()
        f(tensor(2, 3, seed=k))
        assert found == capsys.readouterr()


def test_what_was_printed_before_it_is_recorded_with_plain_numbers_is_printed_once(capsys):
    def f(x):
        print("before", x)
        return x * 2, json.dumps(x.sum().item())

    compiled = tracec.compile(f)
    for k in range(3):
        compiled(whole(2, 3, seed=k))
        found = capsys.readouterr()
        f(whole(2, 3, seed=k))
        assert found == capsys.readouterr()


def test_what_was_logged_cannot_be_undone():
    def f(x):
        logging.getLogger("tests").warning("once")
        x.t_()

    with pytest.raises(RecordError, match="cannot change the shape of a tensor from outside"):
        tracec.compile(f)(tensor(2, 3))


def test_a_function_that_changes_what_cannot_be_done_again_says_so_once():
    log = np.zeros(3)

    def f(x):
        log[0] += 1
        return x * 2

    compiled = tracec.compile(f)
    compiled(tensor(3))
    with pytest.warns(RuntimeWarning, match=r"changes an array, log; .* is recorded again"):
        compiled(tensor(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled(tensor(3))
    assert log[0] == 3
    assert "no program: it changes an array" in compiled.explain()


@pytest.mark.filterwarnings("ignore:.*is recorded again at each call:RuntimeWarning")
@hypothesis.settings(max_examples=100)
@hypothesis.given(programs())
def test_random_programs_are_as_eager(program):
    run_program(program)


SLOPE = 2.0


def test_gradients_by_a_number_that_has_changed_since_are_refused_rather_than_wrong():
    global SLOPE

    class Sloped(tracec.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return g * SLOPE

    w = whole(3, g=True)
    f = tracec.compile(lambda x: Sloped.apply(w * x))
    for slope in (2.0, 2.0, 5.0, 5.0):
        SLOPE, w.grad = slope, None
        f(tracec.ones(3)).sum().backward()
        assert w.grad.tolist() == [slope] * 3
    y = f(tracec.ones(3))
    SLOPE = 2.0
    with pytest.raises(GradientError, match=r"SLOPE, which a backward function .* was 5.0 .* and is 2.0 now"):
        y.sum().backward()


def test_a_warning_says_what_to_do():
    online = tracec.ones(2)

    @tracec.compile
    def follow(target, rate):
        with tracec.no_grad():
            target.data = target.data * (1 - rate) + online * rate

    target = tracec.zeros(2)
    follow(target, 0.5)
    with pytest.warns(RuntimeWarning, match=r"given other memory.*\n  hint: write into the memory .* x\.data\.copy_"):
        follow(target, 0.5)
    assert target.tolist() == [0.75, 0.75]
