"""Transforms of sizes, crops, borders and mirrors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tracec
from tracec import Tensor, nn
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.vision.transforms import draws
from tracec.vision.transforms import functional as F
from tracec.vision.transforms.checks import check_probability
from tracec.vision.transforms.functional.geometry import pair
from tracec.vision.transforms.functional.images import Picture, channels_of, check_image, height_and_width, numbers
from tracec.vision.transforms.interpolation import InterpolationMode, interpolation_mode

Sizes = int | Sequence[int]


class Resize(nn.Module):
    """Images in another size; see `functional.resize`.

    Args:
        size: Height and width, or the length of the shorter side.
        interpolation: How values between pixels are made.
        max_size: The longer side may not be longer.
        antialias: Of tensors: widen the filter where an image gets smaller.
    """

    def __init__(
        self,
        size: Sizes | None,
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        if size is not None:
            numbers("Resize", "size", size, (1, 2))
        self.size, self.max_size, self.antialias = size, max_size, antialias
        self.interpolation = interpolation_mode("Resize", interpolation)

    def forward(self, img: Picture) -> Picture:
        """The image in the size."""
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)

    def extra_repr(self) -> str:
        how = f"interpolation={self.interpolation.value}, max_size={self.max_size}, antialias={self.antialias}"
        return f"size={self.size}, {how}"


class CenterCrop(nn.Module):
    """The middle of images; zeros around it where they are smaller.

    Args:
        size: Height and width, or one number for both.
    """

    def __init__(self, size: Sizes) -> None:
        super().__init__()
        self.size = pair("CenterCrop", size)

    def forward(self, img: Picture) -> Picture:
        """The middle of the image."""
        return F.center_crop(img, self.size)

    def extra_repr(self) -> str:
        return f"size={self.size}"


class Pad(nn.Module):
    """Images with a border; see `functional.pad`.

    Args:
        padding: Widths of the border: of all sides; of left and right, top and bottom; or left, top, right, bottom.
        fill: The colour of a constant border.
        padding_mode: ``constant``, ``edge``, ``reflect`` or ``symmetric``.
    """

    def __init__(self, padding: Sizes, fill: Any = 0, padding_mode: str = "constant") -> None:
        super().__init__()
        numbers("Pad", "padding", padding, (1, 2, 4))
        if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
            raise ArgumentError(f"Pad: padding_mode={padding_mode!r}", hint="constant, edge, reflect or symmetric")
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def forward(self, img: Picture) -> Picture:
        """The image with the border."""
        return F.pad(img, self.padding, self.fill, self.padding_mode)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, fill={self.fill}, padding_mode={self.padding_mode}"


class RandomCrop(nn.Module):
    """A part of images, anywhere.

    Args:
        size: Height and width of the part, or one number for both.
        padding: Widths of a border that is added before.
        pad_if_needed: Add a border where the image is smaller than the part.
        fill: The colour of a constant border.
        padding_mode: ``constant``, ``edge``, ``reflect`` or ``symmetric``.
    """

    def __init__(
        self,
        size: Sizes,
        padding: Sizes | None = None,
        pad_if_needed: bool = False,
        fill: Any = 0,
        padding_mode: str = "constant",
    ) -> None:
        super().__init__()
        self.size = pair("RandomCrop", size)
        self.padding, self.pad_if_needed, self.fill, self.padding_mode = padding, pad_if_needed, fill, padding_mode

    @staticmethod
    def get_params(img: Picture, output_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """First row and column, height and width of a part.

        Raises:
            ShapeError: the image is smaller.
        """
        check_image("RandomCrop", img)
        (rows, columns), (height, width) = height_and_width(img), output_size
        if height > rows or width > columns:
            raise ShapeError(
                f"RandomCrop: a part of {height} × {width} of an image of {rows} × {columns}",
                hint="give a padding, or pad_if_needed=True",
            )
        if (height, width) == (rows, columns):
            return 0, 0, height, width
        top, left = draws.integers(rows - height + 1, columns - width + 1)
        return top, left, height, width

    def forward(self, img: Picture) -> Picture:
        """A part of the image."""
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        if self.pad_if_needed:
            check_image("RandomCrop", img)
            rows, columns = height_and_width(img)
            borders = max(0, self.size[1] - columns), max(0, self.size[0] - rows)
            if any(borders):
                img = F.pad(img, borders, self.fill, self.padding_mode)
        return F.crop(img, *self.get_params(img, self.size))

    def extra_repr(self) -> str:
        return f"size={self.size}, padding={self.padding}"


class RandomResizedCrop(nn.Module):
    """A part of images of any size and proportions, in one size. Source: Szegedy et al., "Going deeper", 2014.

    Args:
        size: Height and width of the result, or one number for both.
        scale: Least and greatest area of the part, as a share of the image.
        ratio: Least and greatest width over height.
        interpolation: How values between pixels are made.
        antialias: Of tensors: widen the filter where an image gets smaller.
    """

    def __init__(
        self,
        size: Sizes,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        self.size = pair("RandomResizedCrop", size)
        self.scale, self.ratio = _ranges("RandomResizedCrop", scale, ratio)
        self.interpolation, self.antialias = interpolation_mode("RandomResizedCrop", interpolation), antialias

    @staticmethod
    def get_params(img: Picture, scale: Sequence[float], ratio: Sequence[float]) -> tuple[int, int, int, int]:
        """First row and column, height and width of a part; the middle where ten that are drawn do not fit."""
        check_image("RandomResizedCrop", img)
        rows, columns = height_and_width(img)
        for _ in range(10):
            share, shape = draws.uniform((scale[0], scale[1]), (math.log(ratio[0]), math.log(ratio[1])))
            area, shape = rows * columns * share, math.exp(shape)
            width, height = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < width <= columns and 0 < height <= rows:
                top, left = draws.integers(rows - height + 1, columns - width + 1)
                return top, left, height, width
        whole = columns / rows
        width = columns if whole <= ratio[1] else round(rows * ratio[1])
        height = rows if whole >= ratio[0] else round(columns / ratio[0])
        return (rows - height) // 2, (columns - width) // 2, height, width

    def forward(self, img: Picture) -> Picture:
        """A part of the image in the size."""
        part = self.get_params(img, self.scale, self.ratio)
        return F.resized_crop(img, *part, self.size, self.interpolation, antialias=self.antialias)

    def extra_repr(self) -> str:
        scale, ratio = (tuple(round(n, 4) for n in pair) for pair in (self.scale, self.ratio))
        how = f"interpolation={self.interpolation.value}, antialias={self.antialias}"
        return f"size={self.size}, scale={scale}, ratio={ratio}, {how}"


def _ranges(name: str, scale: Any, ratio: Any) -> tuple[Any, Any]:
    for what, given in (("scale", scale), ("ratio", ratio)):
        low, high = numbers(name, what, given, (2,)) if isinstance(given, (list, tuple)) else (1, 0)
        if not 0 < low <= high and not (what == "scale" and 0 <= low <= high):
            raise ArgumentError(f"{name}: {what}={given!r} is no range", hint="two positive numbers that rise")
    return scale, ratio


class _Flip(nn.Module):
    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = check_probability(type(self).__name__, p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class RandomHorizontalFlip(_Flip):
    """Images with left and right exchanged, or not.

    Args:
        p: How often.
    """

    def forward(self, img: Picture) -> Picture:
        """The image, or its mirror image."""
        return F.hflip(img) if draws.happens(self.p) else img


class RandomVerticalFlip(_Flip):
    """Images upside down, or not.

    Args:
        p: How often.
    """

    def forward(self, img: Picture) -> Picture:
        """The image, upside down or not."""
        return F.vflip(img) if draws.happens(self.p) else img


class FiveCrop(nn.Module):
    """The four corners of images and the middle, as a tuple.

    Args:
        size: Height and width of each, or one number for both.
    """

    def __init__(self, size: Sizes) -> None:
        super().__init__()
        self.size = pair("FiveCrop", size)

    def forward(self, img: Picture) -> tuple[Picture, ...]:
        """The five parts."""
        return F.five_crop(img, self.size)

    def extra_repr(self) -> str:
        return f"size={self.size}"


class TenCrop(nn.Module):
    """The four corners and the middle of images and of their mirror images, as a tuple.

    Args:
        size: Height and width of each, or one number for both.
        vertical_flip: Upside down, not left and right exchanged.
    """

    def __init__(self, size: Sizes, vertical_flip: bool = False) -> None:
        super().__init__()
        self.size, self.vertical_flip = pair("TenCrop", size), vertical_flip

    def forward(self, img: Picture) -> tuple[Picture, ...]:
        """The ten parts."""
        return F.ten_crop(img, self.size, self.vertical_flip)

    def extra_repr(self) -> str:
        return f"size={self.size}, vertical_flip={self.vertical_flip}"


class RandomErasing(nn.Module):
    """Tensors of images with a rectangle of other values, or without. Source: Zhong et al., "Random erasing", 2017.

    Args:
        p: How often.
        scale: Least and greatest area of the rectangle, as a share of the image.
        ratio: Least and greatest height over width.
        value: A number, one for each channel, or ``"random"`` for normal numbers.
        inplace: Write into the tensor.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: Any = 0,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        self.p = check_probability("RandomErasing", p)
        self.scale, self.ratio = _ranges("RandomErasing", scale, ratio)
        if isinstance(value, str) and value != "random":
            raise ArgumentError(f"RandomErasing: value={value!r}", hint="a number, numbers, or 'random'")
        self.value, self.inplace = value, inplace

    @staticmethod
    def get_params(
        img: Tensor, scale: Sequence[float], ratio: Sequence[float], value: Sequence[float] | None = None
    ) -> tuple[int, int, int, int, Tensor]:
        """First row and column, height, width and values of a rectangle; the whole image where ten do not fit."""
        rows, columns = height_and_width(img)
        for _ in range(10):
            share, shape = draws.uniform((scale[0], scale[1]), (math.log(ratio[0]), math.log(ratio[1])))
            area, shape = rows * columns * share, math.exp(shape)
            height, width = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if not (height < rows and width < columns):
                continue
            top, left = draws.integers(rows - height + 1, columns - width + 1)
            if value is None:
                values = tracec.randn(channels_of(img), height, width).to(img.device, img.dtype)
            else:
                values = tracec.tensor(list(value), dtype=img.dtype, device=img.device)[:, None, None]
            return top, left, height, width, values
        return 0, 0, rows, columns, img

    def forward(self, img: Tensor) -> Tensor:
        """The tensor ``(…, C, H, W)``, with or without the rectangle."""
        if not isinstance(img, Tensor):
            raise ArgumentTypeError(
                f"RandomErasing: takes tensors, {type(img).__name__} given", hint="put ToTensor() before it"
            )
        check_image("RandomErasing", img)
        if not draws.happens(self.p):
            return img
        channels = channels_of(img)
        value = None if self.value == "random" else numbers("RandomErasing", "value", self.value, (1, channels))
        return F.erase(img, *self.get_params(img, self.scale, self.ratio, value), self.inplace)

    def extra_repr(self) -> str:
        what = f"value={self.value}, inplace={self.inplace}"
        return f"p={self.p}, scale={self.scale}, ratio={self.ratio}, {what}"
