"""Data sets read files of each form, made here; nothing comes from the network, and nothing of a file runs."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tracec
from tests.failures import caught, check_form, said
from tracec.errors import ArgumentError, DownloadError, FileMissingError, FormatError
from tracec.utils import fetch
from tracec.utils.data import DataLoader, random_split
from tracec.vision import datasets, transforms
from tracec.vision.datasets import cifar, mnist

RNG = np.random.default_rng(0)

# Folders ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k, name in enumerate(("cat", "dog", "dog/young")):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("L", (4, 3), 100 * k + i).save(tmp_path / name / f"{i}.png")
    (tmp_path / "cat" / "notes.txt").write_text("none")
    (tmp_path / "list.csv").write_text("none")
    return tmp_path


def test_images_in_folders(folder):
    data = datasets.ImageFolder(folder)
    assert data.classes == ["cat", "dog"] and data.class_to_idx == {"cat": 0, "dog": 1}
    assert data.targets == [0, 0, 1, 1, 1, 1] and data.imgs == data.samples and len(data) == 6
    image, target = data[4]
    assert target == 1 and image.mode == "RGB" and image.getpixel((0, 0)) == (200, 200, 200)
    changed = datasets.ImageFolder(folder, transforms.ToTensor(), target_transform=lambda k: k + 10)
    batches = list(DataLoader(changed, batch_size=4, num_workers=2))
    assert [tuple(x.shape) for x, _ in batches] == [(4, 3, 3, 4), (2, 3, 3, 4)]
    assert [y.tolist() for _, y in batches] == [[10, 10, 11, 11], [11, 11]]
    assert [len(part) for part in random_split(data, [4, 2])] == [4, 2]


def test_other_files_in_folders(folder):
    data = datasets.ImageFolder(folder, is_valid_file=lambda path: path.endswith("0.png"))
    assert [Path(path).name for path, _ in data.samples] == ["0.png"] * 3
    texts = datasets.DatasetFolder(folder, lambda path: Path(path).read_text(), (".txt",), allow_empty=True)
    assert texts[0] == ("none", 0) and len(texts) == 1
    sizes = datasets.ImageFolder(folder, loader=lambda path: Path(path).stat().st_size)
    assert isinstance(sizes[0][0], int)


def test_changes_may_be_set_later(folder):
    data = datasets.ImageFolder(folder)
    data.transform = transforms.ToTensor()
    assert tuple(data[0][0].shape) == (3, 3, 4)


def test_half_an_image(folder):
    path = folder / "cat" / "0.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(FormatError, match=r"0.png' cannot be read: .*truncated"):
        datasets.ImageFolder(folder)[0]


# MNIST -----------------------------------------------------------------------------------------------------


def idx(values: np.ndarray, kind: int = 8) -> bytes:
    big = values.astype(values.dtype.newbyteorder(">"))
    return bytes([0, 0, kind, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + big.tobytes()


IMAGES = RNG.integers(0, 256, (5, 28, 28), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1, 9], np.uint8)


def write_mnist(root: Path, name: str = "MNIST", packed: bool = False) -> None:
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 5), ("t10k", 2)):
        for kind, values in (("images-idx3", IMAGES[:count]), ("labels-idx1", LABELS[:count])):
            path = raw / f"{part}-{kind}-ubyte"
            if packed:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(idx(values)))
            else:
                path.write_bytes(idx(values))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [datasets.MNIST, datasets.FashionMNIST, datasets.KMNIST])
def test_digits(tmp_path, kind, packed):
    write_mnist(tmp_path, kind.__name__, packed)
    train = kind(tmp_path, download=True)  # nothing is fetched that is there
    assert len(train) == 5 and len(kind(tmp_path, train=False)) == 2 and len(train.classes) == 10
    assert train.data.dtype is tracec.uint8 and train.targets.tolist() == LABELS.tolist()
    image, label = train[2]
    assert label == 4 and image.mode == "L" and np.array_equal(np.asarray(image), IMAGES[2])
    x, _ = kind(tmp_path, transform=transforms.ToTensor())[0]
    np.testing.assert_allclose(x[0].numpy(), IMAGES[0] / 255, rtol=1e-6)


def write_emnist(root: Path, split: str, labels: np.ndarray) -> None:
    raw = root / "EMNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", len(labels)), ("test", 2)):
        for kind, values in (("images-idx3", IMAGES[:count]), ("labels-idx1", labels[:count])):
            (raw / f"emnist-{split}-{part}-{kind}-ubyte").write_bytes(idx(values))


@pytest.mark.parametrize(
    "split, count, last",
    [("byclass", 62, "z"), ("bymerge", 47, "t"), ("balanced", 47, "t"), ("letters", 27, "z"), ("digits", 10, "9"),
     ("mnist", 10, "9")],
)  # fmt: skip
def test_letters_and_digits(tmp_path, split, count, last):
    write_emnist(tmp_path, split, np.array([3, 1, 4, 1, count - 1], np.uint8))
    train = datasets.EMNIST(tmp_path, split, download=True)  # nothing is fetched that is there
    assert len(train) == 5 and len(datasets.EMNIST(tmp_path, split=split, train=False)) == 2
    assert len(train.classes) == count and train.classes[train[4][1]] == last
    assert train.class_to_idx[last] == count - 1 and np.array_equal(np.asarray(train[2][0]), IMAGES[2])


def test_letters_from_an_archive(tmp_path, monkeypatch):
    write_emnist(tmp_path / "there", "letters", LABELS)
    archive = tmp_path / "gzip.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in (tmp_path / "there" / "EMNIST" / "raw").iterdir():
            packed.writestr(f"gzip/{path.name}.gz", gzip.compress(path.read_bytes()))
    monkeypatch.setattr(datasets.EMNIST, "url", archive.as_uri())
    monkeypatch.setattr(datasets.EMNIST, "md5", hashlib.md5(archive.read_bytes()).hexdigest())
    train = datasets.EMNIST(tmp_path / "data", "letters", download=True, transform=transforms.ToTensor())
    assert train.targets.tolist() == LABELS.tolist() and train[0][0].shape == (1, 28, 28)
    with pytest.raises(ArgumentError, match="split='letter'"):
        datasets.EMNIST(tmp_path / "data", "letter")
    with pytest.raises(FileMissingError, match="emnist-digits-train-images"):
        datasets.EMNIST(tmp_path / "data", "digits")


# SVHN ------------------------------------------------------------------------------------------------------

HOUSES = RNG.integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
NUMBERS = np.array([[1], [10], [9], [2]], np.uint8)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["u1", "f8"])
def test_house_numbers(tmp_path, packed, kind):
    savemat = pytest.importorskip("scipy.io").savemat
    contents = {"X": HOUSES, "y": NUMBERS.astype(kind), "note": "text", "parts": {"a": 1}}
    for split in ("train", "test"):
        savemat(tmp_path / f"{split}_32x32.mat", contents, do_compression=packed)
    data = datasets.SVHN(tmp_path, transform=transforms.ToTensor())
    assert data.labels.tolist() == [1, 0, 9, 2] and data.data.shape == (4, 3, 32, 32) and len(data) == 4
    x, label = data[1]
    assert label == 0
    np.testing.assert_allclose(x.numpy(), HOUSES[..., 1].transpose(2, 0, 1) / 255, rtol=1e-6)
    image, _ = datasets.SVHN(str(tmp_path), split="test")[2]
    assert image.mode == "RGB" and np.array_equal(np.asarray(image), HOUSES[..., 2])
    assert "Split: train" in repr(data)
    with pytest.raises(FileMissingError, match="extra_32x32"):
        datasets.SVHN(tmp_path, "extra")
    with pytest.raises(ArgumentError, match="split='all'"):
        datasets.SVHN(tmp_path, "all")


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-9], lambda b: b"", lambda b: b"GIF8" * 60, lambda b: b[:200], lambda b: b[:128],
     lambda b: b[:160] + b"\xff" * 8 + b[168:]],
)  # fmt: skip
def test_damaged_house_numbers(tmp_path, damage):
    savemat = pytest.importorskip("scipy.io").savemat
    path = tmp_path / "train_32x32.mat"
    savemat(path, {"X": HOUSES, "y": NUMBERS})
    path.write_bytes(damage(path.read_bytes()))
    check_form(caught(None, lambda _: datasets.SVHN(tmp_path), []))


@pytest.mark.parametrize(
    "kind, dtype", [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")], ids=lambda v: str(v)
)
def test_elements_of_all_kinds(tmp_path, kind, dtype):
    values = np.arange(6).reshape(2, 3).astype(dtype)
    (tmp_path / "x").write_bytes(idx(values, kind))
    found = mnist.read_idx(tmp_path / "x")
    assert found.dtype == np.dtype(dtype) and found.dtype.isnative and np.array_equal(found, values)


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-1], lambda b: b + b"x", lambda b: b"", lambda b: b"GIF8" + b[4:], lambda b: b[:6],
     lambda b: gzip.compress(b)[:-9], lambda b: b[:2] + b"\7" + b[3:], lambda b: b[:4] + b"\xff" * 12 + b[16:]],
)  # fmt: skip
def test_damaged_digits(tmp_path, damage):
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    error = check_form(caught(None, lambda _: datasets.MNIST(tmp_path), []))
    assert isinstance(error, FormatError) and path.name in str(error)


def test_digits_that_do_not_belong_together(tmp_path):
    write_mnist(tmp_path)
    raw = tmp_path / "MNIST" / "raw"
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[:4]))
    with pytest.raises(FormatError, match=r"images of shape \(5, 28, 28\) and labels of shape \(4,\)"):
        datasets.MNIST(tmp_path)
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(LABELS + np.uint8(3)))
    with pytest.raises(FormatError, match="labels from 4 to 12 of 10 classes"):
        datasets.MNIST(tmp_path)


# CIFAR -----------------------------------------------------------------------------------------------------

PHOTOS = RNG.integers(0, 256, (6, 3072), dtype=np.uint8)
NAMES = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def pickled(values: np.ndarray, labels: list[int], key: str) -> bytes:
    """A batch as Python 2 wrote it: text of bytes, names of modules of its time, arrays by their state."""

    def text(s: str) -> bytes:
        return b"U" + bytes([len(s)]) + s.encode()

    raw = values.tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85" + text("b") + b"tR(K\x01"
    shape = b"K" + bytes([len(values)]) + b"M" + struct.pack("<H", 3072) + b"\x86"
    dtype = (
        b"cnumpy\ndtype\n("
        + text("u1")
        + b"K\0K\x01tR(K\x03"
        + text("|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([n]) for n in labels) + b"e"
    body = text("data") + array + shape + dtype + b"\x89T" + struct.pack("<I", len(raw)) + raw + b"tb"
    return b"\x80\x02}(" + body + text(key) + numbers + b"u."


def test_a_batch_as_python_2_wrote_it_is_one_to_python():
    found = pickle.loads(pickled(PHOTOS[:2], [3, 7], "labels"), encoding="latin1")
    assert np.array_equal(found["data"], PHOTOS[:2]) and found["labels"] == [3, 7]


def write_cifar(root: Path, kind: type, *, binary: bool = False, new: bool = False) -> Path:
    folder = root / (kind.binary_folder if binary else kind.base_folder)
    folder.mkdir(parents=True)
    names = NAMES if kind is datasets.CIFAR10 else [f"thing {k}" for k in range(100)]
    for name in (*kind.train_list, *kind.test_list):
        labels = [k % len(names) for k in range(6)]
        if binary:
            before = np.array([[9] * (kind.labels_before - 1) + [k] for k in labels], np.uint8)
            (folder / f"{name}.bin").write_bytes(np.concatenate([before, PHOTOS], 1).tobytes())
        elif new:
            (folder / name).write_bytes(pickle.dumps({b"data": PHOTOS, kind.label_key: labels}, protocol=2))
        else:
            (folder / name).write_bytes(pickled(PHOTOS, labels, kind.label_key))
    if binary:
        (folder / kind.binary_meta).write_text("\n".join(names) + "\n\n")
    else:
        (folder / kind.meta).write_bytes(pickle.dumps({kind.names_key: names}, protocol=2))
    return folder


@pytest.mark.parametrize("form", [{}, {"new": True}, {"binary": True}], ids=str)
@pytest.mark.parametrize("kind", [datasets.CIFAR10, datasets.CIFAR100])
def test_photographs(tmp_path, kind, form):
    write_cifar(tmp_path, kind, **form)
    train = kind(tmp_path, download=True)
    assert len(train) == 6 * len(kind.train_list) and len(kind(tmp_path, train=False)) == 6
    assert train.data.shape[1:] == (32, 32, 3) and train.targets[:6] == [0, 1, 2, 3, 4, 5]
    image, label = train[4]
    assert label == 4 and image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), PHOTOS[4].reshape(3, 32, 32).transpose(1, 2, 0))
    assert train.class_to_idx[train.classes[7]] == 7


class Runs:
    """What runs when a pickle is read."""

    ran: list[str] = []

    def __reduce__(self) -> Any:
        return Runs.ran.append, ("ran",)


@pytest.mark.parametrize("program", [b"cos\nsystem\n(U\x04truetR.", pickle.dumps(Runs()), pickle.dumps(print),
                                     b"cbuiltins\neval\n(U\x011tR.", b"\x80\x02P0\n."])  # fmt: skip
def test_a_program_in_a_file_does_not_run(tmp_path, program, capfd):
    folder = write_cifar(tmp_path, datasets.CIFAR10)
    (folder / "data_batch_3").write_bytes(program)
    error = check_form(caught(None, lambda _: datasets.CIFAR10(tmp_path), []))
    assert isinstance(error, FormatError) and "nothing in it was run" in str(error)
    assert Runs.ran == [] and capfd.readouterr().out == ""


def test_arrays_of_objects_are_none(tmp_path):
    folder = write_cifar(tmp_path, datasets.CIFAR10)
    for data in (np.array([{}], object), np.zeros((2, 3072), np.float32), b"text", PHOTOS[:, :9]):
        (folder / "test_batch").write_bytes(pickle.dumps({"data": data, "labels": [1] * 6}, protocol=2))
        with pytest.raises(FormatError, match="CIFAR"):
            datasets.CIFAR10(tmp_path, train=False)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[: len(b) // 2 - 1], lambda b: b"x" * 99]
)
@pytest.mark.parametrize("binary", [False, True])
def test_damaged_photographs(tmp_path, damage, binary):
    path = write_cifar(tmp_path, datasets.CIFAR10, binary=binary) / ("test_batch" + ".bin" * binary)
    path.write_bytes(damage(path.read_bytes()))
    assert isinstance(check_form(caught(None, lambda _: datasets.CIFAR10(tmp_path, False), [])), FormatError)


def test_photographs_without_labels(tmp_path):
    folder = write_cifar(tmp_path, datasets.CIFAR10)
    (folder / "test_batch").write_bytes(pickled(PHOTOS, [1], "labels"))
    with pytest.raises(FormatError, match="no label 'labels' for each of 6 images"):
        datasets.CIFAR10(tmp_path, train=False)
    (folder / "test_batch").write_bytes(pickled(PHOTOS, [77] * 6, "labels"))
    with pytest.raises(FormatError, match="labels from 77 to 77 of 10 classes"):
        datasets.CIFAR10(tmp_path, train=False)


# From elsewhere --------------------------------------------------------------------------------------------


def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for the network: its files have addresses, too."""
    place = tmp_path / "network"
    write_mnist(place, packed=True)
    raw = place / "MNIST" / "raw"
    sums = [(name, hashlib.md5((raw / name).read_bytes()).hexdigest()) for name, _ in datasets.MNIST.resources]
    monkeypatch.setattr(datasets.MNIST, "mirrors", [(tmp_path / "nowhere").as_uri() + "/", raw.as_uri() + "/"])
    monkeypatch.setattr(datasets.MNIST, "resources", sums)
    return raw


