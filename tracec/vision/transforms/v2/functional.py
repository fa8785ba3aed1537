"""The functions of `tracec.vision.transforms.functional` under the names of torchvision's second version."""

from __future__ import annotations

from typing import Any

import tracec
from tracec import DType, Tensor
from tracec.vision.transforms.functional import (
    InterpolationMode,
    adjust_brightness,
    adjust_contrast,
    adjust_gamma,
    adjust_hue,
    adjust_saturation,
    adjust_sharpness,
    affine,
    autocontrast,
    center_crop,
    convert_image_dtype,
    crop,
    elastic_transform,
    equalize,
    erase,
    five_crop,
    gaussian_blur,
    get_dimensions,
    get_image_num_channels,
    hflip,
    invert,
    normalize,
    pad,
    perspective,
    pil_to_tensor,
    posterize,
    resize,
    resized_crop,
    rgb_to_grayscale,
    rotate,
    solarize,
    ten_crop,
    to_pil_image,
    to_tensor,
    vflip,
)
from tracec.vision.transforms.functional.images import check_image, height_and_width

horizontal_flip, vertical_flip, get_num_channels = hflip, vflip, get_image_num_channels


def get_size(inpt: Any) -> list[int]:
    """Height and width."""
    check_image("get_size", inpt)
    return [*height_and_width(inpt)]


def to_image(inpt: Any) -> Tensor:
    """An image of Pillow's or an array ``(H, W, C)`` as a tensor ``(C, H, W)`` of the same values; tensors stay."""
    if isinstance(inpt, Tensor):
        return inpt
    if hasattr(inpt, "__array_interface__") and not hasattr(inpt, "getbands"):
        channels = inpt[:, :, None] if inpt.ndim == 2 else inpt
        return tracec.from_numpy(channels.transpose(2, 0, 1).copy())
    return pil_to_tensor(inpt)


def to_dtype(inpt: Tensor, dtype: DType = tracec.float32, scale: bool = False) -> Tensor:
    """A tensor in another dtype; with ``scale`` white stays white."""
    return convert_image_dtype(inpt, dtype) if scale else inpt.to(dtype)


__all__ = [
    "InterpolationMode", "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue", "adjust_saturation",
    "adjust_sharpness", "affine", "autocontrast", "center_crop", "convert_image_dtype", "crop", "elastic_transform",
    "equalize", "erase", "five_crop", "gaussian_blur", "get_dimensions", "get_image_num_channels", "get_num_channels",
    "get_size", "hflip", "horizontal_flip", "invert", "normalize", "pad", "perspective", "pil_to_tensor", "posterize",
    "resize", "resized_crop", "rgb_to_grayscale", "rotate", "solarize", "ten_crop", "to_dtype", "to_image",
    "to_pil_image", "to_tensor", "vertical_flip", "vflip",
]  # fmt: skip
