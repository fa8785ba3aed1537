"""Smoothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import tracec
import tracec.nn.functional as F
from tracec import Tensor
from tracec.errors import ArgumentError
from tracec.vision.transforms.functional.conversion import pil_to_tensor, to_pil_image
from tracec.vision.transforms.functional.images import Picture, check_image, height_and_width, numbers, through_floats


def kernel_sizes(name: str, given: Any) -> list[int]:
    """Width and height of a filter.

    Raises:
        ArgumentError: one is not odd, or not positive.
    """
    sizes = [int(n) for n in numbers(name, "kernel_size", given, (1, 2))]
    if any(n <= 0 or n % 2 == 0 for n in sizes):
        raise ArgumentError(f"{name}: kernel_size={given!r}", hint="odd and positive, so that it has a middle")
    return [sizes[0], sizes[-1]]


def gaussian_blur(
    img: Picture, kernel_size: int | Sequence[int], sigma: float | Sequence[float] | None = None
) -> Picture:
    """The image, smoothed by a Gaussian; beyond its border it is mirrored.

    Args:
        img: An image of Pillow's or a tensor ``(…, C, H, W)``.
        kernel_size: Width and height of the filter, odd; or one number for both.
        sigma: Its deviations along both, or one for both; by default 0.15 times the size and 0.35 more.

    Raises:
        ArgumentError: they are not positive, or the filter reaches beyond the mirror image.
    """
    pillow = check_image("gaussian_blur", img)
    sizes = kernel_sizes("gaussian_blur", kernel_size)
    given = [n * 0.15 + 0.35 for n in sizes] if sigma is None else numbers("gaussian_blur", "sigma", sigma, (1, 2))
    if min(given) <= 0:
        raise ArgumentError(f"gaussian_blur: sigma={sigma!r} is not positive", hint="a small one changes little")
    height, width = height_and_width(img)
    if sizes[0] // 2 >= width or sizes[1] // 2 >= height:
        raise ArgumentError(
            f"gaussian_blur: kernel_size={kernel_size!r} for an image of {height} × {width}",
            hint="half of it has to be smaller than the image",
        )
    across, down = (_gaussian(n, s) for n, s in zip(sizes, (given[0], given[-1]), strict=True))
    blurred = through_floats(pil_to_tensor(img) if pillow else img, lambda x: _filtered(x, across, down))
    return to_pil_image(blurred, img.mode) if pillow else blurred


def _gaussian(size: int, sigma: float) -> np.ndarray[Any, Any]:
    places = np.arange(size) - (size - 1) / 2
    weights = np.exp(-0.5 * (places / sigma) ** 2)
    return weights / weights.sum()


def _filtered(x: Tensor, across: np.ndarray[Any, Any], down: np.ndarray[Any, Any]) -> Tensor:
    """Both filters one after the other, over each channel by itself."""
    around = (len(across) // 2, len(across) // 2, len(down) // 2, len(down) // 2)
    images = F.pad(x.reshape(-1, 1, *x.shape[-2:]), around, mode="reflect")
    for weights, shape in ((across, (1, 1, 1, -1)), (down, (1, 1, -1, 1))):
        images = F.conv2d(images, tracec.tensor(weights.tolist(), dtype=x.dtype, device=x.device).reshape(shape))
    return images.reshape(x.shape)
