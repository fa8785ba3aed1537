"""MNIST and data sets of its form: files of bytes that begin with their shape."""

from __future__ import annotations

import gzip
import string
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tracec
from tracec import Tensor
from tracec.errors import ArgumentError, FileMissingError, FormatError
from tracec.utils.fetch import download, written
from tracec.vision.datasets.base import TwoPartDataset
from tracec.vision.pillow import Image

#: Third byte of a file → its elements, the first digit first.
_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: Path) -> np.ndarray[Any, Any]:
    """The array of an idx file, compressed by gzip or not.

    Raises:
        FormatError: it is none, or has not as many bytes as its shape says.

    Source: LeCun, Cortes, Burges, "The MNIST database", file formats.
    """
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise FormatError(f"read_idx: {path} is no gzip file as a whole: {error}", hint="fetch it again") from None
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _DTYPES:
        raise FormatError(f"read_idx: {path} is no idx file; it begins with {raw[:4]!r}", hint="fetch it again")
    ndim, dtype = raw[3], np.dtype(_DTYPES[raw[2]])
    head = 4 + 4 * ndim
    shape = tuple(int(n) for n in np.frombuffer(raw[4:head], ">u4")) if len(raw) >= head else (0,) * (ndim + 1)
    count = 1
    for n in shape:
        count *= n
    if len(shape) != ndim or len(raw) != head + count * dtype.itemsize:
        raise FormatError(
            f"read_idx: {path} has {len(raw)} bytes, which are not those of the shape {shape}", hint="fetch it again"
        )
    values = np.frombuffer(raw, dtype, count, head).reshape(shape)
    return values.astype(dtype.newbyteorder("="))


