"""Attention and transformers by their definitions, without PyTorch; and a train step."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec import nn
from tracec.errors import ArgumentTypeError
from tracec.nn.attention import SDPBackend, sdpa_kernel


def test_multihead_is_its_heads_one_by_one():
    tracec.manual_seed(0)
    layer = nn.MultiheadAttention(6, 2).double()
    x = tracec.randn(5, 3, 6, dtype=tracec.float64)
    out, weights = layer(x, x, x, average_attn_weights=False)
    p = {n: t.detach().numpy() for n, t in layer.named_parameters()}
    rows = x.numpy() @ p["in_proj_weight"].T + p["in_proj_bias"]
    mixed = np.zeros((5, 3, 6))
    for n in range(3):
        for h in range(2):
            q, k, v = (rows[:, n, 6 * part + 3 * h : 6 * part + 3 * h + 3] for part in range(3))
            power = np.exp(q @ k.T / np.sqrt(3))
            share = power / power.sum(1, keepdims=True)
            np.testing.assert_allclose(weights[n, h].detach().numpy(), share, rtol=1e-12)
            mixed[:, n, 3 * h : 3 * h + 3] = share @ v
    np.testing.assert_allclose(
        out.detach().numpy(), mixed @ p["out_proj.weight"].T + p["out_proj.bias"], rtol=1e-9, atol=1e-12
    )


def test_dropped_weights_are_those_given_back():
    tracec.manual_seed(0)
    layer = nn.MultiheadAttention(4, 1, dropout=0.5)
    weights = layer(*[tracec.randn(9, 1, 4)] * 3)[1]
    assert 0.2 < (weights == 0).float().mean() < 0.8
    assert not (layer.eval()(*[tracec.randn(9, 1, 4)] * 3)[1] == 0).any()


def test_layers_of_a_stack_are_copies():
    layer = nn.TransformerEncoderLayer(4, 2, 8)
    stack = nn.TransformerEncoder(layer, 2)
    assert len(list(stack.parameters())) == 2 * len(list(layer.parameters()))
    assert stack.layers[0].linear1.weight.equal(layer.linear1.weight)
    assert stack.layers[0].linear1.weight is not layer.linear1.weight


def test_kernels_can_be_asked_for():
    q = tracec.randn(1, 2, 3, 4)
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
        asked = nn.functional.scaled_dot_product_attention(q, q, q)
    assert asked.equal(nn.functional.scaled_dot_product_attention(q, q, q))
    with pytest.raises(ArgumentTypeError, match="'math' is no SDPBackend"), sdpa_kernel(["math"]):
        pass


def test_a_train_step_compiles_to_the_same():
    tracec.manual_seed(0)
    source, target = tracec.randint(0, 9, (2, 6)), tracec.randint(0, 9, (2, 5))
    losses = []
    for compiled in (False, True):
        tracec.manual_seed(1)
        model = nn.ModuleDict({
            "table": nn.Embedding(9, 8),
            "net": nn.Transformer(8, 2, 1, 2, 16, 0.0, batch_first=True, norm_first=True),
            "head": nn.Linear(8, 9),
        })  # fmt: skip
        optimizer = tracec.optim.AdamW(model.parameters(), lr=0.01)
        mask = nn.Transformer.generate_square_subsequent_mask(4)

        def step(source, target, model=model, optimizer=optimizer, mask=mask):
            optimizer.zero_grad()
            table = model["table"]
            out = model["net"](table(source), table(target[:, :-1]), tgt_mask=mask, tgt_is_causal=True)
            loss = nn.functional.cross_entropy(model["head"](out).flatten(0, 1), target[:, 1:].flatten())
            loss.backward()
            optimizer.step()
            return loss

        run = tracec.compile(step) if compiled else step
        losses.append([run(source, target).item() for _ in range(4)])
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
