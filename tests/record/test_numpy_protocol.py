"""NumPy's functions on tensors, and Python's on their elements."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentTypeError, GradientError

A = np.array([3.0, 4.0], np.float32)


def test_operators_with_arrays_are_the_tensors():
    x = tracec.tensor([1.0, 2.0], requires_grad=True)
    for y in (A + x, A * x, A - x, A / x, A @ x, np.float64(2) * x, A**x, np.add(x, A), np.multiply(2.0, x)):
        assert isinstance(y, tracec.Tensor) and y.requires_grad and y.dtype is tracec.float32
    assert (x == A).tolist() == [False, False] and (x < A).dtype is tracec.bool
    (A * x).sum().backward()
    assert x.grad.tolist() == [3, 4]


def test_functions_of_floats_are_the_tensors():
    x = tracec.tensor([0.5, 0.25], requires_grad=True)
    for f in (np.sin, np.exp, np.sqrt, np.arcsin, np.tanh, np.absolute, np.negative):
        y = f(x)
        assert y.requires_grad
        np.testing.assert_allclose(y.detach().numpy(), f(x.detach().numpy()), rtol=1e-6)
    with pytest.raises(GradientError, match="can't call numpy"):
        np.cbrt(x)


def test_other_functions_give_tensors():
    x = tracec.tensor([1.0, 8.0])
    assert np.cbrt(x).tolist() == [1, 2] and np.sqrt(tracec.tensor([4])).dtype is tracec.float64
    assert np.maximum(x, 2).tolist() == [2, 8] and np.add.reduce(x).item() == 9
    assert [t.tolist() for t in np.modf(tracec.tensor([1.5]))] == [[0.5], [1.0]]
    assert np.isnan(x).dtype is tracec.bool and isinstance(np.linalg.inv(tracec.eye(2)), tracec.Tensor)
    assert isinstance(np.concatenate([x, x]), np.ndarray)


def test_writing():
    a = A.copy()
    a += tracec.ones(2)
    assert a.tolist() == [4, 5]
    with pytest.raises(ArgumentTypeError, match="add: NumPy cannot write into a tensor"):
        np.add(A, A, out=tracec.ones(2))
    x = tracec.tensor([1.0, 2.0])
    assert x.apply_(lambda v: v * 10) is x and x.tolist() == [10, 20]
    assert x.map_(tracec.tensor([1.0]), lambda a, b: a + b).tolist() == [11, 21]


def test_compiled():
    f = tracec.compile(lambda x: np.exp(x) * 2)
    for v in (1.0, 2.0):
        x = tracec.tensor([v, v])
        np.testing.assert_allclose(f(x).numpy(), np.exp([v, v]) * 2, rtol=1e-6)