class MNIST(TwoPartDataset):
    """60,000 and 10,000 handwritten digits, 28 × 28. Source: LeCun et al., 1998.

    Args:
        root: The folder in which ``MNIST/raw`` has the four files, as they are fetched or decompressed.
        train: The 60,000, or the 10,000 for tests.
        transform: What is called with each image, Pillow's of mode L.
        target_transform: What is called with each digit.
        download: Fetch files that are not there.

    Attributes:
        data: All images, uint8, ``(N, 28, 28)``.
        targets: All digits, int64, ``(N,)``.

    Raises:
        FileMissingError: a file is not there.
        FormatError: a file is not what it should be.
        DownloadError: a file cannot be had.
    """

    mirrors = ["https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"]
    #: Name and MD5 sum of images and labels, those of training first.
    resources = [
        ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
        ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
    ]
    classes = [
        "0 - zero", "1 - one", "2 - two", "3 - three", "4 - four", "5 - five", "6 - six", "7 - seven", "8 - eight",
        "9 - nine",
    ]  # fmt: skip

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[..., Any] | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, train, transform, target_transform)
        if download:
            self.download()
        images, labels = (read_idx(self._file(k)) for k in ((0, 1) if train else (2, 3)))
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or images.dtype != np.uint8:
            raise FormatError(
                f"{type(self).__name__}: images of shape {images.shape} and labels of shape {labels.shape}",
                hint=f"files in {self.raw_folder} do not belong together: fetch them again",
            )
        if labels.size:
            self.check_labels(int(labels.min()), int(labels.max()), self.raw_folder)
        self.data: Tensor = tracec.from_numpy(images)
        self.targets: Tensor = tracec.from_numpy(labels.astype(np.int64))

    @property
    def raw_folder(self) -> str:
        """The folder of its files."""
        return str(Path(self.root or ".") / type(self).__name__ / "raw")

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Numbers of classes by name."""
        return {name: k for k, name in enumerate(self.classes)}

    def _found(self, k: int) -> Path | None:
        packed = Path(self.raw_folder) / self.resources[k][0]
        return next((path for path in (packed.with_suffix(""), packed) if path.is_file()), None)

    def _file(self, k: int) -> Path:
        if (path := self._found(k)) is None:
            raise FileMissingError(
                f"{type(self).__name__}: there is no {self.resources[k][0]} in {self.raw_folder}",
                hint="download=True fetches it",
            )
        return path

    def download(self) -> None:
        """Fetch files that are not there."""
        for k, (name, md5) in enumerate(self.resources):
            if self._found(k) is None:
                download([mirror + name for mirror in self.mirrors], Path(self.raw_folder) / name, md5)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.transformed(Image.fromarray(self.data[index].numpy()), int(self.targets[index]))


class FashionMNIST(MNIST):
    """60,000 and 10,000 pictures of clothes, in the form of MNIST. Source: Xiao, Rasul, Vollgraf, 2017."""

    mirrors = ["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"]
    resources = [
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ]
    classes = [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ]  # fmt: skip


class KMNIST(MNIST):
    """60,000 and 10,000 cursive Japanese letters, in the form of MNIST. Source: Clanuwat et al., 2018."""

    mirrors = ["http://codh.rois.ac.jp/kmnist/dataset/kmnist/"]
    resources = [
        ("train-images-idx3-ubyte.gz", "bdb82020997e1d708af4cf47b453dcf7"),
        ("train-labels-idx1-ubyte.gz", "e144d726b3acfaa3e44228e80efcd344"),
        ("t10k-images-idx3-ubyte.gz", "5c965bf0a639b31b8f53240b1b52f4d7"),
        ("t10k-labels-idx1-ubyte.gz", "7320c461ea6c1c855c0b718fb2a4b134"),
    ]
    classes = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]


#: Letters whose two forms are one class in some splits of EMNIST.
_ALIKE = frozenset("cijklmopsuvwxyz")
_CHARACTERS = sorted(string.digits + string.ascii_letters)
_MERGED = [c for c in _CHARACTERS if c not in _ALIKE]


class EMNIST(MNIST):
    """Handwritten letters and digits, in the form of MNIST; images lie on their sides. Source: Cohen et al., 2017.

    Args:
        root: The folder in which ``EMNIST/raw`` has the files of the split, as they are fetched or decompressed.
        split: ``byclass``, ``bymerge``, ``balanced``, ``letters``, ``digits`` or ``mnist``.
        train: The part for training, or that for tests.
        transform: What is called with each image, Pillow's of mode L.
        target_transform: What is called with each number of a class.
        download: Fetch the archive of all splits, and take this one out, where its files are not there.

    Raises:
        ArgumentError: there is no such split.
        FileMissingError: a file is not there.
        FormatError: a file is not what it should be.
        DownloadError: the archive cannot be had.
    """

    url = "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"
    md5 = "58c8d27c78d21e728a6bc7b3cc06412e"
    classes_split_dict = {
        "byclass": _CHARACTERS,
        "bymerge": _MERGED,
        "balanced": _MERGED,
        "letters": ["N/A", *string.ascii_lowercase],
        "digits": list(string.digits),
        "mnist": list(string.digits),
    }
    splits = tuple(classes_split_dict)

    def __init__(
        self,
        root: str | Path,
        split: str,
        train: bool = True,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[..., Any] | None = None,
        download: bool = False,
    ) -> None:
        if split not in self.splits:
            raise ArgumentError(f"EMNIST: split={split!r}", hint=f"one of {', '.join(self.splits)}")
        self.split, self.classes = split, self.classes_split_dict[split]
        kinds = [f"{part}-{kind}-ubyte.gz" for part in ("train", "test") for kind in ("images-idx3", "labels-idx1")]
        self.resources = [(f"emnist-{split}-{kind}", "") for kind in kinds]
        super().__init__(root, train, transform, target_transform, download)

    def download(self) -> None:
        """Fetch the archive, and take the files of the split out."""
        if all(self._found(k) is not None for k in range(len(self.resources))):
            return
        folder = Path(self.raw_folder)
        archive = folder / "gzip.zip"
        download([self.url], archive, self.md5)
        with zipfile.ZipFile(archive) as packed:
            for name, _ in self.resources:
                written(folder / name, lambda file, n=name: file.write(packed.read(f"gzip/{n}")))  # type: ignore[misc]
