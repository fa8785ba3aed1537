"""Launches that begin while the ones before them end compute what those that follow each other do."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import tracec
from benchmarks.kernels.families import programs
from tests.gpu.place import DEVICE, compiled, fetch, on_gpu

pytestmark = on_gpu

NAMES = sorted(programs(tracec, tracec.nn.functional, "cpu"))


@cache
def families():
    return programs(tracec, tracec.nn.functional, DEVICE)


def results(run, operands):
    tracec.manual_seed(3)
    found = run(*(t.detach().clone().requires_grad_(t.requires_grad) for t in operands))
    return [fetch(t) for t in (found if isinstance(found, tuple) else (found,))]


@pytest.mark.parametrize("graphs", [True, False], ids=["graphs", "launches"])
@pytest.mark.parametrize("name", [n for n in NAMES if n != "scatter in any order"])
def test_the_same_bits(name, graphs):
    function, operands = families()[name]
    serial = compiled(function, cuda_graph=graphs)
    results(serial, operands)
    want = results(serial, operands)
    overlapping = compiled(function, cuda_graph=graphs, disable=("serial",))
    results(overlapping, operands)
    for _ in range(8 if DEVICE == "cuda" else 1):
        for found, expected in zip(results(overlapping, operands), want, strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("graphs", [True, False], ids=["graphs", "launches"])
def test_many_small_launches_one_behind_the_other(graphs):
    """Each reads what the one before has just written, and writes over what the one before that has read."""

    def function(x):
        y = x.flip(0)
        for k in range(40):
            x, y = y * 0.5 + x.flip(0), x + k
        return x, y

    x = tracec.arange(3001, dtype=tracec.float32, device=DEVICE) / 3001
    want = [fetch(t) for t in function(x)]
    run = compiled(function, cuda_graph=graphs, disable=("serial", "fuse", "join"))
    for _ in range(20 if DEVICE == "cuda" else 2):
        for found, expected in zip(run(x), want, strict=True):
            np.testing.assert_allclose(fetch(found), expected, rtol=1e-5)
