"""Images of random numbers, for programs to be tried with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tracec
from tracec.errors import ArgumentError, AxisError
from tracec.vision.datasets.base import VisionDataset
from tracec.vision.transforms.functional import to_pil_image


class FakeData(VisionDataset):
    """Images of normal numbers and classes, the same ones at each look.

    Args:
        size: How many there are.
        image_size: Channels, height and width.
        num_classes: How many classes there are.
        transform: What is called with each image, Pillow's.
        target_transform: What is called with each number of a class.
        random_offset: What is added to an image's number to get its seed.

    Raises:
        ArgumentError: a size is not positive.
    """

    def __init__(
        self,
        size: int = 1000,
        image_size: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[..., Any] | None = None,
        random_offset: int = 0,
    ) -> None:
        super().__init__(transform=transform, target_transform=target_transform)
        if size < 0 or num_classes < 1 or len(image_size) != 3 or min(image_size) < 1:
            raise ArgumentError(
                f"FakeData: size={size!r}, image_size={image_size!r}, num_classes={num_classes!r}",
                hint="image_size is that of channels, height and width",
            )
        self.size, self.image_size, self.num_classes, self.random_offset = size, image_size, num_classes, random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not -self.size <= index < self.size:
            raise AxisError(f"FakeData: index {index} is out of range for {self.size} images")
        own = tracec.Generator().manual_seed(index % self.size + self.random_offset)
        image = tracec.randn(*self.image_size, generator=own).clamp(0, 1)
        target = int(tracec.randint(0, self.num_classes, (1,), generator=own).item())
        return self.transformed(to_pil_image(image), target)

    def __len__(self) -> int:
        return self.size
