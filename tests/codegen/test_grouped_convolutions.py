"""Convolutions whose groups have several channels on both sides are products, one for each group."""

import numpy as np
import pytest

import tracec
from tracec.nn import functional as F

#: Images, channels, output channels, groups, sizes, and what `conv2d` takes.
CASES = [
    (1, 16, 24, 2, (9, 17), {"padding": 1}),
    (3, 6, 9, 3, (7, 5), {"stride": 2, "padding": (2, 1)}),
    (2, 35, 21, 7, (8, 8), {"dilation": 2}),
    (2, 4, 8, 4, (5, 6), {}),  # one channel goes in
    (2, 8, 4, 4, (5, 6), {}),  # one channel comes out
    (1, 64, 64, 8, (14, 14), {"padding": 1}),
]


def made(case, dtype):
    images, channels, outputs, groups, sizes, _ = case
    rng = np.random.default_rng(channels)
    x = rng.standard_normal((images, channels, *sizes))
    w = rng.standard_normal((outputs, channels // groups, 3, 3))
    return [tracec.tensor(a, dtype=dtype, requires_grad=True) for a in (x, w)]


def with_gradients(case):
    groups, more = case[3], case[5]

    def f(x, w):
        y = F.conv2d(x, w, groups=groups, **more)
        return (y, *tracec.autograd.grad((y * y.detach().sin()).sum(), (x, w)))

    return f


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_are_those_of_float64(case):
    f = with_gradients(case)
    compiled = tracec.compile(f)
    got = [compiled(*made(case, tracec.float32)) for _ in range(2)][1]
    for g, want in zip(got, f(*made(case, tracec.float64)), strict=True):
        scale = float(want.abs().max())
        assert np.allclose(g.detach().numpy(), want.detach().numpy(), rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("case", CASES[:3], ids=str)
def test_kernels_for_gpus_agree(case):
    groups, more = case[3], case[5]
    x, w = made(case, tracec.float32)

    def f(x, w):
        return F.conv2d(x, w, groups=groups, **more)

    got = tracec.compile(f).lower(x, w, target="cuda").run(x, w, launcher="emulator")
    want = f(*made(case, tracec.float64))
    assert np.allclose(got.detach().numpy(), want.detach().numpy(), rtol=0, atol=1e-5 * float(want.abs().max()))


def test_groups_are_blocked_products():
    case = CASES[-1]
    source = tracec.compile(with_gradients(case)).lower(*made(case, tracec.float32)).stages["source"]
    assert source.count("const struct contraction work = {") == 3
