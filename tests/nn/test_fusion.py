"""Batch normalisation written into the layer before it gives what both give."""

import numpy as np
import pytest

import tracec
from tracec import nn
from tracec.errors import ArgumentError
from tracec.nn.utils import fuse_conv_bn_eval, fuse_linear_bn_eval


def used(layer, bn, x):
    """Both after some training, in evaluation mode."""
    tracec.manual_seed(3)
    with tracec.no_grad():
        for p in bn.parameters():
            p.copy_(tracec.randn(p.shape))
        bn.running_mean.copy_(tracec.randn(bn.running_mean.shape))
        bn.running_var.copy_(tracec.rand(bn.running_var.shape) + 0.5)
    return layer.eval(), bn.eval(), tracec.randn(x)


CASES = {
    "conv2d": (lambda: nn.Conv2d(3, 6, 3, groups=3), lambda: nn.BatchNorm2d(6), (2, 3, 5, 5), False),
    "no bias": (lambda: nn.Conv1d(3, 4, 3, bias=False), lambda: nn.BatchNorm1d(4, affine=False), (2, 3, 7), False),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 2, stride=2), lambda: nn.BatchNorm2d(4), (2, 3, 4, 4), True),
}


@pytest.mark.parametrize("case", CASES)
def test_convolutions(case):
    layer, norm, shape, transposed = CASES[case]
    conv, bn, x = used(layer(), norm(), shape)
    before = conv.weight.tolist()
    made = fuse_conv_bn_eval(conv, bn, transpose=transposed)
    np.testing.assert_allclose(made(x).tolist(), bn(conv(x)).tolist(), rtol=1e-4, atol=1e-5)
    assert type(made) is type(conv) and isinstance(made.bias, nn.Parameter) and conv.weight.tolist() == before


@pytest.mark.parametrize("features", [4, 1])
def test_linear_layers(features):
    linear, bn, x = used(nn.Linear(3, 4), nn.BatchNorm1d(features), (5, 3))
    made = fuse_linear_bn_eval(linear, bn)
    if features == 4:
        np.testing.assert_allclose(made(x).tolist(), bn(linear(x)).tolist(), rtol=1e-4, atol=1e-5)
    assert made.weight.shape == (4, 3) and made.bias.shape == (4,)


def test_what_cannot_be_fused():
    conv, bn, _ = used(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), (1,))
    with pytest.raises(ArgumentError, match="fuse_conv_bn_eval: fusion only for eval, a module in training mode given"):
        fuse_conv_bn_eval(conv.train(), bn)
    with pytest.raises(ArgumentError, match="the normalisation has no running statistics"):
        fuse_conv_bn_eval(conv.eval(), nn.BatchNorm2d(4, track_running_stats=False).eval())
    with pytest.raises(ArgumentError, match="the layer has 4 output channels, the normalisation 3"):
        fuse_linear_bn_eval(nn.Linear(2, 4).eval(), nn.BatchNorm1d(3).eval())
