"""Functions of every kind under vmap, against a loop, and in forward mode, against reverse mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracec as T
from tracec import func

F = T.nn.functional
RNG = np.random.default_rng(0)
CLASSES = T.tensor([0, 2, 1, 2])
PLACES = T.tensor([[0, 2, 1], [1, 1, 0], [2, 0, 2], [0, 1, 2]])


def definite(x):
    return x.T @ x + 3 * T.eye(3, dtype=x.dtype)


#: Functions of x, (4, 3), and y, (3,); positive where they have to be.
SMOOTH: dict[str, Callable[[Any, Any], Any]] = {
    "arithmetic": lambda x, y: (x + y, x - y, x * y, x / (y.abs() + 1), x**2, (x.abs() + 1) ** y),
    "elementary": lambda x, y: (x.sin(), x.exp(), (x.abs() + 1).log(), x.tanh(), x.sigmoid(), x.erf(), x.atan2(y)),
    "rounded": lambda x, y: (x.floor() * y, x.round() + x, x.sign() * x, x.remainder(y.abs() + 1)),
    "comparisons": lambda x, y: (T.where(x > y, x, y), x.clamp(-0.5, 0.5), T.maximum(x, y), T.lerp(x, y, 0.3)),
    "sums": lambda x, y: (x.sum(0), x.mean(), x.var(0), x.std(), x.prod(0), x.norm(), x.logsumexp(1), x.cumsum(0)),
    "extremes": lambda x, y: (x.amax(0), x.max(1)[0], x.min(), x.sort(0)[0], x.topk(2, 0)[0], x.median(0)[0]),
    "shapes": lambda x, y: (x.reshape(3, 4), x.T, x.flip(0), x.roll(1, 0), x.unfold(0, 2, 1), x[1:, ::2], x[..., None]),
    "joined": lambda x, y: (T.cat([x, y[None]]), T.stack([x, x * y]), *x.split(2), T.block_diag(x, x), y.repeat(2)),
    "triangles": lambda x, y: (x.tril(), x.triu(1), T.diag(y), x.diagonal(), T.diag_embed(x)),
    "gathered": lambda x, y: (x.gather(1, PLACES), x[CLASSES], x.index_select(1, T.tensor([2, 0])), x.take(PLACES)),
    "scattered": lambda x, y: (
        x.scatter(1, PLACES, x * 2), x.scatter_add(1, PLACES, x), x.index_add(0, CLASSES, x), x.index_fill(0,
        CLASSES, 3.0)
    ),
    "written": lambda x, y: x.clone().index_put_((CLASSES,), x * y),
    "masked": lambda x, y: (x.masked_fill(x > 0, 1.0), x.masked_scatter(x > 0, x.flip(0))),
    "products": lambda x, y: (
        x @ y, x.T @ x, T.outer(y, y), T.einsum("ij,kj->ik", x, x), T.kron(y, y), T.cross(y, y + 1, 0),
    ),
    "linear algebra": lambda x, y: (
        definite(x).inverse(), T.linalg.det(definite(x)), T.linalg.solve(definite(x), y),
        T.linalg.cholesky(definite(x)),
        T.linalg.svdvals(x), T.linalg.eigvalsh(definite(x)), T.linalg.pinv(x), T.linalg.slogdet(definite(x))[1],
        T.linalg.matrix_exp(definite(x) * 0.1), T.linalg.lstsq(x, x @ y[:, None])[0],
    ),
    "decompositions": lambda x, y: (T.linalg.qr(x)[1].abs(), T.linalg.svd(x, full_matrices=False)[1]),
    "fft": lambda x, y: (T.fft.fft(x, dim=0).abs(), T.fft.irfft(T.fft.rfft(x, dim=0), n=4, dim=0)),
    "activations": lambda x, y: (
        F.gelu(x), F.silu(x), F.softmax(x, 1), F.log_softmax(x, 0), F.elu(x), F.glu(x[:, :2], 1),
    ),
    "losses": lambda x, y: (
        F.cross_entropy(x, CLASSES), F.mse_loss(x, x * y), F.smooth_l1_loss(x, y.expand(4, 3)), F.nll_loss(x, CLASSES),
        F.kl_div(x, x.softmax(1)), F.binary_cross_entropy_with_logits(x, x.sigmoid()), F.cosine_similarity(x, y, 1),
    ),
    "norms": lambda x, y: (
        F.layer_norm(x, (3,), y), F.group_norm(x[None], 2), F.batch_norm(x, None, None, y, training=True),
        F.rms_norm(x, (3,)), F.normalize(x), F.local_response_norm(x[None], 2),
    ),
    "convolutions": lambda x, y: (
        F.conv1d(x[None], x[:2].reshape(1, 2, 3).repeat(1, 2, 1), padding=1), F.conv_transpose1d(x[None, :3],
        x[:3, None]),
        F.conv2d(x[None, None], x[None, None, :2, :2]), F.unfold(x[None, None], 2),
    ),
    "pooling": lambda x, y: (
        F.max_pool2d(x[None], 2), F.avg_pool1d(x, 2), F.adaptive_avg_pool2d(x[None], 2), F.adaptive_max_pool1d(x, 2),
    ),
    "images": lambda x, y: (
        F.interpolate(x[None, None], scale_factor=2, mode="bilinear"), F.pad(x, (1, 1), value=2.0),
        F.pad(x[None], (1, 1), mode="reflect"), F.pixel_shuffle(x.reshape(4, 1, 3), 2),
        F.grid_sample(x[None, None], x.reshape(1, 2, 3, 2).tanh(), align_corners=False),
    ),
    "attention": lambda x, y: F.scaled_dot_product_attention(x[None], x[None], x[None] * y, is_causal=True),
    "embedding": lambda x, y: (F.embedding(PLACES, x), F.linear(x, x, None)),
    "distances": lambda x, y: (T.cdist(x, x + 1), F.pdist(x), T.dist(x[0], y)),
    "interpolated": lambda x, y: (
        T.trapezoid(x), T.diff(x), T.quantile(x, 0.3, dim=0), T.nanmean(x), T.logcumsumexp(x, 0),
    ),
}  # fmt: skip

#: Whose results are no floats, or where only values are looked at.
OTHERS: dict[str, Callable[[Any, Any], Any]] = {
    "positions": lambda x, y: (x.argmax(0), x.argsort(1), x.max(0)[1], x.topk(2, 1)[1], T.searchsorted(y.sort()[0], x)),
    "bools": lambda x, y: (x > y, (x > 0).any(0), (x > 0).all(), x.isnan(), T.logical_and(x > 0, y > 0)),
    "integers": lambda x, y: ((x * 9).long() % 4, (x * 9).int() // 2, (x > 0).sum(), (x * 5).long() << 1),
    "equality": lambda x, y: (T.isclose(x, y), x.eq(x), T.isin((x * 3).long(), CLASSES)),
    "one hot": lambda x, y: F.one_hot(x.argmax(1), 3),
    "made like": lambda x, y: (
        T.zeros_like(x),
        x.new_ones(2),
        T.full_like(y, 3),
        T.arange(3) + y,
        T.eye(3) @ y.float(),
    ),
    "counted": lambda x, y: (x.count_nonzero(0), T.cummax(x, 0)[1], T.bucketize(x, T.tensor([0.0, 0.5]))),
}


def random(*shape):
    return T.tensor(RNG.normal(size=shape))


def flat(tree):
    return [t for each in tree for t in flat(each)] if isinstance(tree, (list, tuple)) else [tree]


@pytest.mark.parametrize("name", [*SMOOTH, *OTHERS])
def test_vmap_against_a_loop(name):
    f = {**SMOOTH, **OTHERS}[name]
    x, y = random(3, 4, 3), random(3, 3)
    for dims, given in (((0, 0), lambda i: (x[i], y[i])), ((0, None), lambda i: (x[i], y[0]))):
        many = func.vmap(lambda *a: tuple(flat(f(*a))), dims)(x, y if dims[1] == 0 else y[0])
        each = [flat(f(*given(i))) for i in range(3)]
        for k, found in enumerate(many):
            assert found.dtype is each[0][k].dtype
            np.testing.assert_allclose(found.numpy(), [e[k].numpy() for e in each], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", SMOOTH)
def test_jvp_against_vjp(name):
    """Both say how the results, weighted, move in a direction; also for many directions at once."""

    def f(*a):
        return tuple(t for t in flat(SMOOTH[name](*a)) if t.is_floating_point())

    given, directions = (random(4, 3), random(3)), (random(2, 4, 3), random(2, 3))
    out, pull = func.vjp(f, *given)
    weights = tuple(T.tensor(RNG.normal(size=tuple(o.shape))) for o in out)
    grads = pull(weights)
    moved = func.vmap(lambda *t: func.jvp(f, given, t)[1])(*directions)
    for i in range(2):
        back = sum((g * d[i]).sum().item() for g, d in zip(grads, directions, strict=True))
        forth = sum((w * m[i]).sum().item() for w, m in zip(weights, moved, strict=True))
        np.testing.assert_allclose(forth, back, rtol=1e-8, atol=1e-10)
    twice = func.vmap(pull)(tuple(T.stack([w, w * 2]) for w in weights))
    for g, many in zip(grads, twice, strict=True):
        np.testing.assert_allclose(many.numpy(), [g.numpy(), 2 * g.numpy()], rtol=1e-9, atol=1e-11)
