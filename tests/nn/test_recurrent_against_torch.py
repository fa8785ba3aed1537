"""Recurrent layers and cells against PyTorch, packed sequences included."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.nn.parity import leaves, same, torch

OPTIONS = [
    {}, {"num_layers": 2}, {"bidirectional": True}, {"bias": False, "batch_first": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
]  # fmt: skip


def layer(kind, **options):
    return lambda t: getattr(t.nn, kind)(3, 4, **options)


def with_state(kind, count, hidden=4, batch=(2,)):
    shapes = [(count, *batch, hidden), (count, *batch, 4)][: 2 if kind == "LSTM" else 1]
    return shapes, lambda t, m, x, *h: m(x, tuple(h) if len(h) > 1 else h[0])


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_layers(kind, options):
    same(layer(kind, **options), (5, 2, 3))
    count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    shapes, call = with_state(kind, count, batch=(5,) if options.get("batch_first") else (2,))
    same(layer(kind, **options), (5, 2, 3), *shapes, call=call)


def test_projection_and_nonlinearity():
    same(layer("LSTM", proj_size=2, num_layers=2, bidirectional=True), (5, 2, 3))
    shapes, call = with_state("LSTM", 1, hidden=2)
    same(layer("LSTM", proj_size=2), (5, 2, 3), *shapes, call=call)
    same(lambda t: t.nn.RNN(3, 4, 2, "relu", False), (5, 2, 3))
    same(layer("RNN", nonlinearity="relu", bidirectional=True), (1, 1, 3))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_without_a_batch(kind):
    same(layer(kind, num_layers=2, batch_first=True), (5, 3))
    shapes, call = with_state(kind, 2, batch=())
    same(layer(kind, bidirectional=True), (5, 3), *shapes, call=call)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_packed(kind, ordered):
    lengths = [5, 4, 4, 1] if ordered else [4, 1, 5, 4]

    def call(t, m, x, *h):
        packed = t.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=ordered)
        out, state = m(packed, tuple(h) if len(h) > 1 else h[0])
        padded, found = t.nn.utils.rnn.pad_packed_sequence(out, padding_value=0.5)
        assert found.tolist() == lengths
        return padded, state

    shapes, _ = with_state(kind, 4, batch=(4,))
    same(layer(kind, num_layers=2, bidirectional=True), (5, 4, 3), *shapes, call=call)
    same(
        layer(kind), (6, 4, 3), call=lambda t, m, x: leaves(m(t.nn.utils.rnn.pack_padded_sequence(x, [6, 3, 3, 2]))[1])
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["RNNCell", "GRUCell", "LSTMCell"])
def test_cells(kind, bias):
    states = 2 if kind == "LSTMCell" else 1
    call = with_state("LSTM", 1)[1]
    same(layer(kind, bias=bias), (2, 3))
    same(layer(kind, bias=bias), (3,))
    same(layer(kind, bias=bias), (2, 3), *[(2, 4)] * states, call=call)
    same(layer(kind, bias=bias), (3,), *[(4,)] * states, call=call)


def test_relu_cell():
    same(lambda t: t.nn.RNNCell(3, 4, True, "relu"), (2, 3))


def sequences(t):
    rng = np.random.default_rng(0)
    return [t.from_numpy(rng.normal(size=(n, 2))) for n in (2, 4, 1, 4)]


CASES = {
    "pad": lambda t, r: r.pad_sequence(sequences(t)),
    "pad left": lambda t, r: r.pad_sequence(sequences(t), True, -1.0, "left"),
    "pack": lambda t, r: list(r.pack_sequence(sequences(t), enforce_sorted=False)),
    "pack sorted": lambda t, r: list(r.pack_sequence(sequences(t)[::-2]))[:2],
    "unpack": lambda t, r: r.unpack_sequence(r.pack_sequence(sequences(t), enforce_sorted=False)),
    "unpad": lambda t, r: r.unpad_sequence(r.pad_sequence(sequences(t), True), t.tensor([2, 4, 1, 4]), True),
    "pad packed": lambda t, r: r.pad_packed_sequence(
        r.pack_sequence(sequences(t), enforce_sorted=False), batch_first=True, total_length=6
    ),
    "pack batch first": lambda t, r: list(
        r.pack_padded_sequence(t.arange(24.0).reshape(3, 4, 2), t.tensor([2, 3, 1]), True, False)
    ),
    "pack by lengths of an array": lambda t, r: list(
        r.pack_padded_sequence(t.arange(24.0).reshape(4, 3, 2), t.tensor([4, 3, 1]).cpu().numpy())
    )[:2],
    "pack by lengths of floats": lambda t, r: list(
        r.pack_padded_sequence(t.arange(24.0).reshape(4, 3, 2), np.array([4.0, 3.0, 1.0], "f"))
    )[:2],
    "pack by lengths of a float tensor": lambda t, r: list(
        r.pack_padded_sequence(t.arange(24.0).reshape(4, 3, 2), t.tensor([4.0, 3.0, 1.0]))
    )[:2],
    "pack by a range": lambda t, r: list(r.pack_padded_sequence(t.arange(24.0).reshape(4, 3, 2), range(4, 1, -1)))[:2],
    "invert": lambda t, r: r.invert_permutation(t.tensor([2, 0, 1])),
    "made by hand": lambda t, r: list(r.PackedSequence(t.arange(3.0), t.tensor([2, 1]), t.tensor([1, 0]))),
    "in float16": lambda t, r: r.pack_sequence(sequences(t), False).half().data.float(),
}


@pytest.mark.parametrize("name", CASES)
def test_sequences(name):
    ours = leaves(CASES[name](tracec, tracec.nn.utils.rnn))
    theirs = leaves(CASES[name](torch, torch.nn.utils.rnn))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert str(a.dtype).split(".")[1] == str(b.dtype).split(".")[1]
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize(
    "f",
    [
        lambda t: t.nn.LSTM(3, 0),
        lambda t: t.nn.LSTM(3, 4, proj_size=4),
        lambda t: t.nn.GRU(3, 4, proj_size=2),
        lambda t: t.nn.RNN(3, 4, nonlinearity="sigmoid"),
        lambda t: t.nn.LSTM(3, 4, dropout=1.5),
        lambda t: t.nn.LSTM(3, "4"),
        lambda t: t.nn.LSTM(3, 4)(t.ones(2, 2, 2)),
        lambda t: t.nn.LSTM(3, 4)(t.ones(1, 2, 2, 3)),
        lambda t: t.nn.LSTM(3, 4)(t.ones(0, 2, 3)),
        lambda t: t.nn.GRU(3, 4)(t.ones(2, 2, 3), t.ones(1, 1, 4)),
        lambda t: t.nn.GRUCell(3, 4)(t.ones(2, 2, 3)),
        lambda t: t.nn.GRUCell(3, 4)(t.ones(2, 3), t.ones(1, 4)),
        lambda t: t.nn.utils.rnn.pack_padded_sequence(t.ones(4, 2, 3), [2, 4]),
        lambda t: t.nn.utils.rnn.pack_padded_sequence(t.ones(4, 2, 3), [4, 0]),
        lambda t: t.nn.utils.rnn.pack_padded_sequence(t.ones(4, 2, 3), [4]),
        lambda t: t.nn.utils.rnn.pad_packed_sequence(t.nn.utils.rnn.pack_sequence([t.ones(3)]), total_length=2),
    ],
)
def test_what_is_refused(f):
    with pytest.raises(Exception) as theirs:
        f(torch)
    with pytest.raises(type(theirs.value)):
        f(tracec)
