"""Norms against their formulas, eager and compiled."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec import nn

X = np.random.default_rng(0).normal(2, 3, size=(4, 6, 5))


def standardised(x, axes, eps=1e-5):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


@pytest.mark.parametrize(
    "layer, expected",
    [
        (nn.BatchNorm1d(6), standardised(X, (0, 2))),
        (nn.InstanceNorm1d(6), standardised(X, (2,))),
        (nn.InstanceNorm1d(6, affine=True, track_running_stats=True), standardised(X, (2,))),
        (nn.GroupNorm(3, 6), standardised(X.reshape(4, 3, 10), (2,)).reshape(X.shape)),
        (nn.LayerNorm(5), standardised(X, (2,))),
        (nn.RMSNorm((6, 5)), X / np.sqrt((X**2).mean((1, 2), keepdims=True))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_norms(layer, expected):
    layer = layer.double()
    program = tracec.compile(layer)
    for call in (layer, program, program):
        np.testing.assert_allclose(call(tracec.from_numpy(X)).detach().numpy(), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("compiled", [False, True])
def test_statistics_of_instances_are_averaged(compiled):
    layer = nn.InstanceNorm1d(6, momentum=0.25, track_running_stats=True).double()
    call = tracec.compile(layer) if compiled else layer
    mean, var = np.zeros(6), np.ones(6)
    for scale in (1.0, 2.0, 3.0):
        call(tracec.from_numpy(X * scale))
        mean = 0.75 * mean + 0.25 * (X * scale).mean(2).mean(0)
        var = 0.75 * var + 0.25 * (X * scale).var(2, ddof=1).mean(0)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean)
    np.testing.assert_allclose(layer.running_var.numpy(), var)
    layer.eval()
    expected = (X - mean[:, None]) / np.sqrt(var[:, None] + 1e-5)
    np.testing.assert_allclose(call(tracec.from_numpy(X)).detach().numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_cumulative_statistics_are_the_mean_over_batches(compiled):
    layer = nn.BatchNorm1d(6, momentum=None).double()
    call = tracec.compile(layer) if compiled else layer
    for scale in (1.0, 2.0, 6.0):
        call(tracec.from_numpy(X * scale))
    np.testing.assert_allclose(layer.running_mean.numpy(), 3 * X.mean((0, 2)), rtol=1e-6)
    assert layer.num_batches_tracked.item() == 3
    layer.reset_running_stats()
    assert layer.num_batches_tracked.item() == 0 and layer.running_var.sum().item() == 6


def test_gradients_of_group_norm_by_finite_differences():
    x = tracec.from_numpy(X.copy()).requires_grad_()
    weights = np.cos(np.arange(X.size)).reshape(X.shape)
    (nn.functional.group_norm(x, 2) * tracec.from_numpy(weights)).sum().backward()
    along, eps = np.random.default_rng(1).normal(size=X.shape), 1e-6

    def value(at):
        return (standardised(at.reshape(4, 2, 15), (2,)).reshape(X.shape) * weights).sum()

    slope = (value(X + eps * along) - value(X - eps * along)) / (2 * eps)
    np.testing.assert_allclose((x.grad.numpy() * along).sum(), slope, rtol=1e-6)


@pytest.mark.parametrize("dtype, unit", [(tracec.float16, 2.0**-11), (tracec.bfloat16, 2.0**-8)])
def test_narrow_floats_are_rounded_once(dtype, unit):
    F = nn.functional
    x, w = tracec.from_numpy(X).to(dtype), tracec.linspace(-2, 2, 6).to(dtype)
    for norm in (
        lambda x, w: F.layer_norm(x.transpose(1, 2), [6], w),
        lambda x, w: F.group_norm(x, 3, w),
        lambda x, w: F.batch_norm(x, None, None, w, None, True),
        lambda x, w: F.instance_norm(x, weight=w),
    ):
        exact = norm(x.double(), w.double()).numpy()
        np.testing.assert_allclose(norm(x, w).double().numpy(), exact, rtol=unit * 1.01, atol=1e-5)
