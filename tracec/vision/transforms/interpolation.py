"""How values between pixels are made."""

from __future__ import annotations

from enum import Enum
from typing import Any

from tracec.errors import ArgumentTypeError, UnsupportedError
from tracec.vision.pillow import Image


class InterpolationMode(Enum):
    """How values between pixels are made. Tensors know the first four; ``NEAREST`` alone where they are rotated."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


#: What Pillow calls them, and its numbers, which are taken as well.
PILLOW = {
    InterpolationMode.NEAREST: Image.Resampling.NEAREST,
    InterpolationMode.NEAREST_EXACT: Image.Resampling.NEAREST,
    InterpolationMode.BILINEAR: Image.Resampling.BILINEAR,
    InterpolationMode.BICUBIC: Image.Resampling.BICUBIC,
    InterpolationMode.BOX: Image.Resampling.BOX,
    InterpolationMode.HAMMING: Image.Resampling.HAMMING,
    InterpolationMode.LANCZOS: Image.Resampling.LANCZOS,
}
_NUMBERS = {int(number): mode for mode, number in reversed(PILLOW.items())}


def interpolation_mode(name: str, given: Any) -> InterpolationMode:
    """The mode that was given, as itself or as a number of Pillow's.

    Raises:
        ArgumentTypeError: it is neither.
    """
    if isinstance(given, InterpolationMode):
        return given
    if isinstance(given, int) and int(given) in _NUMBERS:
        return _NUMBERS[int(given)]
    raise ArgumentTypeError(
        f"{name}: interpolation is an InterpolationMode, {given!r} given", hint="e.g. InterpolationMode.BILINEAR"
    )


def of_tensors(name: str, mode: InterpolationMode, allowed: tuple[InterpolationMode, ...]) -> str:
    """The mode's name, for a tensor.

    Raises:
        UnsupportedError: tensors are not interpolated so.
    """
    if mode not in allowed:
        raise UnsupportedError(
            f"{name}: interpolation={mode.value} of a tensor",
            hint=f"tensors know {', '.join(known.value for known in allowed)}; images of Pillow know all",
        )
    return mode.value
