"""Arithmetic, rounding and statistics against NumPy, eagerly and compiled; derivatives against differences."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tracec as t

INF, NAN = math.inf, math.nan
RNG = np.random.default_rng(0)
X = RNG.uniform(-3, 3, (3, 5, 7))
Y = RNG.uniform(0.3, 3, (5, 1))
WHOLE = RNG.integers(-40, 40, (4, 9))
PARTS = RNG.integers(1, 12, (9,))
EDGES = np.array([0.0, -0.0, 1.5, -2.5, INF, -INF, NAN, 1e308, 5e-324, -1e-300])
HOLES = np.where(RNG.random((4, 6)) < 0.3, NAN, RNG.uniform(-2, 2, (4, 6)))

#: Name → what tracec computes, what NumPy computes, operands.
CASES = {
    "exp2": (t.exp2, np.exp2, X),
    "log2": (t.log2, np.log2, Y),
    "log10": (t.log10, np.log10, Y),
    "asinh": (t.asinh, np.arcsinh, EDGES),
    "acosh": (t.acosh, np.arccosh, 1 + Y),
    "atanh": (t.atanh, np.arctanh, X / 3),
    "hypot": (t.hypot, np.hypot, X * 1e200, Y * 1e200),
    "fmod": (t.fmod, np.fmod, X * 1e6, Y),
    "fmod of integers": (t.fmod, np.fmod, WHOLE, -PARTS),
    "remainder": (t.remainder, np.remainder, X, Y),
    "division to zero": (lambda x, y: t.div(x, y, rounding_mode="trunc"), lambda x, y: np.trunc(x / y), X, Y),
    "integers to zero": (
        lambda x, y: t.div(x, y, rounding_mode="trunc"), lambda x, y: np.trunc(x / y).astype(int), WHOLE, -PARTS
    ),
    "copysign": (t.copysign, np.copysign, X[0, 0], EDGES[:7]),
    "nextafter": (t.nextafter, np.nextafter, EDGES, EDGES[::-1]),
    "signbit": (t.signbit, np.signbit, EDGES[:6]),
    "fmax": (t.fmax, np.fmax, HOLES, HOLES[::-1]),
    "fmin": (t.fmin, np.fmin, HOLES, HOLES[::-1]),
    "gcd": (t.gcd, np.gcd, WHOLE, PARTS),
    "lcm": (t.lcm, np.lcm, WHOLE, PARTS),
    "ldexp": (t.ldexp, np.ldexp, X, PARTS[:7]),
    "float_power": (t.float_power, np.float_power, WHOLE, PARTS),
    "mantissa": (lambda x: t.frexp(x).mantissa, lambda x: np.frexp(x)[0], EDGES),
    "exponent": (lambda x: t.frexp(x).exponent, lambda x: np.where(np.isfinite(x), np.frexp(x)[1], 0), EDGES),
    "logaddexp2": (t.logaddexp2, np.logaddexp2, X * 400, Y),
    "heaviside": (lambda x: t.heaviside(x, x * 0 + 0.5), lambda x: np.heaviside(x, 0.5), X),
    "rounded": (lambda x: t.round(x, decimals=2), lambda x: np.round(x, 2), X),
    "clamp": (lambda x: t.clamp(x, -1, 1), lambda x: np.clip(x, -1, 1), EDGES),
    "lerp": (lambda x, y: t.lerp(x, y, 0.8), lambda x, y: x + 0.8 * (y - x), X, Y),
    "cumprod": (lambda x: t.cumprod(x, 1), lambda x: np.cumprod(x, 1), X),
    "cumprod of integers": (lambda x: t.cumprod(x % 5, 0), lambda x: np.cumprod(x % 5, 0), WHOLE),
    "logcumsumexp": (lambda x: t.logcumsumexp(x * 500, 2), lambda x: np.logaddexp.accumulate(x * 500, 2), X),
    "logcumsumexp of one axis": (lambda x: t.logcumsumexp(x, 0), lambda x: np.logaddexp.accumulate(x, 0), X),
    "logsumexp": (lambda x: t.logsumexp(x * 500, 1), lambda x: np.logaddexp.reduce(x * 500, 1), X),
    "nansum": (lambda x: t.nansum(x, 1), lambda x: np.nansum(x, 1), HOLES),
    "nanmean": (lambda x: t.nanmean(x, 0), lambda x: np.nanmean(x, 0), HOLES),
    "std": (lambda x: t.std(x, 1), lambda x: np.std(x, 1, ddof=1), X),
    "var": (lambda x: t.var(x, dim=(0, 2), correction=0), lambda x: np.var(x, (0, 2)), X),
    "any": (lambda x: t.any(x > 38, 1), lambda x: np.any(x > 38, 1), WHOLE),
    "all": (lambda x: t.all(x, dim=0), lambda x: np.all(x, 0), WHOLE),
    "count_nonzero": (lambda x: t.count_nonzero(x, 1), lambda x: np.count_nonzero(x, 1), WHOLE),
    "diff": (lambda x: t.diff(x, 2, dim=1), lambda x: np.diff(x, 2, 1), X),
    "gradient": (lambda x: t.gradient(x, dim=2, edge_order=2)[0], lambda x: np.gradient(x, axis=2, edge_order=2), X),
    "gradient at places": (
        lambda x, p: t.gradient(x, dim=1, spacing=(p.flatten().cumsum(0),), edge_order=2)[0],
        lambda x, p: np.gradient(x, np.cumsum(p), axis=1, edge_order=2), X, Y,
    ),
    "trapezoid": (
        lambda x, p: t.trapezoid(x, p.flatten(), dim=1), lambda x, p: np.trapezoid(x, p.ravel(), axis=1), X, Y
    ),
    "cumulative_trapezoid": (
        lambda x: t.cumulative_trapezoid(x, dx=0.5), lambda x: np.cumsum((x[..., 1:] + x[..., :-1]) / 4, -1), X
    ),
    "quantile": (lambda x: t.quantile(x, 0.3, 1), lambda x: np.quantile(x, 0.3, 1), X),
    "quantiles": (
        lambda x: t.quantile(x, t.tensor([0.1, 0.9], dtype=x.dtype)), lambda x: np.quantile(x, [0.1, 0.9]), X
    ),
    "nanquantile": (lambda x: t.nanquantile(x, 0.7, 0), lambda x: np.nanquantile(x, 0.7, 0), HOLES),
}  # fmt: skip


def replayed(f, *inputs):
    """What a function gives when its program runs: at the second call."""
    compiled = t.compile(f)
    compiled(*inputs)
    return compiled(*inputs)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", CASES)
def test_values(name, compiled):
    ours, numpy, *operands = CASES[name]
    with np.errstate(all="ignore"):
        expected = np.asarray(numpy(*operands))
    inputs = [t.tensor(x) for x in operands]
    found = (replayed(ours, *inputs) if compiled else ours(*inputs)).numpy()
    assert found.dtype.kind == expected.dtype.kind
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=5e-13 if expected.dtype.kind == "f" else 0)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 3), (3, 0), (1, 1)])
@pytest.mark.parametrize("f", [
    lambda x: t.cumprod(x, -1), lambda x: t.logcumsumexp(x, 0), lambda x: t.nansum(x), lambda x: t.exp2(x),
    lambda x: t.lgamma(x), lambda x: t.igamma(x + 1, x + 2), lambda x: t.any(x), lambda x: t.all(x, -1),
    lambda x: t.fmax(x, x), lambda x: t.frexp(x).mantissa, lambda x: t.special.zeta(x + 2, x + 1),
])  # fmt: skip
def test_small_shapes(f, shape):
    x = t.ones(shape, requires_grad=True)
    out = f(x.detach())
    assert out.shape in (x.shape, t.Size([]), x.shape[:-1])
    np.testing.assert_allclose(replayed(f, x.detach()).numpy(), out.numpy(), rtol=1e-6)


def slopes(f, x, step=1e-6):
    """The gradient of a sum with different weights, and differences of it."""
    weights = np.cos(np.arange(f(t.tensor(x)).numel())).reshape(tuple(f(t.tensor(x)).shape))

    def loss(x):
        return (f(x) * t.tensor(weights)).sum()

    leaf = t.tensor(x, requires_grad=True)
    loss(leaf).backward()
    numeric = np.empty_like(x)
    for i in np.ndindex(*x.shape):
        move = np.zeros_like(x)
        move[i] = step
        numeric[i] = (loss(t.tensor(x + move)).item() - loss(t.tensor(x - move)).item()) / (2 * step)
    return leaf.grad.numpy(), numeric


@pytest.mark.parametrize("f, x", [
    (lambda x: t.cumprod(x, 0), np.array([2.0, 0.0, 3.0, -1.5, 0.0, 2.0])),
    (lambda x: t.cumprod(x, 1), np.array([[0.0, 0.0, 1.0], [2.0, 3.0, 0.0], [1.5, -2.0, 0.5]])),
    (lambda x: t.cumprod(t.cumprod(x, 1), 0), X[:, :2, 0]),
    (lambda x: t.logcumsumexp(x, 0), np.array([-30.0, 2.0, 40.0, 1.0, 41.0])),
    (lambda x: t.logaddexp2(x, x.flip(0)), X[0, 0]),
    (lambda x: t.hypot(x, x * x), X[0, 0]),
    (lambda x: t.fmod(x, x * x + 0.3), X[0, 0]),
    (lambda x: t.copysign(x, x.flip(0)), X[0, 0]),
    (lambda x: t.quantile(x, 0.3, 1), X[0]),
    (lambda x: t.gradient(x, edge_order=2)[1], X[0]),
    (lambda x: t.trapezoid(x, x.exp(), dim=0), X[0]),
    (lambda x: t.frexp(x).mantissa, X[0]),
    (lambda x: t.std(x, 1), X[0]),
])  # fmt: skip
def test_gradients(f, x):
    found, numeric = slopes(f, x)
    np.testing.assert_allclose(found, numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("f, x, slope", [
    (lambda x: t.std(x), [2.0, 2.0], [0, 0]),
    (lambda x: x.clamp(1.0, 2.0).sum(), [1.0, 2.0, 0.5, 3.0], [1, 1, 0, 0]),
    (lambda x: t.fmax(x, t.ones(3)).sum(), [1.0, NAN, 2.0], [1, 0, 1]),
    (lambda x: x.amax(), [3.0, 1.0, 3.0], [0.5, 0, 0.5]),
    (lambda x: x.max(0).values, [3.0, 1.0, 3.0], [1, 0, 0]),
    (lambda x: t.aminmax(x).max, [3.0, 1.0, 3.0], [0.5, 0, 0.5]),
    (lambda x: t.logcumsumexp(x, 0).sum(), [-INF, -INF, 0.0], [0, 0, 1]),
])  # fmt: skip
def test_gradients_at_corners(f, x, slope):
    leaf = t.tensor(x, requires_grad=True)
    f(leaf).backward()
    assert leaf.grad.tolist() == slope


def test_integers_are_copied_by_roundings():
    x = t.tensor([1, 2])
    for f in (t.floor, t.ceil, t.round, t.trunc, t.nan_to_num):
        f(x).add_(1)
    assert x.tolist() == [1, 2]


def test_dtypes():
    byte, whole = t.tensor([1, 0], dtype=t.uint8), t.tensor([1, 0])
    assert t.any(byte).dtype is t.uint8 and t.all(byte, 0).dtype is t.uint8 and t.any(whole).dtype is t.bool
    assert t.cumprod(byte, 0).dtype is t.int64 and t.nansum(whole).dtype is t.int64
    assert t.logsumexp(whole, 0).dtype is t.float32 and t.copysign(whole, whole).dtype is t.float32
    assert t.float_power(byte, 2).dtype is t.float64 and t.frexp(t.ones(2)).exponent.dtype is t.int32


def test_axes_go_by_their_names_in_numpy_too():
    x = t.rand(2, 3)
    for ours, numpy in [
        (x.sum(axis=0), x.sum(dim=0)), (x.mean(axis=(0, 1), keepdims=True), x.mean(dim=(0, 1), keepdim=True)),
        (x.max(axis=1).values, x.max(dim=1).values), (x.argmax(axis=1), x.argmax(1)), (x.std(axis=1), x.std(1)),
        (t.cat([x, x], axis=1), t.cat([x, x], 1)), (t.stack([x, x], axis=2), t.stack([x, x], 2)),
        (t.sum(x, axis=1, out=t.empty(2)), x.sum(1)), (t.special.logsumexp(x, axis=0), x.logsumexp(0)),
    ]:  # fmt: skip
        assert t.equal(ours, numpy)
    assert replayed(lambda x: x.prod(axis=1, keepdims=True), x).shape == (2, 1)
    with pytest.raises(TypeError, match="a second time"):
        x.sum(dim=0, axis=0)
    with pytest.raises(TypeError, match="unexpected keyword"):
        x.sum(axes=0)


def test_tolerances_are_not_negative():
    with pytest.raises(RuntimeError, match="rtol must be"):
        t.isclose(t.ones(2), t.ones(2), rtol=-1.0)


@pytest.mark.parametrize("f", [
    lambda x, z: x // z, lambda x, z: x % z, lambda x, z: 7 // z, lambda x, z: t.fmod(x, z),
    lambda x, z: t.div(x, z, rounding_mode="trunc"), lambda x, z: t.floor_divide(x, z), lambda x, z: x.remainder(z),
    lambda x, z: x.clone().floor_divide_(z),
])  # fmt: skip
def test_integers_are_not_divided_by_zero(f):
    x, fine, zero = t.tensor([4, -5, 6]), t.tensor([1, 2, -3]), t.tensor([1, 0, 2])
    expected = f(x, fine)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        f(x, zero)
    compiled = t.compile(lambda x, z: f(x, z * 1))
    compiled(x, fine)
    assert compiled(x, fine).tolist() == expected.tolist()
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        compiled(x, zero)
    assert t.func.vmap(f)(x.reshape(3, 1), fine.reshape(3, 1)).flatten().tolist() == expected.tolist()


def test_numbers_as_divisors():
    x = t.tensor([4, -5])
    for f in (lambda: x // 0, lambda: x % False, lambda: t.fmod(x, 0), lambda: t.div(x, 0, rounding_mode="floor")):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            f()
    assert (x / 0).tolist() == [INF, -INF] and (x // 0.0).tolist() == [INF, -INF]


@pytest.mark.parametrize("alpha", [2, True, np.int64(2), t.tensor(2)])
def test_factors_of_a_sum(alpha):
    whole, bools = t.tensor([1, 2]), t.tensor([True, False])
    assert t.add(bools, bools, alpha=alpha).tolist() == [True, False]
    if alpha is True:
        with pytest.raises(t.errors.DTypeError, match="add: alpha=True is of another category than the operands"):
            t.add(whole, whole, alpha=alpha)
    else:
        assert t.sub(whole, whole, alpha=alpha).tolist() == [-1, -2]


def test_a_size_as_factor_of_a_sum():
    run = t.compile(lambda x: x.add(x, alpha=x.shape[0]))
    for n in (2, 3, 4, 5):
        assert run(t.arange(n)).tolist() == [k * (1 + n) for k in range(n)]


@pytest.mark.parametrize("alpha", ["a", None])
def test_factors_that_are_no_numbers(alpha):
    with pytest.raises(t.errors.ArgumentTypeError, match="add: takes tensors and numbers"):
        t.add(t.ones(2), t.ones(2), alpha=alpha)


@pytest.mark.parametrize("divide", [lambda a, b: a // b, lambda a, b: a % b, lambda a, b: a.fmod(b)])
def test_a_zero_between_other_divisors_is_seen_where_the_program_computes_them(divide):
    f = t.compile(lambda a, x: divide(a, (x * 1.0).long()))
    a = t.tensor([7, 8, 9])
    for divisors in ([1.0, 2.0, 4.0], [2.0, -3.0, 4.0]):
        x = t.tensor(divisors)
        assert f(a, x).tolist() == divide(a, x.long()).tolist()
    for divisors in ([-1.0, 0.0, 2.0], [0.0, 1.0, 2.0], [-2.0, -1.0, 0.0]):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            f(a, t.tensor(divisors))
