"""Sizes, crops, borders and mirrors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tracec
import tracec.nn.functional as F
from tracec import Tensor
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError, UnsupportedError
from tracec.vision.pillow import Image, ImageOps
from tracec.vision.transforms.functional.images import (
    Picture,
    check_image,
    height_and_width,
    is_pillow,
    numbers,
    pillow_fill,
    through_floats,
)
from tracec.vision.transforms.interpolation import PILLOW, InterpolationMode, interpolation_mode, of_tensors

_SMOOTH = (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC)


def resize(
    img: Picture,
    size: int | Sequence[int] | None,
    interpolation: InterpolationMode = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Picture:
    """The image in another size.

    Args:
        img: An image of Pillow's or a tensor ``(…, C, H, W)``.
        size: Height and width; or the length of the shorter side, where the other keeps the proportions. None with
            ``max_size``: the longer side gets that length.
        interpolation: How values between pixels are made.
        max_size: The longer side may not be longer: the shorter one then gets less than ``size``.
        antialias: Of tensors, with bilinear and bicubic: widen the filter where the image gets smaller, as Pillow
            always does.

    Raises:
        ArgumentError: sizes are not positive, or ``max_size`` does not go with them.
        UnsupportedError: tensors are not interpolated so.
    """
    pillow = check_image("resize", img)
    how = interpolation_mode("resize", interpolation)
    before = height_and_width(img)
    after = _resized(before, size, max_size)
    if after == before:
        return img
    if pillow:
        return img.resize(after[::-1], PILLOW[how])
    mode = of_tensors("resize", how, (InterpolationMode.NEAREST, InterpolationMode.NEAREST_EXACT, *_SMOOTH))
    smooth = how in _SMOOTH
    return through_floats(
        img,
        lambda x: F.interpolate(
            x,
            size=after,
            mode=mode,
            align_corners=False if smooth else None,
            antialias=smooth and bool(antialias),
        ),
    )


def _resized(before: tuple[int, int], size: Any, max_size: int | None) -> tuple[int, int]:
    """Height and width after `resize`."""
    if size is None:
        if max_size is None:
            raise ArgumentError("resize: neither size nor max_size is given", hint="e.g. size=256")
        return _in_proportion(before, max_size, max)
    wanted = [int(n) for n in numbers("resize", "size", size, (1, 2))]
    if min(wanted) < 1 or (max_size is not None and max_size < 1):
        raise ArgumentError(f"resize: size={size!r}, max_size={max_size!r} must be positive", hint="e.g. size=256")
    if len(wanted) == 2:
        if max_size is not None:
            raise ArgumentError("resize: max_size with height and width", hint="give one number as size, or leave it")
        return wanted[0], wanted[1]
    if max_size is not None and max_size <= wanted[0]:
        raise ArgumentError(
            f"resize: max_size={max_size} is not above size={wanted[0]}", hint="size is that of the shorter side"
        )
    after = _in_proportion(before, wanted[0], min)
    if max_size is not None and max(after) > max_size:
        return _in_proportion(after, max_size, max)
    return after


def _in_proportion(before: tuple[int, int], length: int, side: Callable[[tuple[int, int]], int]) -> tuple[int, int]:
    """Sizes with one side, the shorter (``min``) or the longer one (``max``), of a given length."""
    chosen = side(before)
    scaled = [max(1, int(length * n / chosen)) for n in before]
    scaled[before.index(chosen)] = length
    return scaled[0], scaled[1]


def pad(
    img: Picture,
    padding: int | Sequence[int],
    fill: float | Sequence[float] | None = 0,
    padding_mode: str = "constant",
) -> Picture:
    """The image with a border.

    Args:
        img: An image of Pillow's or a tensor ``(…, C, H, W)``.
        padding: Widths of the border: of all sides; of left and right, top and bottom; or left, top, right, bottom.
            Negative ones cut off.
        fill: Of ``constant``: its colour; for a tensor one number.
        padding_mode: ``constant``, ``edge`` (the last pixel again), ``reflect`` (without the last), ``symmetric``
            (with it).

    Raises:
        ArgumentError: there are other numbers of widths, or the border of a mirror is wider than the image.
        UnsupportedError: the mode is not known.
    """
    pillow = check_image("pad", img)
    left, top, right, bottom = _borders(padding)
    if padding_mode not in _PADDINGS:
        raise UnsupportedError(f"pad: padding_mode={padding_mode!r}", hint=f"one of {', '.join(_PADDINGS)}")
    _check_mirror(height_and_width(img), (left, top, right, bottom), padding_mode)
    if pillow:
        return _pad_pillow(img, (left, top, right, bottom), fill, padding_mode)
    if padding_mode == "constant":
        value = numbers("pad", "fill of a tensor", 0 if fill is None else fill, (1,))[0]
        if not img.dtype.is_floating_point:
            value = int(value)
        return F.pad(img, (left, right, top, bottom), value=value)
    # By numbers of rows and columns: tensors of all dtypes and of any number of axes.
    height, width = height_and_width(img)
    rows, columns = _places(height, top, bottom, padding_mode), _places(width, left, right, padding_mode)
    return img.index_select(-2, rows.to(img.device)).index_select(-1, columns.to(img.device))


_PADDINGS = ("constant", "edge", "reflect", "symmetric")


def _places(count: int, before: int, after: int, mode: Any) -> Tensor:
    """Which rows or columns follow each other where some are added, or cut off, at both ends."""
    kept = np.arange(count)[max(0, -before) : count - max(0, -after)]
    return tracec.from_numpy(np.pad(kept, (max(0, before), max(0, after)), mode))


def _borders(padding: Any) -> tuple[int, int, int, int]:
    """Widths at left, top, right and bottom."""
    widths = [int(n) for n in numbers("pad", "padding", padding, (1, 2, 4))]
    if len(widths) == 4:
        return widths[0], widths[1], widths[2], widths[3]
    return widths[0], widths[-1], widths[0], widths[-1]


def _check_mirror(size: tuple[int, int], borders: tuple[int, int, int, int], mode: str) -> None:
    if mode not in ("reflect", "symmetric"):
        return
    room = [n - (mode == "reflect") for n in size]
    left, top, right, bottom = borders
    if max(left, right) > room[1] or max(top, bottom) > room[0]:
        raise ArgumentError(
            f"pad: padding_mode={mode!r} of an image of {size[0]} × {size[1]} by {borders}",
            hint=f"at most {room[1]} at left and right, {room[0]} at top and bottom",
        )


def _pad_pillow(image: Image.Image, borders: tuple[int, int, int, int], fill: Any, mode: str) -> Image.Image:
    left, top, right, bottom = borders
    height, width = height_and_width(image)
    if min(borders) < 0:
        image = image.crop((max(0, -left), max(0, -top), width - max(0, -right), height - max(0, -bottom)))
        left, top, right, bottom = (max(0, n) for n in borders)
    if mode == "constant":
        padded = ImageOps.expand(image, (left, top, right, bottom), pillow_fill("pad", fill, image))
    else:
        values = np.asarray(image)
        around = [(top, bottom), (left, right)] + [(0, 0)] * (values.ndim - 2)
        bands = np.pad(values, around, mode)  # type: ignore[call-overload]
        padded = Image.fromarray(bands) if image.mode not in _NAMED else _as_mode(bands, image.mode)
    if image.mode == "P" and (palette := image.getpalette()) is not None:
        padded.putpalette(palette)
    return padded


#: Modes of Pillow's that the dtype and the number of channels do not tell.
_NAMED = ("P", "CMYK", "YCbCr", "HSV", "LAB", "RGBX")


def _as_mode(values: np.ndarray[Any, Any], mode: str) -> Image.Image:
    return Image.frombytes(mode, (values.shape[1], values.shape[0]), np.ascontiguousarray(values).tobytes())


def crop(img: Picture, top: int, left: int, height: int, width: int) -> Picture:
    """A part of the image; zeros where it goes beyond.

    Args:
        img: An image of Pillow's or a tensor ``(…, C, H, W)``.
        top: The first row.
        left: The first column.
        height: How many rows.
        width: How many columns.

    Raises:
        ArgumentError: sizes are negative.
    """
    if height < 0 or width < 0:
        raise ArgumentError(f"crop: height={height}, width={width}", hint="sizes are not negative")
    if check_image("crop", img):
        return img.crop((left, top, left + width, top + height))
    rows, columns = height_and_width(img)
    inside = img[..., max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    if top >= 0 and left >= 0 and top + height <= rows and left + width <= columns:
        return inside
    before = [min(max(-n, 0), size) for n, size in ((top, height), (left, width))]
    shown = height_and_width(inside)
    return F.pad(inside, (before[1], width - before[1] - shown[1], before[0], height - before[0] - shown[0]))


def pair(name: str, size: Any) -> tuple[int, int]:
    """Height and width from one number or two.

    Raises:
        ArgumentError: they are not positive.
    """
    given = [int(n) for n in numbers(name, "size", size, (1, 2))]
    if min(given) < 1:
        raise ArgumentError(f"{name}: size={size!r} must be positive", hint="e.g. size=224, or size=(224, 224)")
    return given[0], given[-1]


def center_crop(img: Picture, output_size: int | Sequence[int]) -> Picture:
    """The middle of the image; zeros around it where it is smaller.

    Args:
        img: An image of Pillow's or a tensor ``(…, C, H, W)``.
        output_size: Height and width, or one number for both.
    """
    check_image("center_crop", img)
    height, width = pair("center_crop", output_size)
    rows, columns = height_and_width(img)
    if height > rows or width > columns:
        down, right = max(0, height - rows), max(0, width - columns)
        img = pad(img, (right // 2, down // 2, (right + 1) // 2, (down + 1) // 2), 0)
        rows, columns = height_and_width(img)
    return crop(img, round((rows - height) / 2), round((columns - width) / 2), height, width)


def resized_crop(
    img: Picture,
    top: int,
    left: int,
    height: int,
    width: int,
    size: int | Sequence[int],
    interpolation: InterpolationMode = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Picture:
    """A part of the image in another size; see `crop` and `resize`."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def hflip(img: Picture) -> Picture:
    """The image with left and right exchanged."""
    if check_image("hflip", img):
        return img.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return img.flip(-1)


