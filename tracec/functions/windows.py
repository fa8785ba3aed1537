"""Window functions, as PyTorch's top level and `tracec.signal.windows` have them.

The values are computed in double precision by NumPy: they depend on nothing but numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Unpack

import numpy as np

from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError
from tracec.functions.common import check_real, fail, integers
from tracec.functions.options import Options, create
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record.backend import Device, to_device
from tracec.record.create import of_numbers
from tracec.record.tensor import Tensor

#: From the position of each point, from 0 at the first to 1 at the end of the period, to the value there.
Curve = Callable[[Any], Any]


def _window(
    name: str,
    size: Any,
    periodic: bool,
    curve: Curve,
    options: Any,
    dtypes: tuple[DType, ...] = dt.FLOATS,
    single: float = 1.0,
) -> Tensor:
    """A window of so many points; a periodic one is the symmetric one of one point more, without that point.

    Args:
        name: The function, for errors.
        size: Number of points.
        periodic: Whether it is a periodic one.
        curve: The values.
        options: What the user gave by name.
        dtypes: Element types that there are.
        single: The value of a window of one point.
    """
    (count,) = integers(name, (size,), "window_length")
    if count < 0:
        fail(ArgumentError, f"{name}: requires non-negative window length, got {count}", "give 0 or more")
    last = count - 1 + bool(periodic)
    values = np.full(count, single) if count < 2 else curve(np.arange(count) / last)

    def make(dtype: DType, device: Device) -> Tensor:
        if dtype not in dtypes:
            takes = " or ".join(d.name for d in dtypes)
            fail(DTypeError, f"{name}: expects {takes}, got {dtype.name}", "leave dtype= away")
        return of_numbers(to_device(values.astype(dtype.numpy), device))

    return create(name, options, make, takes=Options)


def _cosines(*weights: float) -> Curve:
    """Cosines of multiples of the period with these weights, every other one negated."""

    def curve(at: Any) -> Any:
        return sum((-1) ** k * w * np.cos(2 * math.pi * k * at) for k, w in enumerate(weights))

    return curve


def _triangle(at: Any) -> Any:
    return 1 - np.abs(2 * at - 1)


def _kaiser(beta: float) -> Curve:
    def curve(at: Any) -> Any:
        return np.i0(beta * np.sqrt(1 - (2 * at - 1) ** 2)) / np.i0(beta)

    return curve


# The top level's --------------------------------------------------------------------------------------


def hann_window(window_length: int, periodic: bool = True, **options: Unpack[Options]) -> Tensor:
    """One period of a cosine, raised to lie between 0 and 1.

    Args:
        window_length: Number of points.
        periodic: Leave out the last point of the symmetric window of one point more, for use in transforms.
        **options: Element type, device and the like.
    """
    return _window("hann_window", window_length, periodic, _cosines(0.5, 0.5), options)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, **options: Unpack[Options]
) -> Tensor:
    """``alpha - beta · cos``; other arguments as `hann_window`."""
    return _window("hamming_window", window_length, periodic, _cosines(alpha, beta), options)


def blackman_window(window_length: int, periodic: bool = True, **options: Unpack[Options]) -> Tensor:
    """``0.42 - 0.5 · cos + 0.08 · cos`` of twice the angle; arguments as `hann_window`."""
    return _window("blackman_window", window_length, periodic, _cosines(0.42, 0.5, 0.08), options)


def bartlett_window(window_length: int, periodic: bool = True, **options: Unpack[Options]) -> Tensor:
    """A triangle; arguments as `hann_window`."""
    return _window("bartlett_window", window_length, periodic, _triangle, options)


def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, **options: Unpack[Options]) -> Tensor:
    """``i0(beta · sqrt(1 - t²)) / i0(beta)`` for t from -1 to 1; other arguments as `hann_window`."""
    check_real("kaiser_window", beta, "beta")
    return _window("kaiser_window", window_length, periodic, _kaiser(float(beta)), options)


# tracec.signal.windows --------------------------------------------------------------------------------
#
# Of all: ``M`` points; with ``sym=False`` the periodic window, which leaves out the last point of that of M + 1.


def _signal(name: str, m: Any, sym: bool, curve: Curve, options: Any, single: float = 1.0) -> Tensor:
    return _window(name, m, not sym, curve, options, (dt.float32, dt.float64), single)


def bartlett(M: int, *, sym: bool = True, **options: Unpack[Options]) -> Tensor:
    """A triangle."""
    return _signal("bartlett", M, sym, _triangle, options)


def blackman(M: int, *, sym: bool = True, **options: Unpack[Options]) -> Tensor:
    """`general_cosine` with weights 0.42, 0.5 and 0.08."""
    return _signal("blackman", M, sym, _cosines(0.42, 0.5, 0.08), options)


def cosine(M: int, *, sym: bool = True, **options: Unpack[Options]) -> Tensor:
    """Half a period of a sine, whose points lie in the middle of M equal parts."""
    count = M + (not sym and M > 1) if isinstance(M, int) else 1
    return _signal("cosine", M, True, lambda at: np.sin(math.pi / count * (0.5 + (M - 1) * at)), options)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, **options: Unpack[Options]
) -> Tensor:
    """``exp(-|n - center| / tau)``.

    Args:
        M: Number of points.
        center: Where the window is 1; by default its middle. Only for windows that are not symmetric.
        tau: Points on which it falls to 1 / e; positive.
        sym: Symmetric or periodic.
        **options: Element type, device and the like.

    Raises:
        ArgumentError: tau is not positive, or a symmetric window is given a center.
    """
    check_real("exponential", tau, "tau")
    if tau <= 0:
        fail(ArgumentError, f"exponential: Tau must be positive, got: {tau} instead", "give a positive number")
    if sym and center is not None:
        fail(ArgumentError, "exponential: Center must be None for symmetric windows", "give sym=False")
    curve = _around(M, sym, center, lambda n: np.exp(-np.abs(n) / tau))
    return _signal("exponential", M, sym, curve, options, single=math.exp(-abs(center or 0.0) / tau))


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, **options: Unpack[Options]) -> Tensor:
    """``exp(-(n / std)² / 2)``, n counted from the middle.

    Raises:
        ArgumentError: the standard deviation is not positive.
    """
    check_real("gaussian", std, "std")
    if std <= 0:
        fail(ArgumentError, f"gaussian: Standard deviation must be positive, got: {std} instead", "give a positive one")
    return _signal("gaussian", M, sym, _around(M, sym, None, lambda n: np.exp(-0.5 * (n / std) ** 2)), options)


def _around(count: Any, sym: bool, center: float | None, curve: Curve) -> Curve:
    """A curve over distances in points from the center, by default the middle of the window."""

    def placed(at: Any) -> Any:
        last = count - 1 + (not sym)
        return curve(at * last - (last / 2 if center is None else center))

    return placed


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, **options: Unpack[Options]) -> Tensor:
    """``i0(beta · sqrt(1 - t²)) / i0(beta)`` for t from -1 to 1.

    Raises:
        ArgumentError: beta is negative.
    """
    check_real("kaiser", beta, "beta")
    if beta < 0:
        fail(ArgumentError, f"kaiser: beta must be non-negative, got: {beta} instead", "give 0 or more")
    return _signal("kaiser", M, sym, _kaiser(float(beta)), options)


def hamming(M: int, *, sym: bool = True, **options: Unpack[Options]) -> Tensor:
    """`general_hamming` with alpha 0.54."""
    return _signal("hamming", M, sym, _cosines(0.54, 1 - 0.54), options)


def hann(M: int, *, sym: bool = True, **options: Unpack[Options]) -> Tensor:
    """`general_hamming` with alpha 0.5."""
    return _signal("hann", M, sym, _cosines(0.5, 0.5), options)


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, **options: Unpack[Options]) -> Tensor:
    """``alpha - (1 - alpha) · cos``."""
    check_real("general_hamming", alpha, "alpha")
    return _signal("general_hamming", M, sym, _cosines(alpha, 1 - alpha), options)


def nuttall(M: int, *, sym: bool = True, **options: Unpack[Options]) -> Tensor:
    """The four-term window of smallest sidelobes with continuous first derivative.

    Source: Nuttall, "Some windows with very good sidelobe behavior", 1981, eq. 38.
    """
    return _signal("nuttall", M, sym, _cosines(0.3635819, 0.4891775, 0.1365995, 0.0106411), options)


def general_cosine(M: int, *, a: Iterable[float], sym: bool = True, **options: Unpack[Options]) -> Tensor:
    """``Σ (-1)^k a[k] cos(2πk n / N)``.

    Raises:
        ArgumentTypeError: the weights are no sequence.
        ArgumentError: there are none.
    """
    if not isinstance(a, Iterable):
        fail(ArgumentTypeError, "general_cosine: Coefficients must be a list/tuple", "give a list of numbers")
    weights = tuple(a)
    if not weights:
        fail(ArgumentError, "general_cosine: Coefficients cannot be empty", "give one or more")
    return _signal("general_cosine", M, sym, _cosines(*weights), options)
