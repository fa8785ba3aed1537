"""Layers that programs make of PyTorch's, through what those call of themselves; beside PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracec
from tests.nn.parity import same, torch


def standardised(t: Any) -> Any:
    class Standardised(t.nn.Conv2d):
        def forward(self, x):
            w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
            return self._conv_forward(x, w, self.bias)

    return t.nn.Sequential(Standardised(2, 3, 3, padding=1, padding_mode="reflect"), Standardised(3, 2, 3, stride=2))


def put_for_the_convolution(t: Any) -> Any:
    class Scaled(t.nn.Conv1d):
        def _conv_forward(self, input, weight, bias):
            return super()._conv_forward(input, weight * 2, bias)

    return Scaled(2, 3, 3, padding="same", padding_mode="circular", dilation=2)


def padded_by_hand(t: Any) -> Any:
    class Padded(t.nn.Conv2d):
        def forward(self, x):
            x = t.nn.functional.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            return t.nn.functional.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    return Padded(2, 2, (3, 5), padding=(1, 2), padding_mode="replicate")


def own_batch_norm(t: Any) -> Any:
    class Any_(t.nn.modules.batchnorm._BatchNorm):
        def _check_input_dim(self, input):
            assert input.dim() > 1

    class Ghost(t.nn.BatchNorm2d):
        def forward(self, x):
            self._check_input_dim(x)
            halves = [t.nn.BatchNorm2d.forward(self, half) for half in x.chunk(2)]
            return t.cat(halves)

    return t.nn.Sequential(Any_(2), Ghost(2, momentum=None))


def not_kept_any_more(t: Any) -> Any:
    norm = t.nn.BatchNorm2d(2)
    norm.running_mean.add_(0.5)
    norm.track_running_stats = False
    return norm


IMAGE_LAYERS = [standardised, padded_by_hand, own_batch_norm, not_kept_any_more]


@pytest.mark.parametrize("make", IMAGE_LAYERS)
def test_layers_on_images(make):
    same(make, (4, 2, 6, 7), check_repr=False)


def test_what_is_put_for_the_convolution():
    same(put_for_the_convolution, (3, 2, 8))


def test_names_of_convolutions():
    for name in ("_reversed_padding_repeated_twice", "output_padding"):
        for options in ({"padding": (1, 2)}, {"padding": "same", "dilation": (1, 2)}, {"padding": "valid"}):
            ours, theirs = (getattr(t.nn.Conv2d(1, 1, (3, 4), **options), name) for t in (tracec, torch))
            assert tuple(ours) == tuple(theirs)


def encoder(t: Any) -> Any:
    class Layer(t.nn.TransformerEncoderLayer):
        def _sa_block(self, x, attn_mask, key_padding_mask, is_causal=False):
            x, self.seen = self.self_attn(x, x, x, attn_mask=attn_mask, key_padding_mask=key_padding_mask)
            return self.dropout1(x) * 3

    return t.nn.TransformerEncoder(Layer(4, 2, 8, 0.0), 2)


def feed_forward(t: Any) -> Any:
    class Layer(t.nn.TransformerEncoderLayer):
        def _ff_block(self, x):
            return super()._ff_block(x).tanh()

    return Layer(4, 2, 8, 0.0, norm_first=True)


def own_attention(t: Any) -> Any:
    """Another attention in its place, which has its arguments in another order."""

    class Linear(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.project = t.nn.Linear(4, 4)
            self.batch_first = False  # PyTorch asks outside of training

        def forward(self, query, key, value, *, need_weights, attn_mask=None, is_causal=False, key_padding_mask=None):
            assert not need_weights
            return self.project(query - value.mean(0)), None

    layer = t.nn.TransformerEncoderLayer(4, 2, 8, 0.0)
    layer.self_attn = Linear()
    return layer


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("make", [encoder, feed_forward, own_attention])
def test_encoders(make):
    same(make, (5, 3, 4), check_repr=False)


def decoder(t: Any) -> Any:
    class Layer(t.nn.TransformerDecoderLayer):
        def _mha_block(self, x, mem, attn_mask, key_padding_mask, is_causal=False):
            return super()._mha_block(x, mem * 2, attn_mask, key_padding_mask, is_causal) + mem.mean(0)

        def _sa_block(self, x, attn_mask, key_padding_mask, is_causal=False):
            return super()._sa_block(x, attn_mask, key_padding_mask, is_causal) * 0.5

    return Layer(4, 2, 8, 0.0)


def test_decoders():
    same(decoder, (5, 3, 4), (6, 3, 4), check_repr=False)


def test_attention_that_is_made_to_give_its_weights():
    found = []
    x = np.random.default_rng(0).normal(size=(5, 2, 4))
    state = torch.nn.TransformerEncoderLayer(4, 2, 8).double().state_dict()
    for t in (tracec, torch):
        layer, seen = t.nn.TransformerEncoderLayer(4, 2, 8, 0.0).double(), []
        layer.load_state_dict({name: t.from_numpy(p.numpy().copy()) for name, p in state.items()})
        forward = layer.self_attn.forward

        def asked(*args, forward=forward, **options):
            return forward(*args, **options | {"need_weights": True, "average_attn_weights": False})

        layer.self_attn.forward = asked
        layer.self_attn.register_forward_hook(lambda module, args, out, seen=seen: seen.append(out[1]))
        layer(t.from_numpy(x))
        found.append(seen[0].detach().numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)


def test_names_that_layers_are_written_with():
    modules = tracec.nn.modules
    assert isinstance(tracec.nn.Dropout2d(), modules.dropout._DropoutNd)
    assert isinstance(tracec.nn.InstanceNorm1d(2), modules.batchnorm._NormBase)
    assert isinstance(tracec.nn.MaxPool2d(2), modules.pooling._MaxPoolNd)
    assert isinstance(tracec.nn.AvgPool1d(2), modules.pooling._AvgPoolNd)
    assert isinstance(tracec.nn.AdaptiveAvgPool2d(2), modules.pooling._AdaptiveAvgPoolNd)
    copies = modules.transformer._get_clones(tracec.nn.Linear(1, 1), 2)
    assert len(copies) == 2 and copies[0].weight is not copies[1].weight
    assert modules.transformer._get_activation_fn("gelu") is tracec.nn.functional.gelu
    for t in (tracec, torch):
        assert t.nn.modules.utils._reverse_repeat_tuple((1, 2), 2) == (2, 2, 1, 1)
