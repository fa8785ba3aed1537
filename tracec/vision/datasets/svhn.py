"""SVHN: photographs of the digits of house numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tracec.errors import ArgumentError, FileMissingError, FormatError
from tracec.utils.fetch import download
from tracec.vision.datasets.base import VisionDataset
from tracec.vision.datasets.matlab import read_arrays
from tracec.vision.pillow import Image


class SVHN(VisionDataset):
    """73,257, 26,032 and 531,131 photographs of digits, 32 × 32 in colour. Source: Netzer et al., 2011.

    Args:
        root: The folder in which its files are, such as ``train_32x32.mat``.
        split: ``train``, ``test`` or ``extra``.
        transform: What is called with each image, Pillow's of mode RGB.
        target_transform: What is called with each digit.
        download: Fetch the file where it is not there.

    Attributes:
        data: All images, uint8, ``(N, 3, 32, 32)``, an array.
        labels: All digits, int64, ``(N,)``, an array; 0 is 0, which the file calls 10.

    Raises:
        ArgumentError: there is no such split.
        FileMissingError: the file is not there.
        FormatError: it is not what it should be.
        DownloadError: it cannot be had.
    """

    mirrors = ["http://ufldl.stanford.edu/housenumbers/"]
    #: Split → name and MD5 sum of its file.
    split_list = {
        "train": ("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
        "test": ("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
        "extra": ("extra_32x32.mat", "a93ce644f1a588dc4d68dda5feec44a7"),
    }

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[..., Any] | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        if split not in self.split_list:
            raise ArgumentError(f"SVHN: split={split!r}", hint="'train', 'test' or 'extra'")
        self.split = split
        self.filename, self.file_md5 = self.split_list[split]
        path = Path(self.root or ".") / self.filename
        if download and not path.is_file():
            self.download()
        if not path.is_file():
            raise FileMissingError(f"SVHN: there is no {path}", hint="download=True fetches it")
        found = read_arrays(path)
        images, labels = (found.get(name, np.zeros(0)) for name in ("X", "y"))
        if images.ndim != 4 or images.dtype != np.uint8 or labels.size != images.shape[-1]:
            raise FormatError(
                f"SVHN: images of shape {images.shape} and labels of shape {labels.shape}",
                hint=f"{path} is another file: fetch it again",
            )
        self.data = np.ascontiguousarray(images.transpose(3, 2, 0, 1))
        self.labels = labels.astype(np.int64).reshape(-1) % 10

    def download(self) -> None:
        """Fetch the file where it is not there."""
        urls = [mirror + self.filename for mirror in self.mirrors]
        download(urls, Path(self.root or ".") / self.filename, self.file_md5)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image = Image.fromarray(self.data[index].transpose(1, 2, 0).copy())
        return self.transformed(image, int(self.labels[index]))

    def extra_repr(self) -> str:
        return f"Split: {self.split}"
