"""What detectors are made of, against formulas written out with loops in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tracec
from tests.failures import caught, check_form
from tracec.vision import ops

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(2, 8, 9, 11))
#: Of the image's number, left, top, right, bottom: within, across borders, thin, far outside, upside down.
ROIS = np.array(
    [[0, 1.3, 0.7, 6.2, 5.9], [1, -2.5, 3, 4, 12], [1, 4, 4, 4.2, 4.1], [0, 30, 30, 40, 50], [1, 6, 5, 3, 2],
     [0, 0, 0, 11, 9]]
)  # fmt: skip


def tensor(array, **kwargs) -> tracec.Tensor:
    return tracec.tensor(np.asarray(array), **kwargs)


def pixel(plane: np.ndarray, y: float, x: float) -> float:
    """Between pixels; up to one outside the border's, and then nothing."""
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = max(y, 0.0), max(x, 0.0)
    top, left = min(int(y), height - 1), min(int(x), width - 1)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down = 0.0 if top == bottom else y - top
    over = 0.0 if left == right else x - left
    above = plane[top, left] * (1 - over) + plane[top, right] * over
    below = plane[bottom, left] * (1 - over) + plane[bottom, right] * over
    return above * (1 - down) + below * down


def align_by_hand(image, rois, size, scale, ratio, moved, least, own):
    down, right = size
    channels = image.shape[1] // (down * right) if own else image.shape[1]
    out = np.zeros((len(rois), channels, down, right))
    for k, (number, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (c * scale - moved for c in corners)
        wide, tall = (max(x2 - x1, 1), max(y2 - y1, 1)) if least else (x2 - x1, y2 - y1)
        rows = ratio if ratio > 0 else math.ceil(tall / down)
        columns = ratio if ratio > 0 else math.ceil(wide / right)
        for c in range(channels):
            for i in range(down):
                for j in range(right):
                    plane = image[int(number), (c * down + i) * right + j if own else c]
                    total = 0.0
                    for a in range(rows):
                        for b in range(columns):
                            y = y1 + (i + (a + 0.5) / rows) * tall / down
                            total += pixel(plane, y, x1 + (j + (b + 0.5) / columns) * wide / right)
                    out[k, c, i, j] = total / max(rows * columns, 1)
    return out


@pytest.mark.parametrize("ratio", [2, -1, 0])
@pytest.mark.parametrize("aligned", [True, False])
def test_roi_align(ratio, aligned):
    found = ops.roi_align(tensor(IMAGE), tensor(ROIS), (2, 3), 0.8, ratio, aligned)
    expected = align_by_hand(IMAGE, ROIS, (2, 3), 0.8, ratio, 0.5 if aligned else 0.0, not aligned, False)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    assert np.abs(expected).max() > 0.5 and not expected[3].any()


def test_roi_align_of_the_last_row():
    """Up to a pixel below the last row there is the last row, and nothing farther down."""
    image = np.arange(6.0).reshape(1, 1, 3, 2)
    rois = [[0, 0, y, 0, y] for y in (2.0, 2.9, 3.0, 3.1, -1.0, -1.1)]
    found = ops.roi_align(tensor(image), tensor(np.array(rois)), 1, 1.0, 1, True)[:, 0, 0, 0]
    expected = align_by_hand(image, rois, (1, 1), 1.0, 1, 0.5, False, False)[:, 0, 0, 0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("ratio", [2, -1])
def test_ps_roi_align(ratio):
    found = ops.ps_roi_align(tensor(IMAGE), tensor(ROIS), (2, 2), 0.8, ratio)
    expected = align_by_hand(IMAGE, ROIS, (2, 2), 0.8, ratio, 0.5, False, True)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def nearest(value: float) -> int:
    """As C rounds: halves away from 0."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def pool_by_hand(image, rois, size, scale, own):
    """Rounded boxes; position-sensitive ones have no pixel beyond their end, and leave out the last row and column."""
    down, right = size
    channels = image.shape[1] // (down * right) if own else image.shape[1]
    height, width = (n - 1 if own else n for n in image.shape[2:])
    out = np.zeros((len(rois), channels, down, right))
    for k, (number, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (nearest(c * scale) for c in corners)
        tall, wide = (max(end - begin + (not own), 1) for begin, end in ((y1, y2), (x1, x2)))
        for i in range(down):
            for j in range(right):
                rows = [math.floor(i * tall / down) + y1, math.ceil((i + 1) * tall / down) + y1]
                columns = [math.floor(j * wide / right) + x1, math.ceil((j + 1) * wide / right) + x1]
                (top, bottom), (left, far) = np.clip(rows, 0, height), np.clip(columns, 0, width)
                for c in range(channels):
                    plane = image[int(number), (c * down + i) * right + j if own else c]
                    part = plane[top:bottom, left:far]
                    out[k, c, i, j] = (part.mean() if own else part.max()) if part.size else 0
    return out


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_roi_pool(scale):
    found = ops.roi_pool(tensor(IMAGE), tensor(ROIS), (2, 3), scale)
    np.testing.assert_allclose(found.numpy(), pool_by_hand(IMAGE, ROIS, (2, 3), scale, False), atol=1e-12)
    found = ops.ps_roi_pool(tensor(IMAGE), tensor(ROIS), (2, 2), scale)
    np.testing.assert_allclose(found.numpy(), pool_by_hand(IMAGE, ROIS, (2, 2), scale, True), atol=1e-12)


def test_boxes_of_each_image():
    each = [tensor(ROIS[ROIS[:, 0] == k, 1:]) for k in (0, 1)]
    order = np.argsort(ROIS[:, 0], kind="stable")
    found = ops.RoIAlign(3, 0.5, 2)(tensor(IMAGE), each)
    assert found.equal(ops.roi_align(tensor(IMAGE), tensor(ROIS[order]), 3, 0.5, 2))
    none = ops.RoIPool(3, 0.5)(tensor(IMAGE), [tracec.zeros(0, 4), tracec.zeros(0, 4)])
    assert tuple(none.shape) == (0, 8, 3, 3)
    assert "sampling_ratio=2" in repr(ops.PSRoIAlign(2, 1.0, 2))


LAYERS = {
    "align": lambda x: ops.roi_align(x, tensor(ROIS), (2, 3), 0.8, 2, True),
    "ps align": lambda x: ops.ps_roi_align(x, tensor(ROIS), 2, 0.8, 2),
    "pool": lambda x: ops.roi_pool(x, tensor(ROIS), 2, 0.8),
    "ps pool": lambda x: ops.ps_roi_pool(x, tensor(ROIS), 2, 0.8),
    "of several sizes": lambda x: ops.MultiScaleRoIAlign(["a", "b"], 2, 2, canonical_scale=8)(
        {"a": x, "b": x[..., ::2, ::2]}, [tensor(ROIS[:3, 1:]), tensor(ROIS[3:, 1:])], [(18, 22), (18, 22)]
    ),
}


def check_gradients(run, given):
    """Each gradient along a direction is the difference of what a step ahead and a step behind give."""
    gradients = tracec.autograd.grad(run(*given), given)
    step = 1e-6
    for k, gradient in enumerate(gradients):
        direction = tensor(np.random.default_rng(k).normal(size=tuple(given[k].shape)))
        ahead, behind = (
            run(*(x.detach() + sign * step * direction if j == k else x.detach() for j, x in enumerate(given)))
            for sign in (1, -1)
        )
        expected = ((ahead - behind) / (2 * step)).item()
        np.testing.assert_allclose((gradient * direction).sum().item(), expected, rtol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_images(name):
    check_gradients(lambda x: LAYERS[name](x).square().sum(), [tensor(IMAGE, requires_grad=True)])


@pytest.mark.parametrize("name", LAYERS)
def test_compiled(name):
    def both(x):
        found = LAYERS[name](x)
        (gradient,) = tracec.autograd.grad(found.square().sum(), x)
        return found, gradient

    x = tensor(IMAGE, requires_grad=True)
    for found, expected in zip(tracec.compile(both)(x), both(x), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), atol=1e-12)


def test_each_box_at_the_size_that_fits():
    """Boxes of several sizes, each at its level by the formula."""
    names = ["a", "b", "c"]
    images = {name: RNG.normal(size=(2, 3, 32 >> k, 40 >> k)) for k, name in enumerate(names)}
    boxes = [RNG.random((5, 4)) * 30, RNG.random((6, 4)) * 30]
    for of in boxes:
        of[:, 2:] = of[:, :2] + RNG.random((len(of), 2)) * np.linspace(2, 90, len(of))[:, None]
    layer = ops.MultiScaleRoIAlign(names, 2, 2, canonical_scale=32, canonical_level=3)
    given = {**{name: tensor(image) for name, image in images.items()}, "other": tracec.zeros(1, 1, 1, 1)}
    found = layer(given, [tensor(of) for of in boxes], [(60, 80), (64, 70)]).numpy()
    rows = np.concatenate([np.c_[np.full(len(of), k), of] for k, of in enumerate(boxes)])
    levels = set()
    for k, row in enumerate(rows):
        side = math.sqrt((row[3] - row[1]) * (row[4] - row[2]))
        level = min(max(math.floor(3 + math.log2(side / 32) + 1e-6), 1), 3) - 1
        levels.add(level)
        expected = align_by_hand(images[names[level]], [row], (2, 2), 0.5 ** (level + 1), 2, 0.0, True, False)[0]
        np.testing.assert_allclose(found[k], expected, atol=1e-12)
    assert levels == {0, 1, 2}


def deformed_by_hand(image, offset, weight, bias, stride, padding, dilation, mask):
    def at(plane, y, x):
        total = 0.0
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                    total += plane[row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
        return total

    outputs, inputs, rows, columns = weight.shape
    alike = offset.shape[1] // (2 * rows * columns)
    each, groups = image.shape[1] // alike, image.shape[1] // inputs
    out = np.zeros((len(image), outputs, *offset.shape[2:]))
    for n, o, y, x in np.ndindex(out.shape):
        total = bias[o]
        for c in range(inputs):
            channel = o // (outputs // groups) * inputs + c
            for i in range(rows):
                for j in range(columns):
                    tap = (channel // each * rows + i) * columns + j
                    there = (
                        y * stride[0] - padding[0] + i * dilation[0] + offset[n, 2 * tap, y, x],
                        x * stride[1] - padding[1] + j * dilation[1] + offset[n, 2 * tap + 1, y, x],
                    )
                    scale = 1.0 if mask is None else mask[n, tap, y, x]
                    total += weight[o, c, i, j] * scale * at(image[n, channel], *there)
        out[n, o, y, x] = total
    return out


def deformed(masked: bool):
    image = RNG.normal(size=(2, 4, 6, 5))
    stride, padding, dilation, kernel, alike = (2, 1), (1, 2), (1, 2), (3, 2), 2
    tall, wide = (6 + 2 - 3) // 2 + 1, 5 + 4 - 2
    offset = RNG.normal(size=(2, 2 * alike * 6, tall, wide)) * 1.5
    weight, bias = RNG.normal(size=(6, 2, *kernel)), RNG.normal(size=6)
    mask = RNG.random((2, alike * 6, tall, wide)) if masked else None
    return image, offset, weight, bias, stride, padding, dilation, mask


@pytest.mark.parametrize("masked", [False, True])
def test_deformed_convolutions(masked):
    given = deformed(masked)
    tensors = [tensor(value) if isinstance(value, np.ndarray) else value for value in given]
    np.testing.assert_allclose(ops.deform_conv2d(*tensors).numpy(), deformed_by_hand(*given), atol=1e-12)


def test_a_deformed_convolution_that_is_moved_nowhere():
    layer = ops.DeformConv2d(4, 6, 3, padding=1, groups=2).double()
    x = tensor(RNG.normal(size=(2, 4, 5, 6)))
    expected = tracec.nn.functional.conv2d(x, layer.weight, layer.bias, padding=1, groups=2)
    found = layer(x, tracec.zeros(2, 18, 5, 6, dtype=tracec.float64), tracec.ones(2, 9, 5, 6, dtype=tracec.float64))
    assert tracec.allclose(found, expected, atol=1e-12)
    assert [(name, tuple(p.shape)) for name, p in layer.named_parameters()] == [
        ("weight", (6, 2, 3, 3)), ("bias", (6,)),
    ]  # fmt: skip


def test_gradients_of_deformed_convolutions():
    image, offset, weight, bias, *how, mask = deformed(True)
    given = [tensor(value, requires_grad=True) for value in (image, offset, weight, bias, mask)]

    def run(image, offset, weight, bias, mask):
        return ops.deform_conv2d(image, offset, weight, bias, *how, mask).square().sum()

    check_gradients(run, given)


def test_deformed_convolutions_compiled():
    image, offset, weight, bias, *how, mask = deformed(True)
    given = [tensor(value, requires_grad=True) for value in (image, offset, weight, bias, mask)]

    def step(image, offset, weight, bias, mask):
        loss = ops.deform_conv2d(image, offset, weight, bias, *how, mask).square().sum()
        return loss, *tracec.autograd.grad(loss, (image, offset, weight, bias, mask))

    for found, expected in zip(tracec.compile(step)(*given), step(*given), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-11)


def test_distances_of_boxes():
    one = np.array([[0, 0, 4, 2], [1, 1, 2, 5.0]])
    two = np.array([[0, 0, 4, 2], [3, 1, 6, 4], [10, 10, 11, 12.0]])
    iou = ops.box_iou(tensor(one), tensor(two)).numpy()
    distance = ops.distance_box_iou(tensor(one), tensor(two)).numpy()
    complete = ops.complete_box_iou(tensor(one), tensor(two)).numpy()
    for i, a in enumerate(one):
        for j, b in enumerate(two):
            middles = ((a[:2] + a[2:] - b[:2] - b[2:]) ** 2).sum() / 4
            around = ((np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2])) ** 2).sum()
            np.testing.assert_allclose(distance[i, j], iou[i, j] - middles / (around + 1e-7))
            angles = [math.atan((box[2] - box[0]) / (box[3] - box[1])) for box in (a, b)]
            v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
            np.testing.assert_allclose(complete[i, j], distance[i, j] - v * v / (1 - iou[i, j] + v + 1e-7))


@pytest.mark.parametrize("kind", ["generalized", "distance", "complete"])
def test_losses_of_boxes(kind):
    loss, of_pairs = getattr(ops, f"{kind}_box_iou_loss"), getattr(ops, f"{kind}_box_iou")
    one = RNG.random((5, 4)) * 3
    one[:, 2:] += one[:, :2] + 2
    two = one + RNG.normal(size=(5, 4)) * 0.3
    each = loss(tensor(one), tensor(two))
    np.testing.assert_allclose(each.numpy(), 1 - np.diagonal(of_pairs(tensor(one), tensor(two)).numpy()), atol=1e-6)
    np.testing.assert_allclose(loss(tensor(one), tensor(two), "mean").item(), each.numpy().mean())
    np.testing.assert_allclose(loss(tensor(one), tensor(two), reduction="sum").item(), each.numpy().sum())
    assert loss(tracec.zeros(0, 4), tracec.zeros(0, 4), "mean").item() == 0
    if kind != "complete":  # whose weights are not differentiated
        assert tracec.autograd.gradcheck(loss, (tensor(one, requires_grad=True), tensor(two, requires_grad=True)))
    compiled = tracec.compile(loss)(tensor(one), tensor(two))
    np.testing.assert_allclose(compiled.numpy(), each.numpy(), rtol=1e-12)


def test_boxes_of_masks_and_their_sizes():
    masks = tracec.zeros(3, 6, 7)
    masks[0, 2:4, 1:6] = 1
    masks[1, 5, 0] = 2
    assert ops.masks_to_boxes(masks).tolist() == [[1, 2, 5, 3], [0, 5, 0, 5], [0, 0, 0, 0]]
    assert tuple(ops.masks_to_boxes(tracec.zeros(0, 3, 3)).shape) == (0, 4)
    boxes = tracec.tensor([[0, 0, 3, 3], [0, 0, 2, 5], [1, 1, 4, 4.5]])
    assert ops.remove_small_boxes(boxes, 3).tolist() == [0, 2]


def test_a_pyramid():
    """Each image has what the smaller ones say added."""
    net = ops.FeaturePyramidNetwork([2, 3, 4], 5).double()
    x = {name: tensor(RNG.normal(size=(1, 2 + k, 8 >> k, 8 >> k))) for k, name in enumerate("abc")}
    found = net(x)
    assert list(found) == ["a", "b", "c"] and list(net.state_dict())[:2] == [
        "inner_blocks.0.0.weight", "inner_blocks.0.0.bias",
    ]  # fmt: skip
    small = net.inner_blocks[2](x["c"])
    middle = net.inner_blocks[1](x["b"]) + small.repeat_interleave(2, -1).repeat_interleave(2, -2)
    large = net.inner_blocks[0](x["a"]) + middle.repeat_interleave(2, -1).repeat_interleave(2, -2)
    for k, (name, expected) in enumerate(zip("abc", (large, middle, small), strict=True)):
        assert tracec.allclose(found[name], net.layer_blocks[k](expected), atol=1e-12)
    more = ops.feature_pyramid_network
    pooled = ops.FeaturePyramidNetwork([2, 3, 4], 5, more.LastLevelMaxPool()).double()(x)
    assert list(pooled) == ["a", "b", "c", "pool"] and tuple(pooled["pool"].shape) == (1, 5, 1, 1)
    six = ops.FeaturePyramidNetwork([2, 3, 4], 5, more.LastLevelP6P7(4, 5), tracec.nn.BatchNorm2d).double().eval()(x)
    assert list(six) == ["a", "b", "c", "p6", "p7"] and tuple(six["p7"].shape) == (1, 5, 1, 1)


@pytest.mark.parametrize("axes", [2, 3])
def test_blocks_are_left_out(axes):
    tracec.manual_seed(0)
    layer = (ops.DropBlock2d if axes == 2 else ops.DropBlock3d)(0.2, 3)
    x = tracec.ones(20, 4, *(12,) * axes)
    found = layer(x).numpy()
    left = (found == 0).mean()
    assert 0.1 < left < 0.3 and found.mean() == pytest.approx(1, abs=1e-5)
    plane = (found == 0).reshape(-1, *found.shape[2:])
    for one in plane:  # each pixel that is left out is in a block of them
        blocks = np.lib.stride_tricks.sliding_window_view(one, (3,) * axes).all(tuple(range(axes, 2 * axes)))
        covered = np.zeros_like(one)
        for corner in np.argwhere(blocks):
            covered[tuple(slice(c, c + 3) for c in corner)] = True
        assert (covered == one).all()
    assert layer.eval()(x) is x
    even = ops.drop_block2d(tracec.ones(2, 3, 7, 8), 0.3, 4)
    assert tuple(even.shape) == (2, 3, 7, 8)
    y = tracec.ones(2, 2, 8, 8)
    assert ops.drop_block2d(y, 0.5, 2, inplace=True) is y and (y == 0).any()


def test_layers():
    assert [type(layer).__name__ for layer in ops.MLP(3, [4, 5], tracec.nn.LayerNorm, inplace=True, dropout=0.1)] == [
        "Linear", "LayerNorm", "ReLU", "Dropout", "Linear", "Dropout",
    ]  # fmt: skip
    cube = ops.Conv3dNormActivation(2, 4, (1, 3, 5), dilation=(1, 2, 1))
    assert cube[0].padding == (0, 2, 2) and cube[0].bias is None and isinstance(cube[1], tracec.nn.BatchNorm3d)
    assert tuple(cube(tracec.zeros(1, 2, 3, 4, 5)).shape) == (1, 4, 3, 4, 5)
    bare = ops.Conv2dNormActivation(2, 4, padding=0, norm_layer=None, activation_layer=None)
    assert len(bare) == 1 and bare[0].bias is not None and bare[0].padding == (0, 0)
    assert ops.stochastic_depth(tracec.ones(3, 2), 1.0, "batch").equal(tracec.zeros(3, 2))


def test_mistakes(golden):
    image, rois = tensor(IMAGE), tensor(ROIS)
    mistakes = {
        "boxes": lambda _: ops.roi_align(image, tracec.zeros(3, 4), 2),
        "boxes of images": lambda _: ops.roi_align(image, [tracec.zeros(3, 5)], 2),
        "no boxes": lambda _: ops.roi_pool(image, None, 2),
        "another image": lambda _: ops.roi_align(image, tensor([[2.0, 0, 0, 3, 3]]), 2),
        "an image before the first": lambda _: ops.roi_pool(image, tensor([[-1.0, 0, 0, 3, 3]]), 2),
        "channels": lambda _: ops.ps_roi_pool(image, rois, 3),
        "an image": lambda _: ops.roi_align(image[0], rois, 2),
        "images": lambda _: ops.MultiScaleRoIAlign(["a"], 2, 2)({"b": image}, [rois[:, 1:]], [(9, 11)]),
        "offsets": lambda _: ops.deform_conv2d(image, tracec.zeros(2, 8, 9, 11), tracec.zeros(4, 8, 3, 3)),
        "a stride": lambda _: ops.deform_conv2d(image, image, tracec.zeros(4, 8, 3, 3), stride=0),
        "groups": lambda _: ops.DeformConv2d(4, 6, 3, groups=3),
        "a reduction": lambda _: ops.complete_box_iou_loss(rois[:, 1:], rois[:, 1:], "max"),
        "masks": lambda _: ops.masks_to_boxes(tracec.zeros(3, 3)),
        "a pyramid": lambda _: ops.FeaturePyramidNetwork([2, 0], 3),
        "sizes": lambda _: ops.FeaturePyramidNetwork([8, 8], 3)({"a": image}),
        "a block": lambda _: ops.drop_block2d(image, 0.5, 0),
        "no layers": lambda _: ops.MLP(3, []),
    }
    found = [f"# {name}\n{check_form(caught(None, mistake, []))}" for name, mistake in mistakes.items()]
    assert "\n\n".join(found) == golden
