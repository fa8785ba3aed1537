"""Special functions: values with nearly all digits, edges, derivatives, and the same where they are compiled."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tracec
from tests.functions.special_values import DERIVATIVES, EDGES, EDGES_OF_TWO, INF, NAN, VALUES, VALUES_OF_TWO
from tracec.errors import ArgumentError, GradientError


def named(name):
    found = tracec
    for part in name.split("."):
        found = getattr(found, part)
    return found


def replayed(compiled, *arguments):
    """What a compiled function gives when its program runs: at the second call."""
    compiled(*arguments)
    return compiled(*arguments)


def columns(table, dtype):
    """The arguments of a table, each as one array, and the values."""
    keys = [k if isinstance(k, tuple) else (k,) for k in table]
    return [np.array(c, dtype) for c in zip(*keys, strict=True)], np.array(list(table.values()))


def close(found, expected, dtype, units=8):
    """Within units in the last place."""
    assert found.dtype == dtype
    with np.errstate(over="ignore"):
        rounded = expected.astype(dtype)
    np.testing.assert_allclose(found, rounded, rtol=units * float(np.finfo(dtype).eps), atol=np.finfo(dtype).tiny)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", [*VALUES, *VALUES_OF_TWO])
def test_values(name, dtype):
    arguments, expected = columns((VALUES | VALUES_OF_TWO)[name], dtype)
    found = named(name)(*map(tracec.from_numpy, arguments)).numpy()
    # Of an incomplete gamma function far out, the exponent of its size is rounded too.
    close(found, expected, dtype, units=120 if name.startswith("igamma") and dtype is np.float64 else 8)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", [*EDGES, *EDGES_OF_TWO])
def test_edges(name, dtype):
    arguments, expected = columns((EDGES | EDGES_OF_TWO)[name], dtype)
    found = named(name)(*map(tracec.from_numpy, arguments)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_compiled_is_eager(dtype):
    tables = VALUES | VALUES_OF_TWO
    names = [n for n in tables if not n.startswith("igamma")]
    arguments = [columns(tables[n], dtype)[0] for n in names]

    functions = [named(n) for n in names]

    @tracec.compile
    def all_of_them(inputs):
        return [f(*x) for f, x in zip(functions, inputs, strict=True)]

    results = replayed(all_of_them, [list(map(tracec.tensor, a)) for a in arguments])
    for name, found, xs in zip(names, results, arguments, strict=True):
        eager = named(name)(*map(tracec.tensor, xs)).numpy()
        np.testing.assert_allclose(found.numpy(), eager, rtol=12 * np.finfo(dtype).eps, err_msg=name)


def test_incomplete_gamma_functions_are_called_from_compiled_programs():
    a, x = tracec.tensor([[0.5], [3.0], [40.0]]), tracec.tensor([0.5, 2.0, 45.0], requires_grad=True)

    def f(a, x):
        return (tracec.igamma(a, x * 1.0) * tracec.igammac(a, x)).sum()

    f(a, x).backward()
    grad, x.grad = x.grad, None
    value = replayed(tracec.compile(f), a, x)
    value.backward()
    np.testing.assert_allclose(value.item(), f(a, x).item(), rtol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), grad.numpy(), rtol=1e-5)


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives(name):
    low, high = DERIVATIVES[name]
    x = np.random.default_rng(0).uniform(low, high, 30)
    t = tracec.tensor(x, requires_grad=True)
    (slope,) = tracec.autograd.grad(named(name)(t).sum(), [t], create_graph=True)
    (curve,) = tracec.autograd.grad(slope.sum(), [t])
    step = 1e-5
    up, down = (tracec.tensor(x + s, requires_grad=True) for s in (step, -step))
    numeric = (named(name)(up) - named(name)(down)) / (2 * step)
    np.testing.assert_allclose(slope.detach().numpy(), numeric.detach().numpy(), rtol=1e-6, atol=1e-8)
    slopes = [tracec.autograd.grad(named(name)(v).sum(), [v])[0].numpy() for v in (up, down)]
    np.testing.assert_allclose(curve.numpy(), (slopes[0] - slopes[1]) / (2 * step), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name, at, slope", [
    ("sinc", 0.0, 0.0), ("sinc", 1e-9, -math.pi**2 / 3 * 1e-9), ("special.i1", 0.0, 0.5), ("special.i1e", 0.0, 0.5),
    ("special.entr", 0.0, INF), ("erfinv", 1.0, INF), ("special.log_ndtr", -40.0, 40.02496886),
])  # fmt: skip
def test_derivatives_at_edges(name, at, slope):
    x = tracec.tensor(at, dtype=tracec.float64, requires_grad=True)
    named(name)(x).backward()
    np.testing.assert_allclose(x.grad.item(), slope, rtol=1e-8)


def test_at_a_zero_the_sign_tells_the_side():
    assert tracec.digamma(tracec.tensor([0.0, -0.0])).tolist() == [-INF, INF]
    assert tracec.lgamma(tracec.tensor(-0.0)).item() == INF


def test_next_to_zeros_of_the_left_side_the_terms_are_exact():
    x = tracec.tensor([-2.75, -2.4570247382208006, -3.143580888349980], dtype=tracec.float64)
    expected = [0.004487897535955773, 0.0, 0.0]
    np.testing.assert_allclose(tracec.lgamma(x).numpy(), expected, rtol=0, atol=2e-15)


def test_polygamma():
    x = tracec.tensor([0.5, 1.0, 3.5, -0.75], dtype=tracec.float64)
    expected = {
        0: [-1.9635100260214235, -0.5772156649015329, 1.103156640645243, -2.894120200042932],
        1: [4.934802200544679, 1.6449340668482264, 0.3303577561002349, 18.975106932284888],
        3: [97.40909103400244, 6.493939402266829, 0.07030584881725205, 1557.7451069721515],
    }
    for n, values in expected.items():
        np.testing.assert_allclose(tracec.polygamma(n, x).numpy(), values, rtol=1e-14)
        np.testing.assert_array_equal(x.polygamma(n).numpy(), tracec.polygamma(n, x).numpy())
    with pytest.raises(ArgumentError, match="negative n"):
        tracec.polygamma(-1, x)
    assert tracec.polygamma(1, tracec.tensor([1, 2])).dtype is tracec.float32


def test_gradients_that_nobody_knows_are_refused_and_the_others_given():
    a, x = (tracec.tensor(v, requires_grad=True) for v in (2.0, 3.0))
    for f in (tracec.igamma, tracec.igammac, tracec.special.zeta):
        tracec.autograd.grad(f(a.detach(), x), [x])
        with pytest.raises(GradientError, match="only that by its second operand"):
            f(a, x).backward()


def test_products_with_logarithms():
    x = tracec.tensor([0.0, 0.0, 0.0, 0.0, 2.0, 0.0], dtype=tracec.float64, requires_grad=True)
    y = tracec.tensor([0.0, -1.0, NAN, 2.0, 0.5, INF], dtype=tracec.float64, requires_grad=True)
    out = tracec.xlogy(x, y)
    np.testing.assert_allclose(out.detach().numpy(), [0, 0, NAN, 0, 2 * math.log(0.5), 0])
    out.sum().backward()
    # Where the logarithm is finite, a factor of 0 has a gradient.
    np.testing.assert_allclose(x.grad.numpy(), [0, 0, NAN, math.log(2), math.log(0.5), 0])
    np.testing.assert_allclose(tracec.special.xlog1py(x, y - 1).detach().numpy()[3:5], [0, 2 * math.log(0.5)])
    assert tracec.xlogy(2, tracec.tensor([1.0])).tolist() == [0.0]


def test_logit():
    x = tracec.tensor([-0.5, 0.0, 0.25, 1.0, 1.5], requires_grad=True)
    np.testing.assert_allclose(tracec.logit(x).detach().numpy(), [NAN, -INF, math.log(1 / 3), INF, NAN], rtol=1e-6)
    out = tracec.logit(x, eps=0.1)
    out.sum().backward()
    np.testing.assert_allclose(out.detach().numpy(), np.log([1 / 9, 1 / 9, 1 / 3, 9, 9]), rtol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), [0, 0, 1 / (0.25 * 0.75), 0, 0], rtol=1e-6)


def test_names():
    x, out = tracec.tensor([0.5]), tracec.empty(1)
    for here, there in (("psi", "digamma"), ("gammaln", "lgamma"), ("gammainc", "igamma"), ("expit", "sigmoid")):
        arguments = (x,) if here != "gammainc" else (x, x)
        assert named(f"special.{here}")(*arguments).tolist() == named(there)(*arguments).tolist()
    assert tracec.special.ndtri(x, out=out) is out and out.item() == 0.0
    assert x.clone().lgamma_().item() == x.lgamma().item()
    np.testing.assert_allclose(tracec.mvlgamma(tracec.tensor([3.0]), 2).item(), 1.5501949787139893, rtol=1e-6)
    with pytest.raises(ArgumentError, match="p has to be"):
        tracec.mvlgamma(x, 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_floats_are_computed_in_float32(dtype):
    x = tracec.tensor([0.25, 0.5, 0.75, 1.0], dtype=getattr(tracec, dtype))
    functions = [named(n) for n in EDGES]
    program = tracec.compile(lambda x: [f(x) for f in functions])
    for name, compiled in zip(EDGES, replayed(program, x), strict=True):
        expected = named(name)(x.float()).to(x.dtype)
        assert tracec.equal(named(name)(x), expected), name
        assert tracec.equal(compiled, expected), name
