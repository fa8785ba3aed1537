"""Interpolation, sampling and shuffles against PyTorch: values and gradients, every option."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.functions.compare import agree, torch
from tests.functions.test_vision_rules import CALLS, changed

F = tracec.nn.functional

#: Old names, defaults that changed, layers that round: PyTorch says so.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SHAPES = {1: (2, 3, 7), 2: (2, 3, 5, 4), 3: (1, 2, 3, 4, 2)}
MODES = [
    ("nearest", 1), ("nearest", 2), ("nearest", 3), ("nearest-exact", 1), ("nearest-exact", 2), ("nearest-exact", 3),
    ("linear", 1), ("bilinear", 2), ("bicubic", 2), ("trilinear", 3), ("area", 1), ("area", 2), ("area", 3),
]  # fmt: skip


@pytest.mark.parametrize("mode, n", MODES)
@pytest.mark.parametrize("align_corners", [None, False, True])
def test_interpolate(mode, n, align_corners):
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        pytest.skip("for linear and cubic modes only")
    options = {"mode": mode, "align_corners": align_corners}

    def f(t, x):
        resize = t.functional.interpolate
        return [
            *(resize(x, size, **options) for size in (1, 3, 8, (9, 10, 3)[:n], tuple(x.shape[2:]))),
            *(resize(x, scale_factor=s, **options) for s in (1, 2, 3.0, 0.5, 1.7, (2, 0.7, 4)[:n])),
            resize(x, scale_factor=1.7, recompute_scale_factor=True, **options),
        ]

    agree(f, SHAPES[n], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(2, 3), (5, 4), (11, 9), (1, 1), (7, 2)])
def test_interpolate_with_antialias(mode, size):
    def f(t, x):
        resize = t.functional.interpolate
        both = [resize(x, size, mode=mode, antialias=True)]
        if mode != "lanczos":
            both.append(resize(x, size, mode=mode, align_corners=True, antialias=True))
            both.append(resize(x, scale_factor=0.6, mode=mode, antialias=True))
        return both

    agree(f, (2, 3, 9, 8), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("size", [3, 7, 10, 13, 29, 41, 64])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_the_nearest_element_is_that_of_torch(size, mode):
    # In float32, where products are rounded to other whole numbers than the exact ones.
    for count in range(1, 90):
        x = np.arange(size, dtype=np.float32).reshape(1, 1, size)
        ours = F.interpolate(tracec.from_numpy(x), count, mode=mode).numpy()
        np.testing.assert_array_equal(ours, torch.nn.functional.interpolate(torch.from_numpy(x), count, mode=mode))


def test_old_names_and_bytes():
    agree(lambda t, x: t.functional.upsample(x, scale_factor=2, mode="bilinear"), SHAPES[2])
    agree(lambda t, x: t.functional.upsample_nearest(x, 7), SHAPES[2])
    agree(lambda t, x: t.functional.upsample_bilinear(x, scale_factor=2), SHAPES[2])
    agree(lambda t, x: t.functional.interpolate(x, 7), np.arange(20, dtype=np.uint8).reshape(1, 1, 4, 5))
    agree(lambda t, x: t.functional.interpolate(x, 7), (0, 2, 4, 5))


def test_the_same_size_is_a_copy():
    x = tracec.ones(1, 1, 2, 2)
    for mode in ("nearest", "bilinear", "bicubic"):
        F.interpolate(x, 2, mode=mode).zero_()
        F.interpolate(x, 1, mode=mode).zero_()
    assert x.sum().item() == 4


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_grid_sample(mode, padding_mode, align_corners):
    def f(t, x, grid):
        return t.functional.grid_sample(x, grid, mode, padding_mode, align_corners)

    # The nearest element does not depend on the grid.
    options = {"rtol": 1e-7, "atol": 1e-9, "none_is_zeros": mode == "nearest"}
    agree(f, (2, 3, 5, 4), (2, 6, 7, 2), **options)
    agree(f, (2, 1, 1, 4), (2, 3, 2, 2), **options)
    if mode != "bicubic":
        agree(f, (2, 2, 3, 5, 4), (2, 3, 2, 4, 3), **options)
    for shapes in (((0, 1, 4, 4), (0, 2, 2, 2)), ((1, 0, 4, 4), (1, 2, 2, 2)), ((1, 1, 4, 4), (1, 0, 2, 2))):
        agree(f, *shapes, none_is_zeros=mode == "nearest")


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
def test_places_that_are_no_numbers(mode, padding_mode):
    # Without gradients, in which PyTorch reads memory that is not its own.
    grid = np.array([np.nan, 0.3, 0.3, np.inf, -np.inf, 1e30, -1.0, 1.0, 1.0, 1.0]).reshape(1, 1, 5, 2)
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    results = [
        library.nn.functional.grid_sample(library.from_numpy(x), library.from_numpy(grid), mode, padding_mode).numpy()
        for library in (tracec, torch)
    ]
    np.testing.assert_allclose(*results, rtol=1e-9)


@pytest.mark.parametrize("align_corners", [False, True])
def test_affine_grid(align_corners):
    agree(lambda t, m: t.functional.affine_grid(m, (2, 3, 5, 4), align_corners), (2, 2, 3))
    agree(lambda t, m: t.functional.affine_grid(m, [1, 1, 3, 1, 4], align_corners), (1, 3, 4))


def test_shuffles():
    agree(lambda t, x: t.pixel_shuffle(x, 2), (2, 3, 8, 2, 3))
    agree(lambda t, x: t.pixel_shuffle(x, 3), (9, 2, 3))
    agree(lambda t, x: t.pixel_unshuffle(x, 2), (2, 3, 4, 6))
    agree(lambda t, x: t.channel_shuffle(x, 3), (2, 6, 4, 2))
    agree(lambda t, x: t.channel_shuffle(x, 2), (0, 4, 3))


@pytest.mark.parametrize(
    "options",
    [{}, {"dilation": 2}, {"padding": (1, 2)}, {"stride": (2, 1)}, {"dilation": (1, 2), "padding": 1, "stride": 2}],
)
def test_patches_there_and_back(options):
    def f(t, x):
        columns = t.functional.unfold(x, (3, 2), **options)
        alone = t.functional.unfold(x[0], (3, 2), **options)
        return (
            columns,
            alone,
            t.functional.fold(columns, (6, 5), (3, 2), **options),
            t.functional.fold(alone, (6, 5), (3, 2), **options),
        )

    agree(f, (2, 3, 6, 5))


@pytest.mark.parametrize(
    "mistake",
    [
        lambda F, t: F.interpolate(t.ones(1, 1, 4, 4)),
        lambda F, t: F.interpolate(t.ones(1, 1, 4, 4), 2, 2),
        lambda F, t: F.interpolate(t.ones(1, 1, 4, 4), (2,)),
        lambda F, t: F.interpolate(t.ones(1, 1, 4, 4), scale_factor=(2.0,)),
        lambda F, t: F.interpolate(t.ones(1, 1, 4, 4), 2, mode="cubic"),
        lambda F, t: F.interpolate(t.ones(1, 1, 4, 4), 2, mode="linear"),
        lambda F, t: F.interpolate(t.ones(1, 1, 4), 2, mode="bilinear"),
        lambda F, t: F.interpolate(t.ones(1, 1, 4, 4), 2, align_corners=True),
        lambda F, t: F.interpolate(t.ones(4, 4), 2),
        lambda F, t: F.interpolate(t.ones(1, 1, 4, 4), 0),
        lambda F, t: F.interpolate(t.ones(1, 1, 4, 4), scale_factor=0.1),
        lambda F, t: F.interpolate(t.ones(1, 1, 0, 4), 2),
        lambda F, t: F.interpolate(t.ones(1, 1, 4, 4), 2, antialias=True),
        lambda F, t: F.interpolate(t.ones(1, 1, 4, 4), 2.5),
        lambda F, t: F.interpolate(t.ones(1, 1, 4, 4), "2"),
        lambda F, t: F.interpolate(t.ones(1, 1, 4, 4), scale_factor="2"),
        lambda F, t: F.interpolate(t.ones(1, 1, 4, 4), 2, recompute_scale_factor=True),
        lambda F, t: F.interpolate(t.ones(1, 1, 4, 4, dtype=t.int64), 2),
        lambda F, t: F.grid_sample(t.ones(1, 1, 4, 4), t.ones(2, 2, 2, 2)),
        lambda F, t: F.grid_sample(t.ones(1, 1, 4, 4), t.ones(1, 2, 2, 3)),
        lambda F, t: F.grid_sample(t.ones(1, 4, 4), t.ones(1, 2, 2, 2)),
        lambda F, t: F.grid_sample(t.ones(1, 1, 4, 4), t.ones(1, 2, 2, 2, dtype=t.float64)),
        lambda F, t: F.grid_sample(t.ones(1, 1, 4, 4), t.ones(1, 2, 2, 2), mode="linear"),
        lambda F, t: F.grid_sample(t.ones(1, 1, 4, 4), t.ones(1, 2, 2, 2), padding_mode="edge"),
        lambda F, t: F.grid_sample(t.ones(1, 1, 0, 4), t.ones(1, 2, 2, 2)),
        lambda F, t: F.grid_sample(t.ones(1, 1, 2, 2, 2), t.ones(1, 2, 2, 2, 3), mode="bicubic"),
        lambda F, t: F.affine_grid(t.ones(1, 3, 4), (1, 1, 4, 4)),
        lambda F, t: F.affine_grid(t.ones(1, 2, 3), (2, 1, 4, 4)),
        lambda F, t: F.affine_grid(t.ones(1, 2, 3), (1, 1, 0, 4)),
        lambda F, t: F.affine_grid(t.ones(1, 2, 3), (1, 1, 4)),
        lambda F, t: F.affine_grid(t.ones(1, 2, 3, dtype=t.int64), (1, 1, 4, 4)),
        lambda F, t: F.pixel_shuffle(t.ones(4, 4), 2),
        lambda F, t: F.pixel_shuffle(t.ones(3, 4, 4), 2),
        lambda F, t: F.pixel_unshuffle(t.ones(1, 3, 4), 2),
        lambda F, t: F.pixel_unshuffle(t.ones(1, 4, 4), -1),
        lambda F, t: F.channel_shuffle(t.ones(4, 4), 2),
        lambda F, t: F.channel_shuffle(t.ones(1, 3, 4), 2),
        lambda F, t: F.channel_shuffle(t.ones(1, 4, 4), 0),
        lambda F, t: F.unfold(t.ones(2, 2, 4, 4), 5),
        lambda F, t: F.unfold(t.ones(2, 2, 4, 4), 2, stride=0),
        lambda F, t: F.unfold(t.ones(2, 2, 4, 4), 2, padding=-1),
        lambda F, t: F.unfold(t.ones(2, 2, 4, 4, dtype=t.int64), 2),
        lambda F, t: F.fold(t.ones(2, 7, 9), (4, 4), 2),
        lambda F, t: F.fold(t.ones(2, 8, 8), (4, 4), 2),
        lambda F, t: F.fold(t.ones(8), 4, 2),
    ],
)
def test_mistakes_raise_as_in_torch(mistake):
    with pytest.raises(Exception) as theirs:
        mistake(torch.nn.functional, torch)
    with pytest.raises(tracec.errors.TracecError) as ours:
        mistake(F, tracec)
    assert isinstance(ours.value, theirs.type), (ours.type, theirs.type)
    assert ours.value.hint


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_touches_only_what_is_computed_from_it(value):
    x = np.random.default_rng(0).normal(size=(1, 2, 9, 11))
    x[0, 0, 4, 6] = value
    for f in (
        lambda F, x: F.adaptive_avg_pool2d(x, (4, 3)),
        lambda F, x: F.adaptive_max_pool2d(x, (4, 3)),
        # At the edge of a filter's reach a weight is zero or nearly so, which infinity tells apart.
        lambda F, x: F.interpolate(x, (5, 4), mode="bilinear", antialias=True).isfinite(),
        lambda F, x: F.interpolate(x, (7, 5), mode="bicubic"),
        lambda F, x: F.max_pool2d(x, 3, 2, 1),
        lambda F, x: F.avg_pool2d(x, 3, 2, 1),
    ):
        ours, theirs = f(F, tracec.from_numpy(x)).numpy(), f(torch.nn.functional, torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


#: (function, argument's place) → what differs in what is taken. The first argument is at place 0.
OTHERWISE = {
    # Here a flag is a number where PyTorch's is none, in what takes one integer.
    **{(f, 1): "True is 1" for f in ("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "group_norm")},
    ("avg_pool2d", 6): "True is 1", ("conv2d", 6): "True is 1", ("conv_transpose2d", 6): "True is 1",
    ("local_response_norm", 1): "True is 1", ("interpolate", 1): "True is 1", ("max_unpool2d", 2): "True is 1 there",
    ("adaptive_avg_pool2d", 1): "True is 1; None is the input's size",
    ("adaptive_max_pool2d", 1): "True is 1; None is the input's size",
    # Input without channels: PyTorch's functions do not agree with each other.
    **{(f, 0): "no channels" for f in ("max_pool2d", "avg_pool2d", "fractional_max_pool2d", "adaptive_avg_pool2d",
                                       "unfold", "batch_norm", "pixel_unshuffle")},
    **{("unfold", k): "True is 1" for k in (1, 2, 3, 4)}, ("fold", 3): "True is 1", ("fold", 5): "True is 1",
    ("conv2d", 1): "no channels",
    ("lp_pool2d", 0): "no channels; integers, whose powers PyTorch takes as integers",
    # PyTorch reads memory that is not its own, or does not look.
    ("fractional_max_pool2d", 1): "windows of no elements", ("fractional_max_pool2d", 2): "no windows",
    ("fractional_max_pool2d", 3): "both a size and a ratio", ("max_unpool2d", 3): "steps that do not fit",
    ("max_unpool2d", 4): "padding that does not fit", ("instance_norm", 7): "a negative eps",
    ("batch_norm", 7): "an eps of 0", ("normalize", 1): "no power", ("normalize", 4): "out= that is no tensor",
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_what_is_taken_is_what_pytorch_takes(name):
    def outcome(f, arguments):
        try:
            return f(*arguments)
        except Exception as error:  # PyTorch's functions in Python end in any, an AttributeError of None among them
            return error

    for place, arguments in changed(CALLS[name]):
        ours = outcome(getattr(tracec.nn.functional, name), arguments)
        theirs = outcome(getattr(torch.nn.functional, name), to_torch(arguments))
        if (name, place) in OTHERWISE:
            continue
        assert isinstance(ours, Exception) == isinstance(theirs, Exception), (place, arguments[place], ours, theirs)
        if isinstance(theirs, torch.Tensor) and name != "fractional_max_pool2d":
            assert tuple(ours.shape) == tuple(theirs.shape)
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-5)


def to_torch(value):
    if isinstance(value, tracec.Tensor):
        return torch.from_numpy(value.numpy().copy())
    return type(value)(map(to_torch, value)) if isinstance(value, (tuple, list)) else value


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_images_of_bytes_in_other_sizes(mode, align_corners, antialias):
    """PyTorch's weights have 15 bits or fewer there, so that a few pixels round the other way, at worst twice."""
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 20, 17)).astype(np.uint8)
    options = {"mode": mode, "align_corners": align_corners, "antialias": antialias}
    for size in ((13, 9), (40, 33), (5, 17)):
        wanted = torch.nn.functional.interpolate(torch.from_numpy(image), size, **options).numpy()
        found = tracec.nn.functional.interpolate(tracec.from_numpy(image), size, **options)
        assert found.dtype is tracec.uint8
        apart = np.abs(found.numpy().astype(int) - wanted)
        assert apart.max() <= 2 and (apart > 0).mean() < 0.05 and (apart > 1).mean() < 1e-3
