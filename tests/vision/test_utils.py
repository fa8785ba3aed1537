"""Pictures of several images, files and boxes."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import tracec
from tests.failures import caught, check_form
from tracec.errors import ArgumentError
from tracec.vision import io as files
from tracec.vision import ops, utils


def test_images_side_by_side():
    images = tracec.arange(1.0, 6.0).reshape(5, 1, 1, 1).expand(5, 1, 2, 3)
    grid = utils.make_grid(images, nrow=3, padding=1, pad_value=9.0)
    row = [9, 1, 1, 1, 9, 2, 2, 2, 9, 3, 3, 3, 9]
    last = [9, 4, 4, 4, 9, 5, 5, 5, 9, 9, 9, 9, 9]
    edge = [9] * 13
    assert grid[0].tolist() == [edge, row, row, edge, last, last, edge] and grid.shape[0] == 3
    assert utils.make_grid(list(images), nrow=3, padding=1, pad_value=9.0).equal(grid)
    assert utils.make_grid(images[0, 0]).tolist() == [[[1.0] * 3] * 2] * 3


def test_stretched_values():
    images = tracec.tensor([0.0, 2.0, 4.0, 8.0]).reshape(2, 1, 1, 2)

    def stretched(**more):
        grid = utils.make_grid(images, padding=0, normalize=True, **more)
        return [round(v, 4) for v in grid[0, 0].tolist()]

    assert stretched() == [0.0, 0.25, 0.5, 1.0]
    assert stretched(scale_each=True) == [0.0, 1.0, 0.0, 1.0]
    assert stretched(value_range=(2, 6)) == [0.0, 0.0, 0.5, 1.0]
    assert images.max() == 8


def test_files_of_images(tmp_path):
    x = tracec.tensor([0.0, 0.5, 1.0, 2.0]).reshape(1, 2, 2)
    utils.save_image(x, tmp_path / "four.png")
    assert np.asarray(Image.open(tmp_path / "four.png"))[..., 0].tolist() == [[0, 128], [255, 255]]
    file = io.BytesIO()
    utils.save_image([x, x], file, format="png")
    assert Image.open(file).size == (10, 6)


def test_reading_and_writing(tmp_path):
    x = tracec.randint(0, 256, (3, 5, 4), dtype=tracec.uint8)
    files.write_png(x, tmp_path / "x.png")
    assert files.read_image(tmp_path / "x.png").equal(x)
    assert files.decode_image(files.read_file(tmp_path / "x.png")).equal(x)
    assert files.decode_image(files.encode_png(x), "GRAY").shape == (1, 5, 4)
    assert files.read_image(tmp_path / "x.png", files.ImageReadMode.RGB_ALPHA).shape == (4, 5, 4)
    flat = tracec.full((3, 16, 16), 77, dtype=tracec.uint8)
    files.write_jpeg(flat, tmp_path / "x.jpg", quality=95)
    assert (files.read_image(tmp_path / "x.jpg").int() - 77).abs().max() <= 2


def test_a_camera_that_was_held_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(tmp_path / "turned.jpg", exif=exif)
    assert files.read_image(tmp_path / "turned.jpg").shape == (3, 4, 6)
    assert files.read_image(tmp_path / "turned.jpg", apply_exif_orientation=True).shape == (3, 6, 4)


def test_boxes_drawn():
    image = tracec.zeros(3, 9, 9, dtype=tracec.uint8)
    drawn = utils.draw_bounding_boxes(image, tracec.tensor([[1, 2, 6, 7]]), colors="red")
    expected = np.zeros((9, 9), int)
    expected[2:8, 1:7] = 255
    expected[3:7, 2:6] = 0
    assert drawn[0].tolist() == expected.tolist() and not drawn[1:].any() and not image.any()
    filled = utils.draw_bounding_boxes(image, tracec.tensor([[1, 2, 6, 7]]), fill=True, colors=[(0, 0, 255)])
    assert 0 < filled[2, 4, 4] < 255 and filled[2, 2, 1] == 255
    labelled = utils.draw_bounding_boxes(tracec.zeros(1, 30, 60), tracec.tensor([[1.0, 2, 50, 25]]), ["dog"], width=2)
    assert labelled.dtype is tracec.float32 and labelled.max() <= 1 and labelled[:, 5:20, 5:40].any()


BOXES = [[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 5, 10]]


def test_what_boxes_have_in_common():
    boxes = tracec.tensor(BOXES)
    assert ops.box_area(boxes).tolist() == [100, 100, 100, 50]
    shares = ops.box_iou(boxes, boxes)
    np.testing.assert_allclose(shares[0].numpy(), [1, 81 / 119, 0, 0.5], rtol=1e-6)
    whole = ops.generalized_box_iou(boxes[:1], boxes)
    np.testing.assert_allclose(whole[0].numpy(), [1, 81 / 119 - 2 / 121, -(900 - 200) / 900, 0.5], rtol=1e-6)


@pytest.mark.parametrize("form, box", [("xyxy", [1, 2, 5, 10]), ("xywh", [1, 2, 4, 8]), ("cxcywh", [3, 6, 4, 8])])
def test_forms_of_boxes(form, box):
    given = tracec.tensor([[1.0, 2, 5, 10]])
    assert ops.box_convert(given, "xyxy", form).tolist() == [box]
    assert ops.box_convert(tracec.tensor([box]).float(), form, "xyxy").equal(given)


def test_covered_boxes_go():
    boxes, scores = tracec.tensor(BOXES), tracec.tensor([0.7, 0.9, 0.8, 0.6])
    assert ops.nms(boxes, scores, 0.6).tolist() == [1, 2, 3]
    assert ops.nms(boxes, scores, 0.3).tolist() == [1, 2]
    assert ops.nms(boxes, scores, 0.7).tolist() == [1, 2, 0, 3]
    assert ops.batched_nms(boxes, scores, tracec.tensor([0, 1, 0, 1]), 0.3).tolist() == [1, 2, 0]
    assert ops.nms(boxes[:0], scores[:0], 0.5).tolist() == []
    assert ops.clip_boxes_to_image(boxes, (8, 25))[2].tolist() == [20, 8, 25, 8]


def test_mistakes(golden, tmp_path):
    x, boxes = tracec.zeros(3, 4, 4), tracec.tensor([[0, 0, 2, 2]])
    (tmp_path / "text.png").write_text("no image")
    mistakes = {
        "sizes": lambda _: utils.make_grid([x, x[:, :2]]),
        "no images": lambda _: utils.make_grid(tracec.zeros(0, 3, 4, 4)),
        "no tensor": lambda _: utils.make_grid("x"),
        "rows": lambda _: utils.make_grid(x, nrow=0),
        "a range": lambda _: utils.make_grid(x, normalize=True, value_range=(1, 1)),
        "a folder": lambda _: utils.save_image(x, "missing/x.png"),
        "an ending": lambda _: utils.save_image(x, tmp_path / "x.unknown"),
        "bytes": lambda _: utils.save_image(x.to(tracec.uint8), tmp_path / "x.png"),
        "a box": lambda _: utils.draw_bounding_boxes(x, boxes.flip(1)),
        "labels": lambda _: utils.draw_bounding_boxes(x, boxes, ["a", "b"]),
        "a colour": lambda _: utils.draw_bounding_boxes(x, boxes, colors="rot"),
        "a batch": lambda _: utils.draw_bounding_boxes(x[None], boxes),
        "no image": lambda _: files.decode_image(tracec.zeros(9, dtype=tracec.uint8)),
        "floats": lambda _: files.encode_png(x),
        "a mode": lambda _: files.decode_image(tracec.zeros(9, dtype=tracec.uint8), "red"),
        "no boxes": lambda _: ops.box_area(tracec.zeros(3)),
        "scores": lambda _: ops.nms(boxes, tracec.zeros(2), 0.5),
        "a form": lambda _: ops.box_convert(boxes, "xyxy", "yxyx"),
    }
    found = [f"# {name}\n{check_form(caught(None, mistake, []))}" for name, mistake in mistakes.items()]
    assert "\n\n".join(found) == golden
    with pytest.raises(ValueError, match="no image that Pillow knows"):
        files.read_image(tmp_path / "text.png")
    with pytest.raises(FileNotFoundError):
        files.read_image(tmp_path / "missing.png")


def test_it_is_imported_when_it_is_asked_for():
    code = """
