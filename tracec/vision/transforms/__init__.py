"""Changes to images, made of numbers that are given or drawn; names are torchvision's.

They take images of Pillow's and tensors ``(…, C, H, W)``. What is random is drawn from the default generator:
`tracec.manual_seed` repeats it, and each worker of a `DataLoader` has a generator of its own.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from tracec.errors import name_missing
from tracec.vision.transforms import functional
from tracec.vision.transforms.colour import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    RandomAdjustSharpness,
    RandomAutocontrast,
    RandomEqualize,
    RandomGrayscale,
    RandomInvert,
    RandomPosterize,
    RandomSolarize,
)
from tracec.vision.transforms.composition import Compose, Lambda, RandomApply, RandomChoice, RandomOrder
from tracec.vision.transforms.conversion import (
    ConvertImageDtype,
    LinearTransformation,
    Normalize,
    PILToTensor,
    ToPILImage,
    ToTensor,
)
from tracec.vision.transforms.geometry import (
    CenterCrop,
    FiveCrop,
    Pad,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    TenCrop,
)
from tracec.vision.transforms.interpolation import InterpolationMode
from tracec.vision.transforms.learned import AugMix, AutoAugment, AutoAugmentPolicy
from tracec.vision.transforms.policies import RandAugment, TrivialAugmentWide
from tracec.vision.transforms.warps import ElasticTransform, RandomAffine, RandomPerspective, RandomRotation

if TYPE_CHECKING:
    from tracec.vision.transforms import v2


def __getattr__(name: str) -> Any:
    if name != "v2":
        raise name_missing(sys.modules[__name__], name)
    return importlib.import_module("tracec.vision.transforms.v2")  # which is made of what is here


__all__ = [
    "AugMix", "AutoAugment", "AutoAugmentPolicy", "CenterCrop", "ColorJitter", "Compose", "ConvertImageDtype",
    "ElasticTransform", "FiveCrop", "GaussianBlur", "Grayscale", "InterpolationMode", "Lambda",
    "LinearTransformation", "Normalize", "PILToTensor", "Pad", "RandAugment", "RandomAdjustSharpness", "RandomAffine",
    "RandomApply", "RandomAutocontrast", "RandomChoice", "RandomCrop", "RandomEqualize", "RandomErasing",
    "RandomGrayscale", "RandomHorizontalFlip", "RandomInvert", "RandomOrder", "RandomPerspective", "RandomPosterize",
    "RandomResizedCrop", "RandomRotation", "RandomSolarize", "RandomVerticalFlip", "Resize", "TenCrop", "ToPILImage",
    "ToTensor", "TrivialAugmentWide", "functional", "v2",
]  # fmt: skip
