"""What transforms do, as functions of an image and numbers: nothing here is drawn at random.

Each takes images of Pillow's and tensors ``(…, C, H, W)``, and gives the same kind. Values of tensors are of 0 to 1
where they are floats, and of all that the dtype has where they are integers.
"""

from __future__ import annotations

from tracec.vision.transforms.functional.blur import gaussian_blur
from tracec.vision.transforms.functional.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_gamma,
    adjust_hue,
    adjust_saturation,
    adjust_sharpness,
    autocontrast,
    equalize,
    invert,
    posterize,
    rgb_to_grayscale,
    solarize,
    to_grayscale,
)
from tracec.vision.transforms.functional.conversion import (
    convert_image_dtype,
    normalize,
    pil_to_tensor,
    to_pil_image,
    to_tensor,
)
from tracec.vision.transforms.functional.geometry import (
    center_crop,
    crop,
    erase,
    five_crop,
    hflip,
    pad,
    resize,
    resized_crop,
    ten_crop,
    vflip,
)
from tracec.vision.transforms.functional.images import get_dimensions, get_image_num_channels, get_image_size
from tracec.vision.transforms.functional.warps import affine, elastic_transform, perspective, rotate
from tracec.vision.transforms.interpolation import InterpolationMode

__all__ = [
    "InterpolationMode", "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue", "adjust_saturation",
    "adjust_sharpness", "affine", "autocontrast", "center_crop", "convert_image_dtype", "crop", "elastic_transform",
    "equalize", "erase", "five_crop", "gaussian_blur", "get_dimensions", "get_image_num_channels", "get_image_size",
    "hflip", "invert", "normalize", "pad", "perspective", "pil_to_tensor", "posterize", "resize", "resized_crop",
    "rgb_to_grayscale", "rotate", "solarize", "ten_crop", "to_grayscale", "to_pil_image", "to_tensor", "vflip",
]  # fmt: skip
