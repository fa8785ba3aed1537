"""Multi-head attention and transformers against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.nn.parity import same, torch

# PyTorch tells why it will not use nested tensors, which tracec does not have.
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")

PADDING = np.array([[False, False, True, False, False], [False, True, False, False, True]])
CAUSAL = np.triu(np.ones((3, 5), bool), 1)
HEADS = np.random.default_rng(1).random((4, 3, 5)) < 0.3

OPTIONS = [
    {}, {"bias": False}, {"kdim": 3, "vdim": 5}, {"add_bias_kv": True}, {"add_zero_attn": True},
    {"batch_first": True}, {"add_bias_kv": True, "add_zero_attn": True, "kdim": 3, "vdim": 5, "bias": False},
]  # fmt: skip

CALLS = {
    "plain": lambda t, m, q, k, v: m(q, k, v),
    "no weights": lambda t, m, q, k, v: m(q, k, v, need_weights=False),
    "weights of heads": lambda t, m, q, k, v: m(q, k, v, average_attn_weights=False),
    "padding": lambda t, m, q, k, v: m(q, k, v, key_padding_mask=t.from_numpy(PADDING)),
    "causal": lambda t, m, q, k, v: m(q, k, v, attn_mask=t.from_numpy(CAUSAL)),
    "heads": lambda t, m, q, k, v: m(q, k, v, attn_mask=t.from_numpy(HEADS), need_weights=False),
    "both": lambda t, m, q, k, v: m(
        q, k, v, key_padding_mask=t.from_numpy(PADDING), attn_mask=t.from_numpy(HEADS), average_attn_weights=False
    ),
    "added": lambda t, m, q, k, v: m(
        q, k, v, key_padding_mask=t.from_numpy(PADDING * 2.0), attn_mask=t.from_numpy(CAUSAL * -3.0)
    ),
    "hint": lambda t, m, q, k, v: m(
        q, k, v, attn_mask=t.from_numpy(CAUSAL), is_causal=True, need_weights=False
    ),
}  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", CALLS)
def test_multihead(name, options):
    if name == "hint" and (options.get("add_bias_kv") or options.get("add_zero_attn")):
        # The hint alone says nothing of keys that are added behind.
        return
    lead = [(2, 3), (2, 5)] if options.get("batch_first") else [(3, 2), (5, 2)]
    widths = (4, options.get("kdim", 4), options.get("vdim", 4))
    shapes = [(*lead[0], widths[0]), (*lead[1], widths[1]), (*lead[1], widths[2])]
    same(lambda t: t.nn.MultiheadAttention(4, 2, **options), *shapes, call=CALLS[name])


def test_multihead_of_one_tensor_and_without_a_batch():
    make = lambda t: t.nn.MultiheadAttention(6, 3, batch_first=True)  # noqa: E731
    same(make, (2, 5, 6), call=lambda t, m, x: m(x, x, x))
    same(make, (5, 6), call=lambda t, m, x: m(x, x, x, average_attn_weights=False))
    same(make, (2, 3, 6), (2, 5, 6), call=lambda t, m, q, x: m(q, x, x))
    same(make, (3, 6), (5, 6), call=lambda t, m, q, x: m(q, x, x, key_padding_mask=t.from_numpy(PADDING[0])))


def test_rows_that_may_look_nowhere():
    mask = np.ones((3, 3), bool)
    same(lambda t: t.nn.MultiheadAttention(4, 2), (3, 2, 4), call=lambda t, m, x: m(
        x, x, x, attn_mask=t.from_numpy(mask), need_weights=False
    ))  # fmt: skip


LAYERS = [
    {}, {"norm_first": True}, {"activation": "gelu"}, {"batch_first": True, "bias": False, "layer_norm_eps": 0.1},
]  # fmt: skip


@pytest.mark.parametrize("options", LAYERS)
def test_layers(options):
    encoder = lambda t: t.nn.TransformerEncoderLayer(4, 2, 7, 0.0, **options)  # noqa: E731
    decoder = lambda t: t.nn.TransformerDecoderLayer(4, 2, 7, 0.0, **options)  # noqa: E731
    shape, memory = ((2, 3, 4), (2, 5, 4)) if options.get("batch_first") else ((3, 2, 4), (5, 2, 4))
    padding = PADDING[:, :3]
    same(encoder, shape)
    same(
        encoder, shape,
        call=lambda t, m, x: m(x, t.from_numpy(CAUSAL[:, :3]), t.from_numpy(padding)),
    )  # fmt: skip
    same(encoder, (3, 4), call=lambda t, m, x: m(x, src_mask=t.from_numpy(CAUSAL[:, :3]), is_causal=True))
    same(decoder, shape, memory)
    same(
        decoder, shape, memory,
        call=lambda t, m, x, y: m(
            x, y, t.from_numpy(CAUSAL[:, :3]), t.from_numpy(CAUSAL), t.from_numpy(padding), t.from_numpy(PADDING)
        ),
    )  # fmt: skip


def test_activations_of_layers():
    for make in (lambda t: t.nn.GELU("tanh"), lambda t: t.nn.functional.silu, lambda t: t.nn.PReLU()):
        same(lambda t, make=make: t.nn.TransformerEncoderLayer(4, 2, 7, 0.0, make(t)), (3, 2, 4))


def test_stacks():
    def encoder(t):
        return t.nn.TransformerEncoder(t.nn.TransformerEncoderLayer(4, 2, 7, 0.0), 2, t.nn.LayerNorm(4))

    def decoder(t):
        return t.nn.TransformerDecoder(t.nn.TransformerDecoderLayer(4, 2, 7, 0.0), 3)

    same(encoder, (3, 2, 4))
    same(encoder, (3, 2, 4), call=lambda t, m, x: m(x, t.nn.Transformer.generate_square_subsequent_mask(3).double()))
    same(encoder, (5, 2, 4), call=lambda t, m, x: m(x, src_key_padding_mask=t.from_numpy(PADDING)))
    same(decoder, (3, 2, 4), (5, 2, 4))


@pytest.mark.parametrize("options", [{}, {"norm_first": True, "batch_first": True, "activation": "gelu"}])
def test_transformer(options):
    def make(t):
        return t.nn.Transformer(4, 2, 2, 1, 7, 0.0, **options)

    def call(t, m, x, y):
        length = y.shape[1 if options else 0]
        mask = t.nn.Transformer.generate_square_subsequent_mask(length).double()
        return m(x, y, tgt_mask=mask, tgt_is_causal=True, src_key_padding_mask=None)

    shapes = ((2, 5, 4), (2, 3, 4)) if options else ((5, 2, 4), (3, 2, 4))
    same(make, *shapes)
    same(make, *shapes, call=call)


def test_functional():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in [(3, 2, 4), (12, 4), (12,), (4, 4), (4, 5, 2)]]
    for weights in (True, False):
        found = []
        for t in (tracec, torch):
            x, w, b, out, static = (t.from_numpy(a) for a in arrays)
            found.append(
                t.nn.functional.multi_head_attention_forward(
                    x, x, x, 4, 2, w, b, None, None, False, 0.5, out, None, False,
                    need_weights=weights, static_k=static, static_v=static * 2,
                )
            )  # fmt: skip
        for a, b in zip(*found, strict=True):
            assert a is b is None or np.allclose(a.numpy(), b.numpy(), rtol=1e-9)


@pytest.mark.parametrize(
    "f",
    [
        lambda t: t.nn.MultiheadAttention(0, 1),
        lambda t: t.nn.MultiheadAttention(4, 2)(t.ones(3, 4), t.ones(3, 4), t.ones(3, 4), is_causal=True),
        lambda t: t.nn.MultiheadAttention(4, 2)(*[t.ones(3, 1, 4)] * 3, attn_mask=t.ones(3, 2)),
        lambda t: t.nn.TransformerEncoderLayer(4, 2, activation="tanh"),
        lambda t: t.nn.Transformer(4, 2, 1, 1, 3)(t.ones(3, 1, 4), t.ones(3, 2, 4)),
        lambda t: t.nn.Transformer(4, 2, 1, 1, 3)(t.ones(3, 1, 4), t.ones(3, 1, 3)),
        lambda t: t.nn.functional.scaled_dot_product_attention(
            t.ones(1, 3, 2, 4), t.ones(1, 2, 2, 4), t.ones(1, 2, 2, 4), enable_gqa=True
        ),
    ],
)
def test_what_is_refused(f):
    with pytest.raises(Exception) as theirs:
        f(torch)
    with pytest.raises(type(theirs.value)):
        f(tracec)