import sys
import tracec
assert "tracec.vision" not in sys.modules
import tracec.vision as torchvision
assert "PIL" not in sys.modules
assert tracec.vision.transforms.ToTensor() and torchvision.transforms.v2.functional
sys.modules = {name: m for name, m in sys.modules.items() if not name.startswith(("PIL", "tracec.vision"))}
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_pillow_an_error_says_what_to_do():
    code = """
import sys
sys.modules["PIL"] = None
import tracec.vision
try:
    from tracec.vision import transforms
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("tracec.vision: images are Pillow's, which is not installed")
    assert 'hint: pip install "tracec[vision]"' in done.stdout


def test_a_batch_norm_that_stays_as_it_is():
    from tracec.vision.ops.misc import FrozenBatchNorm2d

    norm = tracec.nn.BatchNorm2d(3)
    x = tracec.randn(4, 3, 5, 5)
    for _ in range(3):
        norm(x * 2 + 1)
    with tracec.no_grad():
        norm.weight.copy_(tracec.tensor([1.0, 2.0, 3.0]))
    frozen = FrozenBatchNorm2d(3)
    frozen.load_state_dict(norm.state_dict())
    assert not [*frozen.parameters()] and repr(frozen) == "FrozenBatchNorm2d(3, eps=1e-05)"
    np.testing.assert_allclose(frozen(x).numpy(), norm.eval()(x).detach().numpy(), rtol=1e-5, atol=1e-6)
    assert ops.boxes.box_area is ops.box_area and ops.FrozenBatchNorm2d is FrozenBatchNorm2d


@pytest.mark.parametrize("alpha, gamma", [(0.25, 2), (-1, 1.5)])
def test_a_loss_for_what_is_mostly_background(alpha, gamma):
    """Against the definition: ``-a_t (1 - p_t)^gamma log p_t``."""
    scores, targets = tracec.randn(3, 4, dtype=tracec.float64), tracec.randint(2, (3, 4)).double()
    right = tracec.where(targets == 1, scores.sigmoid(), 1 - scores.sigmoid()).numpy()
    weight = np.where(targets.numpy() == 1, alpha, 1 - alpha) if alpha >= 0 else 1
    wanted = -weight * (1 - right) ** gamma * np.log(right)
    np.testing.assert_allclose(ops.sigmoid_focal_loss(scores, targets, alpha, gamma).numpy(), wanted, rtol=1e-9)
    for reduction in ("mean", "sum"):
        found = ops.sigmoid_focal_loss(scores, targets, alpha, gamma, reduction)
        np.testing.assert_allclose(found.item(), getattr(wanted, reduction)(), rtol=1e-9)
    with pytest.raises(ArgumentError, match="reduction='all'"):
        ops.sigmoid_focal_loss(scores, targets, reduction="all")
    with pytest.raises(ArgumentError, match="alpha=2"):
        ops.sigmoid_focal_loss(scores, targets, alpha=2)
