"""Sparse and nested tensors on the device: what the CPU gives for them; and memory that side streams work on."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import tracec
from tests.gpu.place import DEVICE, compiled, fetch, needs_device, put
from tests.nested.test_nested import EACH, nested, tensors
from tests.nested.test_nested import Y as ROW
from tests.sparse.test_sparse import ARITHMETIC, DENSE, PLACES, X
from tracec import cuda


def matrix():
    return tracec.sparse_coo_tensor(PLACES, [3.0, 4.0, 5.0, -1.0, 2.0], (3, 4), device=DEVICE)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ARITHMETIC)
def test_sparse(name):
    way, expected = ARITHMETIC[name]
    run = compiled(lambda s, x: way(s, x))
    for function in (way, run, run, run):
        with tracec.device(DEVICE):
            found = function(matrix(), put(X))
        assert found.device == matrix().device
        np.testing.assert_allclose(fetch(found.to_dense()), expected(DENSE, X), rtol=1e-5, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("name", EACH)
def test_nested(name):
    way, one = EACH[name]
    parts = tensors()
    run = compiled(lambda x, y: way(x, y))
    for function in (way, run, run, run):
        x = nested([p.to(DEVICE) for p in parts])
        for found, part in zip(function(x, put(ROW)).unbind(), parts, strict=True):
            np.testing.assert_allclose(fetch(found), fetch(one(part, tracec.tensor(ROW))), rtol=2e-5, atol=2e-5)


@pytest.mark.gpu
def test_parts_follow_to_another_device():
    s = tracec.sparse_coo_tensor(PLACES, [3.0, 4.0, 5.0, -1.0, 2.0], (3, 4)).to(DEVICE)
    n = nested(tensors()).to(DEVICE)
    assert {t.device for t in (*s.inner(), *n.inner())} == {put(X).device}
    np.testing.assert_allclose(fetch(s.cpu().to_dense()), DENSE)


class TestStreams:
    pytestmark = needs_device

    def test_memory_is_not_given_away_while_a_side_stream_works_on_it(self):
        side = cuda.Stream()
        x = tracec.ones(1 << 20, device="cuda")
        cuda.synchronize()
        with cuda.stream(side):
            for _ in range(50):
                y = x * 2
        x.record_stream(side)
        address = x.data_ptr()
        del x
        gc.collect()
        others = [tracec.zeros(1 << 20, device="cuda") for _ in range(2)]
        if not side.query():
            assert address not in [t.data_ptr() for t in others]
        side.synchronize()
        assert (y == 2).all()
