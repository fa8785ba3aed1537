"""Transforms of colours, light and sharpness."""

from __future__ import annotations

from collections.abc import Sequence

import tracec
from tracec import Tensor, nn
from tracec.errors import ArgumentError
from tracec.vision.transforms import draws
from tracec.vision.transforms import functional as F
from tracec.vision.transforms.checks import around, check_probability
from tracec.vision.transforms.functional.blur import kernel_sizes
from tracec.vision.transforms.functional.images import Picture, channels_of, check_image, numbers

Range = float | tuple[float, float]


class ColorJitter(nn.Module):
    """Brightness, contrast, saturation and hue changed, in any order.

    Args:
        brightness: Range of the factor; one number reaches to both sides of 1.
        contrast: Alike.
        saturation: Alike.
        hue: Range of what is added, of -0.5 to 0.5; one number reaches to both sides of 0.

    Raises:
        ArgumentError: a range goes beyond these, or is negative.
    """

    def __init__(self, brightness: Range = 0, contrast: Range = 0, saturation: Range = 0, hue: Range = 0) -> None:
        super().__init__()
        self.brightness = around("ColorJitter", "brightness", brightness, 1.0, 0)
        self.contrast = around("ColorJitter", "contrast", contrast, 1.0, 0)
        self.saturation = around("ColorJitter", "saturation", saturation, 1.0, 0)
        self.hue = around("ColorJitter", "hue", hue, 0.0, -0.5, 0.5)

    @staticmethod
    def get_params(
        brightness: Sequence[float] | None,
        contrast: Sequence[float] | None,
        saturation: Sequence[float] | None,
        hue: Sequence[float] | None,
    ) -> tuple[Tensor, float | None, float | None, float | None, float | None]:
        """The order of the four, and their numbers; None where one is left out."""
        ranges = (brightness, contrast, saturation, hue)
        drawn = draws.uniform(*((0.0, 0.0) if r is None else (r[0], r[1]) for r in ranges))
        one, two, three, four = (None if r is None else u for r, u in zip(ranges, drawn, strict=True))
        return tracec.tensor(draws.order(4)), one, two, three, four

    def forward(self, img: Picture) -> Picture:
        """The image, changed."""
        order, *factors = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        change = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        for k in order.tolist():
            if (factor := factors[k]) is not None:
                img = change[k](img, factor)
        return img

    def extra_repr(self) -> str:
        names = ("brightness", "contrast", "saturation", "hue")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


class Grayscale(nn.Module):
    """Images in grey.

    Args:
        num_output_channels: 1, or 3 that are alike.
    """

    def __init__(self, num_output_channels: int = 1) -> None:
        super().__init__()
        if num_output_channels not in (1, 3):
            raise ArgumentError(f"Grayscale: num_output_channels={num_output_channels!r}", hint="1 or 3")
        self.num_output_channels = num_output_channels

    def forward(self, img: Picture) -> Picture:
        """The image in grey."""
        return F.rgb_to_grayscale(img, self.num_output_channels)

    def extra_repr(self) -> str:
        return f"num_output_channels={self.num_output_channels}"


class GaussianBlur(nn.Module):
    """Images, smoothed.

    Args:
        kernel_size: Width and height of the filter, odd; or one number for both.
        sigma: Range of its deviation, or the one.

    Raises:
        ArgumentError: the range is not positive.
    """

    def __init__(self, kernel_size: int | Sequence[int], sigma: float | Sequence[float] = (0.1, 2.0)) -> None:
        super().__init__()
        across, down = kernel_sizes("GaussianBlur", kernel_size)
        self.kernel_size = (across, down)
        given = numbers("GaussianBlur", "sigma", sigma, (1, 2))
        if not 0 < given[0] <= given[-1]:
            raise ArgumentError(f"GaussianBlur: sigma={sigma!r}", hint="two positive numbers that rise, or one")
        self.sigma = (given[0], given[-1])

    @staticmethod
    def get_params(sigma_min: float, sigma_max: float) -> float:
        """A deviation."""
        return draws.uniform((sigma_min, sigma_max))[0]

    def forward(self, img: Picture) -> Picture:
        """The image, smoothed."""
        sigma = self.get_params(*self.sigma)
        return F.gaussian_blur(img, self.kernel_size, [sigma, sigma])

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, sigma={self.sigma}"


class _Sometimes(nn.Module):
    """A change that is made in ``p`` of all cases."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = check_probability(type(self).__name__, p)

    def forward(self, img: Picture) -> Picture:
        """The image, changed or not."""
        check_image(type(self).__name__, img)
        return self._changed(img) if draws.happens(self.p) else img

    def _changed(self, img: Picture) -> Picture:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"p={self.p}"


class RandomGrayscale(_Sometimes):
    """Images in grey, of as many channels as before, or as they are.

    Args:
        p: How often.
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def _changed(self, img: Picture) -> Picture:
        return F.rgb_to_grayscale(img, channels_of(img))


class RandomInvert(_Sometimes):
    """Images with white for black, or as they are.

    Args:
        p: How often.
    """

    def _changed(self, img: Picture) -> Picture:
        return F.invert(img)


class RandomAutocontrast(_Sometimes):
    """Images whose values are stretched from black to white, or as they are.

    Args:
        p: How often.
    """

    def _changed(self, img: Picture) -> Picture:
        return F.autocontrast(img)


class RandomEqualize(_Sometimes):
    """Images whose values are spread so that all are about as frequent, or as they are.

    Args:
        p: How often.
    """

    def _changed(self, img: Picture) -> Picture:
        return F.equalize(img)


class RandomPosterize(_Sometimes):
    """Images with the first bits of values alone, or as they are.

    Args:
        bits: How many are kept, 0 to 8.
        p: How often.
    """

    def __init__(self, bits: int, p: float = 0.5) -> None:
        super().__init__(p)
        self.bits = bits

    def _changed(self, img: Picture) -> Picture:
        return F.posterize(img, self.bits)

    def extra_repr(self) -> str:
        return f"bits={self.bits},p={self.p}"


class RandomSolarize(_Sometimes):
    """Images with values from a threshold on inverted, or as they are.

    Args:
        threshold: From which value on.
        p: How often.
    """

    def __init__(self, threshold: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.threshold = threshold

    def _changed(self, img: Picture) -> Picture:
        return F.solarize(img, self.threshold)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold},p={self.p}"


class RandomAdjustSharpness(_Sometimes):
    """Images sharper or softer, or as they are.

    Args:
        sharpness_factor: Above 1 sharper, below softer.
        p: How often.
    """

    def __init__(self, sharpness_factor: float, p: float = 0.5) -> None:
        super().__init__(p)
        self.sharpness_factor = sharpness_factor

    def _changed(self, img: Picture) -> Picture:
        return F.adjust_sharpness(img, self.sharpness_factor)

    def extra_repr(self) -> str:
        return f"sharpness_factor={self.sharpness_factor},p={self.p}"


__all__ = [
    "ColorJitter", "GaussianBlur", "Grayscale", "RandomAdjustSharpness", "RandomAutocontrast", "RandomEqualize",
    "RandomGrayscale", "RandomInvert", "RandomPosterize", "RandomSolarize",
]  # fmt: skip
