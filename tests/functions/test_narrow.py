"""Sums and counts on the way to a result of 16 bits need not fit into 16 bits."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tracec.nn import functional as F


@pytest.mark.parametrize("wrap", [lambda f: f, tracec.compile], ids=["eager", "compiled"])
@pytest.mark.parametrize("dtype", [tracec.float16, tracec.bfloat16], ids=str)
def test_means_of_more_numbers_than_float16_counts(dtype, wrap):
    x = tracec.linspace(0, 2, 70_001).to(dtype)
    exact = x.to(tracec.float64).numpy()
    run = wrap(lambda x: (x.mean(), x.var(), x.std(), F.mse_loss(x, x * 0), *tracec.var_mean(x)))
    expected = [exact.mean(), exact.var(), exact.std(), (exact**2).mean(), exact.var(), exact.mean()]
    for _ in range(2):
        found = run(x)
        assert all(f.dtype is dtype for f in found)
        np.testing.assert_allclose([f.item() for f in found], expected, rtol=1e-2)
