"""Changes that were found by search for data sets, and mixtures of chains of changes."""

from __future__ import annotations

from enum import Enum
from typing import Any

import tracec
from tracec import Tensor, nn
from tracec.errors import ArgumentError
from tracec.vision.transforms import draws
from tracec.vision.transforms import functional as F
from tracec.vision.transforms.functional.images import Picture, check_image, height_and_width, is_pillow
from tracec.vision.transforms.interpolation import InterpolationMode, interpolation_mode
from tracec.vision.transforms.policies import Strengths, changed, strengths_of


class AutoAugmentPolicy(Enum):
    """The data sets that `AutoAugment` has changes for."""

    IMAGENET = "imagenet"
    CIFAR10 = "cifar10"
    SVHN = "svhn"


#: Data set → pairs of changes, each with the tenths in which it happens and, where it has one, its strength of ten.
_POLICIES = {
    AutoAugmentPolicy.IMAGENET: """
        Posterize 4 8, Rotate 6 9; Solarize 6 5, AutoContrast 6; Equalize 8, Equalize 6; Posterize 6 7, Posterize 6 6;
        Equalize 4, Solarize 2 4; Equalize 4, Rotate 8 8; Solarize 6 3, Equalize 6; Posterize 8 5, Equalize 10;
        Rotate 2 3, Solarize 6 8; Equalize 6, Posterize 4 6; Rotate 8 8, Color 4 0; Rotate 4 9, Equalize 6;
        Equalize 0, Equalize 8; Invert 6, Equalize 10; Color 6 4, Contrast 10 8; Rotate 8 8, Color 10 2;
        Color 8 8, Solarize 8 7; Sharpness 4 7, Invert 6; ShearX 6 5, Equalize 10; Color 4 0, Equalize 6;
        Equalize 4, Solarize 2 4; Solarize 6 5, AutoContrast 6; Invert 6, Equalize 10; Color 6 4, Contrast 10 8;
        Equalize 8, Equalize 6
    """,
    AutoAugmentPolicy.CIFAR10: """
        Invert 1, Contrast 2 6; Rotate 7 2, TranslateX 3 9; Sharpness 8 1, Sharpness 9 3; ShearY 5 8, TranslateY 7 9;
        AutoContrast 5, Equalize 9; ShearY 2 7, Posterize 3 7; Color 4 3, Brightness 6 7; Sharpness 3 9, Brightness 7 9;
        Equalize 6, Equalize 5; Contrast 6 7, Sharpness 6 5; Color 7 7, TranslateX 5 8; Equalize 3, AutoContrast 4;
        TranslateY 4 3, Sharpness 2 6; Brightness 9 6, Color 2 8; Solarize 5 2, Invert 0; Equalize 2, AutoContrast 6;
        Equalize 2, Equalize 6; Color 9 9, Equalize 6; AutoContrast 8, Solarize 2 8; Brightness 1 3, Color 7 0;
        Solarize 4 5, AutoContrast 9; TranslateY 9 9, TranslateY 7 9; AutoContrast 9, Solarize 8 3;
        Equalize 8, Invert 1; TranslateY 7 9, AutoContrast 9
    """,
    AutoAugmentPolicy.SVHN: """
        ShearX 9 4, Invert 2; ShearY 9 8, Invert 7; Equalize 6, Solarize 6 6; Invert 9, Equalize 6;
        Equalize 6, Rotate 9 3; ShearX 9 4, AutoContrast 8; ShearY 9 8, Invert 4; ShearY 9 5, Solarize 2 6;
        Invert 9, AutoContrast 8; Equalize 6, Rotate 9 3; ShearX 9 4, Solarize 3 3; ShearY 8 8, Invert 7;
        Equalize 9, TranslateY 6 6; Invert 9, Equalize 6; Contrast 3 3, Rotate 8 4; Invert 8, TranslateY 0 2;
        ShearY 7 6, Solarize 4 8; Invert 6, Rotate 8 4; ShearY 3 7, TranslateX 9 3; ShearX 1 6, Invert 6;
        Solarize 7 2, TranslateY 6 7; ShearY 8 4, Invert 8; ShearX 7 9, TranslateY 8 3; ShearY 8 5, AutoContrast 7;
        ShearX 7 2, Invert 1
    """,
}

#: A change, how often of one it happens, and which of its ten strengths it has; None where it has none.
Step = tuple[str, float, int | None]


def _steps(text: str) -> list[tuple[Step, ...]]:
    """The pairs of changes that a text of the table tells."""

    def step(words: list[str]) -> Step:
        return words[0], int(words[1]) / 10, int(words[2]) if len(words) > 2 else None

    return [tuple(step(part.split()) for part in pair.split(",")) for pair in text.split(";")]


