"""Gradients within bounds; parameters as a vector."""

import math

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentError, ShapeError
from tracec.nn.utils import clip_grad_norm_, clip_grad_value_, parameters_to_vector, vector_to_parameters

GRADS = [np.array([[1.0, -2.0], [3.0, 0.5]], np.float32), np.array([4.0, -1.0], np.float32)]


def parameters():
    made = [tracec.zeros(*g.shape, requires_grad=True) for g in GRADS]
    for p, g in zip(made, GRADS, strict=True):
        p.grad = tracec.from_numpy(g.copy())
    return [*made, tracec.zeros(1, requires_grad=True)]


@pytest.mark.parametrize("max_norm", [0.5, 100.0])
@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, math.inf, -math.inf])
def test_clip_grad_norm_is_that_of_torch(max_norm, norm_type):
    torch = pytest.importorskip("torch")
    theirs = [torch.zeros(*g.shape, requires_grad=True) for g in GRADS]
    for p, g in zip(theirs, GRADS, strict=True):
        p.grad = torch.from_numpy(g.copy())
    ours = parameters()
    total = clip_grad_norm_(ours, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert total.item() == pytest.approx(expected.item(), rel=1e-6) and total.shape == ()
    for p, q in zip(ours, theirs, strict=False):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-6)


def test_clip_grad_value():
    ours = parameters()
    clip_grad_value_(ours, 1.5)
    assert ours[0].grad.tolist() == [[1.0, -1.5], [1.5, 0.5]] and ours[1].grad.tolist() == [1.5, -1.0]
    assert ours[2].grad is None


def test_norm_that_is_not_finite():
    p = parameters()[0]
    p.grad = tracec.full((2, 2), math.inf)
    with pytest.raises(ArgumentError, match="the norm of order 2 is inf"):
        clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    assert clip_grad_norm_([], 1.0).item() == 0.0


def test_vector_and_back():
    ours = parameters()
    vector_to_parameters(tracec.arange(7).float(), ours)
    assert ours[0].tolist() == [[0.0, 1.0], [2.0, 3.0]] and ours[2].tolist() == [6.0]
    vector = parameters_to_vector(ours)
    assert vector.tolist() == list(range(7))
    (vector * vector).sum().backward(inputs=[ours[2]])
    assert ours[2].grad.tolist() == [12.0]
    with pytest.raises(ShapeError, match=r"a vector of shape \(3,\) for 7 elements"):
        vector_to_parameters(tracec.zeros(3), ours)


@pytest.mark.parametrize("norm", [2.0, 3.0])
@pytest.mark.parametrize("value", [300.0, 1e-4])
def test_gradients_of_16_bits_are_clipped_by_a_norm_whose_squares_these_do_not_hold(value, norm):
    given = tracec.zeros(5, dtype=tracec.float16, requires_grad=True)
    given.grad = tracec.full((5,), value, dtype=tracec.float16)
    total = tracec.nn.utils.clip_grad_norm_([given], 1.0, norm)
    assert total.dtype is tracec.float16
    assert total.item() == pytest.approx(value * 5 ** (1 / norm), rel=2e-3)
    assert given.grad.tolist() == pytest.approx([min(value, 5 ** (-1 / norm))] * 5, rel=2e-3)
