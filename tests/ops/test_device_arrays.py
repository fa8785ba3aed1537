"""Every operator's eager rule on arrays that keep CuPy's rules, against the same on NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from tests.doubles import cupy as double
from tests.ops.test_table import CASES, draw, eager, graph_of
from tracec.ir.evaluate import evaluate
from tracec.ir.operator import OPERATORS


@pytest.mark.parametrize("op, sample", CASES)
def test_eager_rules_do_what_cupy_can(op, sample):
    operands = draw(sample, op.name)
    expected = eager(op, sample, operands)
    with double.installed() as cupy:
        node = graph_of(op, sample).outputs[0]
        if op.name == "constant":
            found = evaluate(graph_of(op, sample), [])[0]
        else:
            found = node.op.eager(cupy, *map(cupy.array, operands), **dict(node.params))
        assert isinstance(found, (cupy.ndarray, np.ndarray))
        if not isinstance(found, np.ndarray):
            found = found.get()
    assert (found.shape, found.dtype) == (np.shape(expected), np.asarray(expected).dtype)
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    tolerance = 1e-3 if expected.itemsize < 4 else 1e-5
    np.testing.assert_allclose(np.asarray(found, wide), np.asarray(expected, wide), rtol=tolerance)


@pytest.mark.parametrize("size", [5, 3000])
def test_random_bits_of_a_device_are_those_of_the_cpu(size):
    state = np.array([7, 3])
    with double.installed() as cupy:
        found = OPERATORS["random_bits"].eager(cupy, cupy.array(state), shape=(size,))
        assert found.get().tolist() == OPERATORS["random_bits"].eager(np, state, shape=(size,)).tolist()
