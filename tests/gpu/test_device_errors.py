"""Mistakes with devices end in an error that says what was given and where."""

from __future__ import annotations

import numpy as np
import pytest

import tracec
from tests.gpu.place import compiled, fetch, needs_device, put
from tracec.errors import ArgumentTypeError, DeviceError, OutOfMemoryError
from tracec.specialisations import device_checks

pytestmark = needs_device


def test_operands_on_two_devices():
    x, y = tracec.ones(3, device="cuda"), tracec.ones(3)
    with pytest.raises(DeviceError, match=r"add: expected all tensors to be on the same device") as error:
        x + y
    assert "test_device_errors.py" in str(error.value) and "hint" in str(error.value)
    with pytest.raises(DeviceError, match="same device"):
        compiled(lambda a, b: a * b)(x, y)


def test_a_number_on_the_cpu_goes_along():
    x = tracec.ones(3, device="cuda")
    assert (x * tracec.tensor(2.0)).tolist() == [2, 2, 2]
    run = compiled(lambda a, b: a * b)
    for k in range(3):
        assert run(x, tracec.tensor(float(k))).tolist() == [k] * 3


def test_cpu_tensors_given_to_a_function_for_cuda():
    run = tracec.compile(lambda x: x * 2, target="cuda", launcher="gpu")
    with pytest.raises(DeviceError, match="the tensors given are on the CPU") as error:
        [run(tracec.ones(3)) for _ in range(2)]
    assert "hint" in str(error.value)


def test_a_device_that_is_not_there():
    with pytest.raises(DeviceError, match=r"this machine has \d+ CUDA devices"):
        tracec.ones(3, device="cuda:63")


def test_a_tensor_on_the_device_is_no_numpy_array():
    with pytest.raises(ArgumentTypeError, match="can't convert cuda:0 device type tensor to numpy"):
        np.asarray(tracec.ones(3, device="cuda"))


def test_moving_within_a_compiled_function():
    run = compiled(lambda x: x.cpu() * 2)
    run(tracec.ones(3, device="cuda"))
    with pytest.warns(RuntimeWarning, match="a copy from cuda:0 to cpu cannot be part of a compiled function"):
        found = run(tracec.ones(3, device="cuda") * 2)
    assert found.device == "cpu" and found.tolist() == [4, 4, 4]


def test_no_memory_eagerly():
    with pytest.raises(OutOfMemoryError, match=r"no memory on cuda:0 for \d+ bytes") as error:
        tracec.ones(1 << 45, device="cuda") + 1
    assert "test_device_errors.py" in str(error.value)
    assert isinstance(error.value, tracec.cuda.OutOfMemoryError)
    assert (tracec.ones(3, device="cuda") + 1).tolist() == [2, 2, 2]


def test_no_memory_for_a_compiled_function_lists_the_largest_buffers():
    cupy = pytest.importorskip("cupy")

    def function(x):
        y = (x @ x).relu()
        z = (y @ x).relu()
        return z @ y

    run, x = compiled(function), put(np.eye(2048, dtype=np.float32))
    run(x)
    pool, limit = cupy.get_default_memory_pool(), cupy.get_default_memory_pool().get_limit()
    tracec.cuda.synchronize()
    tracec.cuda.empty_cache()
    pool.set_limit(size=pool.used_bytes() + (1 << 20))
    try:
        with pytest.raises(OutOfMemoryError) as error:
            run(x)
    finally:
        pool.set_limit(size=limit)
    text = str(error.value)
    assert "test_device_errors.py:" in text
    assert any(size in text for size in ("16777216", "16,777,216", "16.0 MiB", "16.8 MB"))
    np.testing.assert_array_equal(fetch(run(x)), np.eye(2048))


def test_an_index_out_of_range_is_told_when_the_host_waits():
    run = compiled(lambda table, index: tracec.nn.functional.embedding(index, table) * 2)
    table, good = put(np.arange(14, dtype=np.float32).reshape(7, 2)), put(np.array([0, 6, 3]))
    bad = put(np.array([0, 7, 3]))
    for indices in (good,) * 6 + (bad,) + (good,) * 3:
        found = run(table, indices)
    with pytest.raises(IndexError, match="index 7 is out of bounds") as error:
        found.tolist()
    assert "found on the GPU after the call" in str(error.value)
    assert fetch(found).tolist() == [[0, 2], [24, 26], [12, 14]]
    stream = tracec.cuda.Stream()
    stream.wait_stream(tracec.cuda.current_stream())
    with tracec.cuda.stream(stream):
        for indices in (good, bad, good):
            run(table, indices)
    run(table, good)
    with pytest.raises(IndexError, match="index 7 is out of bounds"):
        stream.synchronize()
    run(table, good)
    tracec.cuda.synchronize()


def test_a_caller_may_capture_what_looks_into_tables(monkeypatch):
    cupy = pytest.importorskip("cupy")
    run = compiled(lambda table, index: tracec.nn.functional.embedding(index, table) + 1)
    table, index = put(np.arange(14, dtype=np.float32).reshape(7, 2)), put(np.array([0, 6, 3]))
    monkeypatch.setattr(device_checks, "PATIENCE", 0.0)  # each call would look at what those before found
    for _ in range(4):
        run(table, index)  # in the legacy stream, where nothing may be queued while another captures
    tracec.cuda.synchronize()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        for _ in range(4):
            found = run(table, index)
        stream.synchronize()
        stream.begin_capture()
        found = run(table, index)
        graph = stream.end_capture()
    index[1] = 2
    tracec.cuda.synchronize()
    graph.launch(stream)
    stream.synchronize()
    assert fetch(found).tolist() == [[1, 2], [5, 6], [7, 8]]
