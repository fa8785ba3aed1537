"""Grids, files, boxes and data sets are as torchvision's, and so is how all show, where it is installed."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from PIL import Image

import tracec
from tests.vision.test_datasets import write_cifar, write_mnist
from tests.vision.test_transforms import RANDOM
from tracec.vision import datasets, io, ops, transforms, utils

torchvision = pytest.importorskip("torchvision")
torch = pytest.importorskip("torch")

X = np.random.default_rng(0).random((7, 3, 5, 6)).astype(np.float32)


@pytest.mark.parametrize(
    "how",
    [{}, {"nrow": 3, "padding": 1}, {"normalize": True}, {"normalize": True, "scale_each": True},
     {"normalize": True, "value_range": (0.2, 0.6), "pad_value": 0.3}],
    ids=str,
)  # fmt: skip
def test_grids(how):
    expected = torchvision.utils.make_grid(torch.from_numpy(X.copy()), **how).numpy()
    np.testing.assert_allclose(utils.make_grid(tracec.from_numpy(X), **how).numpy(), expected, atol=2e-7)


@pytest.mark.filterwarnings("ignore:The image decoding")
def test_files(tmp_path):
    torchvision.utils.save_image(torch.from_numpy(X), tmp_path / "theirs.png")
    utils.save_image(tracec.from_numpy(X), tmp_path / "ours.png")
    ours, theirs = (np.asarray(Image.open(tmp_path / name)) for name in ("ours.png", "theirs.png"))
    np.testing.assert_array_equal(ours, theirs)
    read = torchvision.io.read_image(str(tmp_path / "ours.png")).numpy()
    np.testing.assert_array_equal(io.read_image(tmp_path / "ours.png").numpy(), read)


@pytest.mark.parametrize(
    "how",
    [{"colors": "red"}, {"colors": ["red", "#00ff00"], "width": 2}, {"colors": "blue", "fill": True},
     {"colors": (1, 2, 3), "labels": ["a", "b"]}],
    ids=str,
)  # fmt: skip
def test_boxes_drawn(how):
    image = (X[0] * 255).astype(np.uint8).repeat(5, 1).repeat(5, 2)
    boxes = np.array([[2, 3, 15, 20], [5, 5, 9, 9]], np.float32)
    expected = torchvision.utils.draw_bounding_boxes(torch.from_numpy(image), torch.from_numpy(boxes), **how).numpy()
    found = utils.draw_bounding_boxes(tracec.from_numpy(image), tracec.from_numpy(boxes), **how).numpy()
    np.testing.assert_array_equal(found, expected)


def test_boxes():
    rng = np.random.default_rng(0)
    boxes = rng.random((30, 4)).astype(np.float32) * 20
    boxes[:, 2:] += boxes[:, :2]
    scores, classes = rng.random(30).astype(np.float32), rng.integers(0, 3, 30)
    ours, theirs = tracec.from_numpy, torch.from_numpy
    for name in ("box_iou", "generalized_box_iou"):
        found = getattr(ops, name)(ours(boxes), ours(boxes)).numpy()
        np.testing.assert_array_equal(found, getattr(torchvision.ops, name)(theirs(boxes), theirs(boxes)).numpy())
    for share in (0.1, 0.3, 0.5):
        expected = torchvision.ops.nms(theirs(boxes), theirs(scores), share).tolist()
        assert ops.nms(ours(boxes), ours(scores), share).tolist() == expected
        expected = torchvision.ops.batched_nms(theirs(boxes), theirs(scores), theirs(classes), share).tolist()
        assert ops.batched_nms(ours(boxes), ours(scores), ours(classes), share).tolist() == expected
    for one in ("xyxy", "xywh", "cxcywh"):
        for two in ("xyxy", "xywh", "cxcywh"):
            expected = torchvision.ops.box_convert(theirs(boxes), one, two).numpy()
            np.testing.assert_array_equal(ops.box_convert(ours(boxes), one, two).numpy(), expected)


def test_data_sets(tmp_path, monkeypatch):
    write_mnist(tmp_path)
    write_cifar(tmp_path, datasets.CIFAR10)
    for name in ("b", "a/x"):
        (tmp_path / "folder" / name).mkdir(parents=True)
        Image.fromarray((X[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(tmp_path / "folder" / name / "0.png")
    # Files made here have not the sums of the true ones.
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_load_meta", lambda self: None)
    for name, root in (("MNIST", tmp_path), ("CIFAR10", tmp_path), ("ImageFolder", tmp_path / "folder")):
        ours, theirs = getattr(datasets, name)(root), getattr(torchvision.datasets, name)(root)
        assert len(ours) == len(theirs) and repr(ours) == repr(theirs)
        for k in range(len(ours)):
            assert ours[k][0].tobytes() == theirs[k][0].tobytes() and ours[k][1] == theirs[k][1]


@pytest.mark.parametrize("name", [name for name in transforms.__all__ if name[0].isupper()])
def test_arguments_have_their_names_and_values(name):
    ours, theirs = (inspect.signature(getattr(place, name)) for place in (transforms, torchvision.transforms))
    if name == "InterpolationMode":
        assert [m.value for m in transforms.InterpolationMode] == [
            m.value for m in torchvision.transforms.InterpolationMode
        ]
        return
    assert list(ours.parameters) == list(theirs.parameters)
    for one, two in zip(ours.parameters.values(), theirs.parameters.values(), strict=True):
        assert str(one.default) == str(two.default)


def test_they_show_alike():
    def theirs(transform):
        kind = getattr(torchvision.transforms, type(transform).__name__)
        if isinstance(transform, (transforms.RandomApply, transforms.RandomChoice, transforms.RandomOrder)):
            return kind(
                [theirs(t) for t in transform.transforms], **({"p": transform.p} if hasattr(transform, "p") else {})
            )
        given = {k: getattr(transform, k) for k in inspect.signature(kind).parameters if hasattr(transform, k)}
        if "interpolation" in given:
            given["interpolation"] = torchvision.transforms.InterpolationMode(given["interpolation"].value)
        return kind(**{k: v for k, v in given.items() if v is not None})

    for transform in RANDOM:
        if not isinstance(transform, transforms.ElasticTransform):
            assert repr(transform) == repr(theirs(transform))
