"""``tracec.cuda`` on a device: what it is, its memory, streams and events."""

from __future__ import annotations

import pytest

import tracec
from tests.gpu.place import needs_device
from tracec import cuda
from tracec.errors import ArgumentError, DeviceError

pytestmark = needs_device

MIB = 1 << 20


def test_devices():
    assert cuda.is_available() and cuda.device_count() >= 1
    assert cuda.current_device() == 0
    tracec.ones(2, device="cuda")
    assert cuda.is_initialized()
    with cuda.device(0):
        assert tracec.ones(2, device="cuda").device == "cuda:0"
    with pytest.raises(DeviceError, match="CUDA devices"):
        cuda.set_device(63)
    assert cuda.current_device() == 0


def test_properties():
    found = cuda.get_device_properties("cuda")
    assert found.name == cuda.get_device_name() and found.name
    assert (found.major, found.minor) == cuda.get_device_capability(0) >= (7, 0)
    assert found.total_memory > 1 << 30 and found.multi_processor_count > 1 and found.warp_size == 32
    assert found.L2_cache_size > 0 and found.shared_memory_per_block >= 48 << 10


def test_memory_in_use():
    free, total = cuda.mem_get_info()
    assert 0 < free <= total
    before = cuda.memory_allocated()
    x = tracec.zeros(MIB, device="cuda")
    assert cuda.memory_allocated() - before == 4 * MIB
    assert cuda.memory_reserved() >= cuda.memory_allocated()
    del x
    assert cuda.memory_allocated() == before
    cuda.empty_cache()
    assert cuda.memory_reserved() >= cuda.memory_allocated()  # arrays kept for later results go with it


def test_the_peak():
    (tracec.zeros(1, device="cuda") + 1).sum()  # numbers that operators need are kept on the device
    cuda.reset_peak_memory_stats()
    before = cuda.memory_allocated()
    x = tracec.zeros(8 * MIB, device="cuda")
    y = x + 1
    del x, y
    assert cuda.max_memory_allocated() - before >= 64 * MIB
    assert cuda.memory_allocated() == before
    stats = cuda.memory_stats()
    assert stats["allocated_bytes.all.peak"] == cuda.max_memory_allocated()
    assert stats["allocated_bytes.all.current"] == before
    reserved = cuda.max_memory_reserved()
    assert stats["reserved_bytes.all.peak"] == reserved >= cuda.memory_reserved() >= before
    assert cuda.memory_summary().splitlines()[-1].startswith("memory of the pool ")
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() == before
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_reserved() == cuda.memory_reserved() <= reserved


def test_streams():
    stream, default = cuda.Stream(), cuda.default_stream()
    assert cuda.current_stream() == default and default.cuda_stream == 0
    assert stream != default and stream.device == "cuda:0" and hash(stream) != hash(default)
    with stream:
        assert cuda.current_stream() == stream
        with cuda.stream(default), cuda.stream(None):
            assert cuda.current_stream() == default
        assert cuda.current_stream() == stream
    assert cuda.current_stream() == default
    event = stream.record_event()
    default.wait_event(event)
    default.wait_stream(stream)
    stream.synchronize()
    assert stream.query() and event.query()


def test_a_stream_of_another_library():
    stream, before = cuda.Stream(), cuda.current_stream()
    other = cuda.ExternalStream(stream.cuda_stream)
    assert other == stream and not cuda.is_current_stream_capturing()
    cuda.set_stream(other)
    try:
        assert cuda.current_stream() == stream
        assert (tracec.ones(3, device="cuda") + 1).tolist() == [2.0] * 3
    finally:
        cuda.set_stream(before)
    assert cuda.current_stream() == before
    major, minor = cuda.get_device_capability()
    assert f"sm_{major}{minor}" in cuda.get_arch_list() and cuda.can_device_access_peer(0, 0)
    assert len(cuda.default_generators) == cuda.device_count()


def test_events_that_do_not_time():
    a, b = cuda.Event(), cuda.Event(enable_timing=True)
    with pytest.raises(ArgumentError, match="does not time"):
        a.elapsed_time(b)
    with pytest.raises(ArgumentError, match="was not recorded"):
        cuda.Event(enable_timing=True).elapsed_time(b)


def test_seeds():
    cuda.manual_seed(4)
    first = tracec.rand(5, device="cuda").tolist()
    cuda.manual_seed_all(4)
    assert tracec.rand(5, device="cuda").tolist() == first


def test_the_state_of_random_numbers_is_kept_and_set():
    state = tracec.cuda.get_rng_state()
    first = tracec.rand(3, device="cuda")
    tracec.cuda.set_rng_state(state)
    assert tracec.rand(3, device="cuda").equal(first)
    states = tracec.cuda.get_rng_state_all()
    second = tracec.rand(3, device="cuda")
    tracec.cuda.set_rng_state_all(states)
    assert tracec.rand(3, device="cuda").equal(second) and len(states) == tracec.cuda.device_count()
    tracec.cuda.manual_seed(5)
    assert tracec.cuda.initial_seed() == 5 and tracec.cuda.is_bf16_supported()
