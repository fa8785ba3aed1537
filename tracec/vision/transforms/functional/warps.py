"""Rotations, affine maps, perspective and elastic deformation: pixels that are taken from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import tracec
import tracec.nn.functional as F
from tracec import Tensor
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.vision.pillow import Image
from tracec.vision.transforms.functional.images import (
    Picture,
    channels_of,
    check_image,
    height_and_width,
    numbers,
    pillow_fill,
    through_floats,
)
from tracec.vision.transforms.interpolation import PILLOW, InterpolationMode, interpolation_mode, of_tensors

Matrix = np.ndarray[Any, Any]
_OF_TENSORS = (InterpolationMode.NEAREST, InterpolationMode.BILINEAR)


def inverse_matrix(
    center: Sequence[float], angle: float, translate: Sequence[float], scale: float, shear: Sequence[float]
) -> Matrix:
    """Where a pixel of the result is taken from, ``(2, 3)``.

    The map itself is a shear, then a rotation, both about the centre, and then a translation.

    Args:
        center: x and y.
        angle: Degrees, clockwise in an image whose rows go down.
        translate: Pixels along x and y.
        scale: Factor of lengths.
        shear: Degrees along x and y.
    """
    turn, x, y = (math.radians(a) for a in (angle, *shear))
    # Rotation after shear along y after shear along x, as one matrix of determinant 1: its inverse is its adjugate.
    a, c = math.cos(turn - y) / math.cos(y), math.sin(turn - y) / math.cos(y)
    b, d = -a * math.tan(x) - math.sin(turn), -c * math.tan(x) + math.cos(turn)
    linear = np.array([[d, -b], [-c, a]]) / scale
    middle = np.asarray(center, np.float64)
    return np.column_stack([linear, middle - linear @ (middle + np.asarray(translate, np.float64))])


def rotate(
    img: Picture,
    angle: float,
    interpolation: InterpolationMode = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Sequence[float] | None = None,
    fill: Any = None,
) -> Picture:
    """The image, turned counter-clockwise.

    Args:
        img: An image of Pillow's or a tensor ``(…, C, H, W)``.
        angle: Degrees.
        interpolation: How values between pixels are made; of tensors ``NEAREST`` or ``BILINEAR``.
        expand: Make the result so large that all of the turned image is in it.
        center: x and y of the point that stays, from the upper left corner; by default the middle.
        fill: The colour of what comes into view.
    """
    pillow = check_image("rotate", img)
    how, (angle,) = interpolation_mode("rotate", interpolation), numbers("rotate", "angle", angle, (1,))
    fixed = None if center is None else numbers("rotate", "center", center, (2,))
    if pillow:
        colour = pillow_fill("rotate", fill, img)
        middle = None if fixed is None else (fixed[0], fixed[1])
        return img.rotate(angle, PILLOW[how], expand=expand, center=middle, fillcolor=colour)
    mode = of_tensors("rotate", how, _OF_TENSORS)
    height, width = height_and_width(img)
    matrix = inverse_matrix(_from_middle(fixed, height, width), -angle, (0, 0), 1.0, (0, 0))
    size = _expanded(matrix, height, width) if expand else (height, width)
    return _taken("rotate", img, _affine_places(matrix, (height, width), size), mode, fill)


def _from_middle(center: Sequence[float] | None, height: int, width: int) -> tuple[float, float]:
    """A point relative to the middle of an image."""
    return (0.0, 0.0) if center is None else (center[0] - width * 0.5, center[1] - height * 0.5)


def _expanded(inverse: Matrix, height: int, width: int) -> tuple[int, int]:
    """Height and width of what holds all corners of an image after the inverse of a map."""
    corners = np.array(
        [[-width / 2, -width / 2, width / 2, width / 2], [-height / 2, height / 2, height / 2, -height / 2]]
    )
    x, y = np.linalg.inv(inverse[:, :2]) @ (corners - inverse[:, 2:])
    # Rounding in the sixteenth digit is not to add a row.
    sizes = [
        math.ceil(round(float(n.max()) + half, 4)) - math.floor(round(float(n.min()) + half, 4))
        for n, half in ((y, height / 2), (x, width / 2))
    ]
    return sizes[0], sizes[1]


def affine(
    img: Picture,
    angle: float,
    translate: Sequence[int],
    scale: float,
    shear: float | Sequence[float],
    interpolation: InterpolationMode = InterpolationMode.NEAREST,
    fill: Any = None,
    center: Sequence[float] | None = None,
) -> Picture:
    """The image, sheared, turned clockwise and scaled about its middle, then moved.

    Args:
        img: An image of Pillow's or a tensor ``(…, C, H, W)``.
        angle: Degrees.
        translate: Pixels to the right and down.
        scale: Factor of lengths.
        shear: Degrees along x and y, or along x alone.
        interpolation: How values between pixels are made; of tensors ``NEAREST`` or ``BILINEAR``.
        fill: The colour of what comes into view.
        center: x and y of the point that stays, from the upper left corner; by default the middle.

    Raises:
        ArgumentError: the scale is not positive.
    """
    pillow = check_image("affine", img)
    how = interpolation_mode("affine", interpolation)
    (angle,), moved = numbers("affine", "angle", angle, (1,)), numbers("affine", "translate", translate, (2,))
    sheared = numbers("affine", "shear", shear, (1, 2))
    sheared = sheared if len(sheared) == 2 else [sheared[0], 0.0]
    fixed = None if center is None else numbers("affine", "center", center, (2,))
    if not scale > 0:
        raise ArgumentError(f"affine: scale={scale!r} is not positive", hint="1 keeps the size")
    height, width = height_and_width(img)
    if pillow:
        middle = [width * 0.5, height * 0.5] if fixed is None else fixed
        numbers_of_map = inverse_matrix(middle, angle, moved, scale, sheared).ravel().tolist()
        colour = pillow_fill("affine", fill, img)
        return img.transform((width, height), Image.Transform.AFFINE, numbers_of_map, PILLOW[how], fillcolor=colour)
    mode = of_tensors("affine", how, _OF_TENSORS)
    matrix = inverse_matrix(_from_middle(fixed, height, width), angle, moved, scale, sheared)
    return _taken("affine", img, _affine_places(matrix, (height, width), (height, width)), mode, fill)


def perspective_coefficients(startpoints: Sequence[Sequence[float]], endpoints: Sequence[Sequence[float]]) -> Matrix:
    """``a … h`` of ``x' = (a x + b y + c) / (g x + h y + 1)``, ``y' = (d x + e y + f) / (…)``, from end to start.

    Raises:
        ShapeError: there are not four points of two numbers each.
        ArgumentError: three of them lie on one line.
    """
    start, end = np.asarray(startpoints, np.float64), np.asarray(endpoints, np.float64)
    if start.shape != (4, 2) or end.shape != (4, 2):
        raise ShapeError(
            f"perspective: startpoints and endpoints of shapes {start.shape} and {end.shape}",
            hint="four corners each: [[x, y], …]",
        )
    rows = []
    for (x, y), (u, v) in zip(end, start, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    try:
        return np.linalg.solve(np.array(rows), start.ravel())
    except np.linalg.LinAlgError:
        raise ArgumentError(
            f"perspective: no map takes {startpoints!r} to {endpoints!r}", hint="no three corners lie on one line"
        ) from None


def perspective(
    img: Picture,
    startpoints: Sequence[Sequence[int]],
    endpoints: Sequence[Sequence[int]],
    interpolation: InterpolationMode = InterpolationMode.BILINEAR,
    fill: Any = None,
) -> Picture:
    """The image as seen from elsewhere: four points of it come to lie on four others.

    Args:
        img: An image of Pillow's or a tensor ``(…, C, H, W)``.
        startpoints: x and y of four corners in the image.
        endpoints: Where they are in the result.
        interpolation: How values between pixels are made; of tensors ``NEAREST`` or ``BILINEAR``.
        fill: The colour of what comes into view.
    """
    pillow = check_image("perspective", img)
    how = interpolation_mode("perspective", interpolation)
    k = perspective_coefficients(startpoints, endpoints)
    if pillow:
        colour = pillow_fill("perspective", fill, img)
        return img.transform(img.size, Image.Transform.PERSPECTIVE, k.tolist(), PILLOW[how], fillcolor=colour)
    height, width = height_and_width(img)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    below = k[6] * x + k[7] * y + 1
    places = np.stack([(k[0] * x + k[1] * y + k[2]) / below, (k[3] * x + k[4] * y + k[5]) / below], -1)
    mode = of_tensors("perspective", how, _OF_TENSORS)
    return _taken("perspective", img, places / (width * 0.5, height * 0.5) - 1, mode, fill)


def elastic_transform(
    img: Picture,
    displacement: Tensor,
    interpolation: InterpolationMode = InterpolationMode.BILINEAR,
    fill: Any = None,
) -> Picture:
    """The image with each pixel taken from beside its place.

    Args:
        img: An image of Pillow's or a tensor ``(…, C, H, W)``.
        displacement: Along x and y, ``(1, H, W, 2)``, where 2 is the width or the height.
        interpolation: How values between pixels are made: ``NEAREST`` or ``BILINEAR``.
        fill: The colour of what comes into view.

    Raises:
        ArgumentTypeError: the displacement is no tensor.
        ShapeError: it has another shape.
    """
    from tracec.vision.transforms.functional.conversion import pil_to_tensor, to_pil_image

    if not isinstance(displacement, Tensor):
        raise ArgumentTypeError(
            f"elastic_transform: displacement is a tensor, {type(displacement).__name__} given", hint="(1, H, W, 2)"
        )
    pillow = check_image("elastic_transform", img)
    mode = of_tensors("elastic_transform", interpolation_mode("elastic_transform", interpolation), _OF_TENSORS)
    height, width = height_and_width(img)
    if tuple(displacement.shape) != (1, height, width, 2):
        raise ShapeError(
            f"elastic_transform: displacement has shape {tuple(displacement.shape)}",
            hint=f"for this image (1, {height}, {width}, 2)",
        )
    x, y = np.meshgrid((np.arange(width) * 2 + 1) / width - 1, (np.arange(height) * 2 + 1) / height - 1)
    places = np.stack([x, y], -1) + displacement[0].detach().cpu().numpy()
    moved = _taken("elastic_transform", pil_to_tensor(img) if pillow else img, places, mode, fill)
    return to_pil_image(moved, img.mode) if pillow else moved


def _affine_places(inverse: Matrix, before: tuple[int, int], after: tuple[int, int]) -> Matrix:
    """Where the pixels of a result of the size ``after`` are taken from, as `grid_sample` counts: -1 to 1 is all.

    The matrix maps points relative to the middles of both images.
    """
    (height, width), (rows, columns) = before, after
    x, y = np.meshgrid(np.arange(columns) + 0.5 - columns * 0.5, np.arange(rows) + 0.5 - rows * 0.5)
    places = np.stack([x, y, np.ones_like(x)], -1) @ inverse.T
    return places / (width * 0.5, height * 0.5)


def _taken(name: str, image: Tensor, places: Matrix, mode: str, fill: Any) -> Tensor:
    """The image's values at other places, and a colour where these are outside of it."""
    grid = tracec.from_numpy(places.astype(np.float32))[None].to(image.device)
    colour = None if fill is None else numbers(name, "fill", fill, (1, channels_of(image)))

    def sampled(x: Tensor) -> Tensor:
        spread = grid.to(x.dtype).expand(x.shape[0], *grid.shape[1:])
        found = F.grid_sample(x, spread, mode=mode, padding_mode="zeros", align_corners=False)
        if colour is None or not any(colour):
            return found
        inside = F.grid_sample(tracec.ones_like(x[:, :1]), spread, mode=mode, padding_mode="zeros", align_corners=False)
        ground = tracec.tensor(colour, dtype=x.dtype, device=x.device).reshape(-1, 1, 1)
        if mode == "nearest":
            return tracec.where(inside < 0.5, ground, found)
        return found * inside + (1 - inside) * ground

    return through_floats(image, sampled)
