"""Changes that are drawn from one list, with one number for how strong they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tracec import nn
from tracec.errors import ArgumentError
from tracec.vision.transforms import draws
from tracec.vision.transforms import functional as F
from tracec.vision.transforms.functional.images import Picture, check_image, greatest, height_and_width, is_pillow
from tracec.vision.transforms.interpolation import InterpolationMode, interpolation_mode

#: Strengths from the least to the greatest, and whether they reach to both sides of nothing.
Strengths = tuple[np.ndarray[Any, Any], bool]


def changed(name: str, img: Picture, strength: float, how: InterpolationMode, fill: Any) -> Picture:
    """The image after one change of the list."""
    if name in ("ShearX", "ShearY", "TranslateX", "TranslateY"):
        along = 0 if name[-1] == "X" else 1
        shear, move = [0.0, 0.0], [0, 0]
        if name.startswith("Shear"):
            # The papers' number is the tangent, and the corner stays.
            shear[along] = math.degrees(math.atan(strength))
        else:
            move[along] = int(strength)
        center = [0, 0] if name.startswith("Shear") else None
        return F.affine(img, 0.0, move, 1.0, shear, interpolation=how, fill=fill, center=center)
    if name == "Rotate":
        return F.rotate(img, strength, interpolation=how, fill=fill)
    if name == "Posterize":
        return F.posterize(img, int(strength))
    if name == "Solarize":
        return F.solarize(img, strength if is_pillow(img) else strength / 255 * greatest(img.dtype))
    return _PLAIN[name](img, strength)


_PLAIN: dict[str, Callable[[Picture, float], Picture]] = {
    "Identity": lambda img, _: img,
    "Brightness": lambda img, k: F.adjust_brightness(img, 1 + k),
    "Color": lambda img, k: F.adjust_saturation(img, 1 + k),
    "Contrast": lambda img, k: F.adjust_contrast(img, 1 + k),
    "Sharpness": lambda img, k: F.adjust_sharpness(img, 1 + k),
    "AutoContrast": lambda img, _: F.autocontrast(img),
    "Equalize": lambda img, _: F.equalize(img),
    "Invert": lambda img, _: F.invert(img),
}


def strengths_of(
    bins: int, shear: float, across: float, down: float, turn: float, light: float, bits: int
) -> dict[str, Strengths]:
    """Every change of the list with its strengths."""

    def up_to(most: float) -> Strengths:
        return np.linspace(0, most, bins), True

    none: Strengths = (np.zeros(bins), False)
    return {
        "Identity": none,
        "ShearX": up_to(shear),
        "ShearY": up_to(shear),
        "TranslateX": up_to(across),
        "TranslateY": up_to(down),
        "Rotate": up_to(turn),
        "Brightness": up_to(light),
        "Color": up_to(light),
        "Contrast": up_to(light),
        "Sharpness": up_to(light),
        "Posterize": (8 - np.round(np.arange(bins) * bits / (bins - 1)), False),
        "Solarize": (np.linspace(255, 0, bins), False),
        "AutoContrast": none,
        "Equalize": none,
    }


def _check_bins(name: str, bins: Any) -> int:
    if not isinstance(bins, int) or bins < 2:
        raise ArgumentError(f"{name}: num_magnitude_bins={bins!r}", hint="at least 2")
    return bins


class RandAugment(nn.Module):
    """Changes drawn from a list, all of one strength. Source: Cubuk et al., "RandAugment", 2019.

    Args:
        num_ops: How many, one after the other.
        magnitude: Which of the strengths, from 0 on.
        num_magnitude_bins: How many strengths there are.
        interpolation: How values between pixels are made where the image is moved.
        fill: The colour of what comes into view.

    Raises:
        ArgumentError: there is no such strength.
    """

    def __init__(
        self,
        num_ops: int = 2,
        magnitude: int = 9,
        num_magnitude_bins: int = 31,
        interpolation: InterpolationMode = InterpolationMode.NEAREST,
        fill: Any = None,
    ) -> None:
        super().__init__()
        self.num_ops, self.magnitude, self.fill = num_ops, magnitude, fill
        self.num_magnitude_bins = _check_bins("RandAugment", num_magnitude_bins)
        self.interpolation = interpolation_mode("RandAugment", interpolation)
        if not 0 <= magnitude < num_magnitude_bins:
            raise ArgumentError(f"RandAugment: magnitude={magnitude!r}", hint=f"0 to {num_magnitude_bins - 1}")

    def forward(self, img: Picture) -> Picture:
        """The image, changed."""
        check_image("RandAugment", img)
        height, width = height_and_width(img)
        # Ways are for images of 331 pixels in the paper.
        table = strengths_of(self.num_magnitude_bins, 0.3, 150 / 331 * width, 150 / 331 * height, 30.0, 0.9, 4)
        for _ in range(self.num_ops):
            which, down = draws.integers(len(table), 2)
            name, (strengths, both) = list(table.items())[which]
            strength = float(strengths[self.magnitude])
            img = changed(name, img, -strength if both and down else strength, self.interpolation, self.fill)
        return img

    def extra_repr(self) -> str:
        bins = f"num_magnitude_bins={self.num_magnitude_bins}, interpolation={self.interpolation}, fill={self.fill}"
        return f"num_ops={self.num_ops}, magnitude={self.magnitude}, {bins}"


class TrivialAugmentWide(nn.Module):
    """One change drawn from a list, of any strength. Source: Müller, Hutter, "TrivialAugment", 2021.

    Args:
        num_magnitude_bins: How many strengths there are.
        interpolation: How values between pixels are made where the image is moved.
        fill: The colour of what comes into view.
    """

    def __init__(
        self,
        num_magnitude_bins: int = 31,
        interpolation: InterpolationMode = InterpolationMode.NEAREST,
        fill: Any = None,
    ) -> None:
        super().__init__()
        self.num_magnitude_bins, self.fill = _check_bins("TrivialAugmentWide", num_magnitude_bins), fill
        self.interpolation = interpolation_mode("TrivialAugmentWide", interpolation)

    def forward(self, img: Picture) -> Picture:
        """The image, changed."""
        check_image("TrivialAugmentWide", img)
        table = strengths_of(self.num_magnitude_bins, 0.99, 32.0, 32.0, 135.0, 0.99, 6)
        which, place, down = draws.integers(len(table), self.num_magnitude_bins, 2)
        name, (strengths, both) = list(table.items())[which]
        strength = float(strengths[place])
        return changed(name, img, -strength if both and down else strength, self.interpolation, self.fill)

    def extra_repr(self) -> str:
        how = f"interpolation={self.interpolation}, fill={self.fill}"
        return f"num_magnitude_bins={self.num_magnitude_bins}, {how}"
