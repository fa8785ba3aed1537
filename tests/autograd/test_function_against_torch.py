"""Functions of one's own against PyTorch: values and gradients, under transforms and compiled."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
import tracec.func
from tests.autograd.programs import PLAIN, TRANSFORMED, functions

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore::FutureWarning")

RNG = np.random.default_rng(0)
X, V = RNG.normal(size=(4, 3)), RNG.normal(size=3)


def arrays(out):
    if out is None:
        return [None]
    return [a for o in out for a in arrays(o)] if isinstance(out, (list, tuple)) else [out.detach().numpy()]


def check(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def run(library, program):
    return arrays(program(library, functions(library), library.tensor(X), library.tensor(V)))


@pytest.mark.parametrize("name", PLAIN)
def test_eager(name):
    check(run(tracec, PLAIN[name]), run(torch, PLAIN[name]))


@pytest.mark.parametrize("name", TRANSFORMED)
def test_transformed(name):
    check(run(tracec, TRANSFORMED[name]), run(torch, TRANSFORMED[name]))
