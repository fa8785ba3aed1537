"""Philox against known answers, the counter's layout, and the distributions made of bits."""

import importlib

import numpy as np
import pytest

from tests.failures import said
from tests.ops.harness import inputs, run, typed
from tests.ops.test_lowering import philox_word
from tracec.errors import DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.node import made_from
from tracec.ops.random import normal_variate, philox, random_bits, uniform_from_bits

random = importlib.import_module("tracec.ops.random")

# The known answers of Random123, the generator's reference implementation.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return tuple(np.array([int(w, 16)], np.uint64) for w in text.split())


def bits(seed, draw, *shape):
    return random_bits.eager(np, np.array([seed, draw]), shape=shape)


def from_bits(compose, *arrays, **options):
    nodes = inputs(*arrays)
    with made_from(None):
        out = compose(*nodes, **options)
    found = run([out], dict(zip(nodes, arrays, strict=True)))[0]
    assert out.dtype is options.get("dtype", dt.float32) and found.dtype == out.dtype.numpy
    return found.astype(np.float64)


@pytest.mark.parametrize("counter, key, expected", KNOWN)
def test_known_answers(counter, key, expected):
    found = philox(np, words(counter), words(key))
    assert " ".join(f"{int(w[0]):08x}" for w in found) == expected


@pytest.mark.parametrize("counter, key, expected", KNOWN)
def test_known_answers_of_the_tests_own_definition(counter, key, expected):
    c, k = ([int(w[0]) for w in words(text)] for text in (counter, key))
    element = 4 * (c[0] | c[1] << 32)
    found = [philox_word(k[0] | k[1] << 32, c[2] | c[3] << 32, element + lane) for lane in range(4)]
    assert " ".join(f"{w:08x}" for w in found) == expected


def test_elements_take_counters_in_row_major_order():
    found = bits(-5, 2**40 + 3, 3, 7)
    assert found.dtype == np.uint32
    assert found.reshape(-1).tolist() == [philox_word(-5, 2**40 + 3, i) for i in range(21)]


def test_a_prefix_does_not_depend_on_the_size_or_shape():
    many = bits(1, 2, 200_001)
    assert (bits(1, 2, 5) == many[:5]).all()
    assert (bits(1, 2, 100, 1000).reshape(-1) == many[:100_000]).all()
    assert many[-1] == philox_word(1, 2, 200_000)
    assert bits(1, 2).shape == () and bits(1, 2) == many[0]
    assert bits(1, 2, 0, 3).shape == (0, 3)


def test_draws_of_few_are_computed_with_those_that_come_next(monkeypatch):
    computed = []
    monkeypatch.setattr(random, "philox", lambda *given: computed.append(1) or philox(*given))
    monkeypatch.setattr(random, "_KEPT", [(-1, 0, None)])
    found = {(draw, size): bits(3, draw, size) for draw in range(8) for size in (1, 40)}
    assert len(computed) == 2  # of one counter, then of ten
    found |= {(draw, size): bits(3, draw, size) for draw in (20, 5, 0, -1) for size in (7, 30)}
    for (draw, size), given in found.items():
        assert given.tolist() == [philox_word(3, draw % 2**64, i) for i in range(size)]
    again = bits(3, 0, 40)
    again[:] = 0
    assert bits(3, 0, 40).tolist() == found[0, 40].tolist()


def test_seed_and_draw_change_every_bit_pattern():
    base = bits(1, 2, 1000)
    for other in (bits(2, 2, 1000), bits(1, 3, 1000), bits(1 + 2**32, 2, 1000), bits(1, 2 + 2**32, 1000)):
        assert (base != other).mean() > 0.99


def test_bits_are_even():
    found = bits(7, 0, 1 << 16)
    ones = ((found[:, None] >> np.arange(32, dtype=np.uint32)) & 1).mean(0)
    assert abs(ones - 0.5).max() < 0.01


@pytest.mark.parametrize("dtype", dt.FLOATS)
def test_uniform_is_in_the_half_open_interval(dtype):
    extremes = np.array([0, 1, 2**31, 2**32 - 1], np.uint32)
    low, _, half, high = from_bits(uniform_from_bits, extremes, dtype=dtype)
    assert low == 0 and half == 0.5 and 0.99 < high < 1
    found = from_bits(uniform_from_bits, bits(3, 1, 1 << 16), dtype=dtype)
    assert abs(found.mean() - 0.5) < 5e-3 and abs(found.var() - 1 / 12) < 2e-3


@pytest.mark.parametrize(
    "state, error, text",
    [
        (typed(2), DTypeError, "random_bits: the state has dtype f32\n  hint: it is an int64 tensor (seed, draw)"),
        (typed(3, dtype=dt.int64), ShapeError,
         "random_bits: the state has shape (3,), not (2,)\n  hint: it is an int64 tensor (seed, draw)"),
    ],
)  # fmt: skip
def test_errors(state, error, text):
    with pytest.raises(error) as caught:
        random_bits.infer((state,), random_bits.bind({"shape": (3,)}))
    assert said(caught.value) == text


def test_variates_refuse_what_is_no_word():
    with pytest.raises(DTypeError) as caught:
        normal_variate.infer((typed(3, dtype=dt.int32),), ())
    assert said(caught.value) == "normal_variate: random words have dtype i32\n  hint: they are u32 or u64"
