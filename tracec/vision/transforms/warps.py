"""Transforms that turn, move, shear and bend images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tracec
from tracec import Tensor, nn
from tracec.errors import ArgumentError
from tracec.vision.transforms import draws
from tracec.vision.transforms import functional as F
from tracec.vision.transforms.checks import check_probability, degrees
from tracec.vision.transforms.functional.images import Picture, check_image, height_and_width, numbers
from tracec.vision.transforms.interpolation import InterpolationMode, interpolation_mode


class RandomRotation(nn.Module):
    """Images turned by any angle of a range.

    Args:
        degrees: The range; one number reaches to both sides of zero.
        interpolation: How values between pixels are made; of tensors ``NEAREST`` or ``BILINEAR``.
        expand: Make results so large that all of the turned image is in them.
        center: x and y of the point that stays; by default the middle.
        fill: The colour of what comes into view.
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: InterpolationMode = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: Any = 0,
    ) -> None:
        super().__init__()
        self.degrees = _degrees("RandomRotation", "degrees", degrees)
        self.interpolation = interpolation_mode("RandomRotation", interpolation)
        self.expand, self.center, self.fill = expand, center, fill
        if center is not None:
            numbers("RandomRotation", "center", center, (2,))

    @staticmethod
    def get_params(degrees: Sequence[float]) -> float:
        """An angle."""
        return draws.uniform((degrees[0], degrees[1]))[0]

    def forward(self, img: Picture) -> Picture:
        """The image, turned."""
        angle = self.get_params(self.degrees)
        return F.rotate(img, angle, self.interpolation, self.expand, self.center, self.fill)

    def extra_repr(self) -> str:
        center = "" if self.center is None else f", center={self.center}"
        how = f"interpolation={self.interpolation.value}, expand={self.expand}{center}, fill={self.fill}"
        return f"degrees={self.degrees}, {how}"


_degrees = degrees  # which arguments hide


