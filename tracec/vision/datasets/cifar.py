"""CIFAR-10 and CIFAR-100: 60,000 small photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tracec.errors import FileMissingError
from tracec.utils.fetch import download, unpacked
from tracec.vision.datasets.base import TwoPartDataset
from tracec.vision.datasets.batches import read_batch, read_batch_names, read_binary, read_names
from tracec.vision.pillow import Image


class CIFAR10(TwoPartDataset):
    """50,000 and 10,000 photographs of ten things, 32 × 32 in colour. Source: Krizhevsky, 2009.

    Files of its Python version are read (by a reader that makes nothing but arrays, lists and text of them), or of its
    binary version.

    Args:
        root: The folder in which ``cifar-10-batches-py`` or ``cifar-10-batches-bin`` is.
        train: The 50,000, or the 10,000 for tests.
        transform: What is called with each image, Pillow's of mode RGB.
        target_transform: What is called with each number of a class.
        download: Fetch the Python version where neither is there.

    Attributes:
        data: All images, uint8, ``(N, 32, 32, 3)``, an array.
        targets: All numbers of classes.
        classes: Their names.

    Raises:
        FileMissingError: a file is not there.
        FormatError: a file is not what it should be.
        DownloadError: the files cannot be had.
    """

    base_folder = "cifar-10-batches-py"
    binary_folder = "cifar-10-batches-bin"
    filename = "cifar-10-python.tar.gz"
    tgz_md5 = "c58f30108f718f92721af3b95e74349a"
    #: Names of files for training and for tests, and of that with the names of classes; binary ones besides.
    train_list = [f"data_batch_{k}" for k in range(1, 6)]
    test_list = ["test_batch"]
    meta = "batches.meta"
    binary_meta = "batches.meta.txt"
    #: What the files call labels and their names; how many labels stand before each image of a binary file.
    label_key, names_key, labels_before = "labels", "label_names", 1

    mirrors = ["https://www.cs.toronto.edu/~kriz/"]

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[..., Any] | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, train, transform, target_transform)
        folder = Path(self.root or ".") / self.base_folder
        if download and not folder.is_dir() and not self._binary().is_dir():
            self.download()
        names = self.train_list if train else self.test_list
        if not folder.is_dir() and self._binary().is_dir():
            parts = [read_binary(self._there(self._binary() / f"{name}.bin"), self.labels_before) for name in names]
            self.classes = read_names(self._there(self._binary() / self.binary_meta))
        else:
            parts = [read_batch(self._there(folder / name), self.label_key) for name in names]
            self.classes = read_batch_names(self._there(folder / self.meta), self.names_key)
        self.data: np.ndarray[Any, Any] = np.concatenate([images for images, _ in parts])
        self.targets: list[int] = [label for _, labels in parts for label in labels]
        if self.targets:
            self.check_labels(min(self.targets), max(self.targets), folder)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Numbers of classes by name."""
        return {name: k for k, name in enumerate(self.classes)}

    def _binary(self) -> Path:
        return Path(self.root or ".") / self.binary_folder

    def _there(self, path: Path) -> Path:
        if not path.is_file():
            raise FileMissingError(f"{type(self).__name__}: there is no {path}", hint="download=True fetches it")
        return path

    def download(self) -> None:
        """Fetch the archive of the Python version, and take its files out."""
        root = Path(self.root or ".")
        archive = root / self.filename
        download([mirror + self.filename for mirror in self.mirrors], archive, self.tgz_md5)
        names = [*self.train_list, *self.test_list, self.meta]
        unpacked(archive, root, [f"{self.base_folder}/{name}" for name in names])

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.transformed(Image.fromarray(self.data[index]), self.targets[index])


class CIFAR100(CIFAR10):
    """50,000 and 10,000 photographs of a hundred things, in the form of CIFAR-10. Source: Krizhevsky, 2009."""

    base_folder = "cifar-100-python"
    binary_folder = "cifar-100-binary"
    filename = "cifar-100-python.tar.gz"
    tgz_md5 = "eb9058c3a382ffc7106e4002c42a8d85"
    train_list = ["train"]
    test_list = ["test"]
    meta = "meta"
    binary_meta = "fine_label_names.txt"
    label_key, names_key, labels_before = "fine_labels", "fine_label_names", 2
