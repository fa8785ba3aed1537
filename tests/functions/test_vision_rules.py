"""Functions for images under transforms of functions, and whatever they are given instead of what they take."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.failures import check_form
from tracec.errors import TracecError
from tracec.func import grad, jvp, vmap
from tracec.nn import functional as F

RNG = np.random.default_rng(0)


def tensor(*shape):
    return tracec.from_numpy(RNG.normal(size=shape))


IMAGES, GRID, WEIGHT = tensor(3, 2, 2, 5, 6), tensor(2, 4, 4, 2), tensor(2, 3, 3, 3)

FUNCTIONS = {
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    "lp_pool2d": lambda x: F.lp_pool2d(x * x + 0.1, 1.5, 2),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 4),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, 4),
    "max_unpool2d": lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2, output_size=(5, 6)),
    "pad": lambda x: F.pad(F.pad(x, (1, -1, 2, 1), mode="reflect"), (1, 1, 2, 1), mode="circular"),
    "nearest": lambda x: F.interpolate(F.interpolate(x, 7), scale_factor=2),
    "bilinear": lambda x: F.interpolate(F.interpolate(x, 7, mode="bilinear"), scale_factor=2, mode="bilinear"),
    "bicubic": lambda x: F.interpolate(x, (3, 9), mode="bicubic"),
    "antialias": lambda x: F.interpolate(x, 3, mode="bicubic", antialias=True),
    "pixel_shuffle": lambda x: F.channel_shuffle(F.pixel_shuffle(F.pixel_unshuffle(x[..., :4, :], 2), 2), 2),
    "fold": lambda x: F.fold(F.unfold(x, 2), (5, 6), 2),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "instance_norm": lambda x: F.group_norm(F.instance_norm(x), 2),
    "local_response_norm": lambda x: F.local_response_norm(x, 2),
    "conv_transpose2d": lambda x: F.conv_transpose2d(x, WEIGHT, None, 2, 1, 1),
    "grid_sample": lambda x: F.grid_sample(x, GRID, align_corners=False),
    "grid_sample bicubic": lambda x: F.grid_sample(x, GRID, "bicubic", "border"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_transforms(name):
    f = FUNCTIONS[name]

    def loss(x):
        return (f(x) ** 3).sum()

    along = tensor(*IMAGES.shape[1:])
    ahead, behind = (IMAGES[0] + s * 1e-6 * along for s in (1, -1))
    apart = tracec.stack([f(x) for x in IMAGES])
    np.testing.assert_allclose(vmap(f)(IMAGES).numpy(), apart.numpy(), rtol=1e-9, atol=1e-12)
    slopes = tracec.stack([grad(loss)(x) for x in IMAGES])
    np.testing.assert_allclose(vmap(grad(loss))(IMAGES).numpy(), slopes.numpy(), rtol=1e-9, atol=1e-12)
    _, tangent = jvp(f, (IMAGES[0],), (along,))
    np.testing.assert_allclose(tangent.numpy(), ((f(ahead) - f(behind)) / 2e-6).numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose((slopes[0] * along).sum(), (loss(ahead) - loss(behind)) / 2e-6, rtol=1e-5, atol=1e-6)
    curved = grad(lambda x: (grad(loss)(x) * along).sum())(IMAGES[0])
    expected = (grad(loss)(ahead) - grad(loss)(behind)) / 2e-6
    np.testing.assert_allclose(curved.numpy(), expected.numpy(), rtol=1e-4, atol=1e-4)


X, LINE = tracec.ones(2, 4, 6, 6), tracec.ones(4)
CALLS = {
    "max_pool2d": (X, 2, 2, 1, 1, False, False),
    "avg_pool2d": (X, 2, 2, 1, False, True, None),
    "lp_pool2d": (X, 2.0, 2, 2, False),
    "adaptive_avg_pool2d": (X, 3),
    "adaptive_max_pool2d": (X, 4, False),
    "fractional_max_pool2d": (X, 2, 3, None, False, None),
    "max_unpool2d": (tracec.ones(2, 4, 3, 3), tracec.zeros(2, 4, 3, 3, dtype=tracec.int64), 2, 2, 0, None),
    "pad": (X, (1, 1), "constant", 0.0),
    "interpolate": (X, 8, None, "bilinear", None, None, False),
    "grid_sample": (X, tracec.zeros(2, 3, 3, 2), "bilinear", "zeros", False),
    "affine_grid": (tracec.zeros(2, 2, 3), (2, 1, 3, 3), False),
    "pixel_shuffle": (X, 2),
    "pixel_unshuffle": (X, 2),
    "channel_shuffle": (X, 2),
    "unfold": (X, 2, 1, 0, 1),
    "fold": (tracec.ones(2, 16, 25), (6, 6), 2, 1, 0, 1),
    "conv2d": (X, tracec.ones(4, 4, 2, 2), None, 1, 0, 1, 1),
    "conv_transpose2d": (X, tracec.ones(4, 4, 2, 2), None, 1, 0, 0, 1, 1),
    "batch_norm": (X, tracec.zeros(4), tracec.ones(4), None, None, True, 0.1, 1e-5),
    "instance_norm": (X, None, None, None, None, True, 0.1, 1e-5),
    "group_norm": (X, 2, None, None, 1e-5),
    "layer_norm": (X, (6,), None, None, 1e-5),
    "rms_norm": (X, (6,), None, None),
    "local_response_norm": (X, 2, 1e-4, 0.75, 1.0),
    "normalize": (X, 2.0, 1, 1e-12, None),
}
#: Where a truth says whether there is a second result: anything that is true will do, as it does in PyTorch.
FLAGS = {"max_pool2d": 6, "adaptive_max_pool2d": 2, "fractional_max_pool2d": 4}
OTHERS = [None, "2", 1.5, -1, 0, (1, 2, 3, 4), [1.5], (), LINE, True, object(), (None, 2), float("nan")]
INPUTS = [LINE, X.long(), X != 0, X[:0], X[:, :0], X[:, :, :0], tracec.tensor(1.0)]


@pytest.mark.filterwarnings("ignore:.* was resized:UserWarning")  # as what is given as out= may be
@pytest.mark.parametrize("name", CALLS)
def test_anything_else_is_taken_or_refused_with_a_word(name):
    f, given = getattr(F, name), CALLS[name]
    normal = f(*given)
    refused = 0
    for place, arguments in changed(given):
        try:
            found = f(*arguments)
        except TracecError as error:
            check_form(error)
            refused += 1
        else:
            several = isinstance(normal, tuple) or place == FLAGS.get(name)
            results = found if several and isinstance(found, tuple) else (found,)
            assert all(isinstance(t, tracec.Tensor) and t.numpy().dtype.kind in "fiub" for t in results)
    assert refused > len(OTHERS)


def changed(given):
    """Arguments with one of them another thing, and which one that is."""
    for place in range(len(given)):
        for other in OTHERS + (INPUTS if isinstance(given[place], tracec.Tensor) else []):
            yield place, (*given[:place], other, *given[place + 1 :])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: F.adaptive_avg_pool2d(x, 3),
        lambda x: F.adaptive_max_pool2d(x, 3),
        lambda x: F.interpolate(x, 3, mode="bicubic", antialias=True),
        lambda x: F.grid_sample(x, x.new_zeros(0, 3, 3, 2)),
        lambda x: F.max_unpool2d(x, x.new_zeros(0, 2, 4, 4, dtype=tracec.int64), 1),
        lambda x: F.conv_transpose2d(x, x.new_zeros(2, 3, 2, 2)),
    ],
)
def test_empty_batches_have_gradients(f):
    x = tracec.zeros(0, 2, 4, 4, requires_grad=True)
    y = f(x)
    y.sum().backward()
    assert y.shape[0] == 0 and x.grad.shape == x.shape
