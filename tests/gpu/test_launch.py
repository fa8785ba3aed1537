"""Launching: CUDA graphs, memory that moves, shapes that change, streams and threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tracec
from tests.gpu.place import DEVICE, compiled, fetch, needs_device, on_gpu, put, runs_compiled
from tracec.nn import functional as F

pytestmark = on_gpu

LAUNCHES = pytest.mark.parametrize("cuda_graph", [True, False], ids=["graph", "launches"])


def chain(x, w):
    """Several kernels, one of them a matrix product."""
    y = F.softmax(x @ w, -1)
    return F.layer_norm(y + x, (x.shape[-1],)).sum(0), (y * y).cumsum(-1)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def check(run, rows, width, seed):
    x, w = numbers(rows, width, seed=seed), numbers(width, width, seed=seed + 100) / width
    expected = chain(tracec.tensor(x).double(), tracec.tensor(w).double())
    for found, e in zip(run(put(x), put(w)), expected, strict=True):
        np.testing.assert_allclose(fetch(found), fetch(e), rtol=1e-4, atol=2e-4)


@LAUNCHES
def test_replay_after_memory_moved(cuda_graph):
    run, held = compiled(chain, cuda_graph=cuda_graph), []
    for call in range(8):
        held.append(put(numbers(1000 * call + 1)))  # so that the next tensors lie elsewhere
        check(run, 37, 64, seed=call)
    assert runs_compiled(run)


@LAUNCHES
def test_replay_of_the_same_memory(cuda_graph):
    run = compiled(lambda x, y: (x * 2 + y).sin(), cuda_graph=cuda_graph)
    x, y = put(numbers(5000)), put(numbers(5000, seed=1))
    for k in range(5):
        x.fill_(float(k))
        np.testing.assert_allclose(fetch(run(x, y)), np.sin(2 * k + fetch(y)), rtol=1e-5, atol=1e-6)
    assert runs_compiled(run)


@LAUNCHES
def test_shapes_that_come_and_go(cuda_graph):
    run = compiled(chain, cuda_graph=cuda_graph)
    for seed, (rows, width) in enumerate([(8, 32), (1, 33), (8, 32), (130, 256), (1, 33), (8, 32), (130, 256)]):
        check(run, rows, width, seed)
    assert "3 specialisations" in repr(run)


@LAUNCHES
def test_empty_tensors(cuda_graph):
    run = compiled(lambda x: (x.exp() * 2, x.sum(), x.sum(0)), cuda_graph=cuda_graph)
    for _ in range(3):
        product, total, columns = run(put(np.zeros((0, 5), np.float32)))
        assert product.shape == (0, 5) and total.item() == 0 and columns.tolist() == [0] * 5


def test_lower_runs_what_a_call_would():
    x = put(numbers(30, 40))
    run = compiled(lambda x: F.softmax(x, -1) * 2)
    options = {"launcher": "emulator"} if DEVICE == "cpu" else {}
    target = getattr(run, "target", None) or ("cuda" if DEVICE == "cuda" else "cpu")
    lowered = run.lower(x, target=target)
    found = lowered.run(x, **options) if target == "cuda" else lowered.run(x)
    np.testing.assert_allclose(fetch(found), fetch(F.softmax(x, -1) * 2), rtol=1e-5)


def test_calls_from_several_threads():
    run = compiled(lambda x: F.softmax((x * 3).exp().log(), -1).cumsum(-1))
    arrays = [numbers(40, 50, seed=k) for k in range(24)]
    run(put(arrays[0]))

    def call(x):
        return fetch(run(put(x)))

    with ThreadPoolExecutor(6) as pool:
        for x, found in zip(arrays, pool.map(call, arrays), strict=True):
            e = np.exp(3 * x.astype(np.float64) - (3 * x).max(-1, keepdims=True))
            np.testing.assert_allclose(found, (e / e.sum(-1, keepdims=True)).cumsum(-1), rtol=1e-4)


class TestStreams:
    pytestmark = needs_device

    @LAUNCHES
    def test_work_goes_to_the_current_stream(self, cuda_graph):
        run = compiled(lambda x: (x.sin() * 2).sum(-1), cuda_graph=cuda_graph)
        x = numbers(2000, 300)
        expected = (np.sin(x.astype(np.float64)) * 2).sum(-1)
        given = put(x)
        tracec.cuda.synchronize()
        for _ in range(4):
            stream = tracec.cuda.Stream()
            with tracec.cuda.stream(stream):
                assert tracec.cuda.current_stream() == stream
                found = run(given)
                eager = (given.sin() * 2).sum(-1)
            stream.synchronize()
            for result in (found, eager):
                np.testing.assert_allclose(fetch(result), expected, rtol=1e-4, atol=1e-3)
        assert runs_compiled(run)

    def test_one_stream_waits_for_another(self):
        run, first, second = compiled(lambda x: x @ x / 64), tracec.cuda.Stream(), tracec.cuda.Stream()
        x = numbers(512, 512)
        given = put(x)
        tracec.cuda.synchronize()
        with tracec.cuda.stream(first):
            y = run(given)
            for _ in range(20):
                y = run(y)
            done = tracec.cuda.Event()
            done.record()
        with tracec.cuda.stream(second):
            second.wait_event(done)
            z = y + 1
        second.synchronize()
        assert done.query()
        np.testing.assert_array_equal(fetch(z), fetch(y) + 1)

    def test_events_tell_time(self):
        start, end = (tracec.cuda.Event(enable_timing=True) for _ in range(2))
        x = put(numbers(1024, 1024))
        start.record()
        for _ in range(20):
            x = x @ x / 1024
        end.record()
        end.synchronize()
        assert 0 < start.elapsed_time(end) < 60_000
