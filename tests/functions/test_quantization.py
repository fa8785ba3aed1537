"""Rounding to the numbers of a narrow type, and the gradients that go through it."""

from __future__ import annotations

import numpy as np
import pytest

import tracec

X = np.array([[-2.0, -0.26, 0.04], [0.05, 0.31, 9.0]], np.float32)


def rounded(x, scale, zero, low, high):
    place = np.rint(x * (np.float32(1) / np.float32(scale))) + zero
    return (np.clip(place, low, high) - zero) * np.float32(scale), (place >= low) & (place <= high)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("tensors", [False, True])
def test_per_tensor(compiled, tensors):
    scale, zero = (tracec.tensor(0.1), tracec.tensor(3, dtype=tracec.int32)) if tensors else (0.1, 3)
    way = tracec.fake_quantize_per_tensor_affine
    if compiled:
        way = tracec.compile(lambda *a: tracec.fake_quantize_per_tensor_affine(*a), fullgraph=True)
    for _ in range(3):
        x = tracec.tensor(X, requires_grad=True)
        found = way(x, scale, zero, -10, 20)
        expected, inside = rounded(X, 0.1, 3, -10, 20)
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-6)
        (found * 2).sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), inside * 2.0)


def test_per_channel():
    scales, zeros = np.array([0.1, 0.5, 0.02], np.float32), np.array([0, 3, -2])
    x = tracec.tensor(X, requires_grad=True)
    found = tracec.fake_quantize_per_channel_affine(
        x, tracec.tensor(scales), tracec.tensor(zeros, dtype=tracec.int32), 1, -8, 7
    )
    for k in range(3):
        expected, _ = rounded(X[:, k], scales[k], zeros[k], -8, 7)
        np.testing.assert_allclose(found.detach().numpy()[:, k], expected, rtol=1e-6)
    found.sum().backward()
    assert x.grad.tolist() == [[0, 1, 1], [1, 1, 0]]


def test_what_is_not_finite():
    x = tracec.tensor([float("inf"), -float("inf"), float("nan")], requires_grad=True)
    found = tracec.fake_quantize_per_tensor_affine(x, 0.5, 0, -4, 3)
    assert found[:2].tolist() == [1.5, -2.0]
    found[:2].sum().backward()
    assert x.grad.tolist() == [0, 0, 0]


def test_against_torch():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) * 3
    results = []
    for T in (torch, tracec):
        t = T.tensor(x, requires_grad=True)
        scale, zero = T.tensor([0.1, 0.2, 0.3, 0.05]), T.tensor([0, 1, 2, 3], dtype=T.int32)
        a = T.fake_quantize_per_tensor_affine(t, 0.1, 3, -10, 20)
        b = T.fake_quantize_per_channel_affine(t, scale, zero, 1, 0, 15)
        (a.sum() + 2 * b.sum()).backward()
        results.append([v.detach().numpy() for v in (a, b, t.grad)])
    for mine, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(mine, expected)


def test_mistakes():
    x = tracec.ones(2, 3)
    with pytest.raises(RuntimeError, match="zero_point=9 is not from 0 to 7"):
        tracec.fake_quantize_per_tensor_affine(x, 0.1, 9, 0, 7)
    with pytest.raises(RuntimeError, match="quant_min=8 is above quant_max=7"):
        tracec.fake_quantize_per_tensor_affine(x, 0.1, 7, 8, 7)
    with pytest.raises(RuntimeError, match=r"scale has shape \(2,\)"):
        tracec.fake_quantize_per_channel_affine(x, tracec.ones(2), tracec.zeros(3).int(), 1, 0, 7)
    with pytest.raises(NotImplementedError, match="takes floats"):
        tracec.fake_quantize_per_tensor_affine(x.long(), 0.1, 0, 0, 7)
