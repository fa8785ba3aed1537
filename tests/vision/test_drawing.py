"""Masks, points and flows in pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tracec
from tests.failures import caught, check_form
from tracec.vision import utils

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("floating", [False, True])
def test_masks(floating):
    values = RNG.integers(0, 256, (3, 4, 5), dtype=np.uint8)
    image = tracec.tensor(values)
    image = image / 255 if floating else image
    masks = tracec.zeros(2, 4, 5, dtype=tracec.bool)
    masks[0, :2], masks[1, 1:3] = True, True
    found = utils.draw_segmentation_masks(image, masks, 0.6, ["red", (0, 0, 255)])
    assert found.dtype is image.dtype
    expected = values.astype(float)
    for row, color in ((0, (255, 0, 0)), (1, (0, 0, 0)), (2, (0, 0, 255))):
        expected[:, row] = 0.4 * values[:, row] + 0.6 * np.array(color)[:, None]
    shown = found.numpy() * (255 if floating else 1)
    np.testing.assert_allclose(shown, expected, atol=1e-3 if floating else 1)
    assert utils.draw_segmentation_masks(image, masks[0], 0.0).equal(image)


def test_points():
    image = tracec.zeros(3, 30, 40, dtype=tracec.uint8)
    points = tracec.tensor([[[5, 6], [30, 6], [20, 25]]])
    found = utils.draw_keypoints(image, points, [(0, 1), (1, 2)], "blue", 2, 1, tracec.tensor([[1, 1, 0]])).numpy()
    assert found[:, 8, 5].tolist() == [0, 0, 255] and found[:, 6, 15].tolist() == [255, 255, 255]
    assert not found[:, 20:].any() and not found[:, :3].any()
    floats = utils.draw_keypoints(image.float(), points, colors=(255, 0, 0), radius=1)
    assert floats.dtype is tracec.float32 and floats[:, 25, 20].tolist() == [1, 0, 0]


def test_flows():
    """Eight directions: to the right is the wheel's first colour, red; half as far is half as strong."""
    angles = [k * math.pi / 4 for k in range(8)]
    flow = tracec.tensor([[[math.cos(a) for a in angles]], [[math.sin(a) for a in angles]]])
    found = utils.flow_to_image(flow)
    assert tuple(found.shape) == (3, 1, 8) and found.dtype is tracec.uint8
    assert found[:, 0, 0].tolist() == [255, 0, 0] and found[0, 0, 4] == 0
    half = utils.flow_to_image(tracec.stack([flow, flow * 0.5]))
    assert half[0].equal(found) and (half[1].int() - (255 + found.int()) // 2).abs().max() <= 1
    assert (utils.flow_to_image(tracec.zeros(2, 3, 3)) == 255).all()
    assert tuple(utils.flow_to_image(tracec.zeros(2, 0, 3)).shape) == (3, 0, 3)


def test_as_torchvision():
    torchvision, torch = pytest.importorskip("torchvision"), pytest.importorskip("torch")
    image = RNG.integers(0, 256, (3, 20, 30), dtype=np.uint8)
    masks, flow = RNG.random((3, 20, 30)) > 0.7, RNG.normal(size=(2, 20, 30)).astype(np.float32)
    points = RNG.integers(0, 20, (2, 3, 2))
    how = {"connectivity": [(0, 2)], "colors": "red"}
    pairs = [
        ("draw_segmentation_masks", (image, masks), {"colors": ["red", "blue", "#00ff10"]}),
        ("draw_keypoints", (image, points), how),
        ("flow_to_image", (flow,), {}),
    ]
    for name, arrays, more in pairs:
        expected = getattr(torchvision.utils, name)(*map(torch.from_numpy, arrays), **more).numpy()
        found = getattr(utils, name)(*map(tracec.from_numpy, arrays), **more).numpy()
        assert np.abs(found.astype(int) - expected).max() <= (name == "flow_to_image")


def test_mistakes(golden):
    image, masks = tracec.zeros(3, 4, 5), tracec.zeros(2, 4, 5, dtype=tracec.bool)
    points = tracec.zeros(1, 2, 2)
    mistakes = {
        "an image": lambda _: utils.draw_segmentation_masks(image[:1], masks),
        "masks": lambda _: utils.draw_segmentation_masks(image, image),
        "other masks": lambda _: utils.draw_segmentation_masks(image, masks[:, :3]),
        "a share": lambda _: utils.draw_segmentation_masks(image, masks, 2),
        "colours": lambda _: utils.draw_segmentation_masks(image, masks, colors=["red"]),
        "no colour": lambda _: utils.draw_keypoints(image, points, colors="reddish"),
        "points": lambda _: utils.draw_keypoints(image, points[0]),
        "lines": lambda _: utils.draw_keypoints(image, points, [(0, 2)]),
        "what is seen": lambda _: utils.draw_keypoints(image, points, visibility=tracec.ones(3)),
        "a flow": lambda _: utils.flow_to_image(image),
        "integers": lambda _: utils.flow_to_image(tracec.zeros(2, 3, 3, dtype=tracec.int64)),
    }
    found = [f"# {name}\n{check_form(caught(None, mistake, []))}" for name, mistake in mistakes.items()]
    assert "\n\n".join(found) == golden
