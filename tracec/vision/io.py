"""Files of images, read and written through Pillow."""

from __future__ import annotations

import io
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

import tracec
from tracec import Tensor
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from tracec.vision.pillow import Image, ImageOps, UnidentifiedImageError
from tracec.vision.transforms.functional import pil_to_tensor, to_pil_image


class ImageReadMode(Enum):
    """Which channels are read; ``UNCHANGED``: those of the file."""

    UNCHANGED = 0
    GRAY = 1
    GRAY_ALPHA = 2
    RGB = 3
    RGB_ALPHA = 4


_MODES = {"GRAY": "L", "GRAY_ALPHA": "LA", "RGB": "RGB", "RGB_ALPHA": "RGBA"}


def read_file(path: str | Path) -> Tensor:
    """A file's bytes, uint8."""
    return tracec.from_numpy(np.fromfile(path, np.uint8))


def decode_image(
    input: Tensor | str | Path,
    mode: ImageReadMode | str = ImageReadMode.UNCHANGED,
    apply_exif_orientation: bool = False,
) -> Tensor:
    """An image as uint8, ``(C, H, W)``.

    Args:
        input: A path, or a file's bytes as a tensor of uint8.
        mode: Which channels: one of `ImageReadMode`, or its name.
        apply_exif_orientation: Turn it as the camera says that it was held.

    Raises:
        ArgumentError: these are no bytes of an image that Pillow knows, or the mode is not known.
        FileNotFoundError: there is no such file.
    """
    name = mode.name if isinstance(mode, ImageReadMode) else str(mode).upper()
    if name not in ImageReadMode.__members__ and name not in _MODES.values():
        raise ArgumentError(f"decode_image: mode={mode!r}", hint=", ".join(ImageReadMode.__members__))
    source: Any = input
    if isinstance(input, Tensor):
        if input.dtype is not tracec.uint8 or input.ndim != 1:
            raise DTypeError(
                f"decode_image: bytes are a row of uint8, given is {input.dtype.name} of shape {tuple(input.shape)}",
                hint="read_file(path)",
            )
        source = io.BytesIO(input.numpy().tobytes())
    try:
        with Image.open(source) as image:
            image.load()
            turned = ImageOps.exif_transpose(image) if apply_exif_orientation else image
            if name == "UNCHANGED":
                plain = turned.mode in ("L", "LA", "RGB", "RGBA", "I;16", "CMYK")
                return pil_to_tensor(turned if plain else turned.convert("L" if turned.mode == "1" else "RGB"))
            return pil_to_tensor(turned.convert(_MODES.get(name, name)))
    except UnidentifiedImageError:
        raise ArgumentError(
            f"decode_image: {_named(input)} is no image that Pillow knows", hint="png, jpeg, …"
        ) from None


def _named(given: Any) -> str:
    return "what is given" if isinstance(given, Tensor) else repr(str(given))


def read_image(
    path: str | Path, mode: ImageReadMode | str = ImageReadMode.UNCHANGED, apply_exif_orientation: bool = False
) -> Tensor:
    """A file of an image as uint8, ``(C, H, W)``; see `decode_image`."""
    return decode_image(path, mode, apply_exif_orientation)


def decode_png(
    input: Tensor, mode: ImageReadMode | str = ImageReadMode.UNCHANGED, apply_exif_orientation: bool = False
) -> Tensor:
    """A PNG file's bytes as an image; see `decode_image`."""
    return decode_image(input, mode, apply_exif_orientation)


def decode_jpeg(
    input: Tensor | list[Tensor],
    mode: ImageReadMode | str = ImageReadMode.UNCHANGED,
    device: Any = "cpu",
    apply_exif_orientation: bool = False,
) -> Any:
    """A JPEG file's bytes, or those of each of a list, as images on a device; see `decode_image`."""
    if isinstance(input, list):
        return [decode_jpeg(one, mode, device, apply_exif_orientation) for one in input]
    return decode_image(input, mode, apply_exif_orientation).to(device)


def write_file(filename: str | Path, data: Tensor) -> None:
    """Write bytes, a row of uint8, into a file.

    Raises:
        DTypeError: these are no bytes.
    """
    if not isinstance(data, Tensor) or data.dtype is not tracec.uint8 or data.ndim != 1:
        raise DTypeError("write_file: bytes are a row of uint8", hint="encode_png(image)")
    Path(filename).write_bytes(data.cpu().numpy().tobytes())


def encode_png(input: Tensor, compression_level: int = 6) -> Tensor:
    """The bytes of a PNG file.

    Args:
        input: uint8, ``(1 or 3, H, W)``.
        compression_level: 0 to 9.
    """
    return _encoded("encode_png", input, format="png", compress_level=compression_level)


def encode_jpeg(input: Tensor, quality: int = 75) -> Tensor:
    """The bytes of a JPEG file.

    Args:
        input: uint8, ``(1 or 3, H, W)``.
        quality: 1 to 100.
    """
    return _encoded("encode_jpeg", input, format="jpeg", quality=quality)


def write_png(input: Tensor, filename: str | Path, compression_level: int = 6) -> None:
    """Write a PNG file; see `encode_png`."""
    Path(filename).write_bytes(encode_png(input, compression_level).numpy().tobytes())


def write_jpeg(input: Tensor, filename: str | Path, quality: int = 75) -> None:
    """Write a JPEG file; see `encode_jpeg`."""
    Path(filename).write_bytes(encode_jpeg(input, quality).numpy().tobytes())


def _encoded(name: str, image: Any, **options: Any) -> Tensor:
    if not isinstance(image, Tensor):
        raise ArgumentTypeError(f"{name}: takes a tensor, {type(image).__name__} given", hint="pil_to_tensor(image)")
    if image.dtype is not tracec.uint8:
        raise DTypeError(f"{name}: takes uint8, given is {image.dtype.name}", hint="(x * 255).to(tracec.uint8)")
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ShapeError(f"{name}: an image of shape {tuple(image.shape)}", hint="(1 or 3, H, W)")
    file = io.BytesIO()
    to_pil_image(image).save(file, **options)
    return tracec.from_numpy(np.frombuffer(file.getvalue(), np.uint8).copy())


__all__ = [
    "ImageReadMode", "decode_image", "decode_jpeg", "decode_png", "encode_jpeg", "encode_png", "read_file",
    "read_image", "write_file", "write_jpeg", "write_png",
]  # fmt: skip