def test_files_are_fetched_once(tmp_path, monkeypatch, capsys):
    raw = served(tmp_path, monkeypatch)
    assert len(datasets.MNIST(tmp_path / "data", download=True)) == 5
    assert "train-images-idx3-ubyte.gz" in capsys.readouterr().err
    for file in raw.iterdir():
        file.unlink()
    assert len(datasets.MNIST(tmp_path / "data", download=True)) == 5
    assert sorted(p.name for p in (tmp_path / "data" / "MNIST" / "raw").iterdir()) == sorted(
        name for name, _ in datasets.MNIST.resources
    )


def test_another_file_is_not_taken(tmp_path, monkeypatch):
    raw = served(tmp_path, monkeypatch)
    (raw / "train-labels-idx1-ubyte.gz").write_bytes(b"other")
    error = check_form(caught(None, lambda _: datasets.MNIST(tmp_path / "data", download=True), []))
    assert isinstance(error, DownloadError)
    for part in ("train-labels-idx1-ubyte.gz cannot be had", "nowhere", "its MD5 sum is 795f3202", "put the file"):
        assert part in str(error)
    # Nothing half is left, and nothing by another name.
    assert [p.name for p in (tmp_path / "data" / "MNIST" / "raw").iterdir()] == ["train-images-idx3-ubyte.gz"]


