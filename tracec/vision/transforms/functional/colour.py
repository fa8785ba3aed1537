"""Brightness, contrast, saturation, hue, and what else is done to values where they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tracec
from tracec import Tensor
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError
from tracec.vision.pillow import Image, ImageEnhance, ImageOps
from tracec.vision.transforms.functional.conversion import convert_image_dtype
from tracec.vision.transforms.functional.images import (
    Picture,
    channels_of,
    check_channels,
    check_image,
    greatest,
)

#: How much each colour counts in what is seen as light: ITU-R BT.601.
_LUMA = (0.2989, 0.587, 0.114)


def _check_factor(name: str, what: str, factor: Any) -> float:
    if not isinstance(factor, (int, float, np.number)) or isinstance(factor, bool):
        raise ArgumentTypeError(f"{name}: {what} is a number, {type(factor).__name__} given", hint="1 changes nothing")
    if not factor >= 0:
        raise ArgumentError(f"{name}: {what}={factor!r} is negative", hint="1 changes nothing")
    return float(factor)


def _blend(one: Tensor, other: Tensor, ratio: float) -> Tensor:
    """``ratio`` of the one and the rest of the other, in range and in the one's dtype."""
    mixed = one * ratio + other * (1.0 - ratio)
    return mixed.clamp(0, greatest(one.dtype)).to(one.dtype)


def _adjusted(
    name: str, image: Picture, factor: Any, enhance: Any, against: Callable[[Tensor], Tensor], channels: tuple[int, ...]
) -> Picture:
    ratio = _check_factor(name, f"{name.removeprefix('adjust_')}_factor", factor)
    if check_image(name, image):
        return enhance(image).enhance(ratio)
    if channels:
        check_channels(name, image, channels)
    return _blend(image, against(image), ratio)


def adjust_brightness(img: Picture, brightness_factor: float) -> Picture:
    """The image, lighter above 1 and darker below; black at 0."""
    return _adjusted("adjust_brightness", img, brightness_factor, ImageEnhance.Brightness, tracec.zeros_like, ())


def adjust_contrast(img: Picture, contrast_factor: float) -> Picture:
    """The image, with more contrast above 1 and less below; its mean grey at 0."""

    def mean(x: Tensor) -> Tensor:
        grey = x if channels_of(x) == 1 else _luma(x)
        floats = grey if grey.dtype.is_floating_point else grey.to(tracec.float32)
        return floats.mean(tuple(range(-min(3, x.ndim), 0)), keepdim=True)

    return _adjusted("adjust_contrast", img, contrast_factor, ImageEnhance.Contrast, mean, (1, 3))


def adjust_saturation(img: Picture, saturation_factor: float) -> Picture:
    """The image, more colourful above 1 and less below; grey at 0."""

    def grey(x: Tensor) -> Tensor:
        return x if channels_of(x) == 1 else _luma(x)

    return _adjusted("adjust_saturation", img, saturation_factor, ImageEnhance.Color, grey, (1, 3))


def adjust_sharpness(img: Picture, sharpness_factor: float) -> Picture:
    """The image, sharper above 1 and softer below: smoothed at 0, by means of 3 × 3 pixels."""
    return _adjusted("adjust_sharpness", img, sharpness_factor, ImageEnhance.Sharpness, _smoothed, (1, 3))


def _smoothed(x: Tensor) -> Tensor:
    """Means of 3 × 3 pixels, of which the middle counts five times; the border stays."""
    if min(x.shape[-2:]) <= 2:
        return x
    floats = x if x.dtype.is_floating_point else x.to(tracec.float32)
    height, width = x.shape[-2:]
    total = floats[..., 1:-1, 1:-1] * 4
    for i in range(3):
        for j in range(3):
            total = total + floats[..., i : height - 2 + i, j : width - 2 + j]
    means = total / 13
    out = x.clone()
    out[..., 1:-1, 1:-1] = (means if x.dtype.is_floating_point else means.round()).to(x.dtype)
    return out


