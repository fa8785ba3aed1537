"""What counts as an image, its sizes, and what all functions on images share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tracec
from tracec import DType, Tensor
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.vision.pillow import Image

#: An image of Pillow's, or a tensor ``(…, C, H, W)``; ``(H, W)`` counts as one channel.
Picture = Any


def is_pillow(image: Any) -> bool:
    """Whether it is Pillow's; else it is a tensor. `check_image` has looked at it before."""
    return isinstance(image, Image.Image)


def check_image(name: str, image: Any) -> bool:
    """Refuse what is neither an image of Pillow's nor a tensor of one; whether it is Pillow's.

    Raises:
        ArgumentTypeError: it is something else.
        ShapeError: it is a tensor without height and width.
    """
    if isinstance(image, Image.Image):
        return True
    if not isinstance(image, Tensor):
        raise ArgumentTypeError(
            f"{name}: an image is Pillow's or a tensor, {type(image).__name__} given",
            hint="make one of an array with to_pil_image(array) or to_tensor(array)",
        )
    if image.ndim < 2:
        raise ShapeError(
            f"{name}: a tensor of an image has shape (…, C, H, W), {tuple(image.shape)} given",
            hint="add the axes that are missing with x[None]",
        )
    return False


def channels_of(image: Picture) -> int:
    """How many channels it has."""
    if is_pillow(image):
        return len(image.getbands())
    return 1 if image.ndim == 2 else int(image.shape[-3])


def height_and_width(image: Picture) -> tuple[int, int]:
    """Its sizes, in this order."""
    if is_pillow(image):
        width, height = image.size
        return height, width
    return int(image.shape[-2]), int(image.shape[-1])


def get_dimensions(img: Picture) -> list[int]:
    """Channels, height and width."""
    check_image("get_dimensions", img)
    return [channels_of(img), *height_and_width(img)]


def get_image_size(img: Picture) -> list[int]:
    """Width and height."""
    check_image("get_image_size", img)
    return [*reversed(height_and_width(img))]


def get_image_num_channels(img: Picture) -> int:
    """Channels."""
    check_image("get_image_num_channels", img)
    return channels_of(img)


def greatest(dtype: DType) -> float:
    """The value of white: 1 of floats, the largest of integers."""
    return 1.0 if dtype.is_floating_point else 1 if dtype is tracec.bool else tracec.iinfo(dtype).max


def through_floats(image: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
    """What a function makes of a batch ``(N, C, H, W)`` of floats, in the shape and dtype of a tensor of images.

    Values of integers are rounded and kept in range.
    """
    lead, dtype = tuple(image.shape[:-3]), image.dtype
    batch = image[None, None] if image.ndim == 2 else image.reshape(-1, *image.shape[-3:])
    made = make(batch if dtype in (tracec.float32, tracec.float64) else batch.to(tracec.float32))
    if not dtype.is_floating_point and dtype is not tracec.bool:
        made = made.round().clamp(tracec.iinfo(dtype).min, tracec.iinfo(dtype).max)
    made = made.to(dtype)
    return made[0, 0] if image.ndim == 2 else made.reshape(*lead, *made.shape[1:])


def check_channels(name: str, image: Picture, allowed: Sequence[int]) -> None:
    """Refuse images of other numbers of channels.

    Raises:
        ShapeError: it has another one.
    """
    if (channels := channels_of(image)) not in allowed:
        raise ShapeError(
            f"{name}: takes images of {' or '.join(map(str, allowed))} channels, this one has {channels}",
            hint="its shape is (…, C, H, W)",
        )


def numbers(name: str, what: str, given: Any, counts: Sequence[int]) -> list[float]:
    """Numbers that are given as one or as a sequence, as a list.

    Raises:
        ArgumentTypeError: they are something else.
        ArgumentError: there are more or fewer of them than one of ``counts``.
    """
    if isinstance(given, (int, float, np.number)) and not isinstance(given, bool):
        return [given]  # type: ignore[list-item]
    if not isinstance(given, (list, tuple)) or not all(isinstance(n, (int, float, np.number)) for n in given):
        raise ArgumentTypeError(
            f"{name}: {what} is a number or a sequence of numbers, {given!r} given", hint=f"e.g. {what}=2"
        )
    if len(given) not in counts:
        raise ArgumentError(
            f"{name}: {what}={given!r} has {len(given)} numbers",
            hint=f"give {' or '.join(map(str, counts))}",
        )
    return list(given)


def pillow_fill(name: str, fill: Any, image: Image.Image) -> Any:
    """A colour as Pillow takes it: a number for an image of one channel, else a tuple.

    Raises:
        ArgumentError: there is not one number for each channel.
    """
    bands = len(image.getbands())
    values = [0] if fill is None else numbers(name, "fill", fill, (1, bands))
    values = values * bands if len(values) == 1 else values
    if image.mode != "F":
        values = [int(v) for v in values]
    return values[0] if bands == 1 else tuple(values)