def test_an_archive_is_fetched_and_taken_apart(tmp_path, monkeypatch):
    place = tmp_path / "network"
    write_cifar(place, datasets.CIFAR10)
    archive = place / datasets.CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(place / "cifar-10-batches-py", "cifar-10-batches-py")
        tar.add(place / "cifar-10-batches-py" / "test_batch", "../escaped")
    monkeypatch.setattr(datasets.CIFAR10, "mirrors", [place.as_uri() + "/"])
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", fetch.md5_of(archive))
    root = tmp_path / "data"
    assert len(datasets.CIFAR10(root, download=True)) == 30
    assert not (tmp_path / "escaped").exists() and len(list((root / "cifar-10-batches-py").iterdir())) == 7


def test_links_in_an_archive_lead_nowhere(tmp_path):
    archive = tmp_path / "links.tar"
    with tarfile.open(archive, "w") as tar:
        link = tarfile.TarInfo("batch")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(DownloadError, match="no file 'batch'"):
        fetch.unpacked(archive, tmp_path / "out", ["batch"])
    assert not (tmp_path / "out" / "batch").exists()


# The rest --------------------------------------------------------------------------------------------------


def test_random_images_are_the_same_at_each_look():
    data = datasets.FakeData(4, (3, 8, 9), 5)
    image, target = data[3]
    assert image.size == (9, 8) and 0 <= target < 5 and image.tobytes() == data[3][0].tobytes()
    assert image.tobytes() != data[2][0].tobytes() and isinstance(target, int)
    assert datasets.FakeData(4, (3, 8, 9), 5, random_offset=1)[2][0].tobytes() == image.tobytes()
    with pytest.raises(IndexError):
        data[4]