def adjust_hue(img: Picture, hue_factor: float) -> Picture:
    """The image with its colours moved around their circle.

    Args:
        img: An image of Pillow's or a tensor ``(…, 1 or 3, H, W)``; without colours it stays.
        hue_factor: Of the circle, -0.5 to 0.5.

    Raises:
        ArgumentError: it is outside of these.
    """
    if not -0.5 <= hue_factor <= 0.5:
        raise ArgumentError(f"adjust_hue: hue_factor={hue_factor!r}", hint="-0.5 to 0.5, of the circle of colours")
    if check_image("adjust_hue", img):
        if img.mode in ("L", "1", "I", "F"):
            return img
        hue, saturation, value = img.convert("HSV").split()
        moved = np.asarray(hue, np.uint8) + np.uint8(int(hue_factor * 255) % 256)
        return Image.merge("HSV", (Image.fromarray(moved), saturation, value)).convert(img.mode)
    check_channels("adjust_hue", img, (1, 3))
    if channels_of(img) == 1:
        return img
    hue, saturation, value = _hsv(convert_image_dtype(img, tracec.float32))
    return convert_image_dtype(_rgb((hue + hue_factor) % 1.0, saturation, value), img.dtype)


def _hsv(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue, saturation and value of red, green and blue. Source: Smith, "Color gamut transform pairs", 1978."""
    r, g, b = x.unbind(-3)
    value, least = x.amax(-3), x.amin(-3)
    spread = value - least
    flat = spread == 0
    width = tracec.where(flat, tracec.ones_like(spread), spread)
    green_or_blue = tracec.where(value == g, 2 + (b - r) / width, 4 + (r - g) / width)
    sixths = tracec.where(value == r, (g - b) / width, green_or_blue)
    hue = tracec.where(flat, tracec.zeros_like(spread), sixths / 6) % 1.0
    return hue, spread / tracec.where(flat, tracec.ones_like(value), value), value


def _rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Red, green and blue of hue, saturation and value: each a trapezium over the circle, a third apart."""
    parts = []
    for start in (5.0, 3.0, 1.0):
        place = (hue * 6 + start) % 6.0
        parts.append(value - value * saturation * tracec.minimum(place, 4 - place).clamp(0, 1))
    return tracec.stack(parts, -3)


def adjust_gamma(img: Picture, gamma: float, gain: float = 1) -> Picture:
    """``gain`` times the image's values to the power of ``gamma``, where white is 1.

    Raises:
        ArgumentError: gamma is negative.
    """
    power = _check_factor("adjust_gamma", "gamma", gamma)
    if check_image("adjust_gamma", img):
        mode = img.mode
        image = img.convert("RGB")
        table = [int((255 + 1 - 1e-3) * gain * (k / 255) ** power) for k in range(256)]
        return image.point([min(max(n, 0), 255) for n in table] * 3).convert(mode)
    floats = img if img.dtype.is_floating_point else convert_image_dtype(img, tracec.float32)
    return convert_image_dtype((gain * floats**power).clamp(0, 1), img.dtype)


def _luma(x: Tensor) -> Tensor:
    """Light of red, green and blue, one channel, in the image's dtype."""
    r, g, b = x.unbind(-3)
    return (r * _LUMA[0] + g * _LUMA[1] + b * _LUMA[2]).to(x.dtype).unsqueeze(-3)


def _check_outputs(name: str, count: int) -> None:
    if count not in (1, 3):
        raise ArgumentError(f"{name}: num_output_channels={count!r}", hint="1 or 3")


def to_grayscale(img: Image.Image, num_output_channels: int = 1) -> Image.Image:
    """An image of Pillow's in grey, of 1 or 3 channels; see `rgb_to_grayscale` for tensors."""
    _check_outputs("to_grayscale", num_output_channels)
    if not check_image("to_grayscale", img):
        raise ArgumentTypeError("to_grayscale: takes images of Pillow's, a tensor is given", hint="rgb_to_grayscale(x)")
    grey = img.convert("L")
    return grey if num_output_channels == 1 else Image.merge("RGB", (grey, grey, grey))


def rgb_to_grayscale(img: Picture, num_output_channels: int = 1) -> Picture:
    """The image in grey.

    Args:
        img: An image of Pillow's or a tensor ``(…, 1 or 3, H, W)``.
        num_output_channels: 1, or 3 that are alike.
    """
    _check_outputs("rgb_to_grayscale", num_output_channels)
    if check_image("rgb_to_grayscale", img):
        return to_grayscale(img, num_output_channels)
    check_channels("rgb_to_grayscale", img, (1, 3))
    grey = _luma(img) if channels_of(img) == 3 else img.clone()
    if num_output_channels == 1:
        return grey
    return grey.expand(*grey.shape[:-3], 3, *grey.shape[-2:]).clone()


def invert(img: Picture) -> Picture:
    """The image with white for black."""
    if check_image("invert", img):
        return ImageOps.invert(img)
    return _inverse(img)


def _inverse(x: Tensor) -> Tensor:
    return ~x if x.dtype is tracec.bool else greatest(x.dtype) - x


def posterize(img: Picture, bits: int) -> Picture:
    """The image with the first bits of each value alone.

    Args:
        img: An image of Pillow's or a tensor of uint8.
        bits: How many are kept, 0 to 8.

    Raises:
        ArgumentError: more or fewer.
        DTypeError: the tensor is of another dtype.
    """
    if not 0 <= int(bits) <= 8:
        raise ArgumentError(f"posterize: bits={bits!r}", hint="0 to 8")
    if check_image("posterize", img):
        # Pillow does not take 0, which leaves nothing.
        return ImageOps.posterize(img, int(bits)) if int(bits) else Image.new(img.mode, img.size)
    _check_bytes("posterize", img)
    return img & (256 - 2 ** (8 - int(bits)))


def _check_bytes(name: str, x: Tensor) -> None:
    if x.dtype is not tracec.uint8:
        raise DTypeError(
            f"{name}: takes tensors of uint8, given is {x.dtype.name}", hint="convert_image_dtype(x, uint8)"
        )


def solarize(img: Picture, threshold: float) -> Picture:
    """The image with values from a threshold on inverted.

    Raises:
        ArgumentError: the threshold is above white.
    """
    if check_image("solarize", img):
        return ImageOps.solarize(img, threshold)  # type: ignore[arg-type]
    if threshold > greatest(img.dtype):
        raise ArgumentError(
            f"solarize: threshold={threshold!r} is above white, {greatest(img.dtype)}", hint="white stays the limit"
        )
    return tracec.where(img >= threshold, _inverse(img), img)


def autocontrast(img: Picture) -> Picture:
    """The image with each channel's values stretched so that the least is black and the greatest white."""
    if check_image("autocontrast", img):
        return ImageOps.autocontrast(img)
    check_channels("autocontrast", img, (1, 3))
    white = greatest(img.dtype)
    floats = img if img.dtype.is_floating_point else img.to(tracec.float32)
    least, most = floats.amin((-2, -1), keepdim=True), floats.amax((-2, -1), keepdim=True)
    flat = least == most
    scale = tracec.where(flat, tracec.ones_like(most), white / tracec.where(flat, tracec.ones_like(most), most - least))
    least = tracec.where(flat, tracec.zeros_like(least), least)
    return ((floats - least) * scale).clamp(0, white).to(img.dtype)


def equalize(img: Picture) -> Picture:
    """The image with each channel's values spread so that all are about as frequent.

    Args:
        img: An image of Pillow's or a tensor of uint8.

    Raises:
        DTypeError: the tensor is of another dtype.
    """
    if check_image("equalize", img):
        return ImageOps.equalize(img)
    _check_bytes("equalize", img)
    check_channels("equalize", img, (1, 3))
    rows = img.reshape(-1, int(img.shape[-2]) * int(img.shape[-1])).to(tracec.int64)
    count = int(rows.shape[0])
    first = (tracec.arange(count, device=img.device) * 256)[:, None]
    frequent = tracec.bincount((rows + first).reshape(-1), minlength=256 * count).reshape(count, 256)
    greatest_value = rows.amax(1, keepdim=True)
    step = (rows.shape[1] - frequent.gather(1, greatest_value)) // 255
    below = tracec.cumsum(frequent, 1) - frequent
    table = ((below + step // 2) // step.clamp(min=1)).clamp(0, 255)
    spread = tracec.where(step == 0, rows, table.gather(1, rows))
    return spread.to(tracec.uint8).reshape(img.shape)
