"""Data sets of files of images, with classes in folders or in lists beside them."""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tracec.errors import ArgumentError, FileMissingError, FormatError
from tracec.utils.fetch import download
from tracec.vision.datasets.base import Change, VisionDataset
from tracec.vision.datasets.folder import ImageFolder, default_loader
from tracec.vision.datasets.matlab import read_arrays
from tracec.vision.pillow import Image


def unpacked(url: str, md5: str, folder: Path) -> None:
    """Fetch an archive into a folder, and take out what it has.

    Raises:
        DownloadError: it cannot be had.
        FormatError: it cannot be read.
    """
    path = folder / url.rsplit("/", 1)[-1]
    download([url], path, md5)
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as packed:
                packed.extractall(folder)
        else:
            with tarfile.open(path) as packed_tar:
                packed_tar.extractall(folder, filter="data")  # nothing outside the folder
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise FormatError(f"{path} cannot be unpacked: {error}", hint="remove it, and fetch it again") from None


class ListedDataset(VisionDataset):
    """Files of images in a list, each with a number of a class.

    Args:
        root: The folder in which its own folder is.
        split: Which part; one of ``splits``.
        transform: What is called with each image, Pillow's of mode RGB.
        target_transform: What is called with each number of a class.
        download: Fetch and unpack the files where they are not there.
        loader: Gives an image for a path.

    Attributes:
        classes: Names of the classes.
        class_to_idx: Their numbers.

    Raises:
        ArgumentError: there is no such split.
        FileMissingError: a file is not there.
        FormatError: a file is not what it should be.
        DownloadError: a file cannot be had.
    """

    splits: tuple[str, ...] = ("train", "test")
    #: Addresses of archives and their MD5 sums.
    archives: tuple[tuple[str, str], ...] = ()
    #: Its own folder, and where archives are unpacked, in ``root``.
    folder = ""
    unpack = ""

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        transform: Change | None = None,
        target_transform: Change | None = None,
        download: bool = False,
        loader: Callable[[str], Any] = default_loader,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self._open(split, download)
        self.loader = loader

    def _open(self, split: str, download: bool) -> None:
        if split not in self.splits:
            raise ArgumentError(f"{type(self).__name__}: split={split!r}", hint=f"one of {', '.join(self.splits)}")
        self._split = split
        self._base = Path(self.root or ".") / self.folder
        if download and not self._base.is_dir():
            self.download()
        self.classes: list[str] = []
        self._image_files: list[Path] = []
        self._labels: list[int] = []
        try:
            self._read()
        except FileNotFoundError as error:
            raise FileMissingError(
                f"{type(self).__name__}: there is no {error.filename}", hint="download=True fetches what there is"
            ) from None
        except FormatError:
            raise
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise FormatError(
                f"{type(self).__name__}: a list in {self._base} is not what it should be: {error}",
                hint="fetch it again",
            ) from None
        self.class_to_idx = {name: k for k, name in enumerate(self.classes)}

    def _read(self) -> None:
        """Read the list of the split."""
        raise NotImplementedError

    def download(self) -> None:
        """Fetch archives, and take out what they have."""
        for url, md5 in self.archives:
            unpacked(url, md5, Path(self.root or ".") / self.unpack)

    def __len__(self) -> int:
        return len(self._image_files)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.transformed(self.loader(str(self._image_files[index])), self._labels[index])

    def extra_repr(self) -> str:
        return f"split={self._split}"


class Food101(ListedDataset):
    """101,000 photographs of 101 dishes. Source: Bossard, Guillaumin, Van Gool, 2014. See `ListedDataset`."""

    archives = (("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz", "85eeb15f3717b99a5da872d97d918f87"),)
    folder = "food-101"

    def _read(self) -> None:
        lists = json.loads((self._base / "meta" / f"{self._split}.json").read_text())
        self.classes = sorted(lists)
        for name, paths in lists.items():
            self._labels += [self.classes.index(name)] * len(paths)
            self._image_files += [self._base / "images" / f"{path}.jpg" for path in paths]


class Flowers102(ListedDataset):
    """8,189 photographs of 102 kinds of flowers. Source: Nilsback, Zisserman, 2008. See `ListedDataset`.

    ``classes`` are the kinds' numbers, as text: the files don't have their names.
    """

    splits = ("train", "val", "test")
    folder = "flowers-102"
    unpack = "flowers-102"
    _url = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"
    archives = ((f"{_url}102flowers.tgz", "52808999861908f626f3c1f4e79d11fa"),)
    _lists = (
        ("imagelabels.mat", "e0620be6f572b9609742df49c70aed4d"), ("setid.mat", "a5357ecc9cb78c4bef273ce3793fc85c"),
    )  # fmt: skip

    def download(self) -> None:
        """Fetch the photographs, and the lists."""
        super().download()
        for name, md5 in self._lists:
            download([self._url + name], self._base / name, md5)

    def _read(self) -> None:
        labels, ids = (read_arrays(self._base / name) for name, _ in self._lists)
        of_all = labels["labels"].reshape(-1)
        part = {"train": "trnid", "val": "valid", "test": "tstid"}[self._split]
        self.classes = [str(k + 1) for k in range(102)]
        for number in (int(k) for k in ids[part].reshape(-1)):
            if not 1 <= number <= len(of_all) or not 1 <= of_all[number - 1] <= 102:
                raise ValueError(f"photograph {number} of {len(of_all)}")
            self._labels.append(int(of_all[number - 1]) - 1)
            self._image_files.append(self._base / "jpg" / f"image_{number:05d}.jpg")


