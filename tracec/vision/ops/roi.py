"""What boxes hold, in equally many bins each: means of values between pixels, or the largest and means of pixels.

Sources: He et al., "Mask R-CNN", 2017 (align); Girshick, "Fast R-CNN", 2015 (pool); Dai et al., "R-FCN", 2016
(position-sensitive: each bin has channels of its own).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tracec
from tracec import Tensor, nn
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.vision.ops.interpolated import between, rows_of

Boxes = Tensor | Sequence[Tensor]


def with_images(name: str, boxes: Any) -> Tensor:
    """Boxes as rows of the image's number, left, top, right and bottom: ``(K, 5)``.

    Args:
        name: The function's, for errors.
        boxes: Such rows, or boxes of each image, ``(L, 4)``.
    """
    if isinstance(boxes, Tensor):
        if boxes.ndim != 2 or boxes.shape[1] != 5:
            raise ShapeError(
                f"{name}: boxes of shape {tuple(boxes.shape)}", hint="(K, 5), or a list of (L, 4) for each image"
            )
        return boxes.detach()
    if not isinstance(boxes, (list, tuple)) or not boxes or not all(isinstance(of, Tensor) for of in boxes):
        raise ArgumentTypeError(f"{name}: boxes are {type(boxes).__name__}", hint="a tensor, or a list of tensors")
    if any(of.ndim != 2 or of.shape[1] != 4 for of in boxes):
        raise ShapeError(f"{name}: boxes of shapes {[tuple(of.shape) for of in boxes]}", hint="(L, 4) for each image")
    rows = [tracec.cat([of.new_full((len(of), 1), k), of], 1) for k, of in enumerate(boxes)]
    return tracec.cat(rows).detach()


def pair(size: int | Sequence[int]) -> tuple[int, int]:
    down, right = (size, size) if isinstance(size, int) else size
    return int(down), int(right)


def _checked(name: str, image: Any, boxes: Boxes, size: Any, positions: bool = False) -> tuple[Tensor, tuple[int, int]]:
    if not isinstance(image, Tensor) or image.ndim != 4:
        raise ShapeError(f"{name}: images of shape {tuple(getattr(image, 'shape', ()))}", hint="a tensor, (N, C, H, W)")
    down, right = pair(size)
    if down < 1 or right < 1 or (positions and image.shape[1] % (down * right)):
        raise ArgumentError(
            f"{name}: output_size={size!r} for {image.shape[1]} channels",
            hint="at least 1 by 1, whose product divides the channels" if positions else "at least 1 by 1",
        )
    return with_images(name, boxes), (down, right)


class Levels(NamedTuple):
    """Where each box's image is among the rows of channels of all that there are.

    Args:
        rows: Channels of the pixels of one image after the other, ``(P, C)``.
        start: Where each box's image begins, ``(K,)``.
        height: Of its image; one for all, or ``(K,)``.
        width: Alike.
        scale: How large it is, as a share of what boxes are measured in; alike.
    """

    rows: Tensor
    start: Tensor
    height: Any
    width: Any
    scale: Any

    @staticmethod
    def of(image: Tensor, boxes: Tensor, scale: float) -> Levels:
        """Those of images of one size."""
        count, _, height, width = image.shape
        starts = tracec.arange(count, device=image.device) * (height * width)
        # index_select, which takes no negative numbers
        return Levels(rows_of(image), starts.index_select(0, boxes[:, 0].long()), height, width, scale)


def _shaped(value: Any) -> Any:
    return value[:, None, None, None, None] if isinstance(value, Tensor) else value


def _samples(corners: Tensor, sides: Tensor, axis: int, bins: int, ratio: int) -> tuple[Tensor, Tensor]:
    """Where samples of each bin are along an axis, and their weights, ``(K, bins, samples)``."""
    begin, step = corners[:, axis, None, None], sides[:, axis, None, None] / bins
    if ratio >= 1:
        count, most = tracec.full_like(step, ratio), ratio
    else:
        count = step.ceil()  # none of a box that has no side
        # A power of two, so that few programs are compiled.
        most = 1 << (max(int(count.max().item()), 1) - 1).bit_length() if len(corners) else 1
    k = tracec.arange(most, device=corners.device)
    of_bin = tracec.arange(bins, device=corners.device)[:, None]
    at = begin + of_bin * step + (k + 0.5) * step / count.clamp(min=1)
    return at, ((k < count) / count.clamp(min=1)).to(corners.dtype).expand(at.shape)


def align(
    levels: Levels, boxes: Tensor, size: tuple[int, int], ratio: int, moved: float, least: float | None
) -> Tensor:
    """Means of values between pixels over the samples of each bin, ``(K, down, right, C)``.

    Args:
        levels: Where images are.
        boxes: ``(K, 5)``.
        size: How many bins there are.
        ratio: How many samples each bin has along each axis; below 1 for one in each pixel.
        moved: By how much boxes are moved.
        least: What boxes' sides have at least.
    """
    scale = levels.scale[:, None] if isinstance(levels.scale, Tensor) else levels.scale
    corners = boxes[:, 1:] * scale - moved
    sides = corners[:, 2:] - corners[:, :2]
    if least is not None:
        sides = sides.clamp(min=least)
    y, vertical = (part[:, :, :, None, None] for part in _samples(corners, sides, 1, size[0], ratio))
    x, horizontal = (part[:, None, None] for part in _samples(corners, sides, 0, size[1], ratio))
    start, height, width = (
        value[:, None, None, None, None] if isinstance(value, Tensor) else value for value in levels[1:4]
    )
    found = between(levels.rows, start, y, x, height, width, clamped=True)
    return (found * (vertical * horizontal)[..., None].to(found.dtype)).sum((2, 4))


def roi_align(
    input: Tensor,
    boxes: Boxes,
    output_size: int | Sequence[int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Means of what images are at samples of each bin of boxes.

    Args:
        input: ``(N, C, H, W)``.
        boxes: Rows of the image's number, left, top, right and bottom, ``(K, 5)``; or boxes of each image, ``(L, 4)``.
        output_size: How many bins there are, down and to the right.
        spatial_scale: How large images are, as a share of what boxes are measured in.
        sampling_ratio: How many samples a bin has along each axis; below 1 for one in each pixel, which looks at boxes
            to say how many that is.
        aligned: Whether the middle of the first pixel is at 0.5; else it is at 0, and boxes are at least 1 by 1.

    Returns:
        ``(K, C, *output_size)``; nothing of it depends on where boxes are as far as gradients go.

    Raises:
        ShapeError: images or boxes have other axes.
        ArgumentError: there is no bin.
    """
    rows, size = _checked("roi_align", input, boxes, output_size)
    moved, least = (0.5, None) if aligned else (0.0, 1.0)
    levels = Levels.of(input, rows, spatial_scale)
    return align(levels, rows, size, sampling_ratio, moved, least).permute(0, 3, 1, 2)


