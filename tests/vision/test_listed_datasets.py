"""Data sets of photographs and lists read small ones that are made here."""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tracec
from tests.failures import caught, check_form
from tracec.errors import FormatError
from tracec.vision import datasets
from tracec.vision import io as files
from tracec.vision.datasets import listed

RNG = np.random.default_rng(0)


def photograph(path: Path, value: int = 0, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (5, 4), (value,) * 3 if mode == "RGB" else value).save(path)


def write_food(root: Path) -> None:
    lists = {"pie": ["pie/1", "pie/2"], "cake": ["cake/7"]}
    for paths in lists.values():
        for path in paths:
            photograph(root / f"food-101/images/{path}.jpg", 40)
    (root / "food-101/meta").mkdir()
    (root / "food-101/meta/train.json").write_text(json.dumps(lists))


def test_food(tmp_path):
    write_food(tmp_path)
    data = datasets.Food101(tmp_path, transform=lambda image: image.size, target_transform=lambda k: k + 10)
    assert data.classes == ["cake", "pie"] and data.class_to_idx == {"cake": 0, "pie": 1}
    assert [data[k] for k in range(len(data))] == [((5, 4), 11), ((5, 4), 11), ((5, 4), 10)]
    assert "split=train" in repr(data)


def test_flowers(tmp_path):
    savemat = pytest.importorskip("scipy.io").savemat
    base = tmp_path / "flowers-102"
    for k in (1, 2, 3):
        photograph(base / f"jpg/image_{k:05d}.jpg", 50 * k)
    savemat(base / "imagelabels.mat", {"labels": np.array([[77, 1, 102]], np.uint8)})
    savemat(base / "setid.mat", {"trnid": np.array([[3, 1]], np.uint16), "valid": [[2]], "tstid": [[2]]})
    data = datasets.Flowers102(tmp_path)
    assert [data[k][1] for k in range(2)] == [101, 76]
    assert abs(data[0][0].getpixel((0, 0))[0] - 150) < 4
    assert datasets.Flowers102(tmp_path, "val")[0][1] == 0
    savemat(base / "setid.mat", {"trnid": np.array([[4]], np.uint16)})
    with pytest.raises(FormatError, match="photograph 4 of 3"):
        datasets.Flowers102(tmp_path)


def test_textures(tmp_path):
    base = tmp_path / "dtd/dtd"
    for name in ("dotted/1.jpg", "banded/2.jpg"):
        photograph(base / "images" / name)
    (base / "labels").mkdir()
    (base / "labels/val3.txt").write_text("dotted/1.jpg\nbanded/2.jpg\n")
    data = datasets.DTD(tmp_path, "val", 3)
    assert data.classes == ["banded", "dotted"] and [data[k][1] for k in range(2)] == [1, 0]
    assert "partition=3" in repr(data)


def test_pets(tmp_path):
    base = tmp_path / "oxford-iiit-pet"
    for name, value in (("Abyssinian_1", 1), ("great_dane_7", 3)):
        photograph(base / f"images/{name}.jpg", 90)
        photograph(base / f"annotations/trimaps/{name}.png", value, "L")
    (base / "annotations/trainval.txt").write_text("great_dane_7 2 2 1\nAbyssinian_1 1 1 1\n")
    data = datasets.OxfordIIITPet(tmp_path, target_types=["category", "binary-category", "segmentation"])
    assert data.classes == ["Abyssinian", "Great Dane"] and data.bin_classes == ["Cat", "Dog"]
    image, (breed, kind, mask) = data[0]
    assert image.mode == "RGB" and (breed, kind, mask.getpixel((0, 0))) == (1, 1, 3)
    assert datasets.OxfordIIITPet(tmp_path)[1][1] == 0
    assert datasets.OxfordIIITPet(tmp_path, target_types=[])[1][1] is None
    both = datasets.OxfordIIITPet(tmp_path, transforms=lambda image, target: (image.size, -target))
    assert both[0] == ((5, 4), -1)


def test_land(tmp_path):
    for name in ("Forest", "River"):
        photograph(tmp_path / f"eurosat/2750/{name}/{name}_1.jpg")
    data = datasets.EuroSAT(tmp_path)
    assert data.classes == ["Forest", "River"] and data[1][1] == 1 and str(tmp_path) == data.root


