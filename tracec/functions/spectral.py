"""Short-time Fourier transforms: the spectra of windows that slide over a signal, and back."""

from __future__ import annotations

import math
from typing import Any, NoReturn

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.functions.common import cast, check_tensor, fail, integers, reshaped
from tracec.functions.padding import pad
from tracec.ir import dtype as dt
from tracec.ir.source import warn
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.check import check_none
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor

#: What windows added up must at least come to, so that a signal can be divided by it.
_LEAST = 1e-11


@tensor_method
@under_autocast(FLOAT32)
def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """The short-time Fourier transform: of frames of a signal, a hop apart, times a window.

    Args:
        input: The signal, ``(L)`` or ``(B, L)``, floating or complex.
        n_fft: Points of each frame.
        hop_length: Points from one frame to the next; by default ``n_fft // 4``.
        win_length: Points of the window, in the middle of each frame; by default ``n_fft``.
        window: ``(win_length)``; by default ones, which PyTorch, and this function, warn of.
        center: Pad the signal by half a frame on both sides, so that frame t is about point ``t · hop_length``.
        pad_mode: How, as in `pad`.
        normalized: Divide by the square root of ``n_fft``.
        onesided: Only the first half of each spectrum; by default where signal and window are real.
        return_complex: False for real and imaginary parts along a last axis; must be given for real input.
        align_to_window: Without ``center``: start with the window, not with the frame, at the signal's start.

    Returns:
        ``(B?, n_fft // 2 + 1, T)`` or ``(B?, n_fft, T)`` for T frames, complex.

    Raises:
        ArgumentError: the sizes do not fit, or ``return_complex`` is missing.
        DTypeError: the signal is neither float32, float64 nor complex.
    """
    check_tensor("stft", input)
    if not input.dtype.is_differentiable:
        _refuse(f"stft: expected a tensor of floating point or complex values, got {input.dtype.name}", "cast it first")
    if input.ndim not in (1, 2):
        fail(ShapeError, f"stft: expected a 1D or 2D tensor, shape is {tuple(input.shape)}", "give (L) or (B, L)")
    if center and align_to_window is not None:
        _refuse("stft: align_to_window should only be set when center = false", "leave it away")
    frame, hop, width = _sizes("stft", n_fft, hop_length, win_length)
    if hop < 1:
        _refuse(f"stft: expected hop_length > 0, but got hop_length={hop}", "give 1 or more")
    weights = _weights("stft", input, window, frame, width)
    parts = input.dtype.is_complex or (weights is not None and weights.dtype.is_complex)
    if return_complex is None and not parts:
        _refuse("stft: requires the return_complex parameter be given for real inputs", "give return_complex=True")
    if onesided and parts:
        _refuse("stft: cannot have onesided output if window or input is complex", "leave onesided away")
    half = not parts if onesided is None else onesided

    x = reshaped(input, (1, *input.shape)) if input.ndim == 1 else input
    x = _padded(x, frame, width, center, bool(align_to_window), pad_mode)
    frames = ops.windows(x, size=(frame,), stride=(hop,), dilation=(1,))
    spectra = _transformed(frames if weights is None else ops.mul(frames, weights), half, normalized)
    out = ops.transpose(spectra, perm=(0, 2, 1))
    if input.ndim == 1:
        out = reshaped(out, tuple(out.shape[1:]))
    if return_complex is False:
        warn("stft: return_complex=False is deprecated; view_as_real gives the parts of a complex result", UserWarning)
        return ops.view_as_real(out)
    return out


def _refuse(message: str, hint: str) -> NoReturn:
    fail(ArgumentError, message, hint)


