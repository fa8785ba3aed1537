"""Losses, norms, convolutions, pooling and attention against PyTorch: values and gradients."""

from __future__ import annotations

import numpy as np
import pytest

from tests.functions.compare import agree

CLASSES = np.array([2, 0, 3, 1, -100, 2])
IMAGE_CLASSES = np.array([[[0, 1], [2, 2]], [[1, -100], [0, 1]]])
MASK = np.array([[True, False, True, True], [False, True, True, False], [True, True, False, False]])
EMPTY_ROW = np.array([[True, False, True, True], [False, False, False, False], [True, True, False, False]])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy(reduction):
    def f(t, x, y, w):
        weight = w.detach() * w.detach() + 0.5
        return (
            t.cross_entropy(x, y, reduction=reduction),
            t.cross_entropy(x, y, weight=weight, reduction=reduction),
            t.cross_entropy(x, y.clamp(min=0), ignore_index=2, reduction=reduction),
            t.cross_entropy(x, y, label_smoothing=0.1, reduction=reduction),
            t.cross_entropy(x, y, label_smoothing=0.1, weight=weight, reduction=reduction),
            t.cross_entropy(x, (x.detach() * 2).softmax(1), reduction=reduction),
            t.cross_entropy(x, (x.detach() * 2).softmax(1), weight, label_smoothing=0.2, reduction=reduction),
            t.nll_loss(t.log_softmax(x, 1), y, reduction=reduction),
            t.nll_loss(t.log_softmax(x, 1), y, weight=weight, reduction=reduction),
        )

    agree(f, (6, 4), CLASSES, (4,))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_of_images_and_single_examples(reduction):
    agree(lambda t, x, y: t.cross_entropy(x, y, reduction=reduction), (2, 3, 2, 2), IMAGE_CLASSES)
    agree(lambda t, x, y: t.cross_entropy(x[0], y[0], reduction=reduction), (6, 4), CLASSES)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_regression_losses(reduction):
    def f(t, x, y):
        return (
            t.mse_loss(x, y, reduction=reduction), t.l1_loss(x, y, reduction=reduction),
            t.smooth_l1_loss(x, y, reduction=reduction), t.smooth_l1_loss(x, y, reduction=reduction, beta=0.5),
            t.huber_loss(x, y, reduction=reduction, delta=0.7),
            t.binary_cross_entropy(x.sigmoid(), y.sigmoid(), reduction=reduction),
            t.functional.binary_cross_entropy_with_logits(x * 20, y.sigmoid(), reduction=reduction),
            t.functional.binary_cross_entropy_with_logits(
                x, y.sigmoid(), pos_weight=y[0].detach() * 2 + 5, reduction=reduction
            ),
            t.functional.kl_div(t.log_softmax(x, 1), t.softmax(y, 1), reduction=reduction),
            t.functional.kl_div(t.log_softmax(x, 1), t.log_softmax(y, 1), reduction=reduction, log_target=True),
        )  # fmt: skip

    agree(f, (5, 3), (5, 3))


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x, w, b: t.functional.layer_norm(x, (4,), w, b),
        lambda t, x, w, b: t.functional.layer_norm(x, (3, 4), eps=1e-3),
        lambda t, x, w, b: t.functional.rms_norm(x, (4,), w),
        lambda t, x, w, b: t.functional.rms_norm(x, (3, 4), eps=1e-3),
        lambda t, x, w, b: t.functional.group_norm(x.reshape(6, 4, 1), 2, w, b),
        lambda t, x, w, b: t.functional.batch_norm(x.reshape(6, 4), None, None, w, b, training=True),
        lambda t, x, w, b: t.functional.batch_norm(x.transpose(1, 2), None, None, w, b, training=True),
        lambda t, x, w, b: t.functional.instance_norm(x),
    ],
)
def test_norms(f):
    agree(f, (2, 3, 4), (4,), (4,))


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_moves_its_statistics(training):
    def f(t, x, mean, var):
        kept = mean.detach().clone(), var.detach().clone()
        y = t.functional.batch_norm(x, *kept, training=training, momentum=0.3)
        return y, *kept

    agree(f, (4, 3, 2, 2), (3,), (3,), low=0.2)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"stride": 2}, {"padding": 1}, {"padding": "same"}, {"dilation": 2, "padding": 2},
        {"stride": (2, 1), "padding": (0, 2)},
        {"padding": "valid"},
    ],
)  # fmt: skip
def test_conv2d(options):
    agree(lambda t, x, w, b: t.functional.conv2d(x, w, b, **options), (2, 3, 6, 5), (4, 3, 3, 3), (4,))


