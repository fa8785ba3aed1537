"""Window functions and short-time Fourier transforms: against their definitions, against PyTorch, compiled."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tracec
from tracec.errors import ArgumentError, DTypeError, ShapeError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*window was not provided"),
    pytest.mark.filterwarnings("ignore:.*return_complex=False is deprecated"),
]

WINDOWS = tracec.signal.windows
SIGNAL = np.random.default_rng(0).standard_normal((2, 47))

# Windows ----------------------------------------------------------------------------------------------


def test_windows_are_what_their_formulas_say():
    n = np.arange(9)
    expected = {
        "hann": np.sin(math.pi * n / 8) ** 2,
        "hamming": 0.54 - 0.46 * np.cos(2 * math.pi * n / 8),
        "blackman": np.blackman(9),
        "bartlett": np.bartlett(9),
        "kaiser": np.kaiser(9, 12.0),
        "cosine": np.sin(math.pi / 9 * (n + 0.5)),
        "gaussian": np.exp(-((n - 4) ** 2) / 2),
        "exponential": np.exp(-np.abs(n - 4)),
    }
    for name, values in expected.items():
        made = getattr(WINDOWS, name)
        assert made(9).dtype is tracec.float32
        np.testing.assert_allclose(made(9, dtype=tracec.float64).numpy(), values, atol=1e-15)
        np.testing.assert_allclose(made(8, sym=False).numpy(), made(9).numpy()[:8], atol=1e-7)
    for name in ("hann", "hamming", "blackman", "bartlett", "kaiser"):
        made = getattr(tracec, name + "_window")
        np.testing.assert_allclose(made(8, dtype=tracec.float64).numpy(), expected[name][:8], atol=1e-15)
        np.testing.assert_allclose(made(9, False).numpy(), expected[name], atol=1e-7)


@pytest.mark.parametrize("name", WINDOWS.__all__)
def test_short_windows(name):
    options = {"a": (0.5, 0.5)} if name == "general_cosine" else {}
    made = getattr(WINDOWS, name)
    assert made(0, **options).tolist() == []
    assert made(1, **options).tolist() == [1]
    w = made(2, dtype=tracec.float64, requires_grad=True, **options)
    assert w.requires_grad and w.shape == (2,) and w.dtype is tracec.float64


@pytest.mark.parametrize("name", WINDOWS.__all__)
def test_windows_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    given = {
        "exponential": [{}, {"tau": 2.5}, {"center": 1.5, "sym": False}],
        "gaussian": [{}, {"std": 0.4}],
        "kaiser": [{}, {"beta": 0.0}, {"beta": 3.5}],
        "general_hamming": [{}, {"alpha": 0.7}],
        "general_cosine": [{"a": [0.4, 0.3, 0.2]}],
    }
    for options in given.get(name, [{}]):
        for m in (1, 2, 5, 8):
            for sym in (True, False):
                if sym and "center" in options:
                    continue
                ours, theirs = (
                    getattr(t.signal.windows, name)(m, **{"sym": sym, "dtype": t.float64, **options}).numpy()
                    for t in (tracec, torch)
                )
                np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "bartlett", "kaiser"])
def test_windows_of_the_top_level_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    options = (2.5,) if name == "kaiser" else ()
    for m in (0, 1, 2, 7):
        for periodic in (True, False):
            ours, theirs = (
                getattr(t, name + "_window")(m, periodic, *options, dtype=t.float64) for t in (tracec, torch)
            )
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12, atol=1e-14)
    assert tracec.hamming_window(5, False, 0.5, 0.3).numpy() == pytest.approx(
        torch.hamming_window(5, False, 0.5, 0.3).numpy()
    )


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: tracec.hann_window(-1), ArgumentError, "hann_window: requires non-negative window length, got -1"),
        (lambda: tracec.hann_window(4.0), TypeError, "hann_window: window_length must be integers, float given"),
        (lambda: tracec.hann_window(4, dtype=tracec.int64), DTypeError, "hann_window: expects float16 or"),
        (lambda: WINDOWS.hann(4, dtype=tracec.float16), DTypeError, "hann: expects float32 or float64, got float16"),
        (lambda: WINDOWS.gaussian(3, std=0), ArgumentError, "Standard deviation must be positive, got: 0"),
        (lambda: WINDOWS.exponential(3, tau=-1), ArgumentError, "Tau must be positive, got: -1"),
        (lambda: WINDOWS.exponential(3, center=1.0), ArgumentError, "Center must be None for symmetric windows"),
        (lambda: WINDOWS.kaiser(3, beta=-1), ArgumentError, "beta must be non-negative, got: -1"),
        (lambda: WINDOWS.general_cosine(3, a=[]), ArgumentError, "Coefficients cannot be empty"),
        (lambda: WINDOWS.general_cosine(3, a=3), TypeError, "Coefficients must be a list/tuple"),
        (lambda: WINDOWS.hann(3, nonsense=1), TypeError, "unexpected keyword argument 'nonsense'"),
    ],
)
def test_errors_of_windows(make, error, text):
    with pytest.raises(error, match=text):
        make()


# Transforms -------------------------------------------------------------------------------------------


def frames_of(x, size, hop):
    return np.stack([x[..., k : k + size] for k in range(0, x.shape[-1] - size + 1, hop)], -1)


def test_stft_is_the_spectra_of_frames():
    x, w = tracec.tensor(SIGNAL), tracec.hann_window(8, dtype=tracec.float64)
    found = tracec.stft(x, 8, 3, window=w, center=False, return_complex=True)
    expected = np.fft.rfft(frames_of(SIGNAL, 8, 3) * w.numpy()[:, None], axis=1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    centered = x.stft(8, 3, window=w, return_complex=True, normalized=True)
    padded = np.pad(SIGNAL, ((0, 0), (4, 4)), "reflect")
    expected = np.fft.rfft(frames_of(padded, 8, 3) * w.numpy()[:, None], axis=1, norm="ortho")
    np.testing.assert_allclose(centered.numpy(), expected, atol=1e-12)
    whole = tracec.stft(x[0], 8, window=w, center=False, return_complex=True, onesided=False)
    expected = np.fft.fft(frames_of(SIGNAL[0], 8, 2) * w.numpy()[:, None], axis=0)
    np.testing.assert_allclose(whole.numpy(), expected, atol=1e-12)
    parts = tracec.stft(x, 8, window=w, return_complex=False)
    assert parts.shape == (2, 5, 24, 2) and parts.dtype is tracec.float64


@pytest.mark.parametrize("n_fft, hop, width", [(8, None, None), (8, 3, 7), (7, 2, 5), (16, 4, 9), (1, 1, 1)])
@pytest.mark.parametrize("normalized", [False, True])
def test_istft_gives_the_signal_back(n_fft, hop, width, normalized):
    window = tracec.hamming_window(width or n_fft, dtype=tracec.float64)
    for x in (tracec.tensor(SIGNAL), tracec.tensor(SIGNAL[1]), tracec.tensor(SIGNAL + 1j * SIGNAL[::-1])):
        z = tracec.stft(x, n_fft, hop, width, window, normalized=normalized, return_complex=True)
        y = z.istft(
            n_fft, hop, width, window, normalized=normalized, length=47, return_complex=x.is_complex(), onesided=None
        )
        assert y.dtype is x.dtype and y.shape == x.shape
        reached = min((z.shape[-1] - 1) * (hop or n_fft // 4) + (n_fft + 1) // 2, 47)
        np.testing.assert_allclose(y.numpy()[..., :reached], x.numpy()[..., :reached], atol=1e-12)


OPTIONS = [
    {},
    {"hop_length": 5},
    {"win_length": 6},
    {"win_length": 6, "center": False, "align_to_window": True},
    {"center": False},
    {"pad_mode": "constant"},
    {"pad_mode": "replicate", "normalized": True},
    {"onesided": False},
    {"return_complex": False},
    {"window": True},
    {"window": True, "win_length": 5},
    {"window": 1j},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_stft_is_pytorchs(options):
    torch = pytest.importorskip("torch")
    for signal in (SIGNAL, SIGNAL[0], SIGNAL * (1 - 0.5j)):
        if signal.dtype.kind == "c" and options.get("onesided") is not None:
            continue
        results = []
        for t in (tracec, torch):
            given = {"return_complex": True, **options}
            if "window" in given:
                width = given.get("win_length", 8)
                given["window"] = t.hann_window(width, dtype=t.float64) * given["window"]
            x = t.tensor(signal, requires_grad=True)
            out = t.stft(x, 8, **given)
            weights = t.tensor(np.cos(np.arange(out.numel())).reshape(tuple(out.shape)) * (1 - 0.5j))
            (out * weights).sum().real.backward()
            results.append((out.detach().numpy(), x.grad.resolve_conj().numpy()))
        (ours, our_gradient), (theirs, their_gradient) = results
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(our_gradient, their_gradient, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "options",
    [{}, {"center": False}, {"length": 30}, {"length": 60}, {"normalized": True}, {"onesided": True}],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*length of signal is shorter")
@pytest.mark.filterwarnings("ignore:.*The length of signal is shorter")
def test_istft_is_pytorchs(options):
    torch = pytest.importorskip("torch")
    spectra = np.fft.rfft(np.random.default_rng(1).standard_normal((2, 9, 8)), axis=-1).swapaxes(1, 2)
    results = []
    for t in (tracec, torch):
        z = t.tensor(spectra, requires_grad=True)
        y = t.istft(z, 8, 3, 8, t.hamming_window(8, dtype=t.float64), **options)
        (y * t.tensor(np.cos(np.arange(y.numel())).reshape(tuple(y.shape)))).sum().backward()
        results.append((y.detach().numpy(), z.grad.resolve_conj().numpy()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-10, atol=1e-12)


def test_gradient_flows_to_the_window():
    w = tracec.hann_window(6, dtype=tracec.float64, requires_grad=True)
    x = tracec.tensor(SIGNAL)

    def power(window):
        return (tracec.stft(x, 6, window=window, return_complex=True).abs() ** 2).sum()

    power(w).backward()
    for k in range(6):
        step = tracec.zeros(6, dtype=tracec.float64)
        step[k] = 1e-5
        slope = (power(w.detach() + step) - power(w.detach() - step)) / 2e-5
        assert w.grad[k].item() == pytest.approx(slope.item(), rel=1e-6, abs=1e-6)


def test_compiled():
    def denoised(x, window, threshold):
        z = tracec.stft(x, 8, window=window, return_complex=True)
        return tracec.istft(z * (z.abs() > threshold), 8, window=window, length=x.shape[-1])

    run = tracec.compile(denoised)
    x, w = tracec.tensor(SIGNAL), tracec.hamming_window(8, dtype=tracec.float64)
    for _ in range(2):
        np.testing.assert_allclose(run(x, w, 1.5).numpy(), denoised(x, w, 1.5).numpy(), atol=1e-12)
    for function in (run, tracec.compile(denoised)):
        with pytest.raises(ArgumentError, match="window overlap add min"):
            function(x, w * 0, 1.5)


def test_warnings():
    x = tracec.tensor(SIGNAL)
    with pytest.warns(UserWarning, match="stft: a window was not provided"):
        z = tracec.stft(x, 8, return_complex=True)
    with pytest.warns(UserWarning, match="istft: the length of signal is shorter"):
        y = tracec.istft(z, 8, window=tracec.ones(8, dtype=tracec.float64), length=80)
    assert y.shape == (2, 80) and not y[:, 60:].any()


@pytest.mark.parametrize(
    "options, error, text",
    [
        ({"return_complex": None}, ArgumentError, "stft: requires the return_complex parameter"),
        ({"hop_length": 0}, ArgumentError, "stft: expected hop_length > 0, but got hop_length=0"),
        ({"win_length": 9}, ArgumentError, "stft: expected 0 < win_length <= n_fft, but got win_length=9"),
        ({"window": tracec.ones(7)}, ShapeError, "stft: expected a 1D window tensor of size equal to win_length=8"),
        ({"n_fft": 0}, ArgumentError, "stft: expected n_fft > 0, but got n_fft=0"),
        ({"n_fft": 80, "center": False}, ArgumentError, "stft: expected 0 < n_fft <= 47, but got n_fft=80"),
        ({"n_fft": 200}, ArgumentError, "pad"),
        ({"n_fft": 8.5}, TypeError, "stft: n_fft must be integers"),
        ({"window": tracec.ones(8) * 1j, "onesided": True}, ArgumentError, "stft: cannot have onesided output"),
        ({"align_to_window": True}, ArgumentError, "stft: align_to_window should only be set when center = false"),
        ({"input": tracec.zeros(2, 2, 9)}, ShapeError, "stft: expected a 1D or 2D tensor"),
        ({"input": tracec.arange(40)}, ArgumentError, "stft: expected a tensor of floating point or complex values"),
        ({"input": tracec.zeros(40).half()}, DTypeError, "stft: unsupported dtype float16"),
    ],
)
def test_errors_of_stft(options, error, text):
    given = {"input": tracec.tensor(SIGNAL), "n_fft": 8, "return_complex": True, **options}
    with pytest.raises(error, match=text):
        tracec.stft(**given)


@pytest.mark.parametrize(
    "options, error, text",
    [
        ({"input": tracec.zeros(5, 9)}, DTypeError, "istft: requires a complex-valued input"),
        ({"input": tracec.zeros(5, dtype=tracec.complex64)}, ShapeError, "istft: expected 2 or 3 dimensions"),
        ({"input": tracec.zeros(5, 0, dtype=tracec.complex64)}, ArgumentError, "istft: input tensor cannot be empty"),
        ({"n_fft": 10}, ArgumentError, "istft: expected the frequency dimension"),
        ({"onesided": False}, ArgumentError, "to match n_fft when onesided=False, but got 5 for n_fft=8"),
        ({"hop_length": 9}, ArgumentError, "istft: expected 0 < hop_length <= win_length, but got hop_length=9"),
        ({"window": tracec.zeros(8)}, ArgumentError, "istft: window overlap add min: 1"),
        ({"return_complex": True}, ArgumentError, "istft: cannot have onesided output"),
        ({"window": tracec.ones(8) * 1j}, ArgumentError, "istft: complex windows are incompatible"),
        ({"length": 0}, ArgumentError, "istft: nothing is left"),
    ],
)
def test_errors_of_istft(options, error, text):
    given = {"input": tracec.ones(2, 5, 9, dtype=tracec.complex64), "n_fft": 8, **options}
    with pytest.raises(error, match=text):
        tracec.istft(**given)
