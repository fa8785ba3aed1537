"""`tracec.testing`: what is close, and messages as PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.testing import assert_allclose, assert_close, make_tensor

try:
    import torch
    import torch.testing
except ImportError:
    torch = None  # type: ignore[assignment]

NAN, INF = float("nan"), float("inf")

#: Pairs to compare, made with either library, and keywords.
PAIRS = [
    (lambda t: (t.tensor([1.0, 2.0, 3.0]), t.tensor([1.0, 2.0, 4.0])), {}),
    (lambda t: (t.tensor([1.0, 2.0]), t.tensor([1.0, 2.00001])), {}),
    (lambda t: (t.tensor([1.0, 2.0]), t.tensor([1.0, 2.000001])), {}),
    (lambda t: (t.tensor(1.0), t.tensor(2.0)), {}),
    (lambda t: (t.tensor([1.0]), t.tensor([2.0])), {"rtol": 0, "atol": 0}),
    (lambda t: (t.tensor([[1.0, 2.0], [INF, 4.0]]), t.tensor([[1.0, 2.0], [0.0, 4.0]])), {}),
    (lambda t: (t.tensor([1, 2]), t.tensor([1, 3])), {}),
    (lambda t: (t.tensor([True, False]), t.tensor([True, True])), {}),
    (lambda t: (t.tensor([1], dtype=t.uint8), t.tensor([250], dtype=t.uint8)), {}),
    (lambda t: (t.tensor([NAN]), t.tensor([NAN])), {}),
    (lambda t: (t.tensor([NAN]), t.tensor([NAN])), {"equal_nan": True}),
    (lambda t: (t.tensor([1.0]), t.tensor([1.0], dtype=t.float64)), {}),
    (lambda t: (t.tensor([1.0]), t.tensor([1.0], dtype=t.float64)), {"check_dtype": False}),
    (lambda t: (t.ones(2), t.ones(1, 2)), {}),
    (lambda t: (t.ones(2, 3).t(), t.ones(3, 2)), {"check_stride": True}),
    (lambda t: (t.zeros(0), t.zeros(0)), {}),
    (lambda t: ([t.tensor(1.0), t.tensor(2.0)], [t.tensor(1.0), t.tensor(3.0)]), {}),
    (lambda t: ({"a": [t.ones(2)]}, {"a": [t.zeros(2)]}), {}),
    (lambda t: ({"a": 1}, {"b": 1}), {}),
    (lambda t: ([1], [1, 2]), {}),
    (lambda t: (1.0, 2.0), {}),
    (lambda t: (1, 2), {}),
    (lambda t: (1, 1.0), {}),
    (lambda t: (1 + 2j, 1 + 3j), {}),
    (lambda t: (True, False), {}),
    (lambda t: (None, t.tensor(1.0)), {}),
    (lambda t: (np.array([1.0, 2.0]), np.array([1.0, 3.0])), {}),
    (lambda t: (t.ones(2), t.zeros(2)), {"msg": "hello"}),
    (lambda t: (t.ones(2), t.zeros(2)), {"msg": lambda m: "as feared: " + m}),
    (lambda t: (t.ones(2, dtype=t.bfloat16), t.ones(2, dtype=t.bfloat16) * 1.02), {}),
]


def told(compare, pair, keywords):
    try:
        compare(*pair, **keywords)
    except AssertionError as error:
        return str(error)
    return ""


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize("make, keywords", PAIRS)
def test_the_same_words_as_torch(make, keywords):
    theirs = told(torch.testing.assert_close, make(torch), keywords)
    assert told(assert_close, make(tracec), keywords) == theirs.replace("torch.", "tracec.")


def test_by_hand():
    assert_close(tracec.ones(2) / 3, tracec.tensor([0.3333333, 0.3333334]))
    with pytest.raises(AssertionError, match=r"1 / 2 \(50.0%\)\nGreatest absolute difference: 1.0"):
        assert_close(tracec.tensor([1.0, 2.0]), tracec.tensor([1.0, 3.0]))
    with pytest.raises(ArgumentError, match="must be either specified or omitted, but got no atol"):
        assert_close(1.0, 1.0, rtol=1)
    for pair in (("a", "a"), (tracec.ones(1), 1.0)):
        with pytest.raises(ArgumentTypeError, match="assert_close: no comparison of"):
            assert_close(*pair)


@pytest.mark.parametrize("dtype", [tracec.float32, tracec.bfloat16, tracec.int64, tracec.uint8, tracec.bool])
def test_random_inputs(dtype):
    x = make_tensor(50, 20, dtype=dtype, device="cpu")
    least, most = {"bool": (0, 1), "uint8": (0, 9), "int64": (-9, 9)}.get(dtype.name, (-9, 9))
    assert x.dtype is dtype and tuple(x.shape) == (50, 20)
    values = x.to(tracec.float64)
    assert least <= float(values.min()) < float(values.max()) <= most


def test_options_of_random_inputs():
    x = make_tensor((4, 6), dtype=tracec.float32, device="cpu", low=1, high=2, requires_grad=True, noncontiguous=True)
    assert x.requires_grad and x.is_leaf and not x.is_contiguous() and float(x.min()) >= 1 and float(x.max()) < 2
    y = make_tensor(99, dtype=tracec.int32, device="cpu", low=0, high=2, exclude_zero=True)
    assert y.tolist() == [1] * 99
    with pytest.raises(ArgumentError, match="make_tensor: low=3 is not below high=3"):
        make_tensor(2, dtype=tracec.float32, device="cpu", low=3, high=3)


#: Pairs for the older function, made with either library, and keywords.
OLDER_PAIRS = [
    (lambda t: (t.tensor([1.0, 2.0]), t.tensor([1.0, 2.00015])), {}),
    (lambda t: (t.tensor([1.0, 2.0]), t.tensor([1.0, 2.0003])), {}),
    (lambda t: (t.tensor([1.0]), t.tensor([1.0], dtype=t.float64)), {}),
    (lambda t: (t.tensor([NAN]), t.tensor([NAN])), {}),
    (lambda t: (t.tensor([NAN]), t.tensor([NAN])), {"equal_nan": False}),
    (lambda t: (t.tensor([1.0, 2.0]), [1, 2]), {}),
    (lambda t: (2.0, t.tensor(2.5)), {"atol": 0.1, "rtol": 0.2}),
    (lambda t: (t.tensor([1, 2]), t.tensor([1, 3])), {"msg": "here"}),
    (lambda t: (t.ones(2), t.ones(1, 2)), {}),
    (lambda t: (t.ones(2), t.ones(2)), {"rtol": 1e-3}),
]


@pytest.mark.skipif(torch is None, reason="torch is not installed")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("case", range(len(OLDER_PAIRS)))
def test_the_older_comparison_against_torch(case):
    pair, keywords = OLDER_PAIRS[case]
    errors = []
    for library in (torch, tracec):
        try:
            errors.append(library.testing.assert_allclose(*pair(library), **keywords))
        except (AssertionError, ValueError) as error:
            errors.append(AssertionError if isinstance(error, AssertionError) else ValueError)
    assert errors[0] == errors[1]


def test_the_older_comparison():
    assert_allclose([1.0, NAN], tracec.tensor([1.0001, NAN], dtype=tracec.float64))
    with pytest.raises(AssertionError, match="Greatest absolute difference"):
        assert_allclose(tracec.tensor([1.0, 2.0]), [1.0, 2.001])
    with pytest.raises(AssertionError, match=r"^here$"):
        assert_allclose(1, 2, msg="here")