def ps_roi_align(
    input: Tensor,
    boxes: Boxes,
    output_size: int | Sequence[int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
) -> Tensor:
    """`roi_align` in which each bin has channels of its own, and the middle of the first pixel is at 0.5.

    Args:
        input: ``(N, C, H, W)``, of which each number of the result has as many channels as there are bins.
        boxes: As those of `roi_align`.
        output_size: How many bins there are, down and to the right.
        spatial_scale: How large images are, as a share of what boxes are measured in.
        sampling_ratio: As that of `roi_align`.

    Returns:
        ``(K, C / bins, *output_size)``.

    Raises:
        ShapeError: images or boxes have other axes.
        ArgumentError: bins don't divide the channels.
    """
    rows, size = _checked("ps_roi_align", input, boxes, output_size, positions=True)
    return _own(align(Levels.of(input, rows, spatial_scale), rows, size, sampling_ratio, 0.5, None))


def _own(found: Tensor) -> Tensor:
    """Of each bin its own channels: of ``(K, down, right, C)``, ``(K, C / bins, down, right)``."""
    count, down, right, _ = found.shape
    each = found.unflatten(-1, (-1, down * right)).view(count, down * right, -1, down * right)
    return each.diagonal(dim1=1, dim2=3).unflatten(-1, (down, right))


def _rounded(values: Tensor) -> Tensor:
    """The nearest integers, those that are as near farther from 0."""
    return values.sign() * (values.abs() + 0.5).floor()


def _pixels(first: Tensor, side: Tensor, bins: int, end: int) -> tuple[Tensor, Tensor]:
    """Which pixels each bin has along an axis, and whether it has them, ``(K, bins, pixels)``."""
    k = tracec.arange(bins, device=first.device)
    step = side[:, None] / bins
    low, high = ((places + first[:, None]).clamp(0, end) for places in ((k * step).floor(), ((k + 1) * step).ceil()))
    longest = max(int((high - low).max().item()), 1) if len(first) else 1
    most = 1 << (longest - 1).bit_length()  # few sizes, so that few programs are compiled
    at = low[..., None] + tracec.arange(most, device=first.device)
    return at.long(), at < high[..., None]


def _pool(
    input: Tensor, boxes: Tensor, size: tuple[int, int], scale: float, cut: int, beyond: int
) -> tuple[Tensor, Tensor]:
    """Pixels of each bin, ``(K, down, S, right, S', C)``, and whether they are there, alike without channels."""
    corners = _rounded(boxes[:, 1:] * scale)
    sides = (corners[:, 2:] - corners[:, :2] + beyond).clamp(min=1)
    levels = Levels.of(input, boxes, scale)
    y, vertical = _pixels(corners[:, 1], sides[:, 1], size[0], levels.height - cut)
    x, horizontal = _pixels(corners[:, 0], sides[:, 0], size[1], levels.width - cut)
    places = [at.clamp(max=end - 1) for at, end in ((y, levels.height), (x, levels.width))]
    index = places[0][:, :, :, None, None] * levels.width + places[1][:, None, None]
    there = vertical[:, :, :, None, None] & horizontal[:, None, None]
    return levels.rows[levels.start[:, None, None, None, None] + index], there


def roi_pool(input: Tensor, boxes: Boxes, output_size: int | Sequence[int], spatial_scale: float = 1.0) -> Tensor:
    """The largest pixels of each bin of boxes, whose corners are rounded to pixels; 0 of a bin without pixels.

    Args:
        input: ``(N, C, H, W)``.
        boxes: As those of `roi_align`; they are looked at to say how large bins are.
        output_size: How many bins there are, down and to the right.
        spatial_scale: How large images are, as a share of what boxes are measured in.

    Returns:
        ``(K, C, *output_size)``.

    Raises:
        ShapeError: images or boxes have other axes.
        ArgumentError: there is no bin.
    """
    rows, size = _checked("roi_pool", input, boxes, output_size)
    pixels, there = _pool(input, rows, size, spatial_scale, 0, 1)
    found = tracec.where(there[..., None], pixels, -tracec.inf).amax((2, 4))
    some = there.any(4).any(2)[..., None]
    return tracec.where(some, found, 0.0).permute(0, 3, 1, 2)


def ps_roi_pool(input: Tensor, boxes: Boxes, output_size: int | Sequence[int], spatial_scale: float = 1.0) -> Tensor:
    """Means of pixels of each bin of boxes, each of channels of its own; 0 of a bin without pixels.

    As in torchvision the last row and the last column of images are left out.

    Args:
        input: ``(N, C, H, W)``, of which each number of the result has as many channels as there are bins.
        boxes: As those of `roi_pool`.
        output_size: How many bins there are, down and to the right.
        spatial_scale: How large images are, as a share of what boxes are measured in.

    Returns:
        ``(K, C / bins, *output_size)``.

    Raises:
        ShapeError: images or boxes have other axes.
        ArgumentError: bins don't divide the channels.
    """
    rows, size = _checked("ps_roi_pool", input, boxes, output_size, positions=True)
    pixels, there = _pool(input, rows, size, spatial_scale, 1, 0)
    kept = there[..., None].to(pixels.dtype)
    return _own((pixels * kept).sum((2, 4)) / kept.sum((2, 4)).clamp(min=1))


class _OfBoxes(nn.Module):
    """A function of images and boxes with the rest of what it takes."""

    names: tuple[str, ...]

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.names)


