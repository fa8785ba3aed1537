"""Attention with functions of positions: as written out for all of them, and as PyTorch's where it is installed."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest

import tracec
from tests.failures import caught, check_form
from tracec.nn.attention.flex_attention import (
    AuxRequest,
    and_masks,
    create_block_mask,
    create_mask,
    flex_attention,
    noop_mask,
    or_masks,
)

RNG = np.random.default_rng(0)
Q, K, V = (RNG.standard_normal((2, 4, 6, n)).astype(np.float32) for n in (8, 8, 5))
BIAS = RNG.standard_normal((6, 6)).astype(np.float32)
DOCUMENTS = np.array([[0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 2, 2]])


def causal(b, h, q, k):
    return q >= k


def programs(T, flex):
    q, k, v, bias, documents = map(T.tensor, (Q, K, V, BIAS, DOCUMENTS))
    slopes = T.tensor([0.5, 0.25, 0.1, 0.05])
    below = flex.create_block_mask(causal, None, None, 6, 6, device="cpu", BLOCK_SIZE=2)
    window = flex.and_masks(causal, lambda b, h, q, k: documents[b, q] == documents[b, k], lambda b, h, q, k: q - k < 3)
    gone = flex.create_block_mask(lambda b, h, q, k: (q >= k) & (q != 3), 1, 1, 6, 6, device="cpu")
    seen = flex.create_block_mask(window, 2, None, 6, 6, device="cpu")
    capped = lambda s, b, h, q, k: T.where(q >= k, 20 * T.tanh(s / 20), -math.inf)  # noqa: E731
    return {
        "plain": flex.flex_attention(q, k, v),
        "causal": flex.flex_attention(q, k, v, block_mask=below),
        "slopes": flex.flex_attention(q, k, v, lambda s, b, h, i, j: s + slopes[h] * (j - i), below, scale=0.3),
        "table": flex.flex_attention(q, k, v, score_mod=lambda s, b, h, i, j: s + bias[i, j]),
        "capped": flex.flex_attention(q, k, v, score_mod=capped),
        "documents": flex.flex_attention(q, k, v, block_mask=seen),
        "shared": flex.flex_attention(q, k[:, :2], v[:, :2], enable_gqa=True, block_mask=below),
        "no key": flex.flex_attention(q, k, v, block_mask=gone),
        "sums": flex.flex_attention(q, k, v, block_mask=below, return_aux=flex.AuxRequest(lse=True))[1].lse,
        "mask": flex.create_mask(flex.or_masks(causal, lambda b, h, q, k: k == 4), 1, 2, 4, 5, device="cpu").float(),
        "blocks": below.to_dense().float(),
        "counts": below.kv_num_blocks.float(),
        "numbers": below.kv_indices.float(),
        "whole ones": below.full_kv_num_blocks.float(),
        "their numbers": below.full_kv_indices.float(),
        "sparsity": T.tensor(below.sparsity()),
    }


@pytest.mark.filterwarnings("ignore")
def test_values_are_pytorchs():
    torch = pytest.importorskip("torch")
    theirs = importlib.import_module("torch.nn.attention.flex_attention")
    ours = importlib.import_module("tracec.nn.attention.flex_attention")
    expected, found = programs(torch, theirs), programs(tracec, ours)
    for name, value in expected.items():
        assert tuple(found[name].shape) == tuple(value.shape), name
        np.testing.assert_allclose(found[name].numpy(), value.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("wrap", [lambda f: f, tracec.compile], ids=["eager", "compiled"])
def test_gradients_are_those_of_scores_written_out(wrap):
    def written_out(q, k, v, bias):
        scores = q @ k.mT / math.sqrt(8) + bias
        return scores.masked_fill(~tracec.ones(6, 6, dtype=tracec.bool).tril(), -math.inf).softmax(-1) @ v

    def of_positions(q, k, v, bias):
        mask = create_block_mask(causal, None, None, 6, 6)
        return flex_attention(q, k, v, score_mod=lambda s, b, h, i, j: s + bias[i, j], block_mask=mask)

    def gradients(f):
        given = [tracec.tensor(x, requires_grad=True) for x in (Q, K, V, BIAS)]
        (f(*given) ** 2).sum().backward()
        return [x.grad.numpy() for x in given]

    f = wrap(of_positions)
    for _ in range(3):
        for found, expected in zip(gradients(f), gradients(written_out), strict=True):
            np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_a_query_that_sees_no_key():
    q, k, v = (tracec.tensor(x, requires_grad=True) for x in (Q, K, V))
    mask = create_block_mask(lambda b, h, i, j: (i >= j) & (i != 3), 1, 1, 6, 6)
    out, more = flex_attention(q, k, v, block_mask=mask, return_aux=AuxRequest(lse=True, max_scores=True))
    assert out[:, :, 3].abs().max() == 0 and (more.lse[:, :, 3] == -math.inf).all()
    assert more.max_scores.shape == (2, 4, 6)
    out.sum().backward()
    assert not any(x.grad.isnan().any() for x in (q, k, v))


def test_masks():
    mask = create_block_mask(causal, 2, 4, 300, 200)
    assert repr(mask) == "BlockMask(shape=(2, 4, 300, 200), sparsity=16.67%)" and mask.numel() == 2 * 4 * 300 * 200
    assert mask[0].shape == (1, 4, 300, 200) and mask[:, -1].shape == (2, 1, 300, 200)
    assert mask.kv_indices.shape == (2, 4, 3, 2) and mask.to("cpu").mask.equal(mask.mask)
    assert create_mask(noop_mask, 1, 1, 2, 3).all() and not create_mask(or_masks(), 1, 1, 2, 3).any()
    assert create_mask(and_masks(causal, noop_mask), 1, 1, 3, 3).equal(
        tracec.ones(1, 1, 3, 3, dtype=tracec.bool).tril()
    )
    assert create_mask(lambda s, b, h, q, k: s + q - k, None, None, 2, 2).tolist() == [[[[0.0, -1.0], [1.0, 0.0]]]]


@pytest.mark.parametrize(
    "mistake",
    [
        lambda _: flex_attention(Q, K, V),
        lambda _: flex_attention(tracec.tensor(Q)[0], tracec.tensor(K), tracec.tensor(V)),
        lambda _: flex_attention(tracec.tensor(Q), tracec.tensor(K)[:, :2], tracec.tensor(V)[:, :2]),
        lambda _: flex_attention(tracec.tensor(Q), tracec.tensor(K)[:, :3], tracec.tensor(V)[:, :3], enable_gqa=True),
        lambda _: flex_attention(
            *map(tracec.tensor, (Q, K, V)), block_mask=create_block_mask(causal, None, None, 5, 6)
        ),
        lambda _: create_block_mask(3, None, None, 5, 6),
        lambda _: and_masks(causal, None),
    ],
)
def test_mistakes(mistake):
    check_form(caught(None, mistake, []))