def test_stl(tmp_path):
    base = tmp_path / "stl10_binary"
    base.mkdir()
    images = RNG.integers(0, 256, (4, 3, 96, 96), dtype=np.uint8)
    images.swapaxes(2, 3)[:3].tofile(base / "train_X.bin")
    np.array([1, 10, 3], np.uint8).tofile(base / "train_y.bin")
    images.swapaxes(2, 3)[3:].tofile(base / "unlabeled_X.bin")
    (base / "fold_indices.txt").write_text("2 0\n1\n")
    (base / "class_names.txt").write_text("airplane\nbird\n")
    data = datasets.STL10(tmp_path, "train+unlabeled")
    assert data.labels.tolist() == [0, 9, 2, -1] and data.classes == ["airplane", "bird"]
    np.testing.assert_array_equal(np.asarray(data[3][0]), images[3].transpose(1, 2, 0))
    fold = datasets.STL10(tmp_path, folds=0)
    assert fold.labels.tolist() == [2, 0] and len(datasets.STL10(tmp_path, folds=1)) == 1
    np.testing.assert_array_equal(fold.data, images[[2, 0]])
    with pytest.raises(FormatError, match="no list"):
        datasets.STL10(tmp_path, folds=5)
    (base / "train_y.bin").write_bytes(b"\0\1\2")
    with pytest.raises(FormatError, match="labels"):
        datasets.STL10(tmp_path)


def test_usps(tmp_path):
    values = RNG.uniform(-1, 1, (2, 256)).astype(np.float32)
    lines = [
        f"{digit} " + " ".join(f"{k + 1}:{value}" for k, value in enumerate(row))
        for digit, row in zip((1, 10), values, strict=True)
    ]
    (tmp_path / "usps.bz2").write_bytes(bz2.compress("\n".join(lines).encode()))
    data = datasets.USPS(tmp_path)
    assert data.targets == [0, 9] and data[0][0].size == (16, 16)
    np.testing.assert_allclose(data.data, ((values + 1) / 2 * 255).reshape(2, 16, 16), atol=1)
    (tmp_path / "usps.t.bz2").write_bytes(b"none")
    with pytest.raises(FormatError, match=r"usps\.t\.bz2"):
        datasets.USPS(tmp_path, train=False)


def test_archives_are_checked_and_unpacked(tmp_path, monkeypatch):
    """What an archive has is taken out into its folder, and nothing beside it."""
    there, root = tmp_path / "there", tmp_path / "root"
    write_food(there)
    archive = tmp_path / "food-101.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(there / "food-101", "food-101")
    md5 = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(datasets.Food101, "archives", ((archive.as_uri(), md5),))
    assert len(datasets.Food101(root, download=True)) == 3
    bad = tmp_path / "bad.tar.gz"
    with tarfile.open(bad, "w:gz") as packed:
        packed.addfile(tarfile.TarInfo("../beside"), io.BytesIO(b""))
    md5 = hashlib.md5(bad.read_bytes(), usedforsecurity=False).hexdigest()
    with pytest.raises(FormatError, match="unpacked"):
        listed.unpacked(bad.as_uri(), md5, tmp_path / "in")
    assert not (tmp_path / "beside").exists()


def test_files_of_bytes(tmp_path):
    image = tracec.tensor(RNG.integers(0, 256, (3, 6, 5), dtype=np.uint8))
    files.write_file(tmp_path / "a.png", files.encode_png(image))
    assert files.decode_png(files.read_file(tmp_path / "a.png")).equal(image)
    packed = files.encode_jpeg(image)
    one, other = files.decode_jpeg([packed, packed], "GRAY")
    assert one.equal(other) and tuple(one.shape) == (1, 6, 5)
    assert one.equal(files.decode_image(packed, "GRAY"))


def test_mistakes(golden, tmp_path):
    (tmp_path / "food-101/meta").mkdir(parents=True)
    (tmp_path / "food-101/meta/test.json").write_text("[1]")
    mistakes = {
        "a split": lambda _: datasets.Food101(tmp_path, "val"),
        "no files": lambda _: datasets.DTD(tmp_path),
        "no list": lambda _: datasets.Food101(tmp_path, "test"),
        "a partition": lambda _: datasets.DTD(tmp_path, partition=11),
        "targets": lambda _: datasets.OxfordIIITPet(tmp_path, target_types="mask"),
        "no folder": lambda _: datasets.EuroSAT(tmp_path),
        "a part": lambda _: datasets.STL10(tmp_path, folds=10),
        "no images": lambda _: datasets.STL10(tmp_path),
        "no digits": lambda _: datasets.USPS(tmp_path),
        "no bytes": lambda _: files.write_file(tmp_path / "a", tracec.zeros(3)),
    }
    found = [f"# {name}\n{check_form(caught(None, mistake, []))}" for name, mistake in mistakes.items()]
    assert "\n\n".join(found).replace(str(tmp_path), "root") == golden
