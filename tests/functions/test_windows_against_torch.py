"""Padding, convolutions and pooling against PyTorch: values and gradients, every option."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.functions.compare import agree, torch

SIGNAL, IMAGE, VOLUME = (2, 3, 7), (2, 3, 6, 5), (1, 2, 4, 5, 3)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    "shape, amounts",
    [
        (SIGNAL, (2, 3)), (SIGNAL, (-2, 1)), (SIGNAL, (1, -6)), (SIGNAL, (0, 0)), ((3, 4), (3, 2)),
        (IMAGE, (1, 2, 3, 0)), (IMAGE, (-1, 1, 2, -2)), ((3, 6, 5), (2, 2, 2, 2)),
        (VOLUME, (1, 2, 0, 3, 2, 1)), (VOLUME[1:], (1, -1, 1, 1, -1, 1)), ((0, 2, 4), (1, 3)),
    ],
)  # fmt: skip
def test_pad(mode, shape, amounts):
    if mode == "circular" and (amounts in ((1, -6), (-2, 1)) or (min(amounts) < 0 and len(shape) == 4)):
        pytest.skip("PyTorch returns memory it has not written")
    agree(lambda t, x: t.functional.pad(x, amounts, mode), shape)


def test_circular_padding_of_what_is_left():
    x = np.arange(6.0).reshape(1, 1, 6)
    agree(lambda t, x: t.functional.pad(x, (-2, 2), "circular"), x)
    agree(lambda t, x: t.functional.pad(x, (2, -2), "circular"), x)


@pytest.mark.parametrize("value", [None, 0, 2, 2.7, True])
def test_constant_padding_takes_the_dtype(value):
    agree(lambda t, x: t.functional.pad(x, (1, 0, 2, -1), value=value), np.arange(6).reshape(2, 3))
    agree(lambda t, x: t.functional.pad(x, (1, 0), value=value), np.array([[True, False]]))
    agree(lambda t, x: t.functional.pad(x, (1, 0), value=value), (2, 3))


def test_nothing_padded_is_a_copy():
    for amounts in ((0, 0), (-1, 0)):
        for mode in ("constant", "reflect"):
            x = tracec.arange(6.0).reshape(1, 2, 3)
            tracec.nn.functional.pad(x, amounts, mode).zero_()
            assert x.sum().item() == 15


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"stride": 2}, {"padding": 1}, {"stride": 2, "padding": 1, "output_padding": 1}, {"dilation": 2},
        {"stride": 3, "output_padding": 2}, {"stride": 3, "output_padding": 2, "padding": 1},
        {"dilation": 3, "output_padding": 2}, {"dilation": 2, "stride": 1, "padding": 1, "output_padding": 1},
        {"groups": 2}, {"groups": 2, "stride": 2, "dilation": 2, "padding": 2},
    ],
)  # fmt: skip
def test_transposed_convolutions(n, options):
    groups = options.get("groups", 1)

    def f(t, x, w, b):
        return getattr(t.functional, f"conv_transpose{n}d")(x, w, b, **options)

    agree(f, (2, 4, *(3, 2, 4)[:n]), (4, 3, *(3, 2, 3)[:n]), (3 * groups,))
    agree(f, (4, *(3, 2, 4)[:n]), (4, 3, *(3, 2, 3)[:n]), (3 * groups,))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    "options",
    [{"padding": "same"}, {"padding": "valid"}, {"padding": "same", "dilation": 2}, {"groups": 2, "stride": 2}],
)
def test_convolutions(n, options):
    def f(t, x, w, b):
        conv = getattr(t.functional, f"conv{n}d")
        return conv(x, w, b, **options), conv(x[0], w, None, **options)

    channels = 4 // options.get("groups", 1)
    agree(f, (2, 4, *(5, 6, 4)[:n]), (6, channels, *(2, 3, 2)[:n]), (6,))


POOLINGS = [
    (2,), (3, 2), (3, 2, 1), (2, 3), ((3,), (1,), (1,)),
]  # fmt: skip


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("window", POOLINGS)
def test_pooling(n, ceil_mode, window):
    def f(t, x):
        F = t.functional
        largest, mean = getattr(F, f"max_pool{n}d"), getattr(F, f"avg_pool{n}d")
        results = [
            largest(x, *window, ceil_mode=ceil_mode, return_indices=True),
            largest(x[0], *window, ceil_mode=ceil_mode),
            mean(x, *window, ceil_mode=ceil_mode),
            mean(x[0], *window, ceil_mode=ceil_mode, count_include_pad=False),
        ]
        if n > 1:
            results.append(mean(x, *window, ceil_mode=ceil_mode, divisor_override=3))
        if len(window) < 3:
            results.append(getattr(F, f"lp_pool{n}d")(x.abs() + 0.1, 1.5, *window, ceil_mode=ceil_mode))
        return results

    agree(f, (2, 3, *(7, 6, 5)[:n]))


def test_max_pooling_with_dilation():
    agree(lambda t, x: t.functional.max_pool2d(x, (2, 3), 1, (1, 1), (3, 2), return_indices=True), (2, 2, 7, 8))
    agree(lambda t, x: t.functional.max_pool1d(x, 3, 2, 1, 2, True, True), (2, 2, 9))
    agree(lambda t, x: t.functional.max_pool3d(x, 2, 1, 1, 2, True, True), (1, 2, 4, 3, 5))


def test_a_window_larger_than_the_input():
    agree(lambda t, x: t.functional.max_pool2d(x, 4, 2, ceil_mode=True), (1, 1, 3, 3))
    agree(lambda t, x: t.functional.avg_pool2d(x, 4, 2, ceil_mode=True), (1, 1, 3, 3))


def test_pooling_of_integers():
    x = np.array([[[[-3, 2, -4, 1], [5, -6, 7, 2], [0, 1, -9, 3]]]])
    agree(lambda t, x: t.functional.max_pool2d(x, 2, 1, 1, return_indices=True), x)
    agree(lambda t, x: t.functional.max_pool2d(x.to(t.module.uint8), 2, 1, 1), x)
    agree(lambda t, x: t.functional.avg_pool2d(x, 2, 1, 1), x)
    agree(lambda t, x: t.functional.avg_pool2d(x, 2, divisor_override=-3), x)


def test_indices_of_the_lowest_value_are_inside():
    agree(lambda t, x: t.functional.max_pool2d(x, 3, 2, 1, return_indices=True)[1], np.full((1, 1, 4, 4), -np.inf))
    agree(lambda t, x: t.functional.max_pool1d(x, 2, 1, 1, 3, False, True)[1], np.full((1, 1, 7), -np.inf))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 4, (3, 5, 2), (None, 2, None), 9])
def test_adaptive_pooling(n, size):
    wanted = size[:n] if isinstance(size, tuple) else size
    if n == 1 and wanted == (None,):
        pytest.skip("PyTorch takes no None for one axis")

    def f(t, x):
        mean, largest = (getattr(t.functional, f"adaptive_{kind}_pool{n}d") for kind in ("avg", "max"))
        return mean(x, wanted), largest(x, wanted, return_indices=True), mean(x[0], wanted), largest(x[0], wanted)

    agree(f, (2, 3, *(7, 6, 4)[:n]))


@pytest.mark.parametrize("n", [2, 3])
def test_fractional_max_pooling(n):
    def f(t, x, u):
        pool = getattr(t.functional, f"fractional_max_pool{n}d")
        return (
            pool(x, 2, output_size=(3, 4, 2)[:n], return_indices=True, _random_samples=u.detach()),
            pool(x, (2, 3, 1)[:n], output_ratio=(0.6, 0.5, 0.7)[:n], _random_samples=u.detach()),
            pool(x[0], 2, output_size=(2,) * n, return_indices=True, _random_samples=u[:1].detach()),
        )

    agree(f, (2, 3, *(9, 8, 7)[:n]), np.random.default_rng(0).uniform(size=(2, 3, n)))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_unpooling(n):
    def f(t, x):
        pool, undo = getattr(t.functional, f"max_pool{n}d"), getattr(t.functional, f"max_unpool{n}d")
        values, at = pool(x, 2, return_indices=True)
        whole = list(x.shape[2:])
        overlapping, there = pool(x, 3, 1, 1, return_indices=True)
        return (
            undo(values, at, 2, output_size=list(x.shape)),
            undo(values[0], at[0], 2, output_size=whole),
            undo(overlapping, there, 3, 1, 1),
        )

    agree(f, (2, 3, *(7, 6, 5)[:n]))
    agree(lambda t, x: t.functional.max_unpool2d(*t.functional.max_pool2d(x, 2, return_indices=True), 2), (2, 3, 6, 4))


@pytest.mark.parametrize(
    "mistake",
    [
        lambda F, t: F.pad(t.ones(2, 3), (1,)),
        lambda F, t: F.pad(t.ones(2, 3), (1, 1), mode="mirror"),
        lambda F, t: F.pad(t.ones(2, 3), (-2, -2)),
        lambda F, t: F.pad(t.ones(3), (1, 1), mode="reflect"),
        lambda F, t: F.pad(t.ones(1, 2, 3, 4), (1, 1), mode="replicate"),
        lambda F, t: F.pad(t.ones(1, 2, 4), (4, 0), mode="reflect"),
        lambda F, t: F.pad(t.ones(1, 2, 4), (5, 0), mode="circular"),
        lambda F, t: F.pad(t.ones(1, 2, 4), (-2, -2), mode="replicate"),
        lambda F, t: F.pad(t.ones(1, 2, 4), (1, 1), mode="reflect", value=2.0),
        lambda F, t: F.conv_transpose2d(t.ones(1, 2, 3, 3), t.ones(2, 1, 2, 2), output_padding=1),
        lambda F, t: F.conv_transpose2d(t.ones(1, 3, 3, 3), t.ones(2, 1, 2, 2)),
        lambda F, t: F.conv_transpose2d(t.ones(1, 2, 3, 3), t.ones(2, 1, 2, 2), padding=2),
        lambda F, t: F.conv_transpose1d(t.ones(1, 2, 3), t.ones(2, 1, 2), stride=0),
        lambda F, t: F.conv2d(t.ones(1, 2, 3, 3), t.ones(2, 2, 2, 2), padding="same", stride=2),
        lambda F, t: F.max_pool2d(t.ones(1, 1, 2, 2), 3),
        lambda F, t: F.max_pool2d(t.ones(1, 1, 4, 4), 2, padding=2),
        lambda F, t: F.max_pool1d(t.ones(1, 1, 4, dtype=t.int64), 2),
        lambda F, t: F.avg_pool2d(t.ones(1, 1, 4, 4, dtype=t.int32), 2),
        lambda F, t: F.avg_pool2d(t.ones(1, 1, 4, 4), 2, divisor_override=0),
        lambda F, t: F.avg_pool2d(t.ones(1, 1, 4, 4), 2, stride=0),
        lambda F, t: F.adaptive_avg_pool2d(t.ones(4, 4), 2),
        lambda F, t: F.adaptive_avg_pool2d(t.ones(1, 4, 4), (2,)),
        lambda F, t: F.adaptive_max_pool2d(t.ones(1, 1, 0, 4), 2),
        lambda F, t: F.fractional_max_pool2d(t.ones(1, 1, 4, 4), 2),
        lambda F, t: F.max_unpool2d(t.ones(1, 1, 2, 2), t.zeros(1, 1, 2, 2), 2),
        lambda F, t: F.max_unpool2d(t.ones(1, 1, 2, 2), t.zeros(1, 1, 2, 3, dtype=t.int64), 2),
        lambda F, t: F.max_unpool2d(t.ones(1, 1, 2, 2), t.full((1, 1, 2, 2), 16), 2),
        lambda F, t: F.max_unpool2d(t.ones(1, 1, 2, 2), t.zeros(1, 1, 2, 2, dtype=t.int64), 2, output_size=(9, 9)),
    ],
)
def test_mistakes_raise_as_in_torch(mistake):
    with pytest.raises(Exception) as theirs:
        mistake(torch.nn.functional, torch)
    with pytest.raises(tracec.errors.TracecError) as ours:
        mistake(tracec.nn.functional, tracec)
    assert isinstance(ours.value, theirs.type), (ours.type, theirs.type)
    assert ours.value.hint


@pytest.mark.parametrize("n", [1, 2, 3])
def test_of_several_nans_the_last_counts_and_of_equal_elements_the_first(n):
    x = np.zeros((2, *(9, 7, 5)[:n]), np.float32)
    x.reshape(-1)[[2, 5, 6, 11]] = np.nan
    x.reshape(-1)[[3, 7, 8]] = 2

    def f(t, x):
        pools = (getattr(t.functional, f"{kind}max_pool{n}d") for kind in ("", "adaptive_"))
        results = [r for p, size in zip(pools, (3, 2), strict=True) for r in p(x, size, return_indices=True)]
        return [*results, *getattr(t.functional, f"max_pool{n}d")(x, 3, 2, 1, return_indices=True)]

    agree(f, x)
    agree(f, np.where(np.isnan(x), -np.inf, x))


@pytest.mark.parametrize("kernel, stride, padding, dilation, ceil_mode", [
    (2, 2, 0, 1, False), (3, 2, 1, 1, False), (3, 1, 1, 1, False), (3, 2, 1, 1, True), (5, 3, 2, 1, False),
    (3, 2, 1, 2, False), ((2, 3), (3, 1), (1, 0), 1, False),
])  # fmt: skip
@pytest.mark.parametrize("shape", [(2, 3, 16, 33), (1, 2, 7, 8), (3, 1, 13, 17)])
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_of_max_pooling(kernel, stride, padding, dilation, ceil_mode, shape, compiled):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=shape)).astype(np.float32)  # many are equal
    x[rng.random(shape) < 0.1] = np.nan
    x[..., :3, :4] = -np.inf

    def gradient(lib):
        def f(x, weight=None):
            x = lib.nn.functional.relu(x.requires_grad_())
            y = lib.nn.functional.max_pool2d(x - 1, kernel, stride, padding, dilation, ceil_mode)
            weight = lib.arange(y.numel()).reshape(y.shape) % 7
            return lib.autograd.grad((y.nan_to_num(0.0, 1.0, -1.0) * weight).sum() + (y * weight).sum(), x)[0], y

        return [r.detach().numpy() for r in (lib.compile(f) if lib is tracec and compiled else f)(lib.tensor(x))]

    for found, expected in zip(gradient(tracec), gradient(torch), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
