"""float16 to float32 and back: NumPy does it one element at a time, and takes a hundred times as long for tiny ones.

Each subnormal result sets a flag of the processor's there, and gradients are full of them. Here a table widens, and
additions round: that of a power of two as far above the number as its last bit in float16 is above the last in float32.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

#: So many elements are worth more than one pass; so many at once stay in the processor's caches.
_MANY, _PART = 1 << 13, 1 << 15
_BITS = np.uint32
_SINGLE, _HALF = np.dtype(np.float32), np.dtype(np.float16)


@cache
def _every() -> Any:
    """Each float16, by its bits, as float32."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


def widened(x: Any) -> Any:
    """An array as float32."""
    if type(x) is not np.ndarray or x.dtype != _HALF or x.size < _MANY or not x.flags.c_contiguous:
        return x.astype(np.float32)
    return _every().take(x.view(np.uint16))


def narrowed(x: Any, dtype: Any) -> Any:
    """An array in a 16-bit type, rounded to the nearest, half way to even."""
    if type(x) is not np.ndarray or dtype != _HALF or x.dtype != _SINGLE or x.size < _MANY or not x.flags.c_contiguous:
        return x.astype(dtype)
    out = np.empty(x.shape, np.float16)
    lines, into = x.reshape(-1), out.reshape(-1).view(np.uint16)
    for start in range(0, x.size, _PART):
        _narrow(lines[start : start + _PART], into[start : start + _PART])
    return out


def _narrow(x: Any, into: Any) -> None:
    """The bits of float32 numbers as float16.

    Source: Dukhan, ``fp16_ieee_from_fp32_value`` of the FP16 library, 2017, on how an addition rounds.
    """
    bits = x.view(_BITS)
    twice = bits + bits  # without the sign
    exponent = twice & _BITS(0xFF000000)
    np.maximum(exponent, _BITS(0x71000000), out=exponent)  # that of the least normal float16
    exponent >>= _BITS(1)
    exponent += _BITS(0x07800000)
    rounded = np.abs(x)
    rounded *= np.float32(2.0**112)  # what is too large becomes infinite
    rounded *= np.float32(2.0**-110)
    rounded += exponent.view(np.float32)
    found = rounded.view(_BITS)
    np.right_shift(found, _BITS(13), out=exponent)
    exponent &= _BITS(0x7C00)
    found &= _BITS(0xFFF)
    found += exponent
    nan = twice > _BITS(0xFF000000)
    if nan.any():
        found[nan] = 0x7E00
    np.right_shift(bits, _BITS(16), out=twice)
    twice &= _BITS(0x8000)
    np.bitwise_or(twice, found, out=into, casting="unsafe")
