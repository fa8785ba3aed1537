"""Arguments of a wrong kind are named, where a function fails over one as Python or NumPy say it."""

from __future__ import annotations

import pytest

import tracec
import tracec.nn.functional as F
from tracec.errors import ArgumentError, ArgumentTypeError

X = tracec.ones(3)

CALLS = {
    "sum: keepdim must be True or False, float given": lambda: tracec.sum(X, 0, keepdim=1.5),
    "sum: keepdim must be True or False, dict given": lambda: X.sum(keepdim={}),
    "vander: N must be an integer or None, str given": lambda: tracec.vander(X, N="a"),
    "one_hot: num_classes must be an integer, str given": lambda: F.one_hot(tracec.tensor([1]), "a"),
    "index_add: alpha must be a number, str given": lambda: X.index_add(0, tracec.tensor([0]), X[:1], alpha="a"),
}


@pytest.mark.parametrize("message", CALLS)
def test_the_argument_is_named_with_the_line_and_what_python_says(message):
    with pytest.raises(ArgumentTypeError) as caught:
        CALLS[message]()
    assert caught.value.message == message and "test_misfits.py" in str(caught.value)
    assert caught.value.hint.startswith("Python says: ") and type(caught.value.__cause__) in (TypeError, ValueError)


def test_what_fits_keeps_its_error():
    with pytest.raises(ArgumentError, match="one of running_mean and running_var is given"):
        F.batch_norm(X[None], X, None)
    with pytest.raises(TypeError, match="unexpected keyword argument 'nothing'"):
        tracec.sum(X, nothing=3)


def test_errors_of_the_users_own_functions_are_theirs():
    def broken(x, y):
        raise TypeError("mine")

    with pytest.raises(TypeError) as caught:  # though ``swap`` does not fit
        F.triplet_margin_with_distance_loss(X[None], X[None], X[None], distance_function=broken, swap="a")
    assert str(caught.value) == "mine"


def test_so_it_is_in_a_compiled_function():
    f = tracec.compile(lambda x, keep: x.sum(0, keepdim=keep))
    assert f(X, True).shape == (1,)
    with pytest.raises(ArgumentTypeError, match="sum: keepdim must be True or False, str given"):
        f(X, "a")
    assert f(X, False).shape == ()