class DTD(ListedDataset):
    """5,640 photographs of 47 textures, in ten partitions. Source: Cimpoi et al., 2014.

    Args:
        root: See `ListedDataset`.
        split: ``train``, ``val`` or ``test``.
        partition: 1 to 10.
        transform: See `ListedDataset`.
        target_transform: Alike.
        download: Alike.
        loader: Alike.
    """

    splits = ("train", "val", "test")
    archives = (
        ("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz", "fff73e5086ae6bdbea199a49dfb8a4c1"),
    )
    folder = "dtd/dtd"
    unpack = "dtd"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        partition: int = 1,
        transform: Change | None = None,
        target_transform: Change | None = None,
        download: bool = False,
        loader: Callable[[str], Any] = default_loader,
    ) -> None:
        if partition not in range(1, 11):
            raise ArgumentError(f"DTD: partition={partition!r}", hint="1 to 10")
        self._partition = partition
        super().__init__(root, split, transform, target_transform, download, loader)

    def _read(self) -> None:
        lines = (self._base / "labels" / f"{self._split}{self._partition}.txt").read_text().split()
        names = [line.split("/")[0] for line in lines]
        self.classes = sorted(set(names))
        self._labels = [self.classes.index(name) for name in names]
        self._image_files = [self._base / "images" / line for line in lines]

    def extra_repr(self) -> str:
        return f"split={self._split}, partition={self._partition}"


class OxfordIIITPet(ListedDataset):
    """7,349 photographs of 37 breeds of cats and dogs. Source: Parkhi et al., 2012.

    Args:
        root: See `ListedDataset`.
        split: ``trainval`` or ``test``.
        target_types: What is given of each: ``category``, the breed's number; ``binary-category``, 0 for cats and 1 for
            dogs; ``segmentation``, an image of what is the animal; or several of these, for a tuple.
        transforms: What is called with an image and what is given of it; this or the two others.
        transform: See `ListedDataset`.
        target_transform: Alike.
        download: Alike.
    """

    splits = ("trainval", "test")
    folder = "oxford-iiit-pet"
    unpack = "oxford-iiit-pet"
    archives = (
        ("https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c"),
        ("https://www.robots.ox.ac.uk/~vgg/data/pets/data/annotations.tar.gz", "95a8c909bbe2e81eed6a22bccdf3f68f"),
    )
    _kinds = ("category", "binary-category", "segmentation")

    def __init__(
        self,
        root: str | Path,
        split: str = "trainval",
        target_types: str | Sequence[str] = "category",
        transforms: Change | None = None,
        transform: Change | None = None,
        target_transform: Change | None = None,
        download: bool = False,
    ) -> None:
        kinds = [target_types] if isinstance(target_types, str) else list(target_types)
        if any(kind not in self._kinds for kind in kinds):
            raise ArgumentError(f"OxfordIIITPet: target_types={target_types!r}", hint=f"of {', '.join(self._kinds)}")
        VisionDataset.__init__(self, root, transforms, transform, target_transform)
        self._target_types, self._bin_labels = kinds, list[int]()
        self._open(split, download)
        self.bin_classes = ["Cat", "Dog"]
        self.bin_class_to_idx = {"Cat": 0, "Dog": 1}

    def _read(self) -> None:
        names: dict[int, str] = {}
        for line in (self._base / "annotations" / f"{self._split}.txt").read_text().splitlines():
            name, breed, kind, _ = line.split()
            self._labels.append(int(breed) - 1)
            self._bin_labels.append(int(kind) - 1)
            self._image_files.append(self._base / "images" / f"{name}.jpg")
            names[int(breed)] = name.rsplit("_", 1)[0].replace("_", " ").title()
        self.classes = [names[k] for k in sorted(names)]

    def _target(self, kind: str, index: int) -> Any:
        if kind == "segmentation":
            name = self._image_files[index].stem
            with Image.open(self._base / "annotations" / "trimaps" / f"{name}.png") as image:
                return image.copy()
        return (self._labels if kind == "category" else self._bin_labels)[index]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        found = [self._target(kind, index) for kind in self._target_types]
        target = None if not found else found[0] if len(found) == 1 else tuple(found)
        return self.transformed(default_loader(str(self._image_files[index])), target)


class EuroSAT(ImageFolder):
    """27,000 photographs of land from above, of 10 classes. Source: Helber et al., 2019.

    Args:
        root: The folder in which ``eurosat/2750`` has a folder for each class.
        transform: What is called with each image, Pillow's of mode RGB.
        target_transform: What is called with each number of a class.
        download: Fetch and unpack the files where they are not there.
        loader: Gives an image for a path.
    """

    archive = (
        "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
        "c8fa014336c82ac7804f0398fcb19387",
    )

    def __init__(
        self,
        root: str | Path,
        transform: Change | None = None,
        target_transform: Change | None = None,
        download: bool = False,
        loader: Callable[[str], Any] = default_loader,
    ) -> None:
        base = Path(root).expanduser() / "eurosat"
        if download and not (base / "2750").is_dir():
            unpacked(*self.archive, base)
        if not (base / "2750").is_dir():
            raise FileMissingError(f"EuroSAT: there is no {base / '2750'}", hint="download=True fetches it")
        super().__init__(base / "2750", transform, target_transform, loader)
        self.root = str(Path(root).expanduser())


__all__ = ["DTD", "EuroSAT", "Flowers102", "Food101", "OxfordIIITPet"]