def test_other_convolutions():
    agree(lambda t, x, w: t.functional.conv2d(x, w, groups=2), (2, 4, 5, 5), (6, 2, 3, 3))
    agree(lambda t, x, w: t.functional.conv2d(x[0], w), (1, 2, 5, 5), (3, 2, 2, 2))
    agree(lambda t, x, w, b: t.functional.conv1d(x, w, b, stride=2, padding=1), (2, 3, 7), (4, 3, 3), (4,))
    agree(lambda t, x, w, b: t.functional.conv3d(x, w, b, padding=1), (1, 2, 3, 4, 3), (2, 2, 3, 3, 3), (2,))
    agree(lambda t, x, w, b: t.conv_transpose2d(x, w, b, 2, 1, 1), (2, 3, 4, 4), (3, 2, 3, 3), (2,))
    agree(lambda t, x, w: t.conv_transpose2d(x, w, groups=2, dilation=2), (1, 4, 3, 3), (4, 3, 2, 2))
    agree(lambda t, x, w: t.conv_transpose1d(x, w, stride=3), (2, 3, 4), (3, 2, 3))


@pytest.mark.parametrize(
    "f",
    [
        lambda t, x: t.functional.max_pool2d(x, 2),
        lambda t, x: t.functional.max_pool2d(x, 3, 2, 1),
        lambda t, x: t.functional.max_pool2d(x, (2, 3), stride=1, dilation=2, padding=(0, 1)),
        lambda t, x: t.functional.max_pool2d(x, 2, ceil_mode=True),
        lambda t, x: t.functional.max_pool2d(x, 3, 2, 1, return_indices=True),
        lambda t, x: t.functional.max_pool2d(x[0], 2),
        lambda t, x: t.functional.max_pool2d(x.detach(), 3, 2, 1),
        lambda t, x: t.functional.max_pool1d(x[0], 3, stride=2, padding=1),
        lambda t, x: t.functional.avg_pool2d(x, 2),
        lambda t, x: t.functional.avg_pool2d(x, 3, 2, 1),
        lambda t, x: t.functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        lambda t, x: t.functional.avg_pool2d(x, 2, ceil_mode=True),
        lambda t, x: t.functional.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
        lambda t, x: t.functional.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
        lambda t, x: t.functional.avg_pool2d(x, 2, divisor_override=3),
        lambda t, x: t.functional.avg_pool1d(x[0], 2),
        lambda t, x: t.functional.adaptive_avg_pool2d(x, 1),
        lambda t, x: t.functional.adaptive_avg_pool2d(x, (2, 3)),
        lambda t, x: t.functional.adaptive_avg_pool2d(x, (None, 5)),
        lambda t, x: t.functional.adaptive_avg_pool1d(x[0], 4),
        lambda t, x: t.functional.adaptive_max_pool2d(x, (2, 3)),
    ],
)
def test_pooling(f):
    agree(f, (2, 3, 7, 6))


def test_gradients_of_equal_elements_in_a_window():
    agree(lambda t, x: t.functional.max_pool2d(x, 2), np.array([[[[1.0, 1, 2, 0], [1, 1, 0, 2]]]]))


@pytest.mark.parametrize(
    "f",
    [
        lambda t, q, k, v, m, e: t.scaled_dot_product_attention(q, k, v),
        lambda t, q, k, v, m, e: t.scaled_dot_product_attention(q, k, v, is_causal=True),
        lambda t, q, k, v, m, e: t.scaled_dot_product_attention(q, k, v, scale=0.3),
        lambda t, q, k, v, m, e: t.scaled_dot_product_attention(q, k, v, attn_mask=m),
        lambda t, q, k, v, m, e: t.scaled_dot_product_attention(q, k, v, attn_mask=e),
        lambda t, q, k, v, m, e: t.scaled_dot_product_attention(q, k, v, attn_mask=m.double() * 2),
        lambda t, q, k, v, m, e: t.scaled_dot_product_attention(
            t.cat([q, q * 2], 1), k[:, :1], v[:, :1], enable_gqa=True
        ),
    ],
)
def test_attention(f):
    agree(f, (2, 2, 3, 5), (2, 2, 4, 5), (2, 2, 4, 6), MASK, EMPTY_ROW)
