"""Fourier transforms: against NumPy, against PyTorch where it is there, and compiled."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentError, AxisError, DTypeError

ONE = {
    "fft": np.fft.fft, "ifft": np.fft.ifft, "rfft": np.fft.rfft, "irfft": np.fft.irfft, "hfft": np.fft.hfft,
    "ihfft": np.fft.ihfft,
}  # fmt: skip
OF_REAL = ("rfft", "ihfft")
RNG = np.random.default_rng(0)


def signal(shape, name=""):
    x = RNG.standard_normal(shape)
    return x if name.startswith(OF_REAL) else x + 1j * RNG.standard_normal(shape)


# Against NumPy ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [None, "forward", "backward", "ortho"])
@pytest.mark.parametrize("n", [None, 1, 4, 7, 12])
@pytest.mark.parametrize("name", ONE)
def test_one_axis(name, n, norm):
    for shape, dim in (((7,), -1), ((3, 8, 2), 1), ((1, 5), -1), ((6, 4, 3)[::-1], 0)):
        x = signal(shape, name)
        found = getattr(tracec.fft, name)(tracec.tensor(x), n=n, dim=dim, norm=norm).numpy()
        expected = ONE[name](x, n, dim, norm)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn"])
def test_several_axes(name):
    ours, theirs = getattr(tracec.fft, name), getattr(np.fft, name)
    x = signal((3, 4, 5), name)
    t = tracec.tensor(x)
    for s, dim in ((None, None), (None, (0, 2)), ((6, 3), (2, 1)), ((2, 7), (0, -1)), ((4,), (1,))):
        expected = theirs(x, s, dim)
        np.testing.assert_allclose(ours(t, s, dim).numpy(), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours(t, (2, 3)).numpy(), theirs(x, (2, 3), (1, 2)), rtol=1e-12, atol=1e-12)
    flat = getattr(tracec.fft, name[:-1] + "2")
    np.testing.assert_allclose(flat(t).numpy(), theirs(x, axes=(-2, -1)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_inverses(n):
    x = tracec.tensor(signal((3, n), "rfft"))
    z = tracec.tensor(signal((3, n)))
    f = tracec.fft
    for norm in ("forward", "backward", "ortho"):
        for there, back in ((f.fft, f.ifft), (f.fftn, f.ifftn), (f.fft2, f.ifft2)):
            np.testing.assert_allclose(back(there(z, norm=norm), norm=norm).numpy(), z.numpy(), atol=1e-12)
        np.testing.assert_allclose(f.irfft(f.rfft(x, norm=norm), n, norm=norm).numpy(), x.numpy(), atol=1e-12)
        np.testing.assert_allclose(f.hfft(f.ihfft(x, norm=norm), n, norm=norm).numpy(), x.numpy(), atol=1e-12)
        np.testing.assert_allclose(f.irfftn(f.rfftn(x, norm=norm), (3, n), norm=norm).numpy(), x.numpy(), atol=1e-12)
        np.testing.assert_allclose(f.hfftn(f.ihfftn(x, norm=norm), (3, n), norm=norm).numpy(), x.numpy(), atol=1e-12)


def test_element_types():
    f = tracec.fft
    for given, expected in (
        (tracec.int64, tracec.complex64), (tracec.bool, tracec.complex64), (tracec.float32, tracec.complex64),
        (tracec.float64, tracec.complex128), (tracec.complex64, tracec.complex64),
    ):  # fmt: skip
        x = tracec.ones(4, dtype=given)
        assert f.fft(x).dtype is f.fftn(x).dtype is expected
        assert f.irfft(x).dtype is f.hfft(x).dtype is expected.to_real()
        if not given.is_complex:
            assert f.rfft(x).dtype is f.ihfft(x).dtype is expected


def test_no_copies_where_nothing_repeats():
    x = tracec.tensor(signal((4, 6)))
    expected = np.fft.fft(x.numpy().T, axis=0)
    np.testing.assert_allclose(tracec.fft.fft(x.T, dim=0).numpy(), expected, atol=1e-12)
    assert tracec.fft.fft(tracec.zeros(0, 3)).shape == (0, 3)
    assert tracec.fft.rfft(tracec.zeros(0, 3)).shape == (0, 2)
    assert tracec.fft.fftn(tracec.tensor(2.0)).item() == 2


def test_frequencies():
    for n in (1, 2, 5, 8):
        np.testing.assert_allclose(tracec.fft.fftfreq(n, 0.1).numpy(), np.fft.fftfreq(n, 0.1), rtol=1e-6)
        np.testing.assert_allclose(tracec.fft.rfftfreq(n, d=2.0).numpy(), np.fft.rfftfreq(n, 2.0), rtol=1e-6)
        x = tracec.arange(n)
        assert tracec.fft.fftshift(x).tolist() == np.fft.fftshift(x.numpy()).tolist()
        assert tracec.fft.ifftshift(tracec.fft.fftshift(x)).tolist() == x.tolist()
    assert tracec.fft.fftfreq(4, dtype=tracec.float64).dtype is tracec.float64
    x = tracec.arange(12).reshape(3, 4)
    assert tracec.fft.fftshift(x, 0).tolist() == np.fft.fftshift(x.numpy(), 0).tolist()
    assert tracec.fft.ifftshift(x, (0, 1)).tolist() == np.fft.ifftshift(x.numpy()).tolist()


def test_out():
    out = tracec.empty(0, dtype=tracec.complex64)
    x = tracec.arange(4.0)
    assert tracec.fft.fft(x, out=out) is out
    assert out.tolist() == tracec.fft.fft(x).tolist()


# Gradients --------------------------------------------------------------------------------------------


def slopes(f, x, step=1e-6):
    """Derivatives of a real function by the real and imaginary part of each element."""
    found = np.zeros_like(x)
    for k in np.ndindex(x.shape):
        for unit in (1.0, 1.0j) if x.dtype.kind == "c" else (1.0,):
            moved = np.zeros_like(x)
            moved[k] = unit * step
            found[k] += unit * (f(x + moved) - f(x - moved)) / (2 * step)
    return found


@pytest.mark.parametrize("n", [None, 3, 8])
@pytest.mark.parametrize("name", [*ONE, "fftn", "irfftn", "ihfftn"])
def test_gradients_are_slopes(name, n):
    x = signal((2, 5), name)
    weights = np.arange(1.0, 41.0) % 7

    def loss(a):
        t = a if isinstance(a, tracec.Tensor) else tracec.tensor(a)
        out = getattr(tracec.fft, name)(t, (2, n) if n and name.endswith("n") else n)
        w = tracec.tensor(weights[: out.numel()].reshape(tuple(out.shape)))
        return ((out * w).abs() ** 2).sum()

    t = tracec.tensor(x, requires_grad=True)
    loss(t).backward()
    np.testing.assert_allclose(t.grad.numpy(), slopes(lambda a: loss(a).item(), x), rtol=1e-6, atol=1e-5)


def test_gradients_of_gradients():
    x = tracec.tensor(signal((6,), "rfft"), requires_grad=True)
    power = (tracec.fft.rfft(x).abs() ** 4).sum()
    (g,) = tracec.autograd.grad(power, x, create_graph=True)
    (h,) = tracec.autograd.grad((g * g).sum(), x)

    def squared(a):
        t = tracec.tensor(a, requires_grad=True)
        (g,) = tracec.autograd.grad((tracec.fft.rfft(t).abs() ** 4).sum(), t)
        return (g * g).sum().item()

    np.testing.assert_allclose(h.numpy(), slopes(squared, x.detach().numpy()), rtol=1e-5)


def test_compiled():
    def convolved(x, kernel):
        n = x.shape[-1] + kernel.shape[-1] - 1
        product = tracec.fft.rfft(x, n) * tracec.fft.rfft(kernel, n)
        return tracec.fft.irfft(product, n).relu()

    run = tracec.compile(convolved)
    x, k = tracec.tensor(signal((3, 20), "rfft")), tracec.tensor(signal((5,), "rfft"), requires_grad=True)
    for _ in range(2):
        expected = np.maximum([np.convolve(row, k.detach().numpy()) for row in x.numpy()], 0)
        found = run(x, k)
        np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-12)
    found.sum().backward()
    got, k.grad = k.grad, None
    convolved(x, k).sum().backward()
    np.testing.assert_allclose(got.numpy(), k.grad.numpy(), rtol=1e-12)


def test_under_autocast():
    x = tracec.ones(4, 4)
    with tracec.autocast("cpu", dtype=tracec.bfloat16):
        narrow = x @ x
        assert narrow.dtype is tracec.bfloat16
        assert tracec.fft.fft(narrow).dtype is tracec.complex64
        w = tracec.hann_window(4)
        assert tracec.stft(narrow[0], 4, window=w, return_complex=True).dtype is tracec.complex64


# Errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda f, x, z: f.rfft(z), DTypeError, "rfft: expects a real input tensor, but got complex64"),
        (lambda f, x, z: f.ihfftn(z), DTypeError, "ihfftn: expects a real input tensor"),
        (lambda f, x, z: f.fft(x.half()), DTypeError, "fft: unsupported dtype float16"),
        (lambda f, x, z: f.fft(x, n=0), ArgumentError, r"fft: invalid number of data points \(0\)"),
        (lambda f, x, z: f.fft(x, n=-1), ArgumentError, r"fft: invalid number of data points \(-1\)"),
        (lambda f, x, z: f.irfft(z[:, :1]), ArgumentError, r"irfft: invalid number of data points \(0\)"),
        (lambda f, x, z: f.fft(tracec.zeros(0)), ArgumentError, "fft: invalid number of data points"),
        (lambda f, x, z: f.fft(x, dim=2), AxisError, "fft: axis 2 is out of range"),
        (lambda f, x, z: f.fft(tracec.tensor(1.0)), AxisError, "fft: dimension specified as -1"),
        (lambda f, x, z: f.fft(x, norm="both"), ArgumentError, "fft: invalid normalization mode: 'both'"),
        (lambda f, x, z: f.fftn(x, dim=(0, -2)), ArgumentError, "fftn: FFT dims must be unique"),
        (lambda f, x, z: f.fftn(x, (2, 3), (0,)), ArgumentError, "fftn: when given, dim and shape arguments"),
        (lambda f, x, z: f.fftn(x, (1, 2, 3)), ArgumentError, "fftn: got shape with 3 values"),
        (lambda f, x, z: f.rfftn(x, dim=()), ArgumentError, "rfftn: must transform at least one axis"),
        (lambda f, x, z: f.fft(x, n=2.0), TypeError, "fft: n must be integers"),
        (lambda f, x, z: f.fft([1.0]), TypeError, "fft: input must be a tensor"),
        (lambda f, x, z: f.fftfreq(4.0), TypeError, "fftfreq: n must be integers"),
        (lambda f, x, z: f.fftshift(x, 3), AxisError, "fftshift: axis 3 is out of range"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(tracec.fft, tracec.ones(2, 3), tracec.ones(2, 3, dtype=tracec.complex64))


# Against PyTorch --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n + k for n in ONE for k in ("", "2", "n")])
def test_values_and_gradients_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    x = signal((3, 4, 5), name)
    sizes = {"s": (3, 7), "dim": (2, 0)} if name.endswith(("2", "n")) else {"n": 6, "dim": 1}
    for options in ({}, {"norm": "ortho"}, {"norm": "forward"}, sizes):
        results = []
        for t in (tracec, torch):
            z = t.tensor(x, requires_grad=True)
            out = getattr(t.fft, name)(z, **options)
            weights = t.tensor(np.cos(np.arange(out.numel())).reshape(tuple(out.shape)) * (1 - 0.5j))
            term = (out * weights).sum()
            (term.real + 2 * term.imag).backward()
            results.append((out.detach().resolve_conj().numpy(), z.grad.resolve_conj().numpy()))
        (ours, our_gradient), (theirs, their_gradient) = results
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(our_gradient, their_gradient, rtol=1e-11, atol=1e-11)
