"""Transforms of whole batches: images, and what they show, in parts of two."""

from __future__ import annotations

import math
from typing import Any

import tracec
import tracec.nn.functional as F
from tracec import Tensor, nn
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.vision.transforms import draws


class _Mixing(nn.Module):
    """Batches of which each image is mixed with the one before it.

    Args:
        alpha: Both parameters of the Beta distribution that shares are drawn from.
        num_classes: How many classes there are, where labels are numbers of classes.

    Raises:
        ArgumentError: one of them is not positive.
    """

    def __init__(self, *, alpha: float = 1.0, num_classes: int | None = None) -> None:
        super().__init__()
        name = type(self).__name__
        if not alpha > 0 or (num_classes is not None and num_classes < 1):
            raise ArgumentError(f"{name}: alpha={alpha!r}, num_classes={num_classes!r}", hint="both are positive")
        self.alpha, self.num_classes = float(alpha), num_classes

    def forward(self, images: Any, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The mixed batch.

        Args:
            images: Floats ``(N, C, H, W)``; or a pair of these and the labels, as a `DataLoader` gives them.
            labels: Numbers of classes, ``(N,)``, or shares of classes, ``(N, classes)``.

        Returns:
            Images, and shares of classes ``(N, classes)``, which `cross_entropy` takes as they are.
        """
        if labels is None and isinstance(images, (list, tuple)) and len(images) == 2:
            images, labels = images
        shares = self._shares(images, labels)
        share = float(tracec.distributions.Beta(self.alpha, self.alpha).sample())
        mixed, share = self._mixed(images, images.roll(1, 0), share)
        return mixed, shares * share + shares.roll(1, 0) * (1 - share)

    def _shares(self, images: Any, labels: Any) -> Tensor:
        name = type(self).__name__
        if not isinstance(images, Tensor) or not isinstance(labels, Tensor) or images.ndim != 4:
            raise ShapeError(
                f"{name}: takes a batch of images (N, C, H, W) and their labels", hint=f"{name.lower()}(images, labels)"
            )
        if not images.dtype.is_floating_point:
            raise DTypeError(f"{name}: takes images of floats, given is {images.dtype.name}", hint="scale them first")
        if len(images) != len(labels) or labels.ndim not in (1, 2):
            raise ShapeError(
                f"{name}: {len(images)} images and labels of shape {tuple(labels.shape)}", hint="(N,) or (N, classes)"
            )
        if labels.ndim == 2:
            return labels.to(images.dtype)
        if self.num_classes is None:
            raise ArgumentError(f"{name}: num_classes is not given", hint="labels are numbers of classes")
        return F.one_hot(labels, self.num_classes).to(images.dtype)

    def _mixed(self, images: Tensor, others: Tensor, share: float) -> tuple[Tensor, float]:
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, num_classes={self.num_classes}"


class MixUp(_Mixing):
    """Batches of means of two images. Source: Zhang et al., "mixup", 2017."""

    def _mixed(self, images: Tensor, others: Tensor, share: float) -> tuple[Tensor, float]:
        return images * share + others * (1 - share), share


class CutMix(_Mixing):
    """Batches of images with a rectangle of others. Source: Yun et al., "CutMix", 2019."""

    def _mixed(self, images: Tensor, others: Tensor, share: float) -> tuple[Tensor, float]:
        rows, columns = (int(n) for n in images.shape[-2:])
        half = 0.5 * math.sqrt(1 - share)
        y, x = draws.integers(rows, columns)
        top, bottom = max(0, y - int(half * rows)), min(rows, y + int(half * rows))
        left, right = max(0, x - int(half * columns)), min(columns, x + int(half * columns))
        mixed = images.clone()
        mixed[..., top:bottom, left:right] = others[..., top:bottom, left:right]
        # What the border cut off is not there.
        return mixed, 1 - (bottom - top) * (right - left) / (rows * columns)