def _sizes(name: str, n_fft: int, hop_length: int | None, win_length: int | None) -> tuple[int, int, int]:
    """Points of a frame, of a hop and of the window."""
    (frame,) = integers(name, (n_fft,), "n_fft")
    (hop,) = integers(name, (frame // 4 if hop_length is None else hop_length,), "hop_length")
    (width,) = integers(name, (frame if win_length is None else win_length,), "win_length")
    if frame < 1:
        _refuse(f"{name}: expected n_fft > 0, but got n_fft={frame}", "give the points of a frame")
    if not 0 < width <= frame:
        _refuse(f"{name}: expected 0 < win_length <= n_fft, but got win_length={width}", f"n_fft is {frame}")
    return frame, hop, width


def _weights(name: str, x: Tensor, window: Tensor | None, frame: int, width: int) -> Tensor | None:
    """The window in the middle of a frame, zeros around it; None where all weights are one."""
    if window is None:
        warn(
            f"{name}: a window was not provided. A rectangular window will be applied, which is known to cause "
            "spectral leakage; hann_window makes another one",
            UserWarning,
        )
        if width == frame:
            return None
        window = ops.full(1, (width,), x.dtype.to_real(), str(x.device))
    check_tensor(name, window, "window")
    if tuple(window.shape) != (width,):
        fail(
            ShapeError,
            f"{name}: expected a 1D window tensor of size equal to win_length={width}, its shape is "
            f"{tuple(window.shape)}",
            "give a window of that many points, or win_length=",
        )
    left = (frame - width) // 2
    return ops.pad(window, low=(left,), high=(frame - width - left,), value=0) if width < frame else window


def _padded(x: Tensor, frame: int, width: int, center: bool, align: bool, mode: str) -> Tensor:
    """The signal as the frames are cut from it."""
    if center:
        x = pad(reshaped(x, (1, *x.shape)), (frame // 2, frame // 2), mode)
        x = reshaped(x, tuple(x.shape[1:]))
    elif align:
        margin = (frame - width) // 2
        x = pad(x, (margin, margin))
    if frame > x.shape[1]:
        _refuse(
            f"stft: expected 0 < n_fft <= {x.shape[1]}, but got n_fft={frame}", "a frame is no longer than the signal"
        )
    return x


def _transformed(frames: Tensor, half: bool, normalized: bool) -> Tensor:
    """The spectra of frames along the last axis."""
    if frames.dtype in (dt.float16, dt.bfloat16):
        fail(DTypeError, f"stft: unsupported dtype {frames.dtype.name}", "cast it with .float() first")
    scale = 1.0 / math.sqrt(frames.shape[2]) if normalized else 1.0
    if half:
        return ops.rfft(frames, axis=2, scale=scale)
    return ops.fft(cast(frames, frames.dtype.to_complex()), axes=(2,), scale=scale)


@tensor_method
def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal whose `stft` comes nearest to what is given, in the sense of least squares.

    Args:
        input: ``(n_fft // 2 + 1, T)`` or ``(n_fft, T)``, complex, perhaps with a batch axis in front.
        n_fft: Points of each frame, as in `stft`; the following too.
        hop_length: Points from one frame to the next.
        win_length: Points of the window.
        window: ``(win_length)``; by default ones.
        center: The frames were taken from a padded signal.
        normalized: The spectra were divided by the square root of ``n_fft``.
        onesided: There is half of each spectrum; by default where there are not ``n_fft`` terms.
        length: Points of the signal; zeros fill up what the frames do not reach.
        return_complex: The signal or the window was complex, and so is the result.

    Returns:
        ``(B?, length)``.

    Raises:
        ArgumentError: the sizes do not fit, or the windows add up to nothing somewhere.
        DTypeError: the input is not complex.

    Source: Griffin and Lim, "Signal estimation from modified short-time Fourier transform", 1984, eq. 6.
    """
    frame, hop, half = _check_spectra(input, n_fft, hop_length, win_length, onesided)
    width = frame if win_length is None else win_length
    weights = _weights("istft", input, window, frame, width)
    if weights is None:
        weights = ops.full(1, (frame,), input.dtype.to_real(), str(input.device))
    if return_complex and half:
        _refuse("istft: cannot have onesided output if window or input is complex", "give onesided=False")
    if weights.dtype.is_complex and not return_complex:
        _refuse("istft: complex windows are incompatible with return_complex=False", "give return_complex=True")

    spectra = reshaped(input, (1, *input.shape)) if input.ndim == 2 else input
    spectra = ops.transpose(spectra, perm=(0, 2, 1))
    scale = 1.0 / math.sqrt(frame) if normalized else 1.0 / frame
    if return_complex:
        frames = ops.fft(spectra, axes=(2,), inverse=True, scale=scale)
    else:
        terms = (*spectra.shape[:2], frame // 2 + 1)
        spectra = ops.slice(spectra, starts=(0, 0, 0), stops=terms, steps=(1, 1, 1))
        frames = ops.irfft(spectra, axis=2, size=frame, scale=scale)
    out = _overlapped(frames, weights, hop, center, length)
    return reshaped(out, tuple(out.shape[1:])) if input.ndim == 2 else out


def _check_spectra(
    x: Tensor, n_fft: int, hop_length: int | None, win_length: int | None, onesided: bool | None
) -> tuple[int, int, bool]:
    """Points of a frame and of a hop, and whether there is half of each spectrum."""
    check_tensor("istft", x)
    if not x.dtype.is_complex:
        fail(
            DTypeError,
            f"istft: requires a complex-valued input tensor matching the output from stft, got {x.dtype.name}",
            "use view_as_complex",
        )
    if x.ndim not in (2, 3):
        fail(ShapeError, f"istft: expected 2 or 3 dimensions, shape is {tuple(x.shape)}", "give (N, T) or (B, N, T)")
    if not x.numel():
        _refuse(f"istft: input tensor cannot be empty, shape is {tuple(x.shape)}", "give at least one frame")
    frame, hop, width = _sizes("istft", n_fft, hop_length, win_length)
    if not 0 < hop <= width:
        _refuse(f"istft: expected 0 < hop_length <= win_length, but got hop_length={hop}", f"win_length is {width}")
    terms = x.shape[-2]
    half = terms != frame if onesided is None else onesided
    if terms != (frame // 2 + 1 if half else frame):
        _refuse(
            f"istft: expected the frequency dimension (last but one) to match "
            f"{'n_fft / 2 + 1' if half else 'n_fft'} when onesided={half}, but got {terms} for n_fft={frame}",
            "give the n_fft of the stft",
        )
    return frame, hop, half


def _overlapped(frames: Tensor, weights: Tensor, hop: int, center: bool, length: int | None) -> Tensor:
    """Frames (B, T, N) times weights, added up at their places and divided by the squares of the weights there."""
    _, count, size = tuple(frames.shape)
    reach = size + hop * (count - 1)
    start = size // 2 if center else 0
    stop = start + length if length is not None else reach - start
    inside = min(stop, reach)
    if inside <= start:
        _refuse(f"istft: nothing is left of {reach} points from {start} to {stop}", "give a positive length")

    def added(x: Tensor) -> Tensor:
        whole = ops.fold(x, shape=(reach,), stride=(hop,), dilation=(1,))
        return ops.slice(whole, starts=(0, start), stops=(whole.shape[0], inside), steps=(1, 1))

    squares = ops.expand(ops.mul(weights, weights), shape=(1, count, size))
    envelope = added(squares)
    check_none(ops.lt(ops.abs(envelope), _LEAST), _no_gap)
    out = ops.div(added(ops.mul(frames, weights)), envelope)
    if stop > reach:
        warn(
            "istft: the length of signal is shorter than the length parameter. Result is being padded with zeros in "
            "the tail. Please check your center and hop_length settings",
            UserWarning,
        )
        out = ops.pad(out, low=(0, 0), high=(0, stop - reach), value=0)
    return out


def _no_gap(_: Any) -> NoReturn:
    """Refuse windows that leave points out."""
    _refuse("istft: window overlap add min: 1: squares of windows add up to 0 somewhere", "use smaller hops")
