"""Ints that are taken for sizes: positions in a buffer, lengths of a prefix, offsets, in arguments and attributes."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

import tracec
from tests.random_programs.check import operator_by_operator
from tracec import nn

tracec.manual_seed(0)
Q, K = nn.Linear(8, 8), nn.Linear(8, 8)
WAYS = {
    "C": (nullcontext, {}, 24),
    "without a compiler": (operator_by_operator, {}, 24),
    "emulator": (nullcontext, {"target": "cuda", "launcher": "emulator"}, 8),
}


class Decoder:
    """A buffer that is filled row by row."""

    def __init__(self):
        self.buffer, self.position = tracec.zeros(32, 8), 0


def argument(decoder, x, n):
    decoder.buffer[n] = K(x)[0]
    keys = decoder.buffer[: n + 1]
    return tracec.softmax(Q(x) @ keys.T, -1) @ keys


def attribute(decoder, x, n):
    decoder.buffer[decoder.position] = K(x)[0]
    decoder.position += 1
    keys = decoder.buffer[: decoder.position]
    return tracec.softmax(Q(x) @ keys.T, -1) @ keys


def halves(decoder, x, n):
    rows = decoder.buffer + x
    return rows[: n // 2 + 1].sum(0) - rows[n:].mean(0), rows.narrow(0, n // 3, 2), tracec.zeros(n, 2).shape[0] * 2


def chosen(decoder, x, n):
    return x * 2 if n > 10 else x[:, :n].sum() * n


def repeated(decoder, x, n):
    return x.repeat(n, 1).sum(0) / n, x.expand(n, 8).mean(), tracec.arange(n).sum()


def split(decoder, x, n):
    first, rest = decoder.buffer.add(x).split([n, 32 - n])
    return first.sum(0), rest.sum(0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "step, most", [(argument, 6), (attribute, 8), (halves, 8), (chosen, 14), (repeated, 7), (split, 7)]
)
def test_positions_take_few_recordings(step, most, way):
    around, options, calls = WAYS[way]
    found, expected = Decoder(), Decoder()
    with tracec.no_grad(), around():
        compiled = tracec.compile(lambda x, n: step(found, x, n), **options)
        for k in (*range(calls), 3, 0, 7, 1, 2, 5):
            x = tracec.from_numpy(np.random.default_rng(k).normal(size=(1, 8)).astype(np.float32))
            for got, want in zip(_parts(compiled(x, k)), _parts(step(expected, x, k)), strict=True):
                if isinstance(want, int):
                    assert type(got) is int and got == want
                else:
                    assert tuple(got.shape) == tuple(want.shape)
                    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-4, atol=1e-5)
            assert type(found.position) is int and found.position == expected.position
            np.testing.assert_allclose(found.buffer.numpy(), expected.buffer.numpy(), rtol=1e-5, atol=1e-6)
    assert len(compiled.explain().recordings) <= most, compiled.explain()


def _parts(out):
    return out if isinstance(out, tuple) else (out,)


def test_positions_out_of_range_raise_as_eagerly():
    def f(x, n):
        return x[n] + x[:n].sum()

    compiled = tracec.compile(f)
    x = tracec.arange(12.0)
    for n in (0, 1, 2, 3, 4, 5, 6, 11, 12, 13, 7, -1, -5, 9):
        if n < 12:
            assert compiled(x, n).item() == f(x, n).item()
        else:
            with pytest.raises(IndexError):
                compiled(x, n)


def test_an_int_as_a_size_and_a_tensor_of_that_size():
    def f(x, n):
        return x[:n].sum() + x.shape[0] - n, n * 0.5, str(n)

    compiled = tracec.compile(lambda x, n: f(x, n)[:2])
    for n in (2, 3, 4, 5, 6, 9, 4):
        for m in (n, n + 1, n + 3):
            found, expected = compiled(tracec.ones(m), n), f(tracec.ones(m), n)
            assert found[0].item() == expected[0].item() and found[1] == expected[1] and type(found[1]) is float
