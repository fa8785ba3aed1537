"""Complex numbers: functions, views of parts, element types, gradients; against PyTorch and against NumPy."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

import tracec
from tests.functions.test_fourier import slopes
from tracec.errors import ArgumentError, DTypeError, GradientError, ShapeError

RNG = np.random.default_rng(0)
Z = RNG.standard_normal((3, 4)) + 1j * RNG.standard_normal((3, 4))
W = RNG.standard_normal(4) - 1j * RNG.standard_normal(4)

# What they are ----------------------------------------------------------------------------------------


def test_element_types():
    assert tracec.cfloat is tracec.complex64 and tracec.cdouble is tracec.complex128
    for dtype, part in ((tracec.complex64, tracec.float32), (tracec.complex128, tracec.float64)):
        assert dtype.is_complex and dtype.is_signed and not dtype.is_floating_point
        assert dtype.to_real() is part and part.to_complex() is dtype and dtype.itemsize == 2 * part.itemsize
        x = tracec.zeros(2, dtype=dtype)
        assert x.is_complex() and tracec.is_complex(x) and not x.is_floating_point()
    assert tracec.float16.to_complex() is tracec.bfloat16.to_complex() is tracec.complex64
    with pytest.raises(ArgumentError, match="there are no complex numbers of int64"):
        tracec.int64.to_complex()


def test_tensors_of_complex_numbers():
    x = tracec.tensor([1 + 2j, 3, -1j])
    assert x.dtype is tracec.complex64
    assert x.tolist() == [1 + 2j, 3 + 0j, -1j] and x[1].item() == 3 + 0j and complex(x[0]) == 1 + 2j
    assert tracec.tensor(2j).dtype is tracec.complex64
    assert tracec.tensor(Z).dtype is tracec.complex128
    assert tracec.tensor([1, 2.5], dtype=tracec.complex128).tolist() == [1 + 0j, 2.5 + 0j]
    shared = tracec.from_numpy(array := Z.copy())
    shared[0, 0] = 5j
    assert array[0, 0] == 5j and np.from_dlpack(shared)[0, 0] == 5j
    assert tracec.full((2,), 1 - 1j).tolist() == [1 - 1j] * 2
    assert tracec.ones(2, dtype=tracec.cfloat).tolist() == [1, 1]
    assert tracec.eye(2, dtype=tracec.cfloat).tolist() == [[1, 0], [0, 1]]
    assert tracec.linspace(0, 1 + 1j, 3).tolist() == [0, 0.5 + 0.5j, 1 + 1j]
    assert x.cdouble().dtype is tracec.complex128 and x.to(tracec.cfloat) is x
    assert tracec.tensor([1.5]).cfloat().tolist() == [1.5 + 0j]
    assert tracec.tensor([1, 2j]).bool().tolist() == [True, True] and x.int().tolist() == [1, 3, 0]
    assert repr(tracec.tensor([1 + 2j, -0.5j])) == "tensor([1.+2.0000j, -0.-0.5000j])"


def test_copies_and_pickles():
    x = tracec.tensor(Z)
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.clone(), x.T.contiguous().T):
        assert y.dtype is x.dtype and tracec.equal(x, y)


def test_default_dtype_has_complex_numbers_of_its_own():
    tracec.set_default_dtype(tracec.float64)
    try:
        assert tracec.tensor(1j).dtype is tracec.tensor([1j]).dtype is tracec.complex128
        assert (tracec.tensor([1]) + 1j).dtype is tracec.complex128
    finally:
        tracec.set_default_dtype(tracec.float32)


def test_random_numbers():
    tracec.manual_seed(0)
    x = tracec.randn(20000, dtype=tracec.cfloat)
    assert x.dtype is tracec.complex64
    assert x.real.var().item() == pytest.approx(0.5, rel=0.05) and x.imag.var().item() == pytest.approx(0.5, rel=0.05)
    y = tracec.rand_like(x)
    for part in (y.real, y.imag):
        assert 0 <= part.min() < 0.01 and 0.99 < part.max() < 1
    y.normal_(2.0, 3.0)
    assert y.real.mean().item() == pytest.approx(2, abs=0.1) and y.imag.mean().item() == pytest.approx(0, abs=0.1)
    assert y.var().item() == pytest.approx(9, rel=0.05)
    y.uniform_(-1, 3)
    assert y.real.min() < -0.9 and y.imag.max() > 2.9


# Parts ------------------------------------------------------------------------------------------------


def test_parts_are_views():
    x = tracec.tensor(Z)
    x.real[0] = 7.0
    x.imag.mul_(2.0)
    expected = Z.copy()
    expected.real[0] = 7.0
    expected.imag *= 2
    assert x.numpy().tolist() == expected.tolist()
    pairs = tracec.view_as_real(x)
    assert pairs.shape == (3, 4, 2) and pairs.stride() == (8, 2, 1)
    pairs[1, 1, 1] = -3.0
    assert x[1, 1].item().imag == -3.0
    tracec.view_as_complex(pairs)[2, 0] = 1j
    assert x[2, 0].item() == 1j
    x.real = 0.0
    x.imag = tracec.arange(4.0, dtype=tracec.float64)
    assert x.tolist() == [[0, 1j, 2j, 3j]] * 3
    turned = x.T
    turned.real[1] = 5.0
    assert x[:, 1].tolist() == [5 + 1j] * 3
    real = tracec.ones(2)
    assert real.real is real and real.conj() is real and tracec.real(real) is real


def test_writes_through_parts_have_gradients():
    x = tracec.tensor(Z, requires_grad=True)
    y = x * 1.0
    y.real[0] = y.imag[1] * 2
    y.imag.add_(y.real)
    (y.abs() ** 2).sum().backward()

    def value(a):
        b = a.copy()
        b.real[0] = b.imag[1] * 2
        b.imag += b.real
        return (np.abs(b) ** 2).sum()

    np.testing.assert_allclose(x.grad.numpy(), slopes(value, Z), rtol=1e-6, atol=1e-7)


def test_complex_of_parts():
    a, b = tracec.tensor([1.0, -0.0]), tracec.tensor([[2.0], [-0.0]])
    z = tracec.complex(a, b)
    assert z.dtype is tracec.complex64 and z.tolist() == [[1 + 2j, 2j], [1 - 0j, -0j]]
    assert math.copysign(1, z[1, 1].item().imag) == math.copysign(1, z[1, 1].item().real) == -1
    assert tracec.complex(a.double(), b.double()).dtype is tracec.complex128
    p = tracec.polar(tracec.tensor(2.0), tracec.tensor(math.pi / 2))
    assert p.item() == pytest.approx(2j, abs=1e-6)
    assert tracec.isreal(tracec.tensor([1, 1j])).tolist() == [True, False]
    assert tracec.isreal(a).tolist() == [True, True]
    assert tracec.angle(tracec.tensor([-1.0, 2.0, math.nan])).tolist()[:2] == [pytest.approx(math.pi), 0]
    assert tracec.sgn(tracec.tensor([3 + 4j, 0])).tolist() == [pytest.approx(0.6 + 0.8j), 0]
    x = tracec.tensor(Z)
    assert not x.is_conj() and not x.is_neg() and x.resolve_conj() is x.resolve_neg() is x
    np.testing.assert_array_equal(x.mH.numpy(), Z.conj().T)
    np.testing.assert_array_equal(x.H.numpy(), Z.conj().T)
    np.testing.assert_array_equal(x[None].adjoint().numpy(), Z.conj().T[None])
    x.conj_physical_()
    np.testing.assert_array_equal(x.numpy(), Z.conj())


# Against NumPy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["exp", "expm1", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sqrt", "square",
     "abs", "angle", "conj", "reciprocal", "isnan", "isinf", "isfinite", "isreal", "exp2"],
)  # fmt: skip
def test_functions_are_numpys(name):
    with np.errstate(all="ignore"):
        x = np.array([*Z.ravel(), complex(math.nan, 1), complex(1, math.inf), 0.5, 1j])
        # A number times an infinite one is NaN in part.
        x = x[np.isfinite(x)] if name in ("log2", "log10") else x
        np.testing.assert_allclose(getattr(tracec, name)(tracec.tensor(x)).numpy(), getattr(np, name)(x), rtol=1e-12)


@pytest.mark.parametrize("name", ["asin", "acos", "atan", "asinh", "acosh", "atanh"])
def test_inverse_functions_are_numpys(name):
    x = np.concatenate([Z.ravel() * 2, Z.ravel() / 10, Z.ravel() * 1e-9])
    np.testing.assert_allclose(getattr(tracec, name)(tracec.tensor(x)).numpy(), getattr(np, f"arc{name[1:]}")(x), 1e-12)


def test_reductions_and_products():
    x, w = tracec.tensor(Z), tracec.tensor(W)
    for found, expected in (
        (x.sum(0), Z.sum(0)), (x.prod(), Z.prod()), (x.mean(1), Z.mean(1)), (x.cumsum(1), Z.cumsum(1)),
        (x.var(), Z.var(ddof=1)), (x.std(0, unbiased=False), Z.std(0)), (x @ w, Z @ W), (x.mH @ x, Z.conj().T @ Z),
        (tracec.vdot(w, x[0]), np.vdot(W, Z[0])), (tracec.dot(w, x[0]), W @ Z[0]), (w.norm(), np.linalg.norm(W)),
        (tracec.einsum("ij,j->i", x, w), Z @ W), (tracec.cov(x), np.cov(Z)), (tracec.corrcoef(x), np.corrcoef(Z)),
        (x**2, Z**2), (x**w, Z**W), (2**x, 2**Z), (x / w, Z / W), (1j / x, 1j / Z), (x == x.T.T, Z == Z),
    ):  # fmt: skip
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)
    assert x.var().dtype is x.norm().dtype is x.abs().dtype is tracec.float64


def test_comparisons():
    x = tracec.tensor(Z)
    near = x * (1 + 1e-9)
    assert tracec.allclose(x, near) and not tracec.equal(x, near) and not tracec.allclose(x, x + 1e-3j)
    nan = tracec.tensor([complex(math.nan, 1)])
    assert not tracec.allclose(nan, nan) and tracec.allclose(nan, nan, equal_nan=True)
    assert tracec.isfinite(tracec.tensor(1.7e308 + 1.7e308j, dtype=tracec.cdouble))
    assert (x != x.conj()).all() and not (x == 1).any()
    assert tracec.count_nonzero(tracec.tensor([0, 1j, 1])).item() == 2
    assert tracec.nan_to_num(tracec.tensor([complex(math.nan, 2)])).tolist() == [2j]


def test_written_in_place():
    x = tracec.tensor([1.0, 2.0]).cfloat()
    x += 1j
    x[0] *= 2
    x[1] = 4
    assert x.tolist() == [2 + 2j, 4]
    y = tracec.zeros(2)
    y.copy_(x)
    assert y.tolist() == [2, 4]
    assert tracec.where(tracec.tensor([True, False]), x, 1.0).tolist() == [2 + 2j, 1]
    assert x.masked_fill(tracec.tensor([True, False]), 3j).tolist() == [3j, 4]


# Gradients --------------------------------------------------------------------------------------------

LOSSES = {
    "modulus": lambda z: z.abs().sum(),
    "powers": lambda z: (z**3 + z**0.5 + z ** (1 - 2j) + 2.0**z).real.sum(),
    "quotient": lambda z: (z.exp() / (z.conj() + 3)).imag.sum(),
    "parts": lambda z: (z.real * z.imag**2).sum(),
    "angle": lambda z: (z.angle() * z.sgn().real).sum(),
    "product": lambda z: (z @ z.mH @ z).abs().sum(),
    "mixed": lambda z: (z.real.sin() * z).abs().prod(),
    "norm": lambda z: z.norm() * z.var() + z.mean().abs(),
    "inverse": lambda z: (z.asin() + z.acosh() + z.atanh() + z.log1p()).real.sum(),
    "rebuilt": lambda z: (tracec.complex(z.imag, z.abs()) * tracec.polar(z.real, z.imag)).imag.sum(),
    "where": lambda z: tracec.where(z.real > 0, z * z, z.conj()).real.sum(),
    "indexed": lambda z: (z[[0, 0, 2]].cumsum(0)[:, ::2].flip(0) * 1j).real.pow(2).sum(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_slopes(name):
    x = tracec.tensor(Z, requires_grad=True)
    LOSSES[name](x).backward()
    expected = slopes(lambda a: LOSSES[name](tracec.tensor(a)).item(), Z)
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["modulus", "quotient", "product", "norm"])
def test_gradients_of_gradients_are_slopes(name):
    def slope(a, create=False):
        x = a if isinstance(a, tracec.Tensor) else tracec.tensor(a, requires_grad=True)
        (g,) = tracec.autograd.grad(LOSSES[name](x), x, create_graph=create)
        return (g.real * 2 - g.imag * g.real).sum()

    x = tracec.tensor(Z, requires_grad=True)
    slope(x, create=True).backward()
    np.testing.assert_allclose(x.grad.numpy(), slopes(lambda a: slope(a).item(), Z), rtol=1e-5, atol=1e-6)


def test_real_tensors_get_real_gradients():
    a, b = tracec.tensor([1.0, 2.0], requires_grad=True), tracec.tensor([1j, 2 + 1j], requires_grad=True)
    (a * b).abs().sum().backward()
    assert a.grad.dtype is tracec.float32 and b.grad.dtype is tracec.complex64
    assert a.grad.tolist() == pytest.approx([1, math.sqrt(5)])


def test_gradients_are_given_for_complex_results():
    x = tracec.tensor([1 + 1j, 2], requires_grad=True)
    y = x * x
    (g,) = tracec.autograd.grad(y, x, grad_outputs=tracec.tensor([1j, 1]))
    assert g.tolist() == [1j * (2 - 2j), 4]
    with pytest.raises(GradientError, match="grad can be implicitly created only for real scalar outputs"):
        y.sum().backward()


def test_the_modulus_has_no_slope_at_zero():
    x = tracec.zeros(2, dtype=tracec.cfloat, requires_grad=True)
    (g,) = tracec.autograd.grad((x.abs() + x.sgn().real + x.angle()).sum(), x, create_graph=True)
    assert g.tolist() == [0, 0]
    (h,) = tracec.autograd.grad((g.real + g.imag).sum(), x)
    assert h.tolist() == [0, 0]


# Compiled ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_compiled(name):
    def step(x):
        loss = LOSSES[name](x)
        loss.backward()
        return loss, x.grad

    results = []
    for run in (step, tracec.compile(step)):
        for _ in range(2):
            x = tracec.tensor(Z, requires_grad=True)
            loss, grad = run(x)
            results.append((loss.item(), grad.numpy()))
    for loss, grad in results[1:]:
        assert loss == pytest.approx(results[0][0], rel=1e-12)
        np.testing.assert_allclose(grad, results[0][1], rtol=1e-9, atol=1e-12)


def test_compiled_writes_and_scalars():
    @tracec.compile
    def turn(x, factor):
        y = x * factor
        y.real[0] = 1.0
        y.imag.neg_()
        return y, y.abs().max()

    for factor in (2j, 2j, 1.5, 1.5, -0.0j, -0.0j):
        y, largest = turn(tracec.tensor(Z), factor)
        expected = Z * factor
        expected.real[0] = 1.0
        expected = expected.conj()
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12)
        assert largest.item() == pytest.approx(np.abs(expected).max())


def test_graphs_with_complex_constants_are_text():
    graph = tracec.trace(lambda x: x * (2 - 1j) + complex(0.0, math.inf), tracec.tensor(Z))
    graph = graph if hasattr(graph, "nodes") else graph.graph
    assert "c128(complex(2.0, -1.0))" in str(graph) and "complex(0.0, inf)" in str(graph)
    assert str(tracec.ir.parse(str(graph))) == str(graph)


def test_transforms():
    z, w = tracec.tensor(Z), tracec.tensor(Z[::-1].copy())
    f, numpys = lambda a: (a * a.conj() * a).sum(-1), lambda a: (a * a.conj() * a).sum(-1)
    np.testing.assert_allclose(tracec.vmap(f)(z).numpy(), numpys(Z), rtol=1e-12)
    _, moved = tracec.func.jvp(f, (z,), (w,))
    step = 1e-6 * Z[::-1]
    np.testing.assert_allclose(moved.numpy(), (numpys(Z + step) - numpys(Z - step)) / 2e-6, rtol=1e-6)
    _, pull = tracec.func.vjp(f, z)
    ct = tracec.tensor([1j, 2 - 1j, 0.5])
    np.testing.assert_allclose((pull(ct)[0].conj() * w).real.sum().item(), (ct.conj() * moved).real.sum().item())
    g = tracec.func.grad(lambda a: a.abs().sum())(z)
    np.testing.assert_allclose(g.numpy(), Z / np.abs(Z), rtol=1e-12)
    each = tracec.vmap(tracec.func.grad(lambda a: tracec.fft.fft(a).abs().sum()))(z)
    whole = tracec.func.grad(lambda a: tracec.fft.fft(a).abs().sum())(z)
    np.testing.assert_allclose(each.numpy(), whole.numpy(), rtol=1e-9, atol=1e-12)
    assert tracec.autograd.gradcheck(lambda a: (a * a.conj() + a.exp()).sin(), (z.clone().requires_grad_(),))


def test_modules_of_complex_numbers():
    layer = tracec.nn.Linear(4, 2, dtype=tracec.cdouble)
    x = tracec.tensor(Z)
    expected = Z @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-12)
    layer(x).abs().sum().backward()
    total = tracec.nn.utils.clip_grad_norm_(layer.parameters(), 0.5)
    assert total.dtype is tracec.float64
    assert sum((p.grad.abs() ** 2).sum().item() for p in layer.parameters()) == pytest.approx(0.25)
    assert tracec.nn.Linear(2, 2).to(tracec.cfloat).weight.dtype is tracec.complex64
    step = tracec.compile(lambda x: layer(x).abs().mean())
    optimizer = tracec.optim.Adam(layer.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = step(x)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


# Errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda z: z < z, DTypeError, "lt: takes real numbers and bools, c64 given"),
        (lambda z: z > 1j, DTypeError, "gt: takes real numbers and bools"),
        (lambda z: z.max(), DTypeError, "max: takes real numbers and bools"),
        (lambda z: z.argmin(), DTypeError, "argmin: takes real numbers and bools"),
        (lambda z: z.sort(), DTypeError, "argsort: complex64 has no order"),
        (lambda z: z.sign(), DTypeError, "sign: takes real numbers"),
        (lambda z: z // 2, DTypeError, "floor_div: takes real numbers"),
        (lambda z: z % 2, DTypeError, "remainder: takes real numbers"),
        (lambda z: z.clamp(0), DTypeError, "takes real numbers and bools"),
        (lambda z: tracec.erf(z), DTypeError, "erf: takes floats"),
        (lambda z: ~z, DTypeError, "bitwise_not: takes integers and bools"),
        (lambda z: tracec.atan2(z, z), DTypeError, "atan2: takes floats"),
        (lambda z: float(z[0]), ArgumentError, "float: value cannot be converted to type float"),
        (lambda z: int(z[0]), ArgumentError, "int: value cannot be converted to type int"),
        (lambda z: z.real.imag, ArgumentError, "imag: is not implemented for tensors with non-complex dtypes"),
        (lambda z: z.H, ArgumentError, "H: is only supported on matrices"),
        (lambda z: z.mH, ArgumentError, "mH: is only supported on matrices or batches of matrices"),
        (lambda z: z.real.add_(1j), DTypeError, "add_: result type complex64 can't be cast to .* float32"),
        (lambda z: z.real.fill_(1j), DTypeError, "fill_: value cannot be converted to type float32"),
        (lambda z: tracec.tensor(1j, dtype=tracec.float32), DTypeError, "complex number 1j does not fit in float32"),
        (lambda z: tracec.tensor([1j], dtype=tracec.float32), TypeError, "complex numbers do not fit in float32"),
        (lambda z: tracec.view_as_real(z.real), DTypeError, "view_as_real: is only supported for complex tensors"),
        (lambda z: tracec.view_as_complex(z), DTypeError, "view_as_complex: is only supported for float and double"),
        (lambda z: tracec.view_as_complex(tracec.ones(3)), ShapeError, "must have a last dimension of size 2"),
        (lambda z: tracec.view_as_complex(tracec.ones(2, 2).T), ArgumentError, "a last dimension with stride 1"),
        (lambda z: tracec.view_as_complex(tracec.ones(2, 3)[:, :2]), ArgumentError, "a stride divisible by 2"),
        (lambda z: tracec.complex(z, z), DTypeError, "complex: expected both inputs to be floats"),
        (lambda z: tracec.complex(tracec.ones(1), tracec.ones(1).double()), DTypeError, "expected object of dtype"),
        (lambda z: tracec.complex(tracec.ones(2), tracec.ones(3)), ShapeError, "do not broadcast"),
        (lambda z: tracec.polar(1.0, 2.0), TypeError, "polar: input must be a tensor"),
        (lambda z: tracec.func.jacrev(lambda a: a * a)(z), DTypeError, "jacrev: Expected all inputs to be real"),
        (lambda z: tracec.func.jacrev(lambda a: a * 1j)(z.real), DTypeError, "jacrev: Expected all outputs to be real"),
        (lambda z: tracec.func.jacfwd(lambda a: a.abs())(z), DTypeError, "jacfwd: Expected all inputs to be real"),
        (lambda z: tracec.func.jacfwd(lambda a: a * 1j)(z.real), DTypeError, "jacfwd: Expected all outputs to be real"),
        (lambda z: tracec.func.grad(lambda a: (a * a).sum())(z), GradientError, "only for real scalar outputs"),
        (lambda z: tracec.autograd.functional.jacobian(lambda a: a * a, z), GradientError, "only for real scalar"),
        (lambda z: tracec.Tensor([1j]), TypeError, "cannot make a tensor of this list"),
        (lambda z: tracec.arange(1j), TypeError, "arange: end must be a real number"),
    ],
)  # fmt: skip
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(tracec.tensor([1 + 2j, 3 - 1j]))


# Against PyTorch --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x, y: (x + y, x - 2j, 3 * x, x / y, x**2, x**y, 1j**x, -x, x * 0.5),
        lambda t, x, y: (x.exp(), x.log(), x.sqrt(), x.rsqrt(), x.sin(), x.cos(), x.tan(), x.sigmoid(), x.tanh()),
        lambda t, x, y: (x.asin(), x.acos(), x.atan(), x.asinh(), x.acosh(), x.atanh(), x.expm1(), x.log2()),
        lambda t, x, y: (x.abs(), x.angle(), x.sgn(), x.conj(), x.real, x.imag, t.view_as_real(x), x.square()),
        lambda t, x, y: (t.polar(x.real.abs(), x.imag), t.complex(x.real, y.imag), t.isreal(x), x.reciprocal()),
        lambda t, x, y: (x.sum(), x.sum(1), x.mean(0), x.prod(1), x.cumsum(0), x.var(1), x.std(), x.logsumexp(1)),
        lambda t, x, y: (x.norm(), x.norm(1), x.norm(dim=1), x.norm(3, 0), x.norm(float("inf")), t.dist(x, y)),
        lambda t, x, y: (x @ y.mH, t.vdot(x[0], y[0]), t.outer(x[0], y[0]), t.einsum("ij,ij->i", x, y.conj()), x.H),
        lambda t, x, y: (t.addmm(x @ y.mH, x, y.mH, alpha=2j, beta=1 - 1j), t.addmv(x[:, 0], x, y[0], beta=0.5j)),
        lambda t, x, y: (t.cat([x, y]), t.stack([x, y]), x.flip(0), x.roll(1, 1), x[:, 1:], x.T, x.tril()),
        lambda t, x, y: (t.where(x.real > 0, x, y), x.masked_fill(x.imag > 0, 1j), x[x.real > 0], x.diagonal()),
        lambda t, x, y: (x == y, x != y, t.isclose(x, y), t.equal(x, x), x.any(), x.isfinite(), t.count_nonzero(x)),
        lambda t, x, y: (x.real * y, t.logaddexp(x, y), t.cov(x), t.corrcoef(x), t.lerp(x, y, 0.25)),
        lambda t, x, y: (t.functional.pad(x, (1, 2)), t.functional.normalize(x), x.renorm(2, 0, 1), t.square(x)),
        lambda t, x, y: (t.functional.silu(x.detach()), t.nan_to_num(x.detach())),
        lambda t, x, y: (t.sinc(x), t.addcdiv(x, x, y, value=1j), t.addcmul(x, x, y), x.logcumsumexp(1), x.cumprod(0)),
    ],
)  # fmt: skip
def test_values_and_gradients_are_pytorchs(f):
    pytest.importorskip("torch")
    from tests.functions.compare import agree

    agree(f, Z, RNG.standard_normal((3, 4)) - 1j * RNG.standard_normal((3, 4)), rtol=1e-8, atol=1e-9)