def vflip(img: Picture) -> Picture:
    """The image upside down."""
    if check_image("vflip", img):
        return img.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return img.flip(-2)


def five_crop(img: Picture, size: int | Sequence[int]) -> tuple[Picture, Picture, Picture, Picture, Picture]:
    """The four corners (top left and right, bottom left and right) and the middle.

    Args:
        img: An image of Pillow's or a tensor ``(…, C, H, W)``.
        size: Height and width of each, or one number for both.

    Raises:
        ShapeError: the image is smaller.
    """
    check_image("five_crop", img)
    height, width = pair("five_crop", size)
    rows, columns = height_and_width(img)
    if height > rows or width > columns:
        raise ShapeError(
            f"five_crop: parts of {height} × {width} of an image of {rows} × {columns}", hint="take smaller parts"
        )
    top_left, top_right, bottom_left, bottom_right = (
        crop(img, top, left, height, width) for top in (0, rows - height) for left in (0, columns - width)
    )
    return top_left, top_right, bottom_left, bottom_right, center_crop(img, (height, width))


def ten_crop(img: Picture, size: int | Sequence[int], vertical_flip: bool = False) -> tuple[Picture, ...]:
    """What `five_crop` gives of the image, and of its mirror image (upside down with ``vertical_flip``)."""
    return *five_crop(img, size), *five_crop(vflip(img) if vertical_flip else hflip(img), size)


def erase(img: Tensor, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Tensor:
    """A tensor of an image with a rectangle of other values.

    Args:
        img: ``(…, C, H, W)``.
        i: The first row.
        j: The first column.
        h: How many rows.
        w: How many columns.
        v: The values, which broadcast with the rectangle.
        inplace: Write into the tensor.
    """
    if not isinstance(img, Tensor):
        raise ArgumentTypeError(f"erase: takes tensors, {type(img).__name__} given", hint="put ToTensor() before it")
    check_image("erase", img)
    out = img if inplace else img.clone()
    out[..., i : i + h, j : j + w] = v
    return out


__all__ = [
    "center_crop", "crop", "erase", "five_crop", "hflip", "is_pillow", "pad", "pair", "resize", "resized_crop",
    "ten_crop", "vflip",
]  # fmt: skip
