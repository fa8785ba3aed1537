"""STL-10 and USPS: images in one file as bytes, and as rows of numbers in text."""

from __future__ import annotations

import bz2
from pathlib import Path
from typing import Any

import numpy as np

from tracec.errors import ArgumentError, FileMissingError, FormatError
from tracec.utils.fetch import download as fetch
from tracec.vision.datasets.base import Change, VisionDataset
from tracec.vision.datasets.listed import unpacked
from tracec.vision.pillow import Image

Array = np.ndarray[Any, Any]


class STL10(VisionDataset):
    """5,000, 8,000 and 100,000 photographs of ten things, 96 × 96 in colour. Source: Coates, Lee, Ng, 2011.

    Args:
        root: The folder in which ``stl10_binary`` has the files.
        split: ``train``, ``test``, ``unlabeled``, or ``train+unlabeled``.
        folds: One of ten parts of those for training, 0 to 9; None for all.
        transform: What is called with each image, Pillow's of mode RGB.
        target_transform: What is called with each number of a class, which is -1 where there is none.
        download: Fetch and unpack the files where they are not there.

    Attributes:
        data: All images, uint8, ``(N, 3, 96, 96)``, an array.
        labels: Numbers of classes, int64, ``(N,)``, an array.
        classes: Names of the classes, where the file of them is there.

    Raises:
        ArgumentError: there is no such split, or part.
        FileMissingError: a file is not there.
        FormatError: a file is not what it should be.
        DownloadError: the archive cannot be had.
    """

    base_folder = "stl10_binary"
    archive = ("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz", "91f7769df0f17e558f3565bffb0c7dfb")
    splits = ("train", "train+unlabeled", "unlabeled", "test")

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        folds: int | None = None,
        transform: Change | None = None,
        target_transform: Change | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        if split not in self.splits or (folds is not None and folds not in range(10)):
            raise ArgumentError(
                f"STL10: split={split!r}, folds={folds!r}", hint=f"one of {', '.join(self.splits)}; 0 to 9, or None"
            )
        self.split, self.folds = split, folds
        self._folder = Path(self.root or ".") / self.base_folder
        if download and not self._folder.is_dir():
            unpacked(*self.archive, self._folder.parent)
        parts = [self._part(name) for name in split.split("+")]
        self.data: Array = np.concatenate([images for images, _ in parts])
        self.labels: Array = np.concatenate([labels for _, labels in parts])
        names = self._folder / "class_names.txt"
        self.classes = names.read_text().split() if names.is_file() else []

    def _bytes(self, name: str) -> Array:
        path = self._folder / name
        if not path.is_file():
            raise FileMissingError(f"STL10: there is no {path}", hint="download=True fetches it")
        return np.fromfile(path, np.uint8)

    def _part(self, name: str) -> tuple[Array, Array]:
        raw = self._bytes(f"{name}_X.bin")
        if raw.size % (3 * 96 * 96):
            raise FormatError(f"STL10: {name}_X.bin has {raw.size} bytes", hint="fetch it again: each image has 27648")
        images = raw.reshape(-1, 3, 96, 96).swapaxes(2, 3)  # column by column
        if name == "unlabeled":
            return images, np.full(len(images), -1)
        labels = self._bytes(f"{name}_y.bin").astype(np.int64) - 1
        if len(labels) != len(images) or (labels.size and not 0 <= labels.min() <= labels.max() < 10):
            raise FormatError(f"STL10: {len(images)} images, and labels {labels[:5] + 1} …", hint="fetch it again")
        if name == "train" and self.folds is not None:
            chosen = self._fold(len(images))
            images, labels = images[chosen], labels[chosen]
        return images, labels

    def _fold(self, count: int) -> Array:
        path = self._folder / "fold_indices.txt"
        if not path.is_file():
            raise FileMissingError(f"STL10: there is no {path}", hint="download=True fetches it")
        lines = path.read_text().splitlines()
        try:
            chosen = np.array([int(word) for word in lines[self.folds or 0].split()], np.int64)
        except (ValueError, IndexError):
            chosen = np.array([-1])
        if chosen.size and not 0 <= chosen.min() <= chosen.max() < count:
            raise FormatError(f"STL10: {path} is no list of numbers below {count}", hint="fetch it again")
        return chosen

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image = Image.fromarray(self.data[index].transpose(1, 2, 0).copy())
        return self.transformed(image, int(self.labels[index]))

    def extra_repr(self) -> str:
        return f"Split: {self.split}"


class USPS(VisionDataset):
    """7,291 and 2,007 digits of letters' addresses, 16 × 16. Source: Hull, 1994.

    Args:
        root: The folder in which ``usps.bz2`` and ``usps.t.bz2`` are.
        train: The first file, or that for tests.
        transform: What is called with each image, Pillow's of mode L.
        target_transform: What is called with each digit.
        download: Fetch the file where it is not there.

    Attributes:
        data: All images, uint8, ``(N, 16, 16)``, an array.
        targets: All digits.

    Raises:
        FileMissingError: the file is not there.
        FormatError: it is not what it should be.
        DownloadError: it cannot be had.
    """

    address = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"
    #: Name and MD5 sum of the file for training, and that for tests.
    files = (("usps.bz2", "ec16c51db3855ca6c91edd34d0e9b197"), ("usps.t.bz2", "8ea070ee2aca1ac39742fdd1ef5ed118"))

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Change | None = None,
        target_transform: Change | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        name, md5 = self.files[0 if train else 1]
        path = Path(self.root or ".") / name
        if download and not path.is_file():
            fetch([self.address + name], path, md5)
        if not path.is_file():
            raise FileMissingError(f"USPS: there is no {path}", hint="download=True fetches it")
        try:
            rows = [line.split() for line in bz2.decompress(path.read_bytes()).decode().splitlines()]
            # Each number is "place:value", of -1 to 1.
            values = np.array([[word.split(":")[-1] for word in row[1:]] for row in rows], np.float32)
            self.data: Array = ((values.reshape(-1, 16, 16) + 1) / 2 * 255).astype(np.uint8)
            self.targets = [int(row[0]) - 1 for row in rows]
        except (ValueError, OSError, EOFError, IndexError) as error:
            raise FormatError(f"USPS: {path} is not what it should be: {error}", hint="fetch it again") from None

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.transformed(Image.fromarray(self.data[index]), self.targets[index])


__all__ = ["STL10", "USPS"]
