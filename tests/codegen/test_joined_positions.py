"""What is joined or padded, at positions that are read from memory: in one part, and outside of another."""

from __future__ import annotations

import numpy as np
import pytest

import tracec as tc
from tests.codegen.emulated import needs_compiler

READS = {
    "joined": lambda x, p, i: tc.cat([x[:4], x[4:] * 2])[i],
    "joined of gathers": lambda x, p, i: x[p].roll(1, 0)[i].var(0, correction=0),
    "gathers of joined gathers": lambda x, p, i: tc.cat([x[p], x[p] + 1])[i].cumsum(0),
    "padded": lambda x, p, i: tc.nn.functional.pad(x, (0, 0, 3, 2))[i],
    "padded gathers": lambda x, p, i: tc.nn.functional.pad(x[p], (0, 0, 3, 2))[i].sum(0),
    "unfolded": lambda x, p, i: tc.nn.functional.fold(x[p].t().reshape(1, 3, 9), (1, 9), 1).reshape(3, 9).t()[i],
}


def _given():
    return tc.randn(15, 3), tc.arange(9), tc.tensor([0, 1, 8, 0, 5])


@pytest.mark.parametrize("name", READS)
def test_values(name):
    given, read = _given(), READS[name]
    compiled = tc.compile(read)
    compiled(*given)
    np.testing.assert_allclose(compiled(*given).numpy(), read(*given).numpy(), rtol=1e-5, atol=1e-6)


@needs_compiler
@pytest.mark.parametrize("name", READS)
def test_nothing_is_read_outside_of_an_array(name):
    """The emulator tells of each access."""
    given, read = _given(), READS[name]
    found = tc.compile(read).lower(*given, target="cuda").run(*given, launcher="emulator")
    np.testing.assert_allclose(found.numpy(), read(*given).numpy(), rtol=1e-5, atol=1e-6)
