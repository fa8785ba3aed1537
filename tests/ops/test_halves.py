"""float16 to float32 and back: the bits are NumPy's."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tracec
from tracec.ops.arrays import SILENT
from tracec.ops.halves import _MANY, narrowed, widened

EVERY = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


def singles() -> Any:
    """All float16, what is half way between two, their neighbours, and any bits."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = EVERY.astype(np.float32)
        between = ((found[:-1].astype(np.float64) + found[1:]) / 2).astype(np.float32)
        near = np.concatenate([found, between])
        beside = [np.nextafter(near, np.float32(to)) for to in (np.inf, -np.inf)]
    bits = np.random.default_rng(0).integers(0, 1 << 32, 1 << 17, dtype=np.uint32).view(np.float32)
    return np.concatenate([near, *beside, bits])


def assert_same_bits(found: Any, expected: Any) -> None:
    bits = np.uint16 if expected.itemsize == 2 else np.uint32
    assert found.dtype == expected.dtype and found.shape == expected.shape
    nan = np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(found), nan)
    np.testing.assert_array_equal(found.view(bits)[~nan], expected.view(bits)[~nan])


def test_all_are_widened() -> None:
    assert_same_bits(widened(EVERY), EVERY.astype(np.float32))


def test_all_are_narrowed() -> None:
    given = singles()
    expected = SILENT.copy().run(given.astype, np.float16)
    assert_same_bits(SILENT.copy().run(narrowed, given, np.dtype(np.float16)), expected)


@pytest.mark.parametrize("size", [1, _MANY - 1, _MANY, (1 << 16) + 5])
def test_shapes_and_layouts(size: int) -> None:
    x = np.random.default_rng(0).standard_normal((size, 2)).astype(np.float32)
    for given in (x, x[:, 0], x.T, x[:, ::-1]):
        narrow = given.astype(np.float16)
        assert_same_bits(np.ascontiguousarray(narrowed(given, np.dtype(np.float16))), np.ascontiguousarray(narrow))
        assert_same_bits(np.ascontiguousarray(widened(narrow)), np.ascontiguousarray(narrow.astype(np.float32)))


def test_operators_round_once() -> None:
    x = tracec.from_numpy(np.resize(EVERY, (2, 1 << 16))[:, ::3].copy())
    y = tracec.from_numpy(np.resize(EVERY[::-1], x.shape).copy())
    wide = SILENT.copy().run(lambda: x.numpy().astype(np.float32) * y.numpy().astype(np.float32))
    assert_same_bits((x * y).numpy(), SILENT.copy().run(wide.astype, np.float16))
    assert_same_bits(x.float().numpy(), x.numpy().astype(np.float32))
    assert_same_bits(x.float().half().numpy(), x.numpy())
