"""Recurrent layers by their definitions, without PyTorch; and train steps."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec import nn
from tracec.errors import ArgumentTypeError
from tracec.nn.utils import rnn


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_lstm_is_its_equations():
    tracec.manual_seed(0)
    layer = nn.LSTM(3, 4, proj_size=2).double()
    x = tracec.randn(5, 2, 3, dtype=tracec.float64)
    p = {n: t.detach().numpy() for n, t in layer.named_parameters()}
    h, c = np.zeros((2, 2)), np.zeros((2, 4))
    for step in x.numpy():
        gates = step @ p["weight_ih_l0"].T + p["bias_ih_l0"] + h @ p["weight_hh_l0"].T + p["bias_hh_l0"]
        i, f, g, o = np.split(gates, 4, 1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = (sigmoid(o) * np.tanh(c)) @ p["weight_hr_l0"].T
    out, (last, memory) = layer(x)
    np.testing.assert_allclose(out[-1].detach().numpy(), h, rtol=1e-12)
    np.testing.assert_allclose(last[0].detach().numpy(), h, rtol=1e-12)
    np.testing.assert_allclose(memory[0].detach().numpy(), c, rtol=1e-12)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_packed_batch_is_its_sequences_one_by_one(kind):
    tracec.manual_seed(0)
    layer = kind(3, 4, num_layers=2, bidirectional=True).double()
    sequences = [tracec.randn(n, 3, dtype=tracec.float64) for n in (3, 5, 1)]
    packed, last = layer(rnn.pack_sequence(sequences, enforce_sorted=False))
    for k, (whole, alone) in enumerate(zip(rnn.unpack_sequence(packed), sequences, strict=True)):
        out, end = layer(alone)
        assert tracec.allclose(whole, out)
        for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (last, end)), strict=True):
            assert tracec.allclose(a[:, k], b)


def test_dropout_comes_between_layers_in_training_alone():
    tracec.manual_seed(0)
    layer = nn.GRU(3, 4, num_layers=2, dropout=1.0)
    x = tracec.randn(5, 2, 3)
    dropped = layer(x)[0]
    assert tracec.allclose(dropped, layer(tracec.zeros(5, 2, 3))[0])
    assert not tracec.allclose(dropped, layer.eval()(x)[0])
    with pytest.warns(UserWarning, match="it comes between layers and num_layers is 1"):
        nn.LSTM(3, 4, dropout=0.5)


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 6)
        self.lstm = nn.LSTM(6, 8, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens):
        return self.head(self.lstm(self.table(tokens))[0])


def test_a_train_step_compiles_to_the_same():
    tokens, tags = tracec.arange(14).reshape(2, 7) % 11, tracec.arange(14).reshape(2, 7) % 3
    losses = []
    for compiled in (False, True):
        tracec.manual_seed(3)
        model = Tagger()
        optimizer = tracec.optim.Adam(model.parameters(), lr=0.05)

        def step(tokens, tags, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(tokens).transpose(1, 2), tags)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            return loss

        run = tracec.compile(step) if compiled else step
        losses.append([run(tokens, tags).item() for _ in range(5)])
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


def test_packed_input_compiles():
    tracec.manual_seed(0)
    layer = nn.GRU(3, 4)

    def f(x, lengths):
        packed = rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        out, last = layer(packed)
        return rnn.pad_packed_sequence(out)[0], last

    run, x = tracec.compile(f), tracec.randn(4, 3, 3)
    for lengths in ([4, 2, 3], [1, 4, 4], [4, 2, 3]):
        for a, b in zip(run(x, lengths), f(x, lengths), strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lengths", ["abc", 3, None, [2, None], [2.0, float("nan")], np.ones((1, 2), int)])
def test_lengths_are_a_row_of_integers(lengths):
    with pytest.raises(ArgumentTypeError, match="lengths are not a row of integers"):
        rnn.pack_padded_sequence(tracec.ones(2, 2, 1), lengths)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_one_step_is_compiled_however_many_there_are(kind):
    layer = kind(4, 8, num_layers=2, bidirectional=True)

    def lines(steps):
        def step(x):
            layer.zero_grad()
            layer(x)[0].sum().backward()

        return len(tracec.compile(step).lower(tracec.randn(steps, 3, 4)).stages["source"].split("\n"))

    assert lines(200) < 1.1 * lines(7)