def test_they_show_what_they_are(tmp_path, golden):
    write_mnist(tmp_path)
    change = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
    data = datasets.MNIST(tmp_path, train=False, transform=change, target_transform=transforms.Lambda(str))
    assert repr(data).replace(str(tmp_path), "ROOT") == golden
    assert repr(datasets.FakeData(3)).splitlines() == ["Dataset FakeData", "    Number of datapoints: 3"]


def test_mistakes(tmp_path, golden):
    (tmp_path / "empty").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "classes" / name).mkdir(parents=True)
    (tmp_path / "classes" / "cat" / "text.png").write_text("none")

    def mistakes():
        yield "no folder", lambda _: datasets.ImageFolder(tmp_path / "missing")
        yield "no classes", lambda _: datasets.ImageFolder(tmp_path / "empty")
        yield "no images", lambda _: datasets.ImageFolder(tmp_path / "classes")
        yield "no image", lambda _: datasets.ImageFolder(tmp_path / "classes", allow_empty=True)[0]
        yield "two ways", lambda _: datasets.DatasetFolder(tmp_path / "classes", open, (".png",), is_valid_file=bool)
        yield "no digits", lambda _: datasets.MNIST(tmp_path)
        yield "no photographs", lambda _: datasets.CIFAR10(tmp_path)
        yield "two kinds", lambda _: datasets.VisionDataset(transforms=print, transform=print)
        yield "no size", lambda _: datasets.FakeData(3, (0, 1, 1))

    found = []
    for name, mistake in mistakes():
        error = check_form(caught(None, mistake, []))
        found.append(f"# {name}\n{said(error)}".replace(str(tmp_path), "ROOT"))
    assert "\n\n".join(found) == golden
    assert issubclass(FileMissingError, FileNotFoundError) and cifar.CIFAR10.train_list[0] == "data_batch_1"
