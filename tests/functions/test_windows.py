"""Padding, transposed convolutions and pooling against NumPy, eager and compiled."""

from __future__ import annotations

import inspect
from itertools import product

import numpy as np
import pytest

import tracec
from tracec.nn import functional as F

RNG = np.random.default_rng(0)


def both(f, *arrays, compiled=True):
    """What a function gives, and the gradient of the first argument; compiled, where asked for, gives the same."""

    def run(*tensors):
        y = f(*tensors)
        (y * y).sum().backward()
        return y

    results = []
    program = tracec.compile(run)  # whose first call is recorded, and whose second one runs what was built
    for call in (run, program, program) if compiled else (run,):
        inputs = [tracec.from_numpy(a.copy()) for a in arrays]
        inputs[0].requires_grad_()
        y = call(*inputs)
        results.append((y.detach().numpy(), inputs[0].grad.numpy()))
    for value, gradient in results[1:]:
        np.testing.assert_allclose(value, results[0][0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(gradient, results[0][1], rtol=1e-12, atol=1e-12)
    return results[0]


def check_gradient(f, x, gradient, eps=1e-6):
    """Compare with finite differences of the sum of squares in one random direction."""
    along = RNG.normal(size=x.shape)
    ahead, behind = ((f(tracec.from_numpy(x + s * eps * along)).numpy() ** 2).sum() for s in (1, -1))
    np.testing.assert_allclose((gradient * along).sum(), (ahead - behind) / (2 * eps), rtol=1e-6)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("low, high", [(2, 3), (0, 1), (-1, 2), (3, -2)])
def test_pad_of_two_axes(mode, low, high):
    x = RNG.normal(size=(2, 3, 5, 7))
    names = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    if mode == "circular":
        kept = x[..., max(-low, 0) : 7 - max(-high, 0)]
        expected = np.pad(kept, ((0, 0), (0, 0), (1, 2), (max(low, 0), max(high, 0))), "wrap")
    else:
        # Positions outside are read from the whole axis, then those taken away go.
        wide = np.pad(x, ((0, 0), (0, 0), (1, 2), (max(low, 0), max(high, 0))), names[mode])
        expected = wide[..., max(-low, 0) : wide.shape[-1] - max(-high, 0)]
    value, gradient = both(lambda t: F.pad(t, (low, high, 1, 2), mode), x, compiled=low != 0)
    np.testing.assert_array_equal(value, expected)
    check_gradient(lambda t: F.pad(t, (low, high, 1, 2), mode), x, gradient)


@pytest.mark.parametrize("stride, padding, extra, dilation", [(1, 0, 0, 1), (2, 1, 1, 1), (3, 0, 2, 1), (1, 0, 2, 3)])
def test_transposed_convolution_adds_windows_up(stride, padding, extra, dilation):
    x, w = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(3, 2, 3))
    whole = np.zeros((2, 2, 3 * stride + dilation * 2 + 1 + extra))
    for i, k in product(range(4), range(3)):
        whole[:, :, i * stride + k * dilation] += x[:, :, i] @ w[:, :, k]
    expected = whole[:, :, padding : whole.shape[2] - padding]

    def f(x, w):
        return F.conv_transpose1d(x, w, None, stride, padding, extra, 1, dilation)

    value, gradient = both(f, x, w)
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12)
    check_gradient(lambda t: f(t, tracec.from_numpy(w)), x, gradient)


@pytest.mark.parametrize("reduce, f", [(np.max, F.adaptive_max_pool2d), (np.mean, F.adaptive_avg_pool2d)])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (4, 5), (6, 7)])
def test_adaptive_pooling(reduce, f, size):
    x = RNG.normal(size=(2, 3, 6, 7))
    expected = np.empty((2, 3, *size))
    for i, j in product(*map(range, size)):
        rows = slice(i * 6 // size[0], -(-(i + 1) * 6 // size[0]))
        columns = slice(j * 7 // size[1], -(-(j + 1) * 7 // size[1]))
        expected[:, :, i, j] = reduce(x[:, :, rows, columns], axis=(2, 3))
    value, gradient = both(lambda t: f(t, size), x, compiled=size[0] in (3, 6))
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12)
    check_gradient(lambda t: f(t, size), x, gradient)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_pooling_undone(n):
    x = RNG.normal(size=(2, 3, *(5, 4, 6)[:n]))
    pool, undo = getattr(F, f"max_pool{n}d"), getattr(F, f"max_unpool{n}d")

    def f(t):
        values, at = pool(t, 2, return_indices=True)
        return undo(values, at, 2, output_size=t.shape)

    value, gradient = both(f, x)
    largest = F.max_pool3d(
        tracec.from_numpy(x.reshape(2, 3, *(*x.shape[2:], 1, 1)[:3])), (2, *(2, 2, 1, 1)[3 - n : 5 - n])
    )
    assert (value[value != 0] == x[value != 0]).all()
    assert np.sort(value[value != 0]).tolist() == np.sort(largest.numpy().ravel()).tolist()
    np.testing.assert_allclose(gradient, 2 * value)


def test_edges_of_averages_count_what_they_hold():
    x = np.ones((1, 1, 5))
    for include, expected in ((True, [2 / 3, 1, 1]), (False, [1, 1, 1])):
        value, _ = both(lambda t, include=include: F.avg_pool1d(t, 3, 2, 1, True, include), x)
        np.testing.assert_allclose(value[0, 0], [*expected[:2], 2 / 3 if include else 1])


def test_windows_that_lie_at_random_stay_inside():
    x = tracec.rand(2, 3, 11, 9)
    tracec.manual_seed(0)
    values, at = F.fractional_max_pool2d(x, 2, output_ratio=(0.5, 0.7), return_indices=True)
    assert tuple(values.shape) == (2, 3, 5, 6)
    assert tracec.equal(x.flatten(2).gather(2, at.flatten(2)), values.flatten(2))
    assert tracec.equal(F.fractional_max_pool2d(x, 2, (5, 6)) <= x.amax(), tracec.ones(2, 3, 5, 6) > 0)


@pytest.mark.parametrize("name", ["max_pool", "lp_pool", "conv", "conv_transpose", "max_unpool"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_functions_over_axes_are_as_if_each_were_written_out(name, n):
    f = getattr(F, f"{name}{n}d")
    assert f.__name__ == f.__qualname__ == f"{name}{n}d" and f.__doc__
    parameters = list(inspect.signature(f).parameters)
    assert parameters[0] == "input" and "n" not in parameters
    with pytest.raises(TypeError, match=r"missing \d required positional argument"):
        f()
