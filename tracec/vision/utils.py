"""Pictures of several images, files of them, and what is drawn into them: boxes, masks, points; flows as colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

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


def _shades(colors: Any, count: int, name: str = "draw_bounding_boxes") -> list[tuple[int, ...]]:
    """Red, green and blue of each thing."""
    if colors is None:
        colors = [f"hsl({k * 137 % 360}, 90%, 50%)" for k in range(count)]  # the golden angle keeps them apart
    one = isinstance(colors, (str, tuple))
    if not one and len(colors) < count:
        things = "boxes" if name == "draw_bounding_boxes" else "masks"
        raise ArgumentError(f"{name}: {len(colors)} colours for {count} {things}", hint="one for each")
    found = []
    for color in [colors] * count if one else colors[:count]:
        try:
            found.append(ImageColor.getrgb(color)[:3] if isinstance(color, str) else tuple(int(n) for n in color))
        except ValueError as error:
            raise ArgumentError(f"{name}: {error}", hint="e.g. 'red', '#ff0000'") from None
    return found


def _check_image(name: str, image: Any) -> None:
    if not isinstance(image, Tensor):
        raise ArgumentTypeError(f"{name}: takes tensors, {type(image).__name__} given", hint="pil_to_tensor(image)")
    if image.ndim != 3 or image.shape[0] != 3:
        raise ShapeError(f"{name}: an image of shape {tuple(image.shape)}", hint="(3, H, W): one image in colour")
    if not (image.dtype is tracec.uint8 or image.dtype.is_floating_point):
        raise DTypeError(f"{name}: takes uint8 or floats, given is {image.dtype.name}", hint="image.to(tracec.uint8)")


def draw_segmentation_masks(image: Tensor, masks: Tensor, alpha: float = 0.8, colors: Any = None) -> Tensor:
    """An image with masks over it, black where several are.

    Args:
        image: ``(3, H, W)``, uint8, or floats of 0 to 1.
        masks: bool, ``(N, H, W)``, or one, ``(H, W)``.
        alpha: How much masks cover, 0 to 1.
        colors: One for all or one for each: a name, ``"#rrggbb"`` or three numbers; by default each another one.

    Returns:
        ``(3, H, W)`` of the image's dtype.

    Raises:
        ShapeError: shapes are others.
        DTypeError: dtypes are.
        ArgumentError: there are not as many colours as masks, or ``alpha`` is no share.
    """
    name = "draw_segmentation_masks"
    _check_image(name, image)
    if not isinstance(masks, Tensor) or masks.dtype is not tracec.bool:
        raise DTypeError(f"{name}: masks are bools", hint="scores > 0.5")
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.ndim != 3 or tuple(masks.shape[1:]) != tuple(image.shape[1:]):
        raise ShapeError(
            f"{name}: masks of shape {tuple(masks.shape)}", hint=f"(N, {image.shape[1]}, {image.shape[2]})"
        )
    if not 0 <= alpha <= 1:
        raise ArgumentError(f"{name}: alpha={alpha!r}", hint="0 to 1")
    covered, image = image.detach().clone(), image.detach()
    most = 1 if image.dtype.is_floating_point else 255
    for mask, shade in zip(masks, _shades(colors, len(masks), name), strict=True):
        color = tracec.tensor([n / 255 * most for n in shade], device=image.device).to(image.dtype)
        covered = tracec.where(mask, color[:, None, None], covered)
    covered = tracec.where(masks.sum(0) > 1, covered.new_zeros(()), covered)
    return (image * (1 - alpha) + covered * alpha).to(image.dtype)


def draw_keypoints(
    image: Tensor,
    keypoints: Tensor,
    connectivity: Sequence[tuple[int, int]] | None = None,
    colors: Any = None,
    radius: int = 2,
    width: int = 3,
    visibility: Tensor | None = None,
) -> Tensor:
    """An image with points drawn into it, and lines between them.

    Args:
        image: ``(3, H, W)``, uint8, or floats of 0 to 1.
        keypoints: Of each of N things K points, from the left and from the top, ``(N, K, 2)``.
        connectivity: Which two points of a thing have a line between them.
        colors: Of all points: a name, ``"#rrggbb"`` or three numbers; by default white.
        radius: Of points.
        width: Of lines.
        visibility: Which points are drawn, ``(N, K)``; by default all.

    Returns:
        ``(3, H, W)`` of the image's dtype.

    Raises:
        ShapeError: shapes are others.
        DTypeError: the image is of another dtype.
        ArgumentError: a line's point is not there.
    """
    name = "draw_keypoints"
    _check_image(name, image)
    if not isinstance(keypoints, Tensor) or keypoints.ndim != 3 or keypoints.shape[2] != 2:
        raise ShapeError(f"{name}: points of shape {tuple(getattr(keypoints, 'shape', ()))}", hint="(N, K, 2)")
    things, points = int(keypoints.shape[0]), int(keypoints.shape[1])
    seen = tracec.ones(things, points) if visibility is None else visibility
    if seen.numel() != things * points:
        raise ShapeError(f"{name}: visibility of shape {tuple(seen.shape)}", hint=f"({things}, {points})")
    lines = [tuple(pair) for pair in connectivity or ()]
    if any(len(pair) != 2 or not all(0 <= k < points for k in pair) for pair in lines):
        raise ArgumentError(f"{name}: connectivity={connectivity!r}", hint=f"pairs of points, 0 to {points - 1}")
    floating = image.dtype.is_floating_point
    values = (image.detach() * 255).round().clamp(0, 255).to(tracec.uint8) if floating else image.detach()
    picture = to_pil_image(values)
    draw = ImageDraw.Draw(picture)
    shade = None if colors is None else _shades(colors if isinstance(colors, str) else tuple(colors), 1, name)[0]
    shown = seen.reshape(things, points).to(tracec.bool).tolist()
    for thing, there in zip(keypoints.long().tolist(), shown, strict=True):
        for (x, y), drawn in zip(thing, there, strict=True):
            if drawn:
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=shade, width=0)
        for one, other in lines:
            if there[one] and there[other]:
                draw.line((*thing[one], *thing[other]), width=width)
    found = pil_to_tensor(picture).to(image.device)
    return found.to(image.dtype) / 255 if floating else found


#: From one pure colour to the next: which channel goes up (1) or down (-1), and in how many steps.
_WHEEL = ((1, 1, 15), (0, -1, 6), (2, 1, 4), (1, -1, 11), (0, 1, 13), (2, -1, 6))


def _wheel() -> np.ndarray[Any, Any]:
    """The colours of directions, around the circle, ``(55, 3)``. Source: Baker et al., "A database and evaluation
    methodology for optical flow", 2011."""
    rows, color = [], [255, 0, 0]
    for channel, way, steps in _WHEEL:
        begin = color[channel]
        for k in range(steps):
            color[channel] = begin + way * (255 * k // steps)
            rows.append(list(color))
        color[channel] = begin + way * 255
    return np.array(rows, np.float32)


def flow_to_image(flow: Tensor) -> Tensor:
    """Where pixels go as colours: the direction as the hue, and how far, of the farthest, as how strong it is.

    Args:
        flow: To the right and down, float32, ``(2, H, W)`` or ``(N, 2, H, W)``.

    Returns:
        uint8, ``(3, H, W)`` or ``(N, 3, H, W)``.

    Raises:
        ShapeError: there are other axes.
        DTypeError: it is not float32.
    """
    if not isinstance(flow, Tensor) or flow.dtype is not tracec.float32:
        raise DTypeError("flow_to_image: flows are float32", hint="flow.float()")
    if flow.ndim not in (3, 4) or flow.shape[-3] != 2:
        raise ShapeError(f"flow_to_image: a flow of shape {tuple(flow.shape)}", hint="(2, H, W) or (N, 2, H, W)")
    if not flow.numel():
        return flow.new_zeros((*flow.shape[:-3], 3, *flow.shape[-2:]), dtype=tracec.uint8)
    flow = flow.detach()
    flow = flow / (flow.square().sum(-3).sqrt().max() + tracec.finfo(tracec.float32).eps)
    right, down = flow.unbind(-3)
    far = flow.square().sum(-3).sqrt()[..., None]
    wheel = tracec.tensor(_wheel(), device=flow.device) / 255
    place = (tracec.atan2(-down, -right) / math.pi + 1) / 2 * (len(wheel) - 1)
    low = place.floor().long().clamp(0, len(wheel) - 1)
    part = (place - low)[..., None]
    hue = (1 - part) * wheel[low] + part * wheel[(low + 1) % len(wheel)]
    return ((1 - far * (1 - hue)) * 255).floor().to(tracec.uint8).movedim(-1, -3)


__all__ = [
    "draw_bounding_boxes", "draw_keypoints", "draw_segmentation_masks", "flow_to_image", "make_grid", "save_image",
]  # fmt: skip
