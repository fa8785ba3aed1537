"""Interpolation, sampling, shuffles and patches against NumPy, eager and compiled."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import tracec
from tests.functions.test_windows import both, check_gradient
from tracec.nn import functional as F

RNG = np.random.default_rng(0)


def linear(x, count, align_corners):
    """The last axis in another size, by NumPy's own interpolation."""
    size = x.shape[-1]
    i = np.arange(count)
    at = i * (size - 1) / max(count - 1, 1) if align_corners else (i + 0.5) * size / count - 0.5
    return np.apply_along_axis(lambda line: np.interp(at, np.arange(size), line), -1, x)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(6, 10), (9, 15), (4, 7), (2, 3), (1, 5), (12, 5)])
def test_bilinear(size, align_corners):
    x = RNG.normal(size=(2, 2, 3, 5))

    def f(t):
        return F.interpolate(t, size, mode="bilinear", align_corners=align_corners)

    expected = linear(linear(x, size[1], align_corners).swapaxes(2, 3), size[0], align_corners).swapaxes(2, 3)
    value, gradient = both(f, x, compiled=size in ((6, 10), (4, 7)))
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12)
    check_gradient(f, x, gradient)


@pytest.mark.parametrize("size", [4, 8, 2, 1, 3, 7])
def test_nearest(size):
    x = RNG.normal(size=(2, 3, 4))
    expected = x[:, :, np.arange(size) * 4 // size]
    value, gradient = both(lambda t: F.interpolate(t, size), x, compiled=size in (8, 2, 7))
    np.testing.assert_array_equal(value, expected)
    check_gradient(lambda t: F.interpolate(t, size), x, gradient)


@pytest.mark.parametrize("mode, size", [("bicubic", (6, 8)), ("bicubic", (5, 5)), ("area", (2, 3)), ("area", (3, 8))])
def test_lines_stay_lines_and_means_stay_means(mode, size):
    x = RNG.normal(size=(1, 2, 3, 4))
    value, gradient = both(lambda t: F.interpolate(t, size, mode=mode), x, compiled=size != (5, 5))
    check_gradient(lambda t: F.interpolate(t, size, mode=mode), x, gradient)
    flat = F.interpolate(tracec.full((1, 1, 3, 4), 2.5), size, mode=mode)
    np.testing.assert_allclose(flat.numpy(), 2.5, rtol=1e-6)
    assert value.shape == (1, 2, *size)


def test_antialias_means_what_it_skips():
    x = RNG.normal(size=(1, 1, 8, 8))
    x[:] -= x.mean((2, 3), keepdims=True)
    value, gradient = both(lambda t: F.interpolate(t, 2, mode="bilinear", antialias=True), x)
    check_gradient(lambda t: F.interpolate(t, 2, mode="bilinear", antialias=True), x, gradient)
    # Half a tent over six of eight elements, 4 wide, centred between the second and the third.
    tent = np.maximum(1 - np.abs(np.arange(8) - 1.5) / 4, 0)
    tent /= tent.sum()
    np.testing.assert_allclose(value[0, 0, 0, 0], tent @ x[0, 0] @ tent, rtol=1e-12)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
def test_sampling_at_the_elements_is_the_input(mode, padding_mode):
    x = RNG.normal(size=(2, 3, 4, 5))
    identity = tracec.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]] * 2, dtype=tracec.float64)

    def f(t):
        return F.grid_sample(t, F.affine_grid(identity, (2, 3, 4, 5)), mode, padding_mode)

    value, gradient = both(f, x, compiled=(mode, padding_mode) in (("bilinear", "zeros"), ("bicubic", "reflection")))
    np.testing.assert_allclose(value, x, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(gradient, 2 * x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_gradients_of_places(mode):
    x, grid = RNG.normal(size=(1, 2, 5, 4)), RNG.uniform(-1.2, 1.2, size=(1, 3, 3, 2))

    image = tracec.from_numpy(x)

    def f(g):
        return F.grid_sample(image, g, mode, "zeros", False)

    _, gradient = both(f, grid)
    check_gradient(f, grid, gradient, eps=1e-7)


def test_shuffles_go_back():
    x = RNG.normal(size=(2, 8, 3, 4))
    value, gradient = both(lambda t: F.pixel_shuffle(t, 2), x)
    for c, i, j in product(range(2), range(2), range(2)):
        np.testing.assert_array_equal(value[:, c, i::2, j::2], x[:, c * 4 + i * 2 + j])
    np.testing.assert_allclose(gradient, 2 * x)
    np.testing.assert_array_equal(F.pixel_unshuffle(tracec.from_numpy(value), 2).numpy(), x)
    dealt, _ = both(lambda t: F.channel_shuffle(t, 2), x)
    np.testing.assert_array_equal(dealt, x[:, [0, 4, 1, 5, 2, 6, 3, 7]])


def test_patches_are_columns_and_overlaps_add_up():
    x = RNG.normal(size=(2, 3, 5, 4))
    value, _ = both(lambda t: F.unfold(t, (2, 3), padding=(0, 1), stride=(2, 1)), x)
    wide = np.pad(x, ((0, 0), (0, 0), (0, 0), (1, 1)))
    patches = [wide[:, :, 2 * i : 2 * i + 2, j : j + 3].reshape(2, -1) for i in range(2) for j in range(4)]
    np.testing.assert_array_equal(value, np.stack(patches, 2))
    ones = F.unfold(tracec.ones(1, 1, 4, 4), 2)
    counts = F.fold(ones, (4, 4), 2)[0, 0].tolist()
    assert counts == [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]
