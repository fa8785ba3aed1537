"""Arithmetic, rounding, special functions and statistics against PyTorch: values, dtypes, gradients, refusals."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.functions.compare import TORCH, TRACEC, agree, torch
from tracec.errors import TracecError

INTS = np.array([[3, -7, 5], [-2, 0, 4]])
INTS2 = np.array([[2, 2, -3], [5, -4, 4]])
BYTES = np.array([[3, 0, 5], [0, 0, 0]], np.uint8)
BOOLS = np.array([[True, False, True], [False, False, True]])
HOLES = np.array([[1.0, np.nan, -3.0], [np.nan, np.nan, 2.0], [0.5, np.inf, -np.inf]])
ZEROS = np.array([[2.0, 0.0, 3.0, -1.0], [0.0, 1.5, 0.0, 2.0], [1.0, 2.0, 3.0, 0.5]])
TIES = np.array([1.0, 2.0, 2.0, 3.0, 1.0])
SIGNS = np.array([0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan])
HUGE = np.array([3e200, -4e-200, 5.0, 1e-310])


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x, y: (t.fmod(x, y), t.fmod(x, 1.5), x % y, t.remainder(2.0, y.detach())),
        lambda t, x, y: (
            t.div(x, y, rounding_mode="trunc"),
            t.div(x, y, rounding_mode="floor"),
            x.detach() // y.detach(),
        ),
        lambda t, x, y: (t.copysign(x, y), t.copysign(x, -1.0), t.hypot(x, y), t.atan2(x, y)),
        lambda t, x, y: (t.fmax(x, y), t.fmin(x, y), t.maximum(x, y), t.minimum(x, y)),
        lambda t, x, y: (t.logaddexp(x, y), t.logaddexp2(x, y), t.ldexp(x, y), t.float_power(x * x, y)),
        lambda t, x, y: (t.lerp(x, y, 0.3), t.lerp(x, y, 0.75), t.lerp(x, y, y), t.lerp(x, y, 1.0)),
        lambda t, x, y: (t.add(x, y, alpha=2), t.sub(x, y, alpha=-0.5), t.rsub(x, y, alpha=3), t.addcmul(x, x, y)),
        lambda t, x, y: (
            t.clamp(x, y - 0.5, y),
            t.clamp(x, y),
            x.clamp(max=y),
            t.clamp(x, 1.0, -1.0),
            x.clamp_min(0.1),
        ),
        lambda t, x, y: (t.xlogy(x, y * y), t.special.xlog1py(x, y * y), t.xlogy(x, 2.0), t.xlogy(2.0, y * y)),
        lambda t, x, y: (2.0 / x, 3.0**x, 5.5 % y.detach(), x.__rdiv__(2.0), x ** y.abs().detach()),
        lambda t, x, y: (x.square(), x.deg2rad(), x.rad2deg(), t.exp2(x), t.asinh(x), t.frac(x), t.signbit(x)),
        lambda t, x, y: (t.round(x, decimals=2), t.round(x * 100, decimals=-1), t.isposinf(x / 0), t.isneginf(x / 0)),
    ],
)
def test_two_operands(f):
    agree(f, (4, 1, 3), (5, 1), low=0.2)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x, y: (t.gcd(x, y), t.lcm(x, y), t.fmod(x, y), t.copysign(x, y), t.ldexp(x, y), t.fmax(x, y)),
        lambda t, x, y: (t.float_power(x, y), t.float_power(2, x), t.add(x, y, alpha=3), t.clamp(x, y, y + 3)),
        lambda t, x, y: (t.clamp(x, -1.5, 2), t.digamma(x.abs() + 1), t.erfc(x), t.i0(x), t.logit(x)),
        lambda t, x, y: (t.nansum(x), t.logsumexp(x, 1), x.cumprod(1), x.nansum(0), t.any(x, 1), t.all(x, dim=1)),
        lambda t, x, y: (t.floor(x), t.round(x), t.ceil(x), t.trunc(x), t.signbit(x), t.isposinf(x), t.square(x)),
        lambda t, x, y: (
            t.log2(x.abs()),
            t.log10(x.abs() + 1),
            t.exp2(x),
            t.atanh(x * 0),
            t.deg2rad(x),
            t.hypot(x * 1.0, y),
        ),
        lambda t, x, y: (x & 3, 3 & x, x | 1, 1 ^ x, x << 2, x >> 1, 2 << y.abs(), x.bitwise_not(), 7 // y, 7 % y),
        lambda t, x, y: (x / y, t.true_divide(x, y), 1 / y, t.div(x, 2), t.div(x, y, rounding_mode="trunc")),
    ],
)
def test_integers(f):
    # Where integers become floats, these are float32.
    agree(f, INTS, INTS2, rtol=2e-6)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x: (t.any(x), t.all(x), t.any(x, 1), t.all(x, dim=0, keepdim=True), x.sum(), x.prod()),
        lambda t, x: (t.gcd(x, x + 4), t.fmod(x, x + 2), t.square(x), t.cumprod(x, 0), ~x, x << 1),
    ],
)
def test_bytes(f):
    agree(f, BYTES)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x: (t.any(x, 1), t.all(x, (0, 1)), x.cumprod(1), t.nansum(x), x.float().mean()),
        lambda t, x: (
            t.add(x, x, alpha=True),
            t.add(x, x, alpha=2),
            x ^ x,
            x & True,
            True | x,
            t.logical_xor(x, x.long()),
        ),
    ],
)
def test_bools(f):
    agree(f, BOOLS)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x: (
            t.nansum(x, 1),
            t.nanmean(x[:2, ::2], 0),
            t.nansum(x[:2], dtype=t.float32),
            t.nanmean(x[:2, ::2]),
        ),
        lambda t, x: (
            t.fmax(x, x * 0 + 1),
            t.fmin(x * 0 - 1, x),
            t.nan_to_num(x, 5.0, 6.0, -7.0),
        ),
        lambda t, x: (t.isposinf(x), t.isneginf(x), t.isfinite(x), t.isinf(x), t.isreal(x)),
        lambda t, x: (t.isclose(x, x, equal_nan=True), t.allclose(x, x), t.allclose(x, x, equal_nan=True)),
        lambda t, x: t.clamp(x.detach(), -1.0, 1.0),
        lambda t, x: t.clamp(x.detach(), float("nan"), 1.0),
        lambda t, x: (t.logcumsumexp(x.detach(), 1), t.logsumexp(x.detach(), 0), t.cumprod(x.detach(), 0)),
    ],
)
def test_holes(f):
    agree(f, HOLES)


def test_signs():
    agree(lambda t, x: (t.signbit(x), t.copysign(x.detach(), -x.detach()), t.sign(x)), SIGNS)
    agree(lambda t, x: t.copysign(x, 1.0), np.array([0.0, -0.0, 2.0, -3.0]))
    agree(lambda t, x: t.heaviside(x.detach(), x.detach() * 0 + 0.25), SIGNS)


def test_mantissas_and_powers():
    agree(lambda t, x: tuple(t.frexp(x)), SIGNS)
    agree(lambda t, x: tuple(t.frexp(x)), np.array([1.0, 0.5, 8.0, -3.0, 5e-324, 1e308, 0.9999999999999999]))
    agree(lambda t, x: tuple(t.frexp(x)), (3, 5))


def test_range():
    agree(lambda t, x: (t.hypot(x, x), t.asinh(x), t.log10(x.abs()), t.log2(x.abs())), HUGE)


def test_steps_to_the_next_number():
    agree(lambda t, x: (t.nextafter(x, x + 1), t.nextafter(x, x), t.nextafter(x, x - 1)), (7,))


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x: (x.cumprod(1), x.cumprod(0), x.cumprod(-1)),
        lambda t, x: t.cumprod(x, 1, dtype=t.float32),
        lambda t, x: (x.prod(1), x.prod(), x.prod(0, keepdim=True)),
    ],
)
def test_products_with_zeros(f):
    agree(f, ZEROS, rtol=1e-6)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x: (t.logcumsumexp(x, 0), t.logcumsumexp(x * 300, 1), t.logcumsumexp(x, -1)),
        lambda t, x: (t.logsumexp(x, (0, 2)), t.logsumexp(x * 900, 1, keepdim=True)),
        lambda t, x: (x.std(1), x.std(0, keepdim=True), x.std(correction=0), x.std(unbiased=False), x.var(dim=(0, 1))),
        lambda t, x: (t.std_mean(x, dim=1, correction=2), t.var_mean(x, unbiased=False), t.var_mean(x, 1)),
        lambda t, x: (t.std(x * 0 + 1, 1), t.std(x, False), t.aminmax(x), t.aminmax(x, dim=1)),
        lambda t, x: (t.count_nonzero(x > 0), t.count_nonzero(x > 0, dim=1), t.count_nonzero(x, (0, 2))),
    ],
)
def test_statistics(f):
    agree(f, (2, 3, 5))


def test_equal_elements():
    agree(lambda t, x: (x.amax(), x.amin(0), t.aminmax(x)), TIES)
    agree(lambda t, x: (x.max(0).values, x.min(0).values), TIES)
    agree(lambda t, x: (x.clamp(1.0, 2.0), x.clamp(min=2.0), t.fmax(x, x.detach()), t.clamp(x, x.detach())), TIES)


SPECIAL = {
    "lgamma": (-4.9, 6.0), "digamma": (-4.9, 6.0), "erfc": (-3.0, 5.0), "erfinv": (-0.99, 0.99), "i0": (-9.0, 9.0),
    "sinc": (-3.0, 3.0), "logit": (0.01, 0.99), "special.erfcx": (-3.0, 20.0), "special.ndtr": (-6.0, 6.0),
    "special.ndtri": (0.01, 0.99), "special.log_ndtr": (-9.0, 5.0), "special.i0e": (-9.0, 9.0),
    "special.i1": (-9.0, 9.0), "special.i1e": (-9.0, 9.0), "special.entr": (0.1, 2.0), "special.expit": (-2.0, 2.0),
    "special.exp2": (-2.0, 2.0), "special.expm1": (-2.0, 2.0), "special.log1p": (-0.9, 2.0),
    "special.psi": (0.2, 2.0),
    "special.gammaln": (0.2, 2.0), "special.round": (-3.0, 3.0), "special.sinc": (-2.0, 2.0),
    "special.erf": (-2.0, 2.0),
}  # fmt: skip


BESSEL = {
    "bessel_j0": (-30.0, 30.0), "bessel_j1": (-30.0, 30.0), "bessel_y0": (0.1, 30.0), "bessel_y1": (0.1, 30.0),
    "modified_bessel_i0": (-9.0, 9.0), "modified_bessel_i1": (-9.0, 9.0), "modified_bessel_k0": (0.1, 9.0),
    "modified_bessel_k1": (0.1, 9.0), "scaled_modified_bessel_k0": (0.1, 9.0), "scaled_modified_bessel_k1": (0.1, 9.0),
    "spherical_bessel_j0": (-9.0, 9.0),
}  # fmt: skip


@pytest.mark.parametrize("name", BESSEL)
def test_bessel_functions(name):
    # PyTorch has no gradients of them, and between 5 and 9 no more than five digits of some.
    low, high = BESSEL[name]
    agree(lambda t, x: getattr(t.special, name)(x.detach()), (40,), low=low, high=high, rtol=1e-4)


@pytest.mark.parametrize("name", SPECIAL)
def test_special_functions(name):
    low, high = SPECIAL[name]

    def f(t, x):
        for part in name.split("."):
            t = getattr(t, part)
        return t(x)

    agree(f, (40,), low=low, high=high, rtol=1e-8)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x: (t.polygamma(0, x), t.polygamma(1, x), t.special.polygamma(3, x), x.polygamma(2)),
        lambda t, x: (t.mvlgamma(x + 1, 3), t.special.multigammaln(x + 1, 2)),
        lambda t, x: (t.igamma(x.detach(), x * 2), t.igammac(x.detach() + 1, x), t.special.gammainc(x.detach(), x)),
        lambda t, x: (t.special.zeta(x.detach() + 1, x), t.special.zeta(2.5, x), t.special.zeta(x.detach() + 1, 3.0)),
        lambda t, x: (t.logit(x, eps=0.3), t.special.logit(x, eps=0.4)),
        lambda t, x: (t.special.logsumexp(x, 0), t.special.softmax(x, 0), t.special.log_softmax(x, 0)),
    ],
)
def test_special_functions_with_arguments(f):
    agree(f, (30,), low=0.1, high=4.0, rtol=1e-8)


@pytest.mark.parametrize(
    "f",
    [
        lambda t, i, b, x: t.add(i, i, alpha=0.5),
        lambda t, i, b, x: t.add(b, b, alpha=1.0),
        lambda t, i, b, x: t.add(x, x, alpha=True),
        lambda t, i, b, x: t.sub(x, x, alpha="a"),
        lambda t, i, b, x: i**-1,
        lambda t, i, b, x: t.addcdiv(i, i, i),
        lambda t, i, b, x: t.lerp(x, x.float(), 0.5),
        lambda t, i, b, x: t.heaviside(x, x.float()),
        lambda t, i, b, x: t.frac(i),
        lambda t, i, b, x: t.round(i, decimals=1),
        lambda t, i, b, x: b - b,
        lambda t, i, b, x: t.nextafter(i, i),
        lambda t, i, b, x: t.gcd(x, x),
        lambda t, i, b, x: t.frexp(i),
        lambda t, i, b, x: t.logcumsumexp(i, 0),
        lambda t, i, b, x: t.clamp(x),
        lambda t, i, b, x: t.cumprod(x, 5),
        lambda t, i, b, x: t.polygamma(-2, x),
        lambda t, i, b, x: t.std(i),
        lambda t, i, b, x: t.mean(i),
        lambda t, i, b, x: t.amax(x[:0]),
    ],
)
def test_what_pytorch_refuses_is_refused(f):
    with pytest.raises(Exception) as theirs:
        f(TORCH, *map(torch.from_numpy, (INTS, BOOLS, HOLES)))
    with pytest.raises(type(theirs.value)) as ours:
        f(TRACEC, *map(TRACEC.from_numpy, (INTS, BOOLS, HOLES)))
    assert isinstance(ours.value, TracecError)


# Differences and quantiles ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x: (t.diff(x), x.diff(dim=0), t.diff(x, 2), t.diff(x, 9, 1), t.diff(x, 0)),
        lambda t, x: (t.diff(x, dim=1, prepend=x[:, :1], append=x[:, :2] * 2), t.diff(x > 0, dim=2)),
        lambda t, x: t.gradient(x),
        lambda t, x: t.gradient(x, dim=1, spacing=0.5),
        lambda t, x: t.gradient(x, dim=(0, 2), spacing=[2.0, 3], edge_order=1),
        lambda t, x: t.gradient(x, dim=2, edge_order=2),
        lambda t, x: t.gradient(x, dim=2, spacing=(x[0, 0].detach().exp().cumsum(0),)),
        lambda t, x: t.gradient(x, dim=(2,), spacing=(x[0, 0].detach().exp().cumsum(0),), edge_order=2),
        lambda t, x: (t.trapezoid(x), t.trapz(x, dx=0.5, dim=0), t.trapezoid(x, x[0, 0].cumsum(0))),
        lambda t, x: (t.trapezoid(x, x * x, dim=1), t.trapezoid(x, x[0, :, 0], dim=1), t.trapezoid(x[:, :0], dim=1)),
        lambda t, x: (t.cumulative_trapezoid(x, dim=1), t.cumulative_trapezoid(x, x.cumsum(-1)), t.trapezoid(x, x[0])),
    ],
)
def test_differences(f):
    agree(f, (2, 3, 5))


def test_differences_of_integers():
    agree(lambda t, x: (t.diff(x), t.trapezoid(x), t.trapezoid(x, x), t.gradient(x, dim=1)[0]), INTS)


@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize("name", ["quantile", "nanquantile"])
def test_quantiles(name, interpolation):
    shares = np.array([0.0, 0.1, 0.5, 0.625, 1.0])

    def f(t, x, q):
        take, how = getattr(t, name), {"interpolation": interpolation}
        return (
            take(x, 0.4, **how), take(x, 0.3, 1, **how), take(x, q.detach(), 0, True, **how),
            take(x, 0.5, keepdim=True, **how), take(x[0, 0], q.detach(), **how),
            getattr(x, name)(q[1].detach(), dim=-1, **how),
        )  # fmt: skip

    agree(f, (2, 4, 5), shares)
    agree(lambda t, x: (getattr(t, name)(x, 0.5, 1), getattr(t, name)(x, 0.25, 0)), HOLES[:2])


@pytest.mark.parametrize(
    "f",
    [
        lambda t, i, x: t.diff(x[0, 0]),
        lambda t, i, x: t.diff(x, -1),
        lambda t, i, x: t.diff(x, prepend=x[0]),
        lambda t, i, x: t.gradient(x, edge_order=3),
        lambda t, i, x: t.gradient(x, spacing=[1.0, 2.0, 3.0]),
        lambda t, i, x: t.gradient(x[:1]),
        lambda t, i, x: t.trapezoid(x, x[0, :2]),
        lambda t, i, x: t.trapezoid(i > 0),
        lambda t, i, x: t.quantile(i, 0.5),
        lambda t, i, x: t.quantile(x, 1.5),
        lambda t, i, x: t.quantile(x, t.tensor([0.5, 2.0]).double()),
        lambda t, i, x: t.quantile(x, t.tensor([0.5])),
        lambda t, i, x: t.quantile(x[:0], 0.5),
        lambda t, i, x: t.quantile(x, 0.5, interpolation="cubic"),
    ],
)
def test_what_is_no_difference_and_no_quantile(f):
    with pytest.raises(Exception) as theirs:
        f(TORCH, *map(torch.from_numpy, (INTS, ZEROS)))
    with pytest.raises(type(theirs.value)) as ours:
        f(TRACEC, *map(TRACEC.from_numpy, (INTS, ZEROS)))
    assert isinstance(ours.value, TracecError)


def test_the_larger_by_its_name():
    agree(lambda t, x: (t.max(x, other=x * 0), t.min(x, other=x * 0), t.max(x, dim=1, keepdim=True)), (3, 4))


# Edges ------------------------------------------------------------------------------------------------

GRID = np.array([0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3.7, -3.7, 1e-30, -1e-30, 1e30, -1e30, 100, -100, np.nan])
INFINITE = np.array([np.inf, -np.inf])
#: PyTorch has NaN where these are infinite.
NOT_OF_INFINITY = {"i0", "special.i1"}
OF_ONE = """
    abs acos acosh asin asinh atan atanh ceil cos cosh deg2rad digamma erf erfc erfinv exp exp2 expm1 fix floor frac i0
    isfinite isinf isnan isneginf isposinf isreal lgamma log log10 log1p log2 logical_not logit nan_to_num neg positive
    rad2deg reciprocal round rsqrt sgn sigmoid sign signbit sin sinc sinh sqrt square tan tanh trunc special.erfcx
    special.ndtr special.log_ndtr special.i0e special.i1 special.i1e special.entr special.ndtri
