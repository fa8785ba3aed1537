"""Tensors in one row, and parts of it with their shapes, against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

import tracec


def test_in_one_row_and_back():
    torch = pytest.importorskip("torch")
    arrays = [np.arange(6.0, dtype="f4").reshape(2, 3).T, np.array(7.0, "f4"), np.zeros((0, 2), "f4"), np.ones(2, "f4")]
    found = []
    for t in (tracec, torch):
        tensors = [t.tensor(a) for a in arrays]
        flat = t._utils._flatten_dense_tensors(tensors)
        parts = t._utils._unflatten_dense_tensors(flat * 2, tensors)
        found.append([np.asarray(flat), *map(np.asarray, parts)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_parts_are_looks_at_the_row():
    row = tracec.zeros(5)
    first, second = tracec._utils._unflatten_dense_tensors(row, [tracec.ones(2, 2), tracec.ones(1)])
    first.fill_(1.0)
    second.add_(2.0)
    assert row.tolist() == [1.0, 1.0, 1.0, 1.0, 2.0]
    with pytest.raises(ValueError, match="split"):
        tracec._utils._unflatten_dense_tensors(row, [tracec.ones(2)])
