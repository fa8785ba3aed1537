"""Rows and sums of their columns, rows in pieces and of clusters, 16-bit quotients: against float64 on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.gpu.place import compiled, fetch, on_gpu, put
from tests.gpu.test_sizes import check, numbers
from tracec.nn import functional as F

pytestmark = on_gpu

DTYPES = (tracec.float32, tracec.bfloat16)


def layer_norm(x, w, b, ct):
    x, w, b = (t.clone().requires_grad_() for t in (x, w, b))
    y = F.layer_norm(x, (x.shape[-1],), w, b)
    return (y.detach(), *tracec.autograd.grad(y, (x, w, b), ct))


def rms_norm(x, w, b, ct):
    x, w = x.clone().requires_grad_(), w.clone().requires_grad_()
    return tracec.autograd.grad(F.rms_norm(x, (x.shape[-1],), w), (x, w), ct)


def softmax(x, w, b, ct):
    x, b = x.clone().requires_grad_(), b.clone().requires_grad_()
    return tracec.autograd.grad(F.softmax(x * w + b, dim=-1), (x, b), ct)


def pooled(x, w, b, ct):
    y = F.layer_norm(x.reshape(-1, 8, x.shape[-1]), (x.shape[-1],), w, b)
    return y.mean(1), y.sum(1)


@pytest.mark.parametrize("function", [layer_norm, rms_norm, softmax, pooled], ids=lambda f: f.__name__)
@pytest.mark.parametrize("shape", [(8192, 65), (2048, 260), (1280, 515), (1024, 1024)], ids=str)
def test_rows_and_sums_of_their_columns(function, shape):
    given = [numbers(*shape), numbers(shape[1], seed=1) + 2, numbers(shape[1], seed=2), numbers(*shape, seed=3)]
    lowered = tracec.compile(function).lower(*(tracec.tensor(a).float() for a in given), target="cuda")
    assert "stripe" in {k.shape for k in lowered.plan.kernels}
    check(function, given, DTYPES, units=256)


@pytest.mark.parametrize("function", [layer_norm, rms_norm, softmax], ids=lambda f: f.__name__)
@pytest.mark.parametrize("shape", [(8191, 65), (2053, 260), (1031, 1024)], ids=str)
def test_rows_in_stripes_with_an_end(function, shape):
    test_rows_and_sums_of_their_columns(function, shape)


@pytest.mark.parametrize("shape", [(2, 40_000), (1, 300_007), (3, 4, 33_000)], ids=str)
def test_rows_in_pieces(shape):
    functions = (
        lambda x: (F.softmax(x, dim=-1), F.log_softmax(x, dim=-1), x.logsumexp(-1)),
        lambda x: F.layer_norm(x, x.shape[-1:]),
    )
    for function in functions:
        check(function, [3 * numbers(*shape)], DTYPES, units=256)


def loss(x, w, b, ct):
    x = x.clone().requires_grad_()
    target = (ct[:, 0] * 1000).long() % x.shape[1]
    found = F.cross_entropy(x * w + b, target, reduction="none", label_smoothing=0.1)
    return (found.detach(), *tracec.autograd.grad(found.sum(), (x,)))


@pytest.mark.parametrize("function", [layer_norm, rms_norm, softmax, loss], ids=lambda f: f.__name__)
@pytest.mark.parametrize("shape", [(5, 33_000), (4, 65_537), (7, 131_072), (4, 200_003), (4, 262_144)], ids=str)
def test_rows_of_clusters(function, shape):
    """Where the GPU has clusters of blocks; elsewhere they are in pieces, or several kernels."""
    given = [numbers(*shape), numbers(shape[1], seed=1) + 2, numbers(shape[1], seed=2), abs(numbers(*shape, seed=3))]
    check(function, given, DTYPES, units=1024)


def test_pieces_with_infinities():
    x = numbers(5, 50_000)
    x[0, :20_000] = -np.inf
    x[1, 7] = np.nan
    x[2, 49_999] = np.inf
    x[3, :49_990] = -1e30
    x[4] = -np.inf
    run = compiled(lambda x: F.softmax(x, dim=-1))
    for _ in range(2):
        found = fetch(run(put(x).to(tracec.float32)))
    with np.errstate(invalid="ignore"):
        powers = np.exp(x - x.max(1, keepdims=True))
        np.testing.assert_allclose(found, powers / powers.sum(1, keepdims=True), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [tracec.float16, tracec.bfloat16], ids=str)
def test_quotients_of_16_bits(dtype):
    for shape in ((300, 64), (37, 1000), (3, 9001)):
        check(lambda x: (F.softmax(x, dim=-1), F.normalize(x, dim=-1)), [numbers(*shape)], (dtype,), units=2)
