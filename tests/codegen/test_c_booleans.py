"""Conditions that become integers, and these positions: compilers are known to take one for the other."""

from __future__ import annotations

import numpy as np
import pytest

import tracec as tc

POSITIONS = {
    "long": lambda x: (x > 0).long(),
    "int": lambda x: (x > 0).int(),
    "byte": lambda x: (x > 0).to(tc.uint8).long(),
    "through a float": lambda x: (x > 0).float().long(),
    "one or zero": lambda x: tc.where(x > 0, 1, 0),
    "zero or one": lambda x: tc.where(x > 0, 0, 1),
    "four or three": lambda x: tc.where(x > 0, 4, 3),
    "a sum": lambda x: (x > 0).long() + (x > 1),
    "a multiple": lambda x: (x != 0).long() * 3,
    "both": lambda x: ((x > 0) & (x < 2)).long(),
    "not": lambda x: (~(x > 0)).long(),
}


@pytest.mark.parametrize("name", POSITIONS)
def test_conditions_as_positions(name):
    position, rng = POSITIONS[name], np.random.default_rng(0)
    for of in (tc.float32, tc.float64, tc.int32, tc.int16, tc.int8):
        x = tc.tensor(rng.integers(-2, 3, 150)).to(of)
        for to in (tc.float32, tc.int16, tc.uint8, tc.float64):
            table = tc.arange(9).to(to) + 1
            compiled = tc.compile(lambda x, table: (table[position(x)], (table[position(x)] * 2).sum()))
            compiled(x, table)
            expected = table.numpy()[position(x).numpy()]
            doubled = (expected * np.asarray(2, expected.dtype)).sum()
            for found, right in zip(compiled(x, table), (expected, doubled), strict=True):
                np.testing.assert_array_equal(found.numpy(), right.astype(found.numpy().dtype))