"""
OF_TWO = """
    add sub mul div floor_divide remainder fmod pow float_power maximum minimum fmax fmin atan2 hypot copysign logaddexp
    logaddexp2 ldexp xlogy special.xlog1py heaviside eq ne lt le gt ge logical_and logical_or logical_xor nextafter
"""


def _named(t, name):
    for part in name.split("."):
        t = getattr(t, part)
    return t


@pytest.mark.parametrize("name", OF_ONE.split())
def test_edges_of_one(name):
    grid = GRID if name in NOT_OF_INFINITY else np.concatenate([GRID, INFINITE])
    agree(lambda t, x: _named(t, name)(x.detach()), grid)
    agree(lambda t, x: _named(t, name)(x.detach()), grid.astype(np.float32), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", OF_TWO.split())
def test_edges_of_two(name):
    grid = np.concatenate([GRID, INFINITE])
    agree(lambda t, x, y: _named(t, name)(x.detach(), y.detach()), grid[:, None], grid)


@pytest.mark.parametrize("name", ["floor", "ceil", "round", "trunc", "positive", "neg"])
def test_bools_are_refused(name):
    for t, x in ((torch, torch.from_numpy(BOOLS)), (TRACEC.module, TRACEC.from_numpy(BOOLS))):
        with pytest.raises(RuntimeError):
            getattr(t, name)(x)


@pytest.mark.parametrize("name", ["var", "std", "var_mean", "std_mean"])
def test_unbiased_and_correction_are_two_names_of_one_thing(name):
    for library in (tracec, torch):
        f, x = getattr(library, name), library.ones(3, 4)
        for call in (
            lambda f=f, x=x: f(x, unbiased=True, correction=1),
            lambda f=f, x=x: f(x, 0, False, correction=1),
            lambda f=f, x=x: f(x, False, correction=1),
        ):
            with pytest.raises(TypeError):
                call()
    agree(
        lambda t, x: (getattr(t, name)(x, dim=0, unbiased=False), getattr(t, name)(x, dim=0, correction=None)), (3, 4)
    )
