"""What data sets of images share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracec.errors import ArgumentError, FormatError
from tracec.utils.data import Dataset

Change = Callable[..., Any]


class StandardTransform:
    """Changes of an image and of what it shows, by themselves.

    Args:
        transform: Of the image.
        target_transform: Of what it shows.
    """

    def __init__(self, transform: Change | None = None, target_transform: Change | None = None) -> None:
        self.transform, self.target_transform = transform, target_transform

    def __call__(self, input: Any, target: Any) -> tuple[Any, Any]:
        image = input if self.transform is None else self.transform(input)
        return image, target if self.target_transform is None else self.target_transform(target)

    def __repr__(self) -> str:
        lines = ["StandardTransform"]
        for head, change in (("Transform: ", self.transform), ("Target transform: ", self.target_transform)):
            if change is not None:
                first, *rest = repr(change).splitlines()
                lines += [head + first, *(" " * len(head) + line for line in rest)]
        return "\n".join(lines)


class VisionDataset(Dataset[Any]):
    """Numbered images with what they show. A subclass gives ``__getitem__`` and ``__len__``.

    Args:
        root: The folder of its files.
        transforms: What is called with an image and what it shows; this or the two others.
        transform: What is called with an image.
        target_transform: What is called with what it shows.

    Raises:
        ArgumentError: both ways are given.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        transforms: Change | None = None,
        transform: Change | None = None,
        target_transform: Change | None = None,
    ) -> None:
        if transforms is not None and (transform is not None or target_transform is not None):
            raise ArgumentError(
                f"{type(self).__name__}: takes either transforms or transform and target_transform",
                hint="transforms is called with both, the image and what it shows",
            )
        self.root = os.path.expanduser(root) if isinstance(root, str) else root
        self.transform, self.target_transform = transform, target_transform
        if transform is not None or target_transform is not None:
            transforms = StandardTransform(transform, target_transform)
        self.transforms = transforms

    def transformed(self, image: Any, target: Any) -> tuple[Any, Any]:
        """An image and what it shows, after their changes, which may have been set since."""
        if self.transforms is not None and not isinstance(self.transforms, StandardTransform):
            return self.transforms(image, target)
        return StandardTransform(self.transform, self.target_transform)(image, target)

    def __len__(self) -> int:
        raise NotImplementedError

    def extra_repr(self) -> str:
        """More lines for what is shown."""
        return ""

    def __repr__(self) -> str:
        body = [f"Number of datapoints: {len(self)}"]
        body += [] if self.root is None else [f"Root location: {self.root}"]
        body += self.extra_repr().splitlines()
        body += [] if self.transforms is None else [repr(self.transforms)]
        return "\n".join([f"Dataset {type(self).__name__}", *("    " + line for line in body)])


class TwoPartDataset(VisionDataset):
    """Images of numbered classes in one array, a part for training and one for tests.

    Args:
        root: The folder of its files.
        train: Which part.
        transform: What is called with each image, Pillow's.
        target_transform: What is called with each number of a class.

    Attributes:
        data: All images of the part.
        classes: Names of the classes.
    """

    data: Any
    classes: list[str]

    def __init__(
        self, root: str | Path, train: bool, transform: Change | None, target_transform: Change | None
    ) -> None:  # fmt: skip
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train

    def check_labels(self, least: int, largest: int, folder: str | Path) -> None:
        """Refuse numbers that are no classes'.

        Raises:
            FormatError: there are such.
        """
        if not 0 <= least <= largest < len(self.classes):
            raise FormatError(
                f"{type(self).__name__}: labels from {least} to {largest} of {len(self.classes)} classes",
                hint=f"files in {folder} do not belong together: fetch them again",
            )

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"
