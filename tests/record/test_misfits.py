"""Arguments of a wrong kind are named, where a function fails over one as Python or NumPy say it."""

from __future__ import annotations

import pytest

import tracec
import tracec.nn.functional as F
from tracec import nn
from tracec.errors import ArgumentError, ArgumentTypeError, OutOfMemoryError, TracecError
from tracec.utils.data import DataLoader

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


LEAF = tracec.ones(2, requires_grad=True)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: nn.Dropout("a"), "Dropout: p must be a number, str given"),
        (lambda: nn.MultiheadAttention(8, "2"), "MultiheadAttention: num_heads must be an integer, str given"),
        (lambda: nn.TransformerEncoder(nn.Linear(2, 2), "3"), "TransformerEncoder: num_layers must be an integer"),
        (lambda: nn.RNN(2, 3, num_layers=1.5), "RNN: num_layers is of type float"),
        (lambda: nn.LSTM(2, 3, proj_size="a"), "LSTM: proj_size is of type str"),
        (lambda: nn.Embedding(3, 2, padding_idx="x"), "Embedding: padding_idx is of type str"),
        (lambda: nn.EmbeddingBag(3, 2, mode=3), "EmbeddingBag: mode=3 is not known"),
        (lambda: DataLoader([1, 2], batch_size="a"), "DataLoader: batch_size must be an integer or None, str given"),
        (lambda: DataLoader([1, 2], num_workers="a"), "DataLoader: num_workers must be an integer, str given"),
        (lambda: tracec.optim.Adam(3), "Adam: params must be an iterable of tensors or dictionaries, int given"),
        (lambda: nn.utils.clip_grad_norm_([LEAF], "a"), "clip_grad_norm_: max_norm must be a number, str given"),
    ],
)
def test_what_modules_and_others_are_made_with(make, message):
    with pytest.raises(TracecError) as caught:
        make()
    assert caught.value.message.startswith(message) and "test_misfits.py" in str(caught.value)


def test_errors_of_the_users_own_classes_are_theirs():
    class Own(nn.Dropout):
        def __init__(self, p):
            super().__init__(0.5)
            self.double = p + 1

    with pytest.raises(TypeError, match="can only concatenate str") as caught:
        Own("a")
    assert not isinstance(caught.value, TracecError)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: tracec.combinations(tracec.arange(60), 30), lambda: tracec.combinations(tracec.arange(10**6), 10**5),
        lambda: tracec.combinations(tracec.arange(4), 10**12, with_replacement=True),
        lambda: tracec.nn.functional.adaptive_avg_pool1d(tracec.ones(1, 1, 4), 10**13),
        lambda: tracec.nn.functional.adaptive_max_pool2d(tracec.ones(1, 1, 4, 4), (2, 10**13)),
        lambda: tracec.eye(10**9),
    ],
)  # fmt: skip
def test_what_no_machine_has_room_for_is_refused_at_once(ask):
    with pytest.raises(OutOfMemoryError, match=r"no memory for \d+ bytes") as caught:
        ask()
    assert isinstance(caught.value, MemoryError) and "test_misfits.py" in str(caught.value)


def test_choices_of_which_there_are_none():
    assert tracec.combinations(tracec.arange(4), 10**9).shape == (0, 10**9)
    assert tracec.combinations(tracec.arange(0), 3, with_replacement=True).shape == (0, 3)
    assert tracec.combinations(tracec.arange(4), 2, with_replacement=True).shape == (10, 2)
    assert tracec.eye(10**9, device="meta").shape == (10**9, 10**9)