class AutoAugment(nn.Module):
    """Two changes, one of 25 pairs that were found for a data set. Source: Cubuk et al., "AutoAugment", 2018.

    Args:
        policy: The data set.
        interpolation: How values between pixels are made where the image is moved.
        fill: The colour of what comes into view.
    """

    def __init__(
        self,
        policy: AutoAugmentPolicy = AutoAugmentPolicy.IMAGENET,
        interpolation: InterpolationMode = InterpolationMode.NEAREST,
        fill: Any = None,
    ) -> None:
        super().__init__()
        if policy not in _POLICIES:
            raise ArgumentError(f"AutoAugment: policy={policy!r}", hint="e.g. AutoAugmentPolicy.CIFAR10")
        self.policy, self.fill = policy, fill
        self.interpolation = interpolation_mode("AutoAugment", interpolation)
        self.policies = _steps(_POLICIES[policy])

    def forward(self, img: Picture) -> Picture:
        """The image, changed."""
        check_image("AutoAugment", img)
        height, width = height_and_width(img)
        table = strengths_of(10, 0.3, 150 / 331 * width, 150 / 331 * height, 30.0, 0.9, 4)
        which, *down = draws.integers(len(self.policies), 2, 2)
        chances = draws.uniform((0.0, 1.0), (0.0, 1.0))
        for (name, share, place), chance, negative in zip(self.policies[which], chances, down, strict=True):
            if chance <= share:
                strengths, both = table.get(name, table["Identity"])
                strength = 0.0 if place is None else float(strengths[place])
                img = changed(name, img, -strength if both and negative else strength, self.interpolation, self.fill)
        return img

    def extra_repr(self) -> str:
        return f"policy={self.policy}, fill={self.fill}"


class AugMix(nn.Module):
    """The image mixed with what chains of changes make of it. Source: Hendrycks et al., "AugMix", 2019.

    Args:
        severity: How strong changes may be, 1 to 10.
        mixture_width: How many chains there are.
        chain_depth: How many changes make a chain; below 1 one to three.
        alpha: Of the distributions that shares are drawn from.
        all_ops: Whether brightness, colour, contrast and sharpness are among the changes.
        interpolation: How values between pixels are made where the image is moved.
        fill: The colour of what comes into view.

    Raises:
        ArgumentError: there is no such severity, or no chain.
    """

    def __init__(
        self,
        severity: int = 3,
        mixture_width: int = 3,
        chain_depth: int = -1,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        fill: Any = None,
    ) -> None:
        super().__init__()
        if severity not in range(1, 11) or mixture_width < 1 or not alpha > 0:
            raise ArgumentError(
                f"AugMix: severity={severity!r}, mixture_width={mixture_width!r}, alpha={alpha!r}",
                hint="a severity of 1 to 10, a chain or more, a positive alpha",
            )
        self.severity, self.mixture_width, self.chain_depth = severity, mixture_width, chain_depth
        self.alpha, self.all_ops, self.fill = alpha, all_ops, fill
        self.interpolation = interpolation_mode("AugMix", interpolation)

    def _table(self, height: int, width: int) -> dict[str, Strengths]:
        table = strengths_of(10, 0.3, width / 3, height / 3, 30.0, 0.9, 4)
        table["Posterize"] = table["Posterize"][0] - 4, False
        left_out = {"Identity"} | (set() if self.all_ops else {"Brightness", "Color", "Contrast", "Sharpness"})
        return {name: found for name, found in table.items() if name not in left_out}

    def forward(self, img: Picture) -> Picture:
        """The image, mixed."""
        check_image("AugMix", img)
        table = self._table(*height_and_width(img))
        share = float(tracec.distributions.Beta(self.alpha, self.alpha).sample())
        shares = tracec.distributions.Dirichlet(tracec.full((self.mixture_width,), self.alpha)).sample().tolist()
        mixed = _floats(img) * share
        for part in shares:
            mixed = mixed + _floats(self._chained(img, table)) * (part * (1 - share))
        if not is_pillow(img):
            return mixed.to(img.dtype)
        return F.to_pil_image(mixed.to(tracec.uint8), img.mode if img.mode == "L" else None)

    def _chained(self, img: Picture, table: dict[str, Strengths]) -> Picture:
        depth = self.chain_depth if self.chain_depth > 0 else 1 + draws.integers(3)[0]
        for _ in range(depth):
            which, place, negative = draws.integers(len(table), self.severity, 2)
            name, (strengths, both) = list(table.items())[which]
            strength = float(strengths[place])
            img = changed(name, img, -strength if both and negative else strength, self.interpolation, self.fill)
        return img

    def extra_repr(self) -> str:
        how = f"alpha={self.alpha}, all_ops={self.all_ops}, interpolation={self.interpolation}, fill={self.fill}"
        return f"severity={self.severity}, mixture_width={self.mixture_width}, chain_depth={self.chain_depth}, {how}"


def _floats(img: Picture) -> Tensor:
    return (F.pil_to_tensor(img) if is_pillow(img) else img).to(tracec.float32)
