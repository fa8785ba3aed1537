"""The transforms under torchvision's second interface: they take whole samples, and change the image in them.

A sample is what they are called with: an image, or several arguments, tuples, lists and dicts. Images of Pillow's in it
are all changed alike; where there is none, its first tensor is. All else is handed on. Boxes, masks and key points
are not known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tracec
from tracec import DType, Tensor, nn
from tracec.errors import ArgumentTypeError
from tracec.vision import transforms as one
from tracec.vision.pillow import Image
from tracec.vision.transforms import AutoAugmentPolicy, InterpolationMode, draws
from tracec.vision.transforms.checks import callables
from tracec.vision.transforms.mixing import CutMix, MixUp
from tracec.vision.transforms.v2 import functional


class Transform(nn.Module):
    """A change of samples. A subclass gives ``transform(image)``."""

    def forward(self, *inputs: Any) -> Any:
        """The sample, with its image changed."""
        sample = inputs[0] if len(inputs) == 1 else inputs
        leaves = _leaves(sample)
        images: list[Any] = [leaf for leaf in leaves if isinstance(leaf, Image.Image)]
        images = images or [leaf for leaf in leaves if isinstance(leaf, Tensor)][:1]
        if not images and len(leaves) == 1:
            images = leaves  # an array, which some take; the others say what is wrong
        state, changed = tracec.get_rng_state(), {}
        for image in images:
            tracec.set_rng_state(state)  # the same numbers for all
            changed[id(image)] = self.transform(image)
        return _replaced(sample, changed)

    def transform(self, image: Any) -> Any:
        """The image, changed."""
        raise NotImplementedError


def _leaves(sample: Any) -> list[Any]:
    if isinstance(sample, dict):
        return [leaf for part in sample.values() for leaf in _leaves(part)]
    if isinstance(sample, (list, tuple)):
        return [leaf for part in sample for leaf in _leaves(part)]
    return [sample]


def _replaced(sample: Any, changed: dict[int, Any]) -> Any:
    if isinstance(sample, dict):
        return type(sample)((key, _replaced(part, changed)) for key, part in sample.items())
    if isinstance(sample, tuple) and hasattr(sample, "_fields"):
        return type(sample)(*(_replaced(part, changed) for part in sample))
    if isinstance(sample, (list, tuple)):
        return type(sample)(_replaced(part, changed) for part in sample)
    return changed.get(id(sample), sample)


class Compose(one.Compose):
    """Transforms of samples one after the other."""

    def __call__(self, *inputs: Any) -> Any:
        return _one_after_the_other(self.transforms, inputs)


def _one_after_the_other(transforms: Any, inputs: tuple[Any, ...]) -> Any:
    sample: Any = inputs if len(inputs) > 1 else inputs[0]
    for transform in transforms:
        sample = transform(*sample) if len(inputs) > 1 else transform(sample)
    return sample


class RandomOrder(one.RandomOrder):
    """Transforms of samples one after the other, in any order."""

    def __call__(self, *inputs: Any) -> Any:
        return _one_after_the_other([self.transforms[k] for k in draws.order(len(self.transforms))], inputs)


class RandomChoice(one.RandomChoice):
    """One of several transforms of samples, or of batches."""

    def __call__(self, *inputs: Any) -> Any:
        return self.transforms[draws.choice(self.p or [1] * len(self.transforms))](*inputs)


class Lambda(one.Lambda):
    """A function as a transform of samples: it is called with each part of them.

    Args:
        lambd: The function.
        *types: Of which class parts are that it is called with; by default all.
    """

    def __init__(self, lambd: Callable[..., Any], *types: type[Any]) -> None:
        super().__init__(lambd)
        self.types = types or (object,)

    def __call__(self, *inputs: Any) -> Any:
        sample = inputs[0] if len(inputs) == 1 else inputs
        return _replaced(sample, {id(x): self.lambd(x) for x in _leaves(sample) if isinstance(x, self.types)})


class RandomApply(Transform):
    """Transforms of samples one after the other, or none of them.

    Args:
        transforms: What is called with a sample, in order.
        p: How often.
    """

    def __init__(self, transforms: Any, p: float = 0.5) -> None:
        super().__init__()
        self._choice = one.RandomApply([Compose(callables("RandomApply", transforms))], p)
        self.transforms, self.p = transforms, self._choice.p

    def forward(self, *inputs: Any) -> Any:
        """The sample, changed or not."""
        return self._choice(inputs[0] if len(inputs) == 1 else inputs)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class ToImage(Transform):
    """Images of Pillow's, and arrays ``(H, W, C)``, as tensors ``(C, H, W)`` of the same values."""

    def transform(self, image: Any) -> Tensor:
        """The tensor."""
        return functional.to_image(image)


