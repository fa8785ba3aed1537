"""Pictures of several images, files of them, and boxes drawn into them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tracec
from tracec import Tensor
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, FolderMissingError, ShapeError
from tracec.vision.pillow import Image, ImageColor, ImageDraw, ImageFont
from tracec.vision.transforms.functional import pil_to_tensor, to_pil_image


def make_grid(
    tensor: Tensor | Sequence[Tensor],
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
) -> Tensor:
    """Images side by side, in one.

    Args:
        tensor: ``(N, C, H, W)``, or a list of images of one size. One image, ``(C, H, W)`` or ``(H, W)``, is alone.
        nrow: How many are in a row.
        padding: How many pixels are around each.
        normalize: Stretch values so that they are of 0 to 1.
        value_range: Which ones become 0 and 1; by default the least and the greatest that there are.
        scale_each: Of each image by itself.
        pad_value: The value around images.

    Returns:
        ``(3, height, width)`` of images of one channel, else with as many channels as they have.

    Raises:
        ArgumentTypeError: these are no tensors.
        ShapeError: there are more or fewer axes, or sizes differ.
        ArgumentError: ``nrow`` is not positive, or there is no image.
    """
    images = _batch("make_grid", tensor)
    if nrow < 1 or padding < 0:
        raise ArgumentError(f"make_grid: nrow={nrow!r}, padding={padding!r}", hint="at least 1, and not negative")
    if normalize:
        images = _stretched(images, value_range, scale_each)
    count, channels, height, width = (int(n) for n in images.shape)
    if count == 1:
        return images[0]
    columns = min(nrow, count)
    rows = math.ceil(count / columns)
    down, right = height + padding, width + padding
    grid = images.new_full((channels, down * rows + padding, right * columns + padding), pad_value)
    for k in range(count):
        top, left = k // columns * down + padding, k % columns * right + padding
        grid[:, top : top + height, left : left + width] = images[k]
    return grid


def _batch(name: str, given: Any) -> Tensor:
    """Images as ``(N, C, H, W)``, with three channels for one."""
    if isinstance(given, (list, tuple)) and given and all(isinstance(x, Tensor) for x in given):
        if len({tuple(x.shape) for x in given}) > 1:
            raise ShapeError(f"{name}: images have sizes {[tuple(x.shape) for x in given]}", hint="resize them to one")
        given = tracec.stack(list(given))
    if not isinstance(given, Tensor):
        raise ArgumentTypeError(
            f"{name}: takes a tensor or a list of tensors, {type(given).__name__} given", hint="stack(images)"
        )
    if given.ndim not in (2, 3, 4):
        raise ShapeError(f"{name}: images of shape {tuple(given.shape)}", hint="(N, C, H, W)")
    images = given.detach().reshape(*[1] * (4 - given.ndim), *given.shape)
    if not len(images):
        raise ArgumentError(f"{name}: there is no image", hint="N is 0")
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def _stretched(images: Tensor, value_range: tuple[float, float] | None, each: bool) -> Tensor:
    floats = images if images.dtype.is_floating_point else images.to(tracec.float32)
    if value_range is not None:
        low, high = (tracec.tensor(float(n), dtype=floats.dtype) for n in value_range)
        if not value_range[0] < value_range[1]:
            raise ArgumentError(f"make_grid: value_range={value_range!r} is no range", hint="the least value first")
    else:
        axes = (1, 2, 3) if each else (0, 1, 2, 3)
        low, high = floats.amin(axes, keepdim=True), floats.amax(axes, keepdim=True)
    # The least difference keeps images of one value from being divided by nothing.
    return (floats.clamp(low, high) - low) / (high - low).clamp(min=1e-5)


def save_image(tensor: Tensor | Sequence[Tensor], fp: Any, format: str | None = None, **kwargs: Any) -> None:
    """Write images into one file.

    Args:
        tensor: Floats of 0 to 1, as `make_grid` takes them.
        fp: A path, whose ending tells the format, or an open file.
        format: The format, of an open file.
        **kwargs: What `make_grid` takes.

    Raises:
        FolderMissingError: the path's folder is not there.
        ArgumentError: the ending is of no format that Pillow knows.
    """
    grid = make_grid(tensor, **kwargs)
    if not grid.dtype.is_floating_point:
        raise DTypeError(f"save_image: takes floats of 0 to 1, given is {grid.dtype.name}", hint="x / 255")
    values = (grid * 255 + 0.5).clamp(0, 255).to(tracec.uint8).permute(1, 2, 0).cpu().numpy()
    if isinstance(fp, (str, Path)) and not Path(fp).resolve().parent.is_dir():
        raise FolderMissingError(f"save_image: there is no folder {str(Path(fp).parent)!r}", hint="make it first")
    try:
        Image.fromarray(values).save(fp, format=format)
    except ValueError as error:
        raise ArgumentError(f"save_image: {error}", hint="a path such as images.png, or format='png'") from None


def draw_bounding_boxes(
    image: Tensor,
    boxes: Tensor,
    labels: Sequence[str | None] | None = None,
    colors: Any = None,
    fill: bool = False,
    width: int = 1,
    font: str | None = None,
    font_size: int | None = None,
) -> Tensor:
    """An image with boxes drawn into it.

    Args:
        image: ``(1 or 3, H, W)``, uint8, or floats of 0 to 1.
        boxes: ``(N, 4)``: left, top, right and bottom of each.
        labels: A text for each.
        colors: One for all or one for each: a name, ``"#rrggbb"`` or three numbers; by default each another one.
        fill: Fill them, half transparent.
        width: Of lines.
        font: A file of a TrueType font; by default Pillow's own.
        font_size: Of the text.

    Returns:
        ``(3, H, W)`` of the image's dtype.

    Raises:
        ShapeError: shapes are others, or a box ends before it begins.
        DTypeError: the image is of another dtype.
        ArgumentError: there are not as many labels or colours as boxes.
    """
    _check_boxes(image, boxes, labels)
    floating = image.dtype.is_floating_point
    values = (image.detach() * 255).round().clamp(0, 255).to(tracec.uint8) if floating else image.detach()
    picture = to_pil_image(values.expand(3, -1, -1))
    draw = ImageDraw.Draw(picture, "RGBA" if fill else "RGB")
    letters: Any = None
    if font is not None:
        letters = ImageFont.truetype(font, font_size or 10)
    elif font_size is not None:
        letters = ImageFont.load_default(font_size)
    shades = _shades(colors, len(boxes))
    for k, (left, top, right, bottom) in enumerate(boxes.tolist()):
        inside = (*shades[k], 100) if fill else None
        draw.rectangle((left, top, right, bottom), fill=inside, outline=shades[k], width=width)
        if labels is not None and labels[k] is not None:
            draw.text((left + width + 1, top + width + 1), str(labels[k]), fill=shades[k], font=letters)
    drawn = pil_to_tensor(picture).to(image.device)
    return drawn.to(image.dtype) / 255 if floating else drawn


def _check_boxes(image: Any, boxes: Any, labels: Any) -> None:
    name = "draw_bounding_boxes"
    if not isinstance(image, Tensor) or not isinstance(boxes, Tensor):
        raise ArgumentTypeError(f"{name}: takes tensors, {type(image).__name__} given", hint="pil_to_tensor(image)")
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ShapeError(f"{name}: an image of shape {tuple(image.shape)}", hint="(1 or 3, H, W): one image")
    if not (image.dtype is tracec.uint8 or image.dtype.is_floating_point):
        raise DTypeError(f"{name}: takes uint8 or floats, given is {image.dtype.name}", hint="image.to(tracec.uint8)")
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ShapeError(f"{name}: boxes of shape {tuple(boxes.shape)}", hint="(N, 4)")
    for box in boxes.tolist():
        if box[0] > box[2] or box[1] > box[3]:
            raise ShapeError(f"{name}: the box {box} ends before it begins", hint="left, top, right, bottom")
    if labels is not None and len(labels) != len(boxes):
        raise ArgumentError(f"{name}: {len(labels)} labels for {len(boxes)} boxes", hint="give one for each")


def _shades(colors: Any, count: int) -> list[tuple[int, ...]]:
    """Red, green and blue of each box."""
    if colors is None:
        colors = [f"hsl({k * 137 % 360}, 90%, 50%)" for k in range(count)]  # the golden angle keeps them apart
    one = isinstance(colors, (str, tuple))
    if not one and len(colors) < count:
        raise ArgumentError(f"draw_bounding_boxes: {len(colors)} colours for {count} boxes", hint="one for each")
    found = []
    for color in [colors] * count if one else colors[:count]:
        try:
            found.append(ImageColor.getrgb(color)[:3] if isinstance(color, str) else tuple(int(n) for n in color))
        except ValueError as error:
            raise ArgumentError(f"draw_bounding_boxes: {error}", hint="e.g. 'red', '#ff0000'") from None
    return found


__all__ = ["draw_bounding_boxes", "make_grid", "save_image"]