class RandomAffine(nn.Module):
    """Images turned, moved, scaled and sheared about their middle.

    Args:
        degrees: Range of angles; one number reaches to both sides of zero.
        translate: Greatest ways along x and y, as shares of width and height.
        scale: Range of factors of lengths.
        shear: Range of angles along x, or two ranges, along x and y; one number reaches to both sides of zero.
        interpolation: How values between pixels are made; of tensors ``NEAREST`` or ``BILINEAR``.
        fill: The colour of what comes into view.
        center: x and y of the point that stays; by default the middle.

    Raises:
        ArgumentError: shares are not of 0 to 1, or factors not positive.
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: float | Sequence[float] | None = None,
        interpolation: InterpolationMode = InterpolationMode.NEAREST,
        fill: Any = 0,
        center: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.degrees = _degrees("RandomAffine", "degrees", degrees)
        if translate is not None and not all(0 <= n <= 1 for n in _two("translate", translate)):
            raise ArgumentError(f"RandomAffine: translate={translate!r}", hint="shares of width and height, 0 to 1")
        if scale is not None and not 0 < _two("scale", scale)[0] <= scale[1]:
            raise ArgumentError(f"RandomAffine: scale={scale!r}", hint="two positive factors that rise")
        if center is not None:
            _two("center", center)
        self.translate, self.scale, self.fill, self.center = translate, scale, fill, center
        self.shear = None if shear is None else _degrees("RandomAffine", "shear", shear, (2, 4))
        self.interpolation = interpolation_mode("RandomAffine", interpolation)

    @staticmethod
    def get_params(
        degrees: Sequence[float],
        translate: Sequence[float] | None,
        scale_ranges: Sequence[float] | None,
        shears: Sequence[float] | None,
        img_size: Sequence[int],
    ) -> tuple[float, tuple[int, int], float, tuple[float, float]]:
        """An angle, pixels along x and y, a factor, and angles of shears along x and y."""
        ways = (0.0, 0.0) if translate is None else [share * n for share, n in zip(translate, img_size, strict=True)]
        factors = (1.0, 1.0) if scale_ranges is None else scale_ranges
        sheared = [0.0, 0.0] if shears is None else list(shears)
        sheared += [0.0, 0.0] if len(sheared) == 2 else []
        angle, x, y, factor, along_x, along_y = draws.uniform(
            (degrees[0], degrees[1]),
            (-ways[0], ways[0]),
            (-ways[1], ways[1]),
            (factors[0], factors[1]),
            (sheared[0], sheared[1]),
            (sheared[2], sheared[3]),
        )
        return angle, (round(x), round(y)), factor, (along_x, along_y)

    def forward(self, img: Picture) -> Picture:
        """The image, turned, moved, scaled and sheared."""
        check_image("RandomAffine", img)
        size = height_and_width(img)[::-1]
        found = self.get_params(self.degrees, self.translate, self.scale, self.shear, size)
        return F.affine(img, *found, interpolation=self.interpolation, fill=self.fill, center=self.center)

    def extra_repr(self) -> str:
        shown = f"degrees={self.degrees}"
        for name in ("translate", "scale", "shear"):
            if getattr(self, name) is not None:
                shown += f", {name}={getattr(self, name)}"
        if self.interpolation is not InterpolationMode.NEAREST:
            shown += f", interpolation={self.interpolation.value}"
        shown += f", fill={self.fill}" if self.fill != 0 else ""
        return shown + (f", center={self.center}" if self.center is not None else "")


def _two(what: str, given: Any) -> list[float]:
    found = numbers("RandomAffine", what, given, (2,))
    if len(found) != 2:
        raise ArgumentError(f"RandomAffine: {what}={given!r} is one number", hint="give two")
    return found


class RandomPerspective(nn.Module):
    """Images as seen from elsewhere, or as they are.

    Args:
        distortion_scale: How far corners move inwards, as a share of half the image.
        p: How often.
        interpolation: How values between pixels are made; of tensors ``NEAREST`` or ``BILINEAR``.
        fill: The colour of what comes into view.

    Raises:
        ArgumentError: the share is not of 0 to 1.
    """

    def __init__(
        self,
        distortion_scale: float = 0.5,
        p: float = 0.5,
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        fill: Any = 0,
    ) -> None:
        super().__init__()
        self.p = check_probability("RandomPerspective", p)
        if not 0 <= distortion_scale <= 1:
            raise ArgumentError(f"RandomPerspective: distortion_scale={distortion_scale!r}", hint="0 to 1")
        self.distortion_scale, self.fill = distortion_scale, fill
        self.interpolation = interpolation_mode("RandomPerspective", interpolation)

    @staticmethod
    def get_params(width: int, height: int, distortion_scale: float) -> tuple[list[list[int]], list[list[int]]]:
        """The corners of an image, from the upper left one on as a clock turns, and where they come to lie."""
        across, down = int(distortion_scale * (width // 2)) + 1, int(distortion_scale * (height // 2)) + 1
        x, y = draws.integers(*[across] * 4), draws.integers(*[down] * 4)
        right, bottom = width - 1, height - 1
        start = [[0, 0], [right, 0], [right, bottom], [0, bottom]]
        end = [[x[0], y[0]], [right - x[1], y[1]], [right - x[2], bottom - y[2]], [x[3], bottom - y[3]]]
        return start, end

    def forward(self, img: Picture) -> Picture:
        """The image as seen from elsewhere, or itself."""
        check_image("RandomPerspective", img)
        if not draws.happens(self.p):
            return img
        height, width = height_and_width(img)
        start, end = self.get_params(width, height, self.distortion_scale)
        return F.perspective(img, start, end, self.interpolation, self.fill)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class ElasticTransform(nn.Module):
    """Images bent as if under water. Source: Simard, Steinkraus, Platt, "Best practices", 2003.

    Args:
        alpha: How far pixels move, along x and y or along both alike.
        sigma: How smooth their ways are, alike.
        interpolation: How values between pixels are made: ``NEAREST`` or ``BILINEAR``.
        fill: The colour of what comes into view.
    """

    def __init__(
        self,
        alpha: float | Sequence[float] = 50.0,
        sigma: float | Sequence[float] = 5.0,
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        fill: Any = 0,
    ) -> None:
        super().__init__()
        self.alpha, self.sigma = (
            [float(n) for n in (given * 2 if len(given) == 1 else given)]
            for given in (
                numbers("ElasticTransform", what, n, (1, 2)) for what, n in (("alpha", alpha), ("sigma", sigma))
            )
        )
        if min(self.sigma) < 0:
            raise ArgumentError(f"ElasticTransform: sigma={sigma!r} is negative", hint="e.g. 5.0")
        self.interpolation = interpolation_mode("ElasticTransform", interpolation)
        self.fill = [float(fill)] if isinstance(fill, (int, float)) else [float(n) for n in fill]

    @staticmethod
    def get_params(alpha: Sequence[float], sigma: Sequence[float], size: Sequence[int]) -> Tensor:
        """Ways of all pixels, ``(1, H, W, 2)``, as shares of half the image."""
        height, width = size
        ways = []
        for reach, smooth, length in ((alpha[0], sigma[0], height), (alpha[1], sigma[1], width)):
            drawn = tracec.rand(1, 1, height, width, device="cpu") * 2 - 1
            if smooth > 0:
                count = int(8 * smooth + 1)
                # No wider than the image and its mirror image.
                count = min(count + (count % 2 == 0), 2 * min(height, width) - 1)
                drawn = F.gaussian_blur(drawn, [count, count], [smooth, smooth])
            ways.append(drawn * reach / length)
        return tracec.cat(ways, 1).permute(0, 2, 3, 1)

    def forward(self, tensor: Picture) -> Picture:
        """The image, bent."""
        check_image("ElasticTransform", tensor)
        ways = self.get_params(self.alpha, self.sigma, height_and_width(tensor))
        return F.elastic_transform(tensor, ways, self.interpolation, self.fill)

    def extra_repr(self) -> str:
        how = f"interpolation={self.interpolation}, fill={self.fill}"
        return f"alpha={self.alpha}, sigma={self.sigma}, {how}"