class RoIAlign(_OfBoxes):
    """`roi_align` as a layer; takes the rest of what that takes."""

    names = ("output_size", "spatial_scale", "sampling_ratio", "aligned")

    def __init__(
        self, output_size: int | Sequence[int], spatial_scale: float, sampling_ratio: int, aligned: bool = False
    ) -> None:
        super().__init__()
        self.output_size, self.spatial_scale = output_size, spatial_scale
        self.sampling_ratio, self.aligned = sampling_ratio, aligned

    def forward(self, input: Tensor, rois: Boxes) -> Tensor:
        """See `roi_align`."""
        return roi_align(input, rois, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned)


class PSRoIAlign(_OfBoxes):
    """`ps_roi_align` as a layer; takes the rest of what that takes."""

    names = ("output_size", "spatial_scale", "sampling_ratio")

    def __init__(self, output_size: int | Sequence[int], spatial_scale: float, sampling_ratio: int) -> None:
        super().__init__()
        self.output_size, self.spatial_scale, self.sampling_ratio = output_size, spatial_scale, sampling_ratio

    def forward(self, input: Tensor, rois: Boxes) -> Tensor:
        """See `ps_roi_align`."""
        return ps_roi_align(input, rois, self.output_size, self.spatial_scale, self.sampling_ratio)


class RoIPool(_OfBoxes):
    """`roi_pool` as a layer; takes the rest of what that takes."""

    names = ("output_size", "spatial_scale")

    def __init__(self, output_size: int | Sequence[int], spatial_scale: float) -> None:
        super().__init__()
        self.output_size, self.spatial_scale = output_size, spatial_scale

    def forward(self, input: Tensor, rois: Boxes) -> Tensor:
        """See `roi_pool`."""
        return roi_pool(input, rois, self.output_size, self.spatial_scale)


class PSRoIPool(RoIPool):
    """`ps_roi_pool` as a layer; takes the rest of what that takes."""

    def forward(self, input: Tensor, rois: Boxes) -> Tensor:
        """See `ps_roi_pool`."""
        return ps_roi_pool(input, rois, self.output_size, self.spatial_scale)


__all__ = [
    "PSRoIAlign", "PSRoIPool", "RoIAlign", "RoIPool", "ps_roi_align", "ps_roi_pool", "roi_align", "roi_pool",
]  # fmt: skip
