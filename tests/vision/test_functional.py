"""Functions on images, against values worked out by hand and against Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

import tracec
from tracec.vision.transforms import InterpolationMode
from tracec.vision.transforms import functional as F


def picture(height: int = 12, width: int = 10, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(0)
    ramp = np.add.outer(np.linspace(0, 120, height), np.linspace(0, 100, width))[..., None]
    values = np.clip(ramp + rng.normal(0, 20, (height, width, channels)), 0, 255).astype(np.uint8)
    return values if channels > 1 else values[..., 0]


def as_tensor(values: np.ndarray) -> tracec.Tensor:
    return tracec.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


def as_array(image: object) -> np.ndarray:
    """Values of either kind of image as ``(H, W, C)``."""
    if isinstance(image, Image.Image):
        return np.asarray(image)
    return np.asarray(image).transpose(1, 2, 0)


BOTH = pytest.mark.parametrize("kind", [Image.fromarray, as_tensor], ids=["pillow", "tensor"])


def test_bytes_become_floats_of_0_to_1_with_channels_first():
    values = picture()
    found = F.to_tensor(Image.fromarray(values))
    assert found.dtype is tracec.float32 and tuple(found.shape) == (3, 12, 10)
    np.testing.assert_array_equal(found.numpy(), values.transpose(2, 0, 1) / np.float32(255))
    np.testing.assert_array_equal(F.to_tensor(values).numpy(), found.numpy())
    assert F.to_tensor(values[..., 0]).shape == (1, 12, 10)


@pytest.mark.parametrize(
    "mode, dtype, top",
    [("1", "float32", 1.0), ("L", "float32", 1.0), ("I", "int32", 255), ("F", "float32", 255), ("I;16", "uint16", 255)],
)
def test_modes(mode, dtype, top):
    image = Image.new("L", (4, 3), 255).convert(mode)
    found = F.to_tensor(image)
    assert found.dtype.name == dtype and tuple(found.shape) == (1, 3, 4) and found.max().item() == top
    raw = F.pil_to_tensor(image)
    assert raw.max().item() == (1 if mode == "1" else 255)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_images_come_back_from_tensors(mode):
    image = Image.fromarray(picture()).convert("RGB" if mode in ("CMYK", "YCbCr", "HSV") else mode).convert(mode)
    back = F.to_pil_image(F.pil_to_tensor(image), mode)
    assert back.mode == mode and back.tobytes() == image.tobytes()
    assert F.to_pil_image(F.to_tensor(image), mode).tobytes() == image.tobytes()


def test_beyond_black_and_white_there_is_nothing():
    x = tracec.tensor([[-0.5, 0.5, 1.5, float("nan"), float("inf")]])
    assert list(F.to_pil_image(x).tobytes()) == [0, 127, 255, 0, 255]


def test_floats_are_of_the_default_dtype():
    tracec.set_default_dtype(tracec.float64)
    try:
        found = F.to_tensor(Image.new("L", (1, 1), 1))
    finally:
        tracec.set_default_dtype(tracec.float32)
    assert found.dtype is tracec.float64 and found.item() == 1 / 255


def test_pillow_images_of_other_dtypes():
    assert F.to_pil_image(tracec.full((1, 2, 2), 7, dtype=tracec.int32)).mode == "I"
    assert F.to_pil_image(tracec.full((1, 2, 2), 7, dtype=tracec.int16)).mode == "I;16"
    image = F.to_pil_image(np.full((2, 2), 0.5, np.float32), "F")
    assert image.mode == "F" and image.getpixel((0, 0)) == 0.5


@pytest.mark.parametrize(
    "given, to, expected",
    [
        ([0, 128, 255], "float32", [0.0, 128 / 255, 1.0]),
        ([0.0, 0.5, 1.0], "uint8", [0, 127, 255]),
        ([0, 1, 255], "int32", [0, 2**23, 255 * 2**23]),
        ([0, 255, 2**15 - 1], "uint8", [0, 1, 255]),
    ],
)
def test_white_stays_white(given, to, expected):
    dtype = tracec.float32 if isinstance(given[1], float) else tracec.int16 if max(given) > 255 else tracec.uint8
    found = F.convert_image_dtype(tracec.tensor(given, dtype=dtype), getattr(tracec, to))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [tracec.float16, tracec.bfloat16])
def test_white_stays_white_in_16_bits(dtype):
    assert F.convert_image_dtype(tracec.ones(1, dtype=dtype), tracec.uint8).item() == 255
    assert F.convert_image_dtype(tracec.tensor([2**31 - 1], dtype=tracec.int32), dtype).item() == 1
    with pytest.raises(NotImplementedError, match="loses digits"):
        F.convert_image_dtype(tracec.ones(1, dtype=dtype), tracec.int32)


def test_scores():
    x = tracec.tensor([[[1.0, 2.0]], [[3.0, 5.0]]])
    np.testing.assert_array_equal(F.normalize(x, [1.0, 3.0], [0.5, 2.0]).numpy(), [[[0, 2]], [[0, 1]]])
    assert F.normalize(x, [1.0], [0.5], inplace=True) is x
    np.testing.assert_array_equal(x.numpy(), [[[0, 2]], [[4, 8]]])


@pytest.mark.parametrize(
    "size, more, expected",
    [(6, {}, (7, 6)), ([6], {}, (7, 6)), ((5, 20), {}, (5, 20)), (11, {"max_size": 12}, (12, 10)), (20, {}, (24, 20))],
)
@BOTH
def test_sizes(kind, size, more, expected):
    image = kind(picture())
    assert as_array(F.resize(image, size, **more)).shape[:2] == expected
    assert F.get_dimensions(F.resize(image, size, **more)) == [3, *expected]


def test_the_longer_side():
    assert F.get_image_size(F.resize(Image.new("L", (40, 20)), None, max_size=10)) == [10, 5]


def test_resized_values():
    row = tracec.tensor([[[0.0, 4.0]]])
    found = F.resize(row, (1, 4))
    np.testing.assert_allclose(found.numpy(), [[[0.0, 1.0, 3.0, 4.0]]])
    found = F.resize(row, (1, 4), InterpolationMode.NEAREST)
    np.testing.assert_array_equal(found.numpy(), [[[0.0, 0.0, 4.0, 4.0]]])
    # A triangle of twice the width: 1, 3, 3, 1 eighths, and what of it is in the row counts as all.
    found = F.resize(tracec.tensor([[[0.0, 0, 0, 7, 7, 7]]]), (1, 3))
    np.testing.assert_allclose(found.numpy(), [[[0.0, 3.5, 7.0]]], rtol=1e-6)


# Pillow rounds, and cuts off, between rows and columns.
@pytest.mark.parametrize("mode, apart", [("BILINEAR", 1), ("BICUBIC", 4), ("NEAREST_EXACT", 0)])
@pytest.mark.parametrize("size", [(5, 4), (32, 22)])
def test_tensors_are_resized_as_pillow_does(mode, apart, size):
    values = picture()
    ours, pillows = (
        as_array(F.resize(kind(values), size, InterpolationMode[mode])).astype(int)
        for kind in (as_tensor, Image.fromarray)
    )
    assert np.abs(ours - pillows).max() <= apart


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@BOTH
def test_borders(kind, mode):
    values = picture()
    more = {"constant_values": 9} if mode == "constant" else {}
    expected = np.pad(values, ((2, 4), (1, 3), (0, 0)), mode, **more)
    found = F.pad(kind(values), (1, 2, 3, 4), 9, mode)
    np.testing.assert_array_equal(as_array(found), expected)
    np.testing.assert_array_equal(as_array(F.pad(kind(values), (-1, 0, 0, -2))), values[:-2, 1:])


def test_a_palette_is_kept_by_a_border():
    image = Image.fromarray(picture()).quantize(8)
    for mode in ("constant", "edge"):
        assert F.pad(image, 2, 3, mode).getpalette()[:24] == image.getpalette()[:24]


@pytest.mark.parametrize("top, left, height, width", [(2, 3, 5, 4), (-2, -3, 8, 8), (8, 7, 9, 9), (-2, -2, 30, 30)])
@BOTH
def test_parts(kind, top, left, height, width):
    expected = np.pad(picture(), ((40, 40), (40, 40), (0, 0)))[40 + top :, 40 + left :][:height, :width]
    np.testing.assert_array_equal(as_array(F.crop(kind(picture()), top, left, height, width)), expected)


@BOTH
def test_middles_and_corners(kind):
    values = picture()
    np.testing.assert_array_equal(as_array(F.center_crop(kind(values), (4, 6))), values[4:8, 2:8])
    np.testing.assert_array_equal(as_array(F.center_crop(kind(values), 14)), np.pad(values, ((1, 1), (2, 2), (0, 0))))
    five = [as_array(part) for part in F.five_crop(kind(values), (4, 6))]
    for found, expected in zip(
        five, (values[:4, :6], values[:4, -6:], values[-4:, :6], values[-4:, -6:], values[4:8, 2:8]), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    ten = F.ten_crop(kind(values), (4, 6))
    np.testing.assert_array_equal(as_array(ten[5]), values[:, ::-1][:4, :6])
    np.testing.assert_array_equal(as_array(F.ten_crop(kind(values), 4, True)[5]), values[::-1][:4, :4])


@BOTH
def test_mirrors_and_quarter_turns(kind):
    values = picture(8, 8)
    np.testing.assert_array_equal(as_array(F.hflip(kind(values))), values[:, ::-1])
    np.testing.assert_array_equal(as_array(F.vflip(kind(values))), values[::-1])
    for quarters in range(4):
        np.testing.assert_array_equal(as_array(F.rotate(kind(values), 90 * quarters)), np.rot90(values, quarters))


@BOTH
def test_turned_images_grow(kind):
    values = picture(12, 8)
    np.testing.assert_array_equal(as_array(F.rotate(kind(values), 90, expand=True)), np.rot90(values))
    assert F.get_image_size(F.rotate(kind(values), 45, expand=True)) == [16, 16] or F.get_image_size(
        F.rotate(kind(values), 45, expand=True)
    ) == [15, 15]


@BOTH
def test_moves_and_colours_of_what_comes_into_view(kind):
    values = picture()
    found = as_array(F.affine(kind(values), 0, (2, 3), 1.0, (0, 0), fill=[9, 8, 7]))
    np.testing.assert_array_equal(found[3:, 2:], values[:-3, :-2])
    assert (found[:3] == [9, 8, 7]).all() and (found[:, :2] == [9, 8, 7]).all()


def test_a_shear_and_a_scale():
    x = tracec.zeros(1, 9, 9)
    x[0, 4, 4] = x[0, 2, 4] = 1.0
    # Rows two above the middle move by two, whose tangent is that of 45 degrees.
    found = F.affine(x, 0, (0, 0), 1.0, (45.0, 0.0))
    assert sorted(map(tuple, found[0].nonzero().tolist())) == [(2, 6), (4, 4)]
    found = F.affine(x, 0, (0, 0), 2.0, (0.0, 0.0))
    assert found[0, 4, 4] == 1 and found[0, 0, 4] == 1 and found[0, 2, 4] == 0


@pytest.mark.parametrize("name", ["rotate", "affine", "perspective"])
def test_tensors_are_warped_as_pillow_does(name):
    corners, moved = [[0, 0], [29, 0], [29, 39], [0, 39]], [[3, 2], [27, 1], [25, 36], [1, 38]]
    arguments = {
        "rotate": (33.0,),
        "affine": (25.0, (2, -3), 0.8, (10.0, -5.0)),
        "perspective": (corners, moved),
    }[name]
    values = picture(40, 30)
    ours, pillows = (
        as_array(getattr(F, name)(kind(values), *arguments, interpolation=InterpolationMode.BILINEAR)).astype(int)
        for kind in (as_tensor, Image.fromarray)
    )
    # Pillow has no pixel half of which is outside.
    assert np.mean(np.abs(ours - pillows) <= 1) > 0.9


def test_displacements():
    values = picture(8, 8)
    ways = tracec.zeros(1, 8, 8, 2)
    for kind in (Image.fromarray, as_tensor):
        np.testing.assert_array_equal(as_array(F.elastic_transform(kind(values), ways)), values)
    ways[..., 0] = 2 / 8  # a pixel
    found = as_array(F.elastic_transform(as_tensor(values), ways, fill=5))
    np.testing.assert_array_equal(found[:, :-1], values[:, 1:])
    assert (found[:, -1] == 5).all()


def test_light():
    x = tracec.tensor([[[100, 200]], [[50, 100]], [[20, 40]]], dtype=tracec.uint8)
    np.testing.assert_array_equal(F.adjust_brightness(x, 1.5).flatten().numpy(), [150, 255, 75, 150, 30, 60])
    grey = [int(0.2989 * r + 0.587 * g + 0.114 * b) for r, g, b in ((100, 50, 20), (200, 100, 40))]
    np.testing.assert_array_equal(F.rgb_to_grayscale(x).flatten().numpy(), grey)
    np.testing.assert_array_equal(F.adjust_saturation(x, 0).numpy(), np.broadcast_to([[grey]], (3, 1, 2)))
    assert (F.adjust_contrast(x, 0) == int(sum(grey) / 2)).all()
    np.testing.assert_array_equal(F.adjust_gamma(tracec.tensor([[0.25, 1.0]]), 0.5).numpy(), [[0.5, 1.0]])
    assert (F.adjust_contrast(x, 1) == x).all() and (F.adjust_sharpness(x, 1) == x).all()


def test_colours_go_around():
    red = tracec.tensor([1.0, 0.0, 0.0])[:, None, None]
    for third, expected in ((1 / 3, [0, 1, 0]), (-1 / 3, [0, 0, 1]), (0.5, [0, 1, 1])):
        np.testing.assert_allclose(F.adjust_hue(red, third).flatten().numpy(), expected, atol=1e-6)
    grey = tracec.full((3, 1, 1), 0.4)
    np.testing.assert_array_equal(F.adjust_hue(grey, 0.3).numpy(), grey.numpy())


@pytest.mark.parametrize(
    "name, arguments", [("adjust_brightness", 1.4), ("adjust_contrast", 0.6), ("adjust_saturation", 1.7),
                        ("adjust_sharpness", 1.8), ("adjust_gamma", 1.3), ("adjust_hue", 0.2)],
)  # fmt: skip
def test_tensors_are_coloured_as_pillow_does(name, arguments):
    values = picture()
    ours, pillows = (
        as_array(getattr(F, name)(kind(values), arguments)).astype(int) for kind in (as_tensor, Image.fromarray)
    )
    # Pillow keeps hues in 8 bits.
    assert np.abs(ours - pillows).max() <= (8 if name == "adjust_hue" else 2)


@BOTH
def test_bits_and_thresholds(kind):
    values = picture()
    np.testing.assert_array_equal(as_array(F.invert(kind(values))), 255 - values)
    np.testing.assert_array_equal(as_array(F.posterize(kind(values), 3)), values & 0b11100000)
    assert not as_array(F.posterize(kind(values), 0)).any()
    np.testing.assert_array_equal(
        as_array(F.solarize(kind(values), 100)), np.where(values >= 100, 255 - values, values)
    )


def test_histograms():
    values = picture()
    np.testing.assert_array_equal(
        as_array(F.equalize(as_tensor(values))), np.asarray(ImageOps.equalize(Image.fromarray(values)))
    )
    stretched = F.autocontrast(tracec.tensor([[[0.25, 0.5, 0.75]]]))
    np.testing.assert_allclose(stretched.numpy(), [[[0.0, 0.5, 1.0]]])
    flat = tracec.full((3, 2, 2), 9, dtype=tracec.uint8)
    assert (F.autocontrast(flat) == flat).all() and (F.equalize(flat) == flat).all()


def test_a_gaussian():
    point = tracec.zeros(1, 7, 7)
    point[0, 3, 3] = 1.0
    weights = np.exp(-0.5 * (np.arange(-2, 3) / 1.5) ** 2)
    weights /= weights.sum()
    np.testing.assert_allclose(
        F.gaussian_blur(point, 5, 1.5)[0, 1:-1, 1:-1].numpy(), np.outer(weights, weights), rtol=1e-5
    )
    flat = Image.new("RGB", (9, 9), (10, 20, 30))
    assert F.gaussian_blur(flat, [3, 5]).tobytes() == flat.tobytes()


def test_a_rectangle_of_other_values():
    x = tracec.ones(2, 4, 4)
    out = F.erase(x, 1, 2, 2, 2, 0.0)
    assert out.sum() == 2 * 12 and x.sum() == 32 and not out[:, 1:3, 2:].any()
    assert F.erase(x, 0, 0, 1, 1, 0.0, inplace=True) is x and x.sum() == 30


def test_batches_are_many_images():
    batch = tracec.stack([as_tensor(picture()), as_tensor(picture()[::-1].copy())])
    for function in (
        lambda x: F.resize(x, 5),
        lambda x: F.rotate(x, 20),
        lambda x: F.gaussian_blur(x, 3),
        F.equalize,
        F.autocontrast,
        lambda x: F.adjust_contrast(x, 0.5),
        lambda x: F.adjust_hue(x, 0.1),
    ):
        np.testing.assert_array_equal(function(batch).numpy(), np.stack([function(x).numpy() for x in batch]))


def test_gradients_flow_through():
    x = tracec.rand(1, 3, 8, 8, requires_grad=True)
    for function in (lambda y: F.resize(y, 5), lambda y: F.rotate(y, 20), lambda y: F.adjust_contrast(y, 0.5)):
        x.grad = None
        function(x).sum().backward()
        assert x.grad is not None and x.grad.abs().sum() > 0
