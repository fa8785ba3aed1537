"""Data sets of files in folders, one for each class."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tracec.errors import ArgumentError, FileMissingError, FormatError
from tracec.vision.datasets.base import VisionDataset
from tracec.vision.pillow import Image, UnidentifiedImageError

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def pil_loader(path: str | Path) -> Image.Image:
    """A file's image, in red, green and blue.

    Raises:
        FormatError: it is no image that Pillow knows, or only a part of one.
    """
    with open(path, "rb") as file:
        try:
            return Image.open(file).convert("RGB")
        except (OSError, SyntaxError) as error:  # what Pillow raises for files that are cut off, or only begin well
            unknown = isinstance(error, UnidentifiedImageError)
            what = "is no image that Pillow knows" if unknown else f"cannot be read: {error}"
            raise FormatError(
                f"default_loader: {str(path)!r} {what}",
                hint="leave it out with is_valid_file, or read it with a loader of your own",
            ) from None


default_loader = pil_loader


def has_file_allowed_extension(filename: str, extensions: str | tuple[str, ...]) -> bool:
    """Whether a name has one of the endings, in letters of either size."""
    return filename.lower().endswith(extensions)


def is_image_file(filename: str) -> bool:
    """Whether a name has an ending of images."""
    return has_file_allowed_extension(filename, IMG_EXTENSIONS)


def find_classes(directory: str | Path) -> tuple[list[str], dict[str, int]]:
    """The folders of a folder, in alphabetical order, and their numbers.

    Raises:
        FileMissingError: the folder is not there, or has none.
    """
    if not os.path.isdir(directory):
        raise FileMissingError(
            f"ImageFolder: there is no folder {str(directory)!r}", hint="root is that of the classes"
        )
    classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    if not classes:
        raise FileMissingError(
            f"ImageFolder: {str(directory)!r} has no folders", hint="each class is a folder in it: root/cat/1.png"
        )
    return classes, {name: k for k, name in enumerate(classes)}


def make_dataset(
    directory: str | Path,
    class_to_idx: dict[str, int] | None = None,
    extensions: str | tuple[str, ...] | None = None,
    is_valid_file: Callable[[str], bool] | None = None,
    allow_empty: bool = False,
) -> list[tuple[str, int]]:
    """Paths of files and the numbers of their classes, in order of both.

    Args:
        directory: Where the folders of the classes are.
        class_to_idx: Numbers of classes; by default those of `find_classes`.
        extensions: Endings of files that count; this or ``is_valid_file``.
        is_valid_file: Whether the file of a path counts.
        allow_empty: Whether classes may have no file.

    Raises:
        ArgumentError: neither or both of ``extensions`` and ``is_valid_file`` are given.
        FileMissingError: a class has no file.
    """
    if (extensions is None) == (is_valid_file is None):
        raise ArgumentError("make_dataset: takes either extensions or is_valid_file", hint="give one of them")
    numbers = find_classes(directory)[1] if class_to_idx is None else class_to_idx
    samples, found = [], set()
    for name in sorted(numbers):
        for folder, _, files in sorted(os.walk(os.path.join(directory, name), followlinks=True)):
            for path in (os.path.join(folder, file) for file in sorted(files)):
                counts = is_valid_file(path) if is_valid_file else has_file_allowed_extension(path, extensions or ())
                if counts:
                    samples.append((path, numbers[name]))
                    found.add(name)
    if not allow_empty and (empty := sorted(set(numbers) - found)):
        endings = (
            f"files end in {', '.join([extensions] if isinstance(extensions, str) else extensions)}; "
            if extensions
            else ""
        )
        raise FileMissingError(
            f"ImageFolder: classes without a file: {', '.join(empty)}", hint=f"{endings}or allow_empty=True"
        )
    return samples


class DatasetFolder(VisionDataset):
    """Files in folders, one for each class: ``root/class/…/file``.

    Args:
        root: Where the folders of the classes are.
        loader: Gives a sample for a path.
        extensions: Endings of files that count; this or ``is_valid_file``.
        transform: What is called with each sample.
        target_transform: What is called with each number of a class.
        is_valid_file: Whether the file of a path counts.
        allow_empty: Whether classes may have no file.

    Attributes:
        classes: The names of the classes, in alphabetical order.
        class_to_idx: Their numbers.
        samples: Paths and numbers of classes.
        targets: The numbers of classes alone.
    """

    def __init__(
        self,
        root: str | Path,
        loader: Callable[[str], Any],
        extensions: tuple[str, ...] | None = None,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[..., Any] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.root: str | Path = os.path.expanduser(root)
        self.classes, self.class_to_idx = self.find_classes(self.root)
        self.samples = self.make_dataset(self.root, self.class_to_idx, extensions, is_valid_file, allow_empty)
        self.loader, self.extensions = loader, extensions
        self.targets = [number for _, number in self.samples]

    @staticmethod
    def make_dataset(
        directory: str | Path,
        class_to_idx: dict[str, int],
        extensions: tuple[str, ...] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> list[tuple[str, int]]:
        """Paths and numbers of classes; a subclass may find others."""
        return make_dataset(directory, class_to_idx, extensions, is_valid_file, allow_empty)

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        """Names of classes and their numbers; a subclass may find others."""
        return find_classes(directory)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, target = self.samples[index]
        return self.transformed(self.loader(path), target)

    def __len__(self) -> int:
        return len(self.samples)


class ImageFolder(DatasetFolder):
    """Images in folders, one for each class: ``root/class/…/image.png``.

    Args:
        root: Where the folders of the classes are.
        transform: What is called with each image.
        target_transform: What is called with each number of a class.
        loader: Gives an image for a path; by default Pillow's, in red, green and blue.
        is_valid_file: Whether the file of a path counts; by default those with endings of images do.
        allow_empty: Whether classes may have no image.
    """

    def __init__(
        self,
        root: str | Path,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[..., Any] | None = None,
        loader: Callable[[str], Any] = default_loader,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        endings = IMG_EXTENSIONS if is_valid_file is None else None
        super().__init__(root, loader, endings, transform, target_transform, is_valid_file, allow_empty)
        self.imgs: Sequence[tuple[str, int]] = self.samples