class ToDtype(Transform):
    """Tensors in another dtype.

    Args:
        dtype: The dtype.
        scale: White stays white.

    Raises:
        ArgumentTypeError: it is no dtype.
    """

    def __init__(self, dtype: DType, scale: bool = False) -> None:
        super().__init__()
        if not isinstance(dtype, DType):
            raise ArgumentTypeError(f"ToDtype: takes a dtype, {type(dtype).__name__} given", hint="e.g. tracec.float32")
        self.dtype, self.scale = dtype, scale

    def transform(self, image: Any) -> Tensor:
        """The tensor in the dtype; what is no tensor stays."""
        return functional.to_dtype(image, self.dtype, self.scale) if isinstance(image, Tensor) else image

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


class Identity(Transform):
    """Samples as they are."""

    def transform(self, image: Any) -> Any:
        """The image."""
        return image


class ToPureTensor(Identity):
    """Samples as they are: tensors of images are no class of their own here."""


def _of_samples(kind: type[Any]) -> type[Any]:
    """A class of `tracec.vision.transforms` that takes samples."""

    class OfSamples(Transform, kind):  # type: ignore[misc]
        def forward(self, *inputs: Any) -> Any:
            return Transform.forward(self, *inputs)

        __call__ = nn.Module.__call__

        def transform(self, image: Any) -> Any:
            return kind.forward(self, image) if issubclass(kind, nn.Module) else kind.__call__(self, image)

        __repr__ = kind.__repr__

    OfSamples.__name__ = OfSamples.__qualname__ = kind.__name__
    OfSamples.__doc__, OfSamples.__module__ = kind.__doc__, __name__
    return OfSamples


CenterCrop = _of_samples(one.CenterCrop)
ColorJitter = _of_samples(one.ColorJitter)
ConvertImageDtype = _of_samples(one.ConvertImageDtype)
ElasticTransform = _of_samples(one.ElasticTransform)
FiveCrop = _of_samples(one.FiveCrop)
GaussianBlur = _of_samples(one.GaussianBlur)
Grayscale = _of_samples(one.Grayscale)
LinearTransformation = _of_samples(one.LinearTransformation)
Normalize = _of_samples(one.Normalize)
PILToTensor = _of_samples(one.PILToTensor)
Pad = _of_samples(one.Pad)
AugMix = _of_samples(one.AugMix)
AutoAugment = _of_samples(one.AutoAugment)
RandAugment = _of_samples(one.RandAugment)
RandomAdjustSharpness = _of_samples(one.RandomAdjustSharpness)
RandomAffine = _of_samples(one.RandomAffine)
RandomAutocontrast = _of_samples(one.RandomAutocontrast)
RandomCrop = _of_samples(one.RandomCrop)
RandomEqualize = _of_samples(one.RandomEqualize)
RandomErasing = _of_samples(one.RandomErasing)
RandomGrayscale = _of_samples(one.RandomGrayscale)
RandomHorizontalFlip = _of_samples(one.RandomHorizontalFlip)
RandomInvert = _of_samples(one.RandomInvert)
RandomPerspective = _of_samples(one.RandomPerspective)
RandomPosterize = _of_samples(one.RandomPosterize)
RandomResizedCrop = _of_samples(one.RandomResizedCrop)
RandomRotation = _of_samples(one.RandomRotation)
RandomSolarize = _of_samples(one.RandomSolarize)
RandomVerticalFlip = _of_samples(one.RandomVerticalFlip)
Resize = _of_samples(one.Resize)
TenCrop = _of_samples(one.TenCrop)
ToPILImage = _of_samples(one.ToPILImage)
ToTensor = _of_samples(one.ToTensor)
TrivialAugmentWide = _of_samples(one.TrivialAugmentWide)

__all__ = [
    "AugMix", "AutoAugment", "AutoAugmentPolicy", "CenterCrop", "ColorJitter", "Compose", "ConvertImageDtype",
    "CutMix", "ElasticTransform", "FiveCrop", "GaussianBlur", "Grayscale", "Identity", "InterpolationMode", "Lambda",
    "LinearTransformation", "MixUp", "Normalize", "PILToTensor", "Pad", "RandAugment", "RandomAdjustSharpness",
    "RandomAffine", "RandomApply", "RandomAutocontrast", "RandomChoice", "RandomCrop", "RandomEqualize",
    "RandomErasing", "RandomGrayscale", "RandomHorizontalFlip", "RandomInvert", "RandomOrder", "RandomPerspective",
    "RandomPosterize", "RandomResizedCrop", "RandomRotation", "RandomSolarize", "RandomVerticalFlip", "Resize",
    "TenCrop", "ToDtype", "ToImage", "ToPILImage", "ToPureTensor", "ToTensor", "Transform", "TrivialAugmentWide",
    "functional",
]  # fmt: skip
