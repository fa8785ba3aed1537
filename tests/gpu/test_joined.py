"""Blocks that end last and do the work of launches behind theirs: again and again, and in two streams at a time."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.conftest import REHEARSAL
from tests.gpu.place import compiled, fetch, needs_device, on_gpu, put

pytestmark = on_gpu

TIMES = 2 if REHEARSAL else 200


def ends(x):
    """A reduction in two steps, and what is made of it, all in one launch; whole numbers have no rounding."""
    return tracec.stack([x.sum(), x.amax(), x.amin()])


@pytest.mark.parametrize("cuda_graph", [False, True])
@pytest.mark.parametrize("size", [70_001, 1 << 17, 1_000_003, 1 << 22])
def test_the_last_block_sees_what_all_have_written(size, cuda_graph):
    run = compiled(ends, cuda_graph=cuda_graph)
    size = min(size, 1 << 17) if REHEARSAL else size
    arrays = [np.random.default_rng(k).integers(-8, 9, size).astype(np.float32) for k in range(3)]
    given = [put(a) for a in arrays]
    expected = [np.array([a.sum(dtype=np.float64), a.max(), a.min()]) for a in arrays]
    for n in range(TIMES):
        given[n % 3][n % size] += 1  # what was read before is not what is there now
        expected[n % 3][0] += 1
        found = fetch(run(given[n % 3]))
        np.testing.assert_array_equal(found[0], expected[n % 3][0], err_msg=f"call {n}")


def test_rows_columns_and_maps_before_them():
    def function(x):
        y = x.sum(0)
        z = (x * 2).sum(1)
        return y.sum(), z.amax(), (x[0] * y.sum()).sum()

    x = np.random.default_rng(0).integers(-8, 9, (128, 600)).astype(np.float32)
    run, given = compiled(function), put(x)
    expected = [x.sum(), (x * 2).sum(1).max(), (x[0] * x.sum()).sum()]
    for _ in range(max(TIMES // 10, 2)):
        np.testing.assert_allclose([fetch(t) for t in run(given)], expected, rtol=1e-6)


class TestStreams:
    pytestmark = needs_device

    def test_each_has_a_counter_of_its_own(self):
        run, streams = compiled(ends), [tracec.cuda.Stream() for _ in range(3)]
        arrays = [np.random.default_rng(k).integers(-8, 9, 1_000_003).astype(np.float32) for k in range(3)]
        given = [put(a) for a in arrays]
        tracec.cuda.synchronize()
        found: list[list] = [[], [], []]
        for _ in range(TIMES):
            for k, stream in enumerate(streams):
                with tracec.cuda.stream(stream):
                    found[k].append(run(given[k]))
        tracec.cuda.synchronize()
        for a, results in zip(arrays, found, strict=True):
            for result in results:
                np.testing.assert_array_equal(fetch(result), [a.sum(dtype=np.float64), a.max(), a.min()])
